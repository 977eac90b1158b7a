"""The written npz, read as disentanglement_lib's loader reads it, and by the reader of official files here."""

from __future__ import annotations

import json
import pickletools
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from ibgan_plugin.adapters import dsprites_official as official
from ibgan_plugin.adapters.color_dsprites import color_dsprites
from ibgan_plugin.adapters.color_dsprites_dlib import ColorDSpritesDlib
from ibgan_plugin.adapters.disentanglement_lib import DisentanglementLib
from ibgan_plugin.adapters.dsprites import DSprites, dsprites
from ibgan_plugin.adapters.noisy_dsprites import NoisyDSprites
from ibgan_plugin.adapters.store import Made, open_or_make
from tests.processes import PEAK
from zoo.errors import DataError, ZooError

FILE = "dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz"


def load_as_theirs(data_folder: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images and factor sizes, with the calls of their loader (which run with the NumPy of their time)."""
    with (data_folder / "dsprites" / FILE).open("rb") as file:
        # Their loader unpickles; this file was written by the test itself.
        data = np.load(file, encoding="latin1", allow_pickle=True)
        images = np.array(data["imgs"])
        return images, np.array(data["metadata"][()]["latents_sizes"], dtype=np.int64)


@pytest.fixture
def first_sprites(drawn: Path, tmp_path: Path) -> DSprites:
    """The first 10,000 images as if they were all: more than one block, and quick to write."""
    rows = dsprites(drawn).store.rows[:10_000]
    return DSprites(open_or_make(tmp_path / "few", {"source": "drawn"}, lambda: Made(rows.shape, [rows])), "drawn")


def test_their_loader_finds_the_images_in_order(tmp_path: Path, first_sprites: DSprites) -> None:
    path = DisentanglementLib().dataset_to(first_sprites, tmp_path / "theirs")
    assert path == tmp_path / "theirs" / "dsprites" / FILE
    images, sizes = load_as_theirs(tmp_path / "theirs")
    assert sizes.tolist() == [1, 3, 6, 40, 32, 32]
    np.testing.assert_array_equal(images, first_sprites.images(np.arange(10_000))[..., 0] // 255)


def test_latents_are_those_published(tmp_path: Path, first_sprites: DSprites) -> None:
    data = np.load(DisentanglementLib().dataset_to(first_sprites, tmp_path))
    classes, values = data["latents_classes"], data["latents_values"]
    assert (classes.dtype, values.dtype) == (np.int64, np.float64)
    # Image 5,000 by hand: 5000 = 4 * 1024 + 28 * 32 + 8, so orientation 4, posX 28, posY 8 of the smallest square.
    np.testing.assert_array_equal(np.unique(values[:, 4]), np.linspace(0, 1, 32))  # as published, to the last bit
    np.testing.assert_array_equal(classes[5000], [0, 0, 0, 4, 28, 8])
    np.testing.assert_allclose(values[5000], [1, 1, 0.5, 4 * 2 * np.pi / 39, 28 / 31, 8 / 31], rtol=1e-14)
    np.testing.assert_array_equal(classes[:, 1:], first_sprites.factors_of(np.arange(10_000)))


def test_the_metadata_need_no_numpy_that_theirs_lacks(tmp_path: Path, first_sprites: DSprites) -> None:
    path = DisentanglementLib().dataset_to(first_sprites, tmp_path)
    with zipfile.ZipFile(path) as archive, archive.open("metadata.npy") as file:
        np.lib.format.read_magic(file)
        np.lib.format.read_array_header_1_0(file)
        operations = [(code.name, argument) for code, argument, _ in pickletools.genops(file.read())]
    assert max(argument for name, argument in operations if name == "PROTO") <= 2
    modules = {str(argument).split()[0] for name, argument in operations if name == "GLOBAL"}
    assert modules <= {"numpy", "numpy.core.multiarray", "_codecs"}


def test_a_drawn_file_is_not_taken_for_the_official_one(tmp_path: Path, first_sprites: DSprites) -> None:
    DisentanglementLib().dataset_to(first_sprites, tmp_path)
    assert official.find(tmp_path) is None
    from_official = DSprites(first_sprites.store, "/somewhere/official.npz")
    path = DisentanglementLib().dataset_to(from_official, tmp_path / "again")
    assert official.find(tmp_path / "again") == path


def test_a_file_that_is_there_may_be_the_official_one_and_stays(tmp_path: Path, first_sprites: DSprites) -> None:
    path = tmp_path / "dsprites" / FILE
    path.parent.mkdir()
    path.write_bytes(b"the user's")
    with pytest.raises(DataError, match=r"\.npz exists already; choose another --out, or move it away"):
        DisentanglementLib().dataset_to(first_sprites, tmp_path)
    assert path.read_bytes() == b"the user's"


def test_their_noisy_variants_are_written_as_the_file_they_read(tmp_path: Path, first_sprites: DSprites) -> None:
    for variant in (ColorDSpritesDlib(first_sprites, 0), NoisyDSprites(first_sprites, 0)):
        DisentanglementLib().dataset_to(variant, tmp_path / variant.name)
        images, _ = load_as_theirs(tmp_path / variant.name)
        np.testing.assert_array_equal(images[::100], first_sprites.masks(np.arange(0, 10_000, 100)))


def test_other_datasets_are_refused_by_name(tmp_path: Path, drawn: Path) -> None:
    with pytest.raises(DataError, match="no file format for color_dsprites"):
        DisentanglementLib().dataset_to(color_dsprites(drawn), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path, first_sprites: DSprites) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ZooError, match="cannot write"):
        DisentanglementLib().dataset_to(first_sprites, tmp_path / "file")


@pytest.mark.slow
def test_all_images_are_written_in_a_minute_and_a_gigabyte_and_read_back(tmp_path: Path, drawn: Path) -> None:
    program = (
        "import json, sys, time; from pathlib import Path\n"
        "from ibgan_plugin.adapters.disentanglement_lib import DisentanglementLib\n"
        "from ibgan_plugin.adapters.dsprites import dsprites\n"
        "data, started = dsprites(Path(sys.argv[1])), time.process_time()\n"
        "DisentanglementLib().dataset_to(data, Path(sys.argv[2]))\n"
        f"print(json.dumps([time.process_time() - started, {PEAK}]))"
    )
    command = [sys.executable, "-c", program, str(drawn), str(tmp_path / "theirs")]
    seconds, peak = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert seconds < 60  # of the processor
    assert peak < 1_000_000  # KB
    data = dsprites(drawn)
    images, sizes = load_as_theirs(tmp_path / "theirs")
    assert images.shape == (737_280, 64, 64)
    # Their index of an image: the factors times the products of the sizes that follow.
    bases = np.prod(sizes) / np.cumprod(sizes)
    factors = np.stack([np.random.RandomState(0).randint(size, size=5000) for size in sizes], axis=1)
    theirs = images[np.array(np.dot(factors, bases), dtype=np.int64)]
    np.testing.assert_array_equal(theirs, data.masks(data.index_of(factors[:, 1:])))
    for start in range(0, 737_280, 8192):
        np.testing.assert_array_equal(images[start : start + 8192], data.masks(np.arange(start, start + 8192)))
    del images
    imported = np.concatenate(list(official.read(tmp_path / "theirs" / "dsprites" / FILE).blocks))
    np.testing.assert_array_equal(imported, data.store.rows)


@pytest.mark.slow
def test_an_official_file_in_full_is_imported_and_used(tmp_path: Path, drawn: Path) -> None:
    data = dsprites(drawn)
    DisentanglementLib().dataset_to(DSprites(data.store, "an official file"), tmp_path)
    program = (
        "import json, sys; from pathlib import Path\n"
        "from ibgan_plugin.adapters.dsprites import dsprites\n"
        "data = dsprites(Path(sys.argv[1]))\n"
        f"print(json.dumps([data.source, {PEAK}]))"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    source, peak = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert source == str(tmp_path / "dsprites" / FILE)
    assert peak < 500_000  # KB
    imported = dsprites(tmp_path)
    assert imported.source == source
    np.testing.assert_array_equal(imported.store.rows, data.store.rows)
