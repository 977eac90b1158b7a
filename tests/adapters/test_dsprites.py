from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ibgan_plugin.adapters.dsprites import dsprites, info
from ibgan_plugin.adapters.dsprites_renderer import draw
from zoo.errors import ZooError
from zoo.interfaces import Dataset


def test_it_is_the_dataset_it_says(drawn: Path) -> None:
    data = dsprites(drawn)
    assert isinstance(data, Dataset)
    assert (data.name, len(data), data.image_shape, data.source) == ("dsprites", 737_280, (64, 64, 1), "drawn")
    assert data.factor_names == ("shape", "scale", "orientation", "posX", "posY")
    assert data.factor_sizes == (3, 6, 40, 32, 32)


def test_images_are_the_drawn_ones_at_their_indices(drawn: Path) -> None:
    data = dsprites(drawn)
    factors = np.stack([np.random.default_rng(0).integers(size, size=50) for size in data.factor_sizes], axis=1)
    images = data.images(data.index_of(factors))
    assert images.dtype == np.uint8
    assert images.shape == (50, 64, 64, 1)
    for image, (shape, scale, orientation, x, y) in zip(images, factors.tolist(), strict=True):
        mask = np.unpackbits(draw(shape, scale, orientation)[32 * x + y]).reshape(64, 64)
        np.testing.assert_array_equal(image[..., 0], mask * 255)
    np.testing.assert_array_equal(data.factors_of(data.index_of(factors)), factors)


def test_sprites_move_with_their_positions(drawn: Path) -> None:
    data = dsprites(drawn)
    for x, y in [(0, 0), (31, 0), (0, 31), (31, 31)]:
        rows, columns = np.nonzero(data.images(data.index_of([[0, 5, 0, x, y]]))[0, ..., 0])
        centre = (columns.mean() + 0.5, rows.mean() + 0.5)
        assert centre == pytest.approx((16 + 32 * x / 31, 16 + 32 * y / 31), abs=0.5)


@pytest.mark.parametrize("indices", [[737_280], [-1], [0, 1 << 40]])
def test_indices_outside_are_refused(drawn: Path, indices: list[int]) -> None:
    with pytest.raises(IndexError):
        dsprites(drawn).images(np.array(indices))


def test_no_indices_give_no_images(drawn: Path) -> None:
    assert dsprites(drawn).images(np.array([], dtype=np.int64)).shape == (0, 64, 64, 1)


def test_info_tells_without_drawing(tmp_path: Path, drawn: Path) -> None:
    before = info(tmp_path)
    assert (before["ready"], before["missing"]) == (False, [])
    assert list(tmp_path.iterdir()) == []
    after = info(drawn)
    assert (after["ready"], after["source"], after["images"]) == (True, "drawn", 737_280)
    assert Path(after["where"]).is_file()
    json.dumps([before, after], allow_nan=False)


def test_processes_that_start_at_once_on_an_empty_root_all_get_the_images(tmp_path: Path, drawn: Path) -> None:
    program = (
        "import sys, hashlib, numpy as np; from pathlib import Path\n"
        "from ibgan_plugin.adapters.dsprites import dsprites\n"
        "images = dsprites(Path(sys.argv[1])).images(np.arange(0, 737280, 997))\n"
        "print(hashlib.sha256(images.tobytes()).hexdigest())"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    printed = [process.communicate(timeout=120)[0].strip() for process in running]
    expected = hashlib.sha256(dsprites(drawn).images(np.arange(0, 737280, 997)).tobytes()).hexdigest()
    assert printed == [expected] * 4
    assert sorted(path.name for path in (tmp_path / "prepared" / "dsprites").iterdir()) == [".drawn.lock", "drawn"]


def test_a_root_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "root").write_text("a file, not a folder")
    with pytest.raises(ZooError, match=r"cannot write .*root.*--data-root") as raised:
        dsprites(tmp_path / "root")
    assert "\n" not in str(raised.value)
