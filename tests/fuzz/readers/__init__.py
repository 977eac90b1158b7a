"""Every reader of the project: how to make it a small valid input, and how to have that read.

A reader is called with the folder its input lies in, and reads what is there as the project does. Heavy imports stand
inside, so that the worker process pays only for the readers it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.fuzz.readers import archives, configurations, datasets, logs, runs, sweeps, typed, weights


@dataclass(frozen=True)
class Reader:
    """One reader. `files` are those of the valid input that may come from elsewhere."""

    name: str
    build: Callable[[Path], None]
    read: Callable[[Path], Any]
    files: tuple[str, ...]
    names_file: bool = True  # whether every message has to name the file
    longest: int | None = None  # characters of a message, where ten files may be named in one


READERS = {
    reader.name: reader
    for reader in (
        Reader("config", configurations.build_config, configurations.read_config, ("config.json",)),
        Reader("checkpoint", runs.build_run, runs.read_checkpoint, (runs.STATE, runs.MODEL, runs.TRAINER)),
        Reader("model", runs.build_run, runs.read_model, (runs.STATE, runs.MODEL, "config.json"), names_file=False),
        Reader(
            "trainer", runs.build_run, runs.read_trainer, (runs.STATE, runs.TRAINER, "config.json"), names_file=False
        ),
        Reader(
            "weights file",
            weights.build_weights_file,
            weights.read_weights_file,
            ("file.safetensors",),
            names_file=False,
        ),
        Reader("logs", logs.build_logs, logs.read_logs, logs.LOGS),
        Reader("plot", logs.build_logs, logs.read_plot, logs.LOGS),
        Reader("report", logs.build_logs, logs.read_report, (*logs.LOGS, "config.json")),
        Reader("sweep progress", runs.build_run, sweeps.read_progress, (*logs.LOGS, runs.STATE)),
        Reader("sweep cost", runs.build_run, sweeps.read_cost, (*logs.LOGS, "config.json")),
        Reader("convert to disentanglement_lib", runs.build_run, logs.read_converted, logs.LOGS, names_file=False),
        Reader("owner", runs.build_owner, runs.read_owner, ("owner.json",)),
        Reader("sweep", sweeps.build_sweep, sweeps.read_sweep, ("sweep.toml",), names_file=False),
        Reader(
            "dsprites npz",
            datasets.build_dsprites_npz,
            lambda folder: datasets.read_dsprites(folder / "file.npz"),
            ("file.npz",),
        ),
        Reader(
            "dsprites hdf5",
            datasets.build_dsprites_hdf5,
            lambda folder: datasets.read_dsprites(folder / "file.hdf5"),
            ("file.hdf5",),
        ),
        Reader("store", datasets.build_store, datasets.read_store, ("store/record.json", "store/images.npy")),
        Reader("zip", archives.build_zip, archives.reader(".zip"), ("set.zip",), longest=2000),
        Reader("tar", archives.tar(".tar", "w"), archives.reader(".tar"), ("set.tar",), longest=2000),
        Reader("tar.gz", archives.tar(".tar.gz", "w:gz"), archives.reader(".tar.gz"), ("set.tar.gz",), longest=2000),
        Reader(
            "tar.bz2", archives.tar(".tar.bz2", "w:bz2"), archives.reader(".tar.bz2"), ("set.tar.bz2",), longest=2000
        ),
        Reader("tar.xz", archives.tar(".tar.xz", "w:xz"), archives.reader(".tar.xz"), ("set.tar.xz",), longest=2000),
        Reader(
            "preparation",
            archives.build_partial,
            archives.read_partial,
            ("partial/progress.json", "partial/images.npy"),
            longest=2000,
        ),
        Reader("images", archives.build_images, archives.read_images, archives.IMAGES),
        Reader("celeba list", datasets.build_faces, datasets.read_faces, ("list_eval_partition.txt",)),
        Reader("fid statistics", weights.build_statistics, weights.read_statistics, ("stats.npz",)),
        Reader(
            "inception weights", weights.build_weights, weights.read_weights, ("weights.pth", "old.pth"), longest=1000
        ),
        Reader("authors' checkpoint", weights.build_authors, weights.read_authors, ("new", "old")),
        Reader("words", typed.build_words, typed.read_words, ()),
        Reader("environment", typed.build_environment, typed.read_environment, ()),
        Reader("command line", typed.build_command, typed.read_command, (), names_file=False),
    )
}

__all__ = ["READERS", "Reader"]
