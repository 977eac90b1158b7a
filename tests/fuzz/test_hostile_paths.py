"""Files that are none, and ways to other places: links, HDF5's references, names that are paths; one by one."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.fuzz.fuzzer import Fuzzer
from tests.fuzz.hostile import in_place, refused
from tests.fuzz.readers import READERS
from tests.fuzz.readers.archives import picture
from tests.fuzz.readers.datasets import build_dsprites_hdf5, sprites
from tests.fuzz.readers.runs import CHECKPOINT, MODEL, STATE, TRAINER
from tests.processes import ZOO


def to_dev_zero(path: Path) -> None:
    path.symlink_to("/dev/zero")


def to_itself(path: Path) -> None:
    path.symlink_to(path)


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(3 << 30)


# What stands in the place of a file. (Images are read as bytes, by what reads archives and folders.)

SINGLE = [
    (name, reader.files[0])
    for name, reader in READERS.items()
    if reader.files and name not in ("owner", "preparation", "images", "sweep cost")
]


@pytest.mark.parametrize(("name", "file"), SINGLE, ids=[name for name, _ in SINGLE])
@pytest.mark.parametrize("put", [os.mkfifo, Path.mkdir, to_dev_zero, to_itself, sparse])
def test_what_is_no_file_is_told_and_not_waited_for(
    fuzzer: Fuzzer, name: str, file: str, put: Callable[[Path], Any]
) -> None:
    may_be_missing = ("logs", "sweep progress", "convert to disentanglement_lib", "plot", "report", "celeba list")
    if name in may_be_missing:
        fuzzer.check(name, in_place(file, put))  # refused, or as if there were no log
    else:
        refused(fuzzer, name, in_place(file, put))


@pytest.mark.parametrize("name", ["zip", "tar"])
@pytest.mark.parametrize("put", [os.mkfifo, to_dev_zero, to_itself])
def test_what_is_no_file_in_a_folder_of_images(fuzzer: Fuzzer, name: str, put: Callable[[Path], Any]) -> None:
    """The reader is given a folder under the archive's name."""
    file = READERS[name].files[0]

    def change(path: Path) -> None:
        path.mkdir()
        (path / "good.png").write_bytes(picture())
        put(path / "bad.png")

    outcome = fuzzer.check(name, in_place(file, change))
    assert outcome["end"] == ("read" if put is os.mkfifo else "refused")


# Links out of the folder.


@pytest.mark.parametrize("file", [MODEL, TRAINER, STATE])
def test_a_checkpoint_with_a_link_in_it_is_refused(fuzzer: Fuzzer, file: str) -> None:
    def change(folder: Path) -> None:
        (folder / file).rename(folder / "elsewhere")
        (folder / file).symlink_to(folder / "elsewhere")

    refused(fuzzer, "checkpoint", change, "is a link, which is not followed there")


@pytest.mark.parametrize(
    "name", ["config.json", "metrics.jsonl", "evaluations.jsonl", "run.lock", "checkpoints", "figures"]
)
def test_nothing_is_written_through_a_link_in_a_run(fuzzer: Fuzzer, name: str) -> None:
    def change(folder: Path) -> None:
        shutil.copytree(fuzzer.template("checkpoint"), folder, dirs_exist_ok=True)
        target = folder / "elsewhere"
        target.write_bytes(b"mine")
        if (folder / name).is_dir():
            (folder / name).rename(folder / "was")
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(target)

    folder = refused(fuzzer, "logs", change, "is a link, which is not followed there")
    assert (folder / "elsewhere").read_bytes() == b"mine"


def test_a_linked_checkpoint_folder_counts_for_none(fuzzer: Fuzzer) -> None:
    def change(folder: Path) -> None:
        (folder / CHECKPOINT).rename(folder / "was")
        (folder / CHECKPOINT).symlink_to(folder / "was")

    refused(fuzzer, "model", change, "has no whole checkpoint")


def test_a_run_directory_may_be_a_link(fuzzer: Fuzzer) -> None:
    """The person named it."""

    def change(folder: Path) -> None:
        was = folder.with_name("was")
        folder.rename(was)
        folder.symlink_to(was)

    def back(folder: Path) -> None:
        folder.unlink()
        folder.with_name("was").rename(folder)

    case: list[Path] = []
    try:
        outcome = fuzzer.check("model", lambda folder: (case.append(folder), change(folder)))
    finally:
        back(case[0])
    assert outcome["end"] == "read"


