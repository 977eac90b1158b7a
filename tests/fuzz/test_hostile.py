"""Inputs that somebody would make on purpose, one by one."""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.exploding import Exploding
from tests.fuzz import readers
from tests.fuzz.fuzzer import Fuzzer
from tests.fuzz.readers import CHECKPOINT, IMAGES, MODEL, READERS, STATE, TRAINER
from tests.processes import ZOO


def refused(fuzzer: Fuzzer, name: str, change: Callable[[Path], Any], told: str = "") -> Path:
    """Check that the changed input is refused, in words, and that nothing of it was run; return the folder."""
    folder: list[Path] = []
    outcome = fuzzer.check(name, lambda case: (folder.append(case), change(case)))
    assert outcome["end"] == "refused", outcome
    assert told in outcome["message"], outcome["message"]
    assert not list(folder[0].rglob("executed"))
    assert not (folder[0].parent / "executed").exists()
    return folder[0]


def in_place(file: str, put: Callable[[Path], Any]) -> Callable[[Path], None]:
    """A change that removes a file and puts something else there."""

    def change(folder: Path) -> None:
        (folder / file).unlink()
        put(folder / file)

    return change


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
        (path / "good.png").write_bytes(readers.picture())
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
        (path / "good.png").write_bytes(readers.picture())
        (path / "inside.png").symlink_to("good.png")

    assert fuzzer.check("zip", in_place("set.zip", change))["end"] == "read"

    def outside(path: Path) -> None:
        change(path)
        (path / "outside.png").symlink_to("/etc/hostname")

    refused(fuzzer, "zip", in_place("set.zip", outside), "is a link that leads out of the folder")


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
            readers.reseal(folder)

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


# More than there is.


@pytest.mark.parametrize("settings", [{"ndf": 1024, "ngf": 1024}, {"z_dim": 10**12}, {"z_dim": 10**30}, {"ndf": 200}])
def test_a_configuration_that_makes_another_size_of_model(fuzzer: Fuzzer, settings: dict[str, int]) -> None:
    def change(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        config["settings"]["model"] |= settings
        (folder / "config.json").write_text(json.dumps(config))

    for name in ("model", "trainer"):
        refused(fuzzer, name, change)


@pytest.mark.parametrize("file", [MODEL, TRAINER])
@pytest.mark.parametrize(
    "header",
    [
        {"x": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}},
        {"x": {"dtype": "F32", "shape": [2**31, 2**31, 2**31], "data_offsets": [0, 4]}},
        {"x": {"dtype": "F4", "shape": [2], "data_offsets": [0, 1]}},
        {"x": {"dtype": "U64", "shape": [0, 2**62], "data_offsets": [0, 0]}},
        {"x": {"dtype": "F6_E2M3", "shape": [4], "data_offsets": [0, 3]}},
        {"__metadata__": {"a": "b"}},
        b"[" * 100_000,
        b"\xff" * 50,
    ],
)
def test_tensors_of_another_world(fuzzer: Fuzzer, file: str, header: Any) -> None:
    def change(folder: Path) -> None:
        (folder / file).write_bytes(readers.safetensors(header, b"\0" * 4))
        readers.reseal(folder)

    refused(fuzzer, "model" if file == MODEL else "trainer", change)


def test_weights_of_gigabytes_are_not_read(fuzzer: Fuzzer) -> None:
    """A sparse file that agrees with its state: 3 GiB of zeros that take no room on the disk."""

    def change(folder: Path) -> None:
        header = json.dumps({"x": {"dtype": "U8", "shape": [3 << 30], "data_offsets": [0, 3 << 30]}}).encode()
        with (folder / MODEL).open("wb") as file:
            file.write(struct.pack("<Q", len(header)) + header)
            file.truncate(8 + len(header) + (3 << 30))
        state = json.loads((folder / STATE).read_text())
        state["files"]["model.safetensors"] = {"size": 8 + len(header) + (3 << 30), "sha256": "not looked at"}
        (folder / STATE).write_text(json.dumps(state))
        readers.reseal_state(folder)

    refused(fuzzer, "trainer", change, "holds another model's weights")


