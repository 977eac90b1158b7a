"""The official layouts, in small (the reader takes the factor space) and, marked slow, in full."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from ibgan_plugin.adapters import dsprites_official as official
from ibgan_plugin.adapters.dsprites import dsprites, info
from ibgan_plugin.adapters.factors import FactorSpace
from zoo.errors import DataError

SPACE = FactorSpace(("shape", "scale", "orientation", "posX", "posY"), (3, 2, 5, 8, 30))  # 7,200: more than one block
IMAGES = np.zeros((len(SPACE), 64, 64), dtype=np.uint8)  # one random column and one random row each
IMAGES[np.arange(len(SPACE)), :, np.random.default_rng(0).integers(64, size=len(SPACE))] = 1
IMAGES[np.arange(len(SPACE)), np.random.default_rng(1).integers(64, size=len(SPACE)), :] = 1

Arrays = dict[str, NDArray[Any]]


def arrays() -> Arrays:
    classes = np.concatenate([np.zeros((len(SPACE), 1), np.int64), SPACE.factors_of(np.arange(len(SPACE)))], axis=1)
    return {"imgs": IMAGES, "latents_values": classes.astype(np.float64), "latents_classes": classes}


def write_npz(path: Path, content: Arrays) -> Path:
    metadata = np.array({"latents_sizes": (1, *SPACE.sizes)}, dtype=object)  # a pickle, as in the official file
    np.savez_compressed(path, metadata=metadata, **content)
    return path


def write_hdf5(path: Path, content: Arrays) -> Path:
    with h5py.File(path, "w") as file:
        for key, array in content.items():
            file.create_dataset(key.replace("latents_", "latents/"), data=array)
    return path


WRITERS = {".npz": write_npz, ".hdf5": write_hdf5}


def read(path: Path) -> NDArray[np.uint8]:
    made = official.read(path, SPACE)
    packed = np.concatenate(list(made.blocks))
    assert packed.shape == made.shape
    return packed


@pytest.mark.parametrize("suffix", [".npz", ".hdf5"])
def test_images_come_in_order(tmp_path: Path, suffix: str) -> None:
    packed = read(WRITERS[suffix](tmp_path / f"file{suffix}", arrays()))
    np.testing.assert_array_equal(np.unpackbits(packed, axis=1).reshape(-1, 64, 64), IMAGES)


def shuffled(content: Arrays) -> Arrays:
    return content | {"latents_classes": content["latents_classes"][::-1].copy()}


def without_images(content: Arrays) -> Arrays:
    return {key: value for key, value in content.items() if key != "imgs"}


def without_classes(content: Arrays) -> Arrays:
    return {key: value for key, value in content.items() if key != "latents_classes"}


def as_floats(content: Arrays) -> Arrays:
    return content | {"imgs": content["imgs"].astype(np.float32)}


def too_few(content: Arrays) -> Arrays:
    return content | {"imgs": content["imgs"][:-1]}


def bright(content: Arrays) -> Arrays:
    images = content["imgs"].copy()
    images[-1, 3, 3] = 255
    return content | {"imgs": images}


DAMAGES: list[tuple[Callable[[Arrays], Arrays], str]] = [
    (shuffled, "not in the published order"),
    (without_images, "imgs"),
    (without_classes, "classes"),
    (as_floats, "imgs is float32"),
    (too_few, r"imgs is uint8 \(7199, 64, 64\)"),
    (bright, "imgs holds the value 255"),
]


@pytest.mark.parametrize("suffix", [".npz", ".hdf5"])
@pytest.mark.parametrize(("damage", "message"), DAMAGES, ids=[damage.__name__ for damage, _ in DAMAGES])
def test_a_wrong_file_is_one_line_that_names_it(
    tmp_path: Path, suffix: str, damage: Callable[[Arrays], Arrays], message: str
) -> None:
    path = WRITERS[suffix](tmp_path / f"file{suffix}", damage(arrays()))
    with pytest.raises(DataError, match=message) as raised:
        read(path)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("suffix", [".npz", ".hdf5"])
@pytest.mark.parametrize("kept", [0.0, 0.5, 0.999])
def test_a_truncated_file_is_one_line_that_names_it(tmp_path: Path, suffix: str, kept: float) -> None:
    path = WRITERS[suffix](tmp_path / f"file{suffix}", arrays())
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    with pytest.raises(DataError, match=str(path)):
        read(path)


def test_flipped_bits_inside_the_archive_are_noticed(tmp_path: Path) -> None:
    path = write_npz(tmp_path / "file.npz", arrays())
    with zipfile.ZipFile(path) as archive:
        images = archive.getinfo("imgs.npy")
    data = bytearray(path.read_bytes())
    data[images.header_offset + images.compress_size // 2] ^= 0xFF
    path.write_bytes(bytes(data))
    with pytest.raises(DataError, match=str(path)):
        read(path)


def test_a_pickle_in_place_of_the_images_is_not_opened(tmp_path: Path) -> None:
    content = arrays() | {"imgs": np.array([{"a": "pickle"}], dtype=object)}
    with pytest.raises(DataError, match="imgs is a pickle, which is never opened"):
        read(write_npz(tmp_path / "file.npz", content))


def test_a_file_that_was_replaced_has_another_identity(tmp_path: Path) -> None:
    path = tmp_path / f"{official.STEM}.npz"
    path.write_bytes(b"one")
    status, before = path.stat(), official.identity(path)
    assert before == official.identity(path)

    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1_000_000))  # as many bytes, written later
    assert official.identity(path) != before

    path.write_bytes(b"more")  # other bytes, and the time put back, as cp -p and rsync do
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert official.identity(path) != before

    path.write_bytes(b"one")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert official.identity(path) == before
    moved = path.rename(tmp_path / f"{official.STEM}.hdf5")
    assert official.identity(moved) != before


def test_files_are_found_where_people_keep_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, theirs = tmp_path / "root", tmp_path / "theirs"
    assert official.find(root) is None
    monkeypatch.setenv("DISENTANGLEMENT_LIB_DATA", str(theirs))
    for place in (theirs / "dsprites", root / "dsprites", root):  # each goes before the one before it
        for suffix in (".hdf5", ".npz"):
            path = place / f"{official.STEM}{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
            places = (theirs / "dsprites", root / "dsprites", root)
            npz = [found for found in places if (found / f"{official.STEM}.npz").exists()]
            expected = npz[-1] / f"{official.STEM}.npz" if npz else path
            assert official.find(root) == expected


def test_a_damaged_official_file_is_told_not_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "dsprites" / f"{official.STEM}.npz"
    path.parent.mkdir()
    path.write_bytes(b"PK, but no more")
    assert info(tmp_path)["source"] == str(path)
    with pytest.raises(DataError, match=str(path)):
        dsprites(tmp_path)
    assert not (tmp_path / "prepared" / "dsprites" / "imported").exists()