def test_a_link_in_a_folder_of_images_is_followed_only_inside(fuzzer: Fuzzer) -> None:
    def change(path: Path) -> None:
        path.mkdir()
        (path / "good.png").write_bytes(picture())
        (path / "inside.png").symlink_to("good.png")

    assert fuzzer.check("zip", in_place("set.zip", change))["end"] == "read"

    def outside(path: Path) -> None:
        change(path)
        (path / "outside.png").symlink_to("/etc/hostname")

    refused(fuzzer, "zip", in_place("set.zip", outside), "is a link that leads out of the folder")


# Other files by way of HDF5, and libhdf5 itself.


@pytest.mark.parametrize("kind", ["soft", "external", "storage", "virtual", "filter"])
def test_hdf5_leads_to_no_other_file(fuzzer: Fuzzer, kind: str) -> None:
    import h5py

    def change(folder: Path) -> None:
        arrays = sprites()
        with h5py.File(folder / "file.hdf5", "w") as file:
            for name, array in arrays.items():
                path = name.replace("latents_", "latents/")
                if name != "imgs":
                    file.create_dataset(path, data=array)
                elif kind == "soft":
                    file.create_dataset("elsewhere", data=array)
                    file[path] = h5py.SoftLink("/elsewhere")
                elif kind == "external":
                    file[path] = h5py.ExternalLink(str(folder / "other.h5"), "/imgs")
                elif kind == "storage":
                    file.create_dataset(path, array.shape, array.dtype, external=[("/etc/passwd", 0, array.size)])
                elif kind == "filter":
                    file.create_dataset(path, data=array, chunks=(1, 64, 64), compression="lzf")
                else:
                    layout = h5py.VirtualLayout(array.shape, array.dtype)
                    layout[:] = h5py.VirtualSource(str(folder / "other.h5"), "imgs", shape=array.shape)
                    file.create_virtual_dataset(path, layout)

    refused(fuzzer, "dsprites hdf5", change)


def test_a_process_for_hdf5_that_dies_or_stalls_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ibgan_plugin.adapters import hdf5

    build_dsprites_hdf5(tmp_path)
    monkeypatch.setattr(hdf5, "__name__", "tests.fuzz.dying_hdf5")
    with hdf5.open_hdf5(tmp_path / "file.hdf5") as file, pytest.raises(hdf5.HDF5Error, match="signal 11"):
        file.open("imgs", np.dtype(np.uint8), (48, 64, 64))
    monkeypatch.setattr(hdf5, "__name__", "tests.fuzz.stalling_hdf5")
    monkeypatch.setattr(hdf5, "STALL_SECONDS", 2.0)
    with hdf5.open_hdf5(tmp_path / "file.hdf5") as file, pytest.raises(hdf5.HDF5Error, match="does not come to an end"):
        file.open("imgs", np.dtype(np.uint8), (48, 64, 64))


# Names in logs, which become folders and bindings when they are converted.


def test_a_metric_named_like_a_path_is_not_written(fuzzer: Fuzzer) -> None:
    def change(folder: Path) -> None:
        names = ["../../../escaped", "/tmp/escaped", "a/b", "..", "", "sap"]
        result = {"score": 0.5, "protocol": {"x\nimport os": 1}}
        record = {"step": 2, "seed": 0, "metrics": dict.fromkeys(names, result)}
        (folder / "evaluations.jsonl").write_text(json.dumps(record) + "\n")

    case: list[Path] = []
    fuzzer.check("convert to disentanglement_lib", lambda folder: (case.append(folder), change(folder)))
    written = case[0] / "out" / "in" / "converted"
    assert [path.name for path in (written / "metrics" / "mean").iterdir()] == ["sap_score"]
    assert sorted(path.name for path in (case[0] / "out").rglob("*") if "escaped" in path.name) == []
    gin = (written / "metrics" / "mean" / "sap_score" / "results" / "gin" / "evaluation.gin").read_text()
    assert all(" = " in line for line in gin.splitlines())


# The command line as a process.


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["eval", "ibgan", "x" * 4000, "--metrics", "sap"], marks=pytest.mark.slow),
        ["train", "ibgan", "--dataset", "dsprites", "--dry-run", "--set", "[/x]=1"],
        ["plot", b"\xff\xfe"],
    ],
)
def test_the_command_line_as_a_process(tmp_path: Path, words: list[Any]) -> None:
    import subprocess

    ended = subprocess.run([*ZOO, *words], cwd=tmp_path, capture_output=True, timeout=120)
    told = ended.stderr.decode("utf-8", errors="strict")
    assert ended.returncode in (1, 2)
    assert [line.startswith("error: ") for line in told.splitlines()] == [True]
    assert "ZOO_DEBUG" not in told
    assert list(tmp_path.iterdir()) == []