def deflated(path: Path, name: str, size: int, head: bytes = b"") -> None:
    """A zip with one member of so many zeros."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open(name, "w", force_zip64=True) as file:
        file.write(head)
        for _ in range(size >> 24):
            file.write(bytes(1 << 24))


@pytest.mark.slow
def test_bombs_in_archives(fuzzer: Fuzzer) -> None:
    head = b"\x93NUMPY\x01\x00" + struct.pack("<H", 70)
    head += repr({"descr": "|u1", "fortran_order": False, "shape": (2 << 30,)}).encode().ljust(69) + b"\n"
    refused(fuzzer, "zip", lambda folder: deflated(folder / "set.zip", "bomb.png", 2 << 30), "far more than images")
    refused(fuzzer, "dsprites npz", lambda folder: deflated(folder / "file.npz", "latents_values.npy", 2 << 30, head))
    refused(fuzzer, "fid statistics", lambda folder: deflated(folder / "stats.npz", "mu.npy", 2 << 30, head))

    def packed_tar(mode: str, pax: bool) -> Callable[[Path], None]:
        def change(folder: Path) -> None:
            ending = {"w:gz": ".tar.gz", "w:bz2": ".tar.bz2", "w:xz": ".tar.xz"}[mode]
            with tarfile.open(folder / f"set{ending}", mode) as archive:
                member = tarfile.TarInfo("bomb.png")
                member.size = 2 << 30
                member.type = tarfile.XHDTYPE if pax else tarfile.REGTYPE
                archive.fileobj.write(member.tobuf())  # type: ignore[union-attr]  # it is open
                for _ in range(128):
                    archive.fileobj.write(bytes(1 << 24))  # type: ignore[union-attr]  # likewise

        return change

    for name, mode in (("tar.gz", "w:gz"), ("tar.bz2", "w:bz2"), ("tar.xz", "w:xz")):
        refused(fuzzer, name, packed_tar(mode, False))
        refused(fuzzer, name, packed_tar(mode, True), "a header in it is larger than any")


def test_a_member_without_a_name(fuzzer: Fuzzer) -> None:
    def change(folder: Path) -> None:
        content = (folder / "set.zip").read_bytes()
        directory = content.index(b"PK\x01\x02")
        length = struct.unpack_from("<H", content, directory + 28)[0]
        nameless = content[:directory] + content[directory : directory + 28] + b"\0\0"
        rest = content[directory + 30 : directory + 46] + content[directory + 46 + length :]
        end = rest.index(b"PK\x05\x06")
        size = struct.unpack_from("<I", rest, end + 12)[0] - length
        (folder / "set.zip").write_bytes(nameless + rest[: end + 12] + struct.pack("<I", size) + rest[end + 16 :])

    assert fuzzer.check("zip", change)["end"] == "read"  # without that member


@pytest.mark.parametrize("size", [-512, -1, 2**33, 2**62])
def test_tar_members_of_impossible_sizes(fuzzer: Fuzzer, size: int) -> None:
    from tests.fuzz.mutations import _set_size

    def change(folder: Path) -> None:
        block = bytearray(tarfile.TarInfo("a.png").tobuf())
        _set_size(block, size)
        (folder / "set.tar").write_bytes(bytes(block) + bytes(1024))

    refused(fuzzer, "tar", change)


def test_a_map_of_holes_without_end(fuzzer: Fuzzer) -> None:
    """Python's tarfile reads this for ever: the map says that it has more entries than there are bytes."""

    def change(folder: Path) -> None:
        with tarfile.open(folder / "set.tar", "w", format=tarfile.PAX_FORMAT) as archive:
            member = tarfile.TarInfo("a.png")
            member.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "a.png"}
            member.size = 5
            archive.addfile(member, io.BytesIO(b"99999"))

    refused(fuzzer, "tar", change)


def png(width: int, height: int) -> bytes:
    """A sound PNG of one bit a pixel, all black."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    packer, row = zlib.compressobj(), bytes(1 + (width + 7) // 8)
    packed = b"".join(packer.compress(row * 100) for _ in range(height // 100)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def many_scans() -> bytes:
    """A progressive JPEG whose last scan comes five thousand times."""
    content = readers.picture("JPEG", (40, 40))
    last = content.rindex(b"\xff\xda")
    return content[:last] + content[last:-2] * 5000 + b"\xff\xd9"


@pytest.mark.parametrize(
    ("file", "content", "told"),
    [
        ("image.png", lambda: png(60_000, 60_000), "too large"),
        ("image.png", lambda: png(9_000, 9_000), "at most"),
        ("image.ppm", lambda: b"P6\n60000 60000\n255\n", "too large"),
        ("image.ppm", lambda: b"P5\n7000 7000\n255\n", "is damaged"),
        ("image.gif", lambda: b"GIF89a\xff\xff\xff\xff\x80\0\0" + bytes(6), ""),
        ("image.jpeg", many_scans, "scans"),
    ],
    ids=["60000 squared", "more than is read", "ppm", "ppm without pixels", "gif", "scans"],
)
def test_images_that_are_bombs(fuzzer: Fuzzer, file: str, content: Callable[[], bytes], told: str) -> None:
    def change(folder: Path) -> None:
        for other in IMAGES:
            (folder / other).unlink()
        (folder / file).write_bytes(content())

    refused(fuzzer, "images", change, told)


@pytest.mark.slow
def test_the_largest_images_that_are_read_take_little_memory(fuzzer: Fuzzer) -> None:
    """Three of 49 million pixels, which are decoded one at a time."""
    from PIL import Image

    def change(path: Path) -> None:
        stream = io.BytesIO()
        Image.new("RGB", (7000, 7000)).save(stream, "PNG", compress_level=1)
        path.mkdir()
        for number in range(3):
            (path / f"{number}.png").write_bytes(stream.getvalue())

    assert fuzzer.check("zip", in_place("set.zip", change))["end"] == "read"


# Other files by way of HDF5, and libhdf5 itself.


@pytest.mark.parametrize("kind", ["soft", "external", "storage", "virtual", "filter"])
def test_hdf5_leads_to_no_other_file(fuzzer: Fuzzer, kind: str) -> None:
    import h5py

    def change(folder: Path) -> None:
        arrays = readers.sprites()
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

    readers.build_dsprites_hdf5(tmp_path)
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
