"""Code in the place of data: pickles, wherever one could be, and names of what could be called; one by one."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.exploding import Exploding
from tests.fuzz.fuzzer import Fuzzer
from tests.fuzz.hostile import refused
from tests.fuzz.readers.runs import MODEL, TRAINER, reseal

# Pickles, wherever one could be.


def pickled(path: Path) -> None:
    path.write_bytes(pickle.dumps(Exploding(path.parent / "executed")))


def torch_saved(path: Path) -> None:
    import torch

    torch.save({"weights": Exploding(path.parent / "executed")}, path)


def torch_saved_before(path: Path) -> None:
    import torch

    torch.save({"weights": Exploding(path.parent / "executed")}, path, _use_new_zipfile_serialization=False)


def object_array(path: Path) -> None:
    array = np.array([Exploding(path.parent / "executed")], dtype=object)
    with path.open("wb") as file:
        np.savez(file, imgs=array, latents_values=array, latents_classes=array, mu=array, sigma=array)


def object_npy(path: Path) -> None:
    # Written, never read here: the bait that a reader must not unpickle.
    with path.open("wb") as file:
        np.save(file, np.array([Exploding(path.parent / "executed")], dtype=object), allow_pickle=True)


PLACES = [
    ("checkpoint", MODEL),
    ("checkpoint", TRAINER),
    ("model", MODEL),
    ("trainer", TRAINER),
    ("config", "config.json"),
    ("store", "store/images.npy"),
    ("store", "store/record.json"),
    ("dsprites npz", "file.npz"),
    ("fid statistics", "stats.npz"),
    ("inception weights", "weights.pth"),
    ("inception weights", "old.pth"),
    ("authors' checkpoint", "new"),
    ("authors' checkpoint", "old"),
    ("zip", "set.zip"),
]


@pytest.mark.parametrize(("name", "file"), PLACES)
@pytest.mark.parametrize("put", [pickled, torch_saved, torch_saved_before, object_array, object_npy])
def test_no_pickle_is_opened(fuzzer: Fuzzer, name: str, file: str, put: Callable[[Path], None]) -> None:
    def change(folder: Path) -> None:
        put(folder / file)
        if name in ("checkpoint", "model", "trainer") and file != "config.json":
            reseal(folder)

    refused(fuzzer, name, change)


@pytest.mark.parametrize(
    "code",
    [
        b"cbuiltins\nbytearray\n(J\xff\xff\xff\x7ftR.",  # 2 GiB of zeros, in 30 bytes
        b"cos\nsystem\n(X\x05\x00\x00\x00falsetR.",
        b"c__builtin__\nset\n(tR.",
        b"\x80\x04\x8c\x02os\x8c\x06system\x93.",
        b"ctorch._utils\n_rebuild_sparse_tensor\n.",
        b"(" * 100_000 + b".",
        b"]" * 3_000_000 + b".",
        b"X\xff\xff\xff\x7f",
    ],
)
@pytest.mark.parametrize("old", [True, False])
def test_pickles_that_are_bombs(fuzzer: Fuzzer, code: bytes, old: bool) -> None:
    head = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}q\x00.\x80\x02"

    def change(folder: Path) -> None:
        if old:
            (folder / "old").write_bytes(head + code)
        else:
            with zipfile.ZipFile(folder / "new", "w") as archive:
                archive.writestr("archive/data.pkl", b"\x80\x02" + code)
                archive.writestr("archive/version", b"3\n")

    refused(fuzzer, "authors' checkpoint", change)


def test_a_zip_behind_an_old_file_hides_nothing(fuzzer: Fuzzer) -> None:
    """torch takes such a file for an old one, Python's zipfile for a zip."""

    def change(folder: Path) -> None:
        content = (folder / "old").read_bytes()
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as archive:
            archive.writestr("archive/data.pkl", b"\x80\x02N.")
        cut = content[: content.index(b"M\xe9\x03.") + 4]
        (folder / "old").write_bytes(cut + b"\x80\x02cbuiltins\nbytearray\n(J\xff\xff\xff\x7ftR." + stream.getvalue())

    refused(fuzzer, "authors' checkpoint", change, "asks for builtins.bytearray")


# Names of code.


@pytest.mark.parametrize("key", ["model", "dataset", "loss", "trainer"])
@pytest.mark.parametrize("name", ["config", "model", "trainer"])
def test_a_configuration_names_no_code(fuzzer: Fuzzer, name: str, key: str) -> None:
    def change(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        config[key] = "tests.exploding:Exploding"
        (folder / "config.json").write_text(json.dumps(config))

    unused = {"config": ("dataset",), "model": ("dataset", "loss", "trainer"), "trainer": ()}
    if key in unused[name]:  # nobody looks it up there: the person typed another, or it is not needed
        assert fuzzer.check(name, change)["end"] == "read"
    else:
        refused(fuzzer, name, change)


def test_metrics_of_a_configuration_name_no_code(fuzzer: Fuzzer) -> None:
    def change(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        config |= {"eval_metrics": ["os:system"], "eval_every": 1}
        (folder / "config.json").write_text(json.dumps(config))

    refused(fuzzer, "config", change, "a file may only name what a plugin registered")
