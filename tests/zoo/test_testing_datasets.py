"""`check_dataset` finds nothing in our own datasets, and each defect put into that of docs/plugins.md."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from numpy.typing import NDArray

import zoo
from tests.zoo.squares import squares_with
from zoo.testing import TinyImages, check_dataset

Make = Callable[..., ModuleType]


@pytest.fixture
def squares(documented: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    return partial(squares_with, documented, monkeypatch)


OBSERVE = "    def observe(self, indices, random_state):\n        return {}\n\n    def factors_of"


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("np.uint8)\n", "np.float32)\n", "gives images of type float32"),
        ("(len(indices), *self.image_shape)", "(len(indices), *self.image_shape[:2])", "expected uint8"),
        ("            raise IndexError", "            print", "raises nothing, expected IndexError|raises "),
        ("IndexError(f", "ValueError(f", "raises ValueError, expected IndexError"),
        ('("row", "column")', "None", "only one of factor_names and factor_sizes is None"),
        ('("row", "column")', '("row",)', "1 factor_names and 2 factor_sizes"),
        ("axis=1)", "axis=1).astype(np.int32)", "factors_of gave int32"),
        ("(factors).T)", "(factors).T // 2)", "index_of does not lead back from factors_of"),
        ("self.factor_sizes).astype", "self.factor_sizes, mode='clip').astype", "raises nothing, expected ValueError"),
        ("(size - 3, size - 3)", "(size - 3, 0)", "has no images"),
        ("(size, size, 1)", "(size, size)", "(height, width, channels)"),
        ("self.factor_sizes[1]\n\n", "self.factor_sizes[1] - 1\n\n", "expected an image for each combination"),
        (
            "self.factor_sizes[1]\n\n",
            "self.factor_sizes[1] + 1\n\n",
            "169 combinations, and it has 170 images; expected",
        ),
        ('    name = "squares"\n', "", "without name"),
        ('    factor_names = ("row", "column")\n', "", "without factor_names"),
        ("    def __len__", "    def length", "without __len__"),
        ("        return images\n", "        return list(images)\n", "gives images of type list"),
        ("(size, size, 1)", "size", "(height, width, channels)"),
        ("images = np.zeros", "raise OSError('gone')\n        images = np.zeros", "OSError: gone"),
        ("    def index_of", "    def index", "has factor_sizes and no index_of"),
        ("(size - 3, size - 3)", "(size - 3, 'many')", "TypeError"),
        ("= 255", "= np.random.randint(1, 256)", "another image the second time"),
        ('name = "squares"', 'name = ""', "it has no name"),
        ("    def factors_of", OBSERVE.format("self.images(indices)"), "observe gave uint8"),
        (
            "    def factors_of",
            OBSERVE.format("self.images(indices) * 1.0"),
            "expected floats (5, 16, 16, 1) in [0, 1]",
        ),
        (
            "    def factors_of",
            OBSERVE.format("self.images(indices) / np.random.uniform(300, 400)"),
            "something else for",
        ),
    ],
    ids=lambda value: value[-30:],
)
def test_a_defect_in_a_dataset(squares: Make, old: str, new: str, told: str) -> None:
    squares("dataset", old, new)
    with pytest.raises(AssertionError) as raised:
        check_dataset(sys.modules["zoo_squares.dataset"].squares(None))
    assert "\n" not in str(raised.value)
    assert any(part in str(raised.value) for part in told.split("|"))


class WithoutTheLast(TinyImages):
    """The combinations in another order, and no image of the last."""

    def factors_of(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        return (super().factors_of(indices) + 1) % self.factor_sizes

    def index_of(self, factors: NDArray[np.int64]) -> NDArray[np.int64]:
        in_order = super().index_of(factors)
        index = super().index_of((np.asarray(factors) - 1) % self.factor_sizes)
        return np.where(in_order == len(self) - 1, 99, index)


def test_the_last_combination_of_the_factors_is_looked_for() -> None:
    with pytest.raises(AssertionError, match=r"factors, \[3, 3, 2\]: index_of gives 99, expected an index of its 48"):
        check_dataset(WithoutTheLast((16, 16, 1)))


@pytest.mark.parametrize("nothing", [None, [], 3])
def test_what_is_no_dataset(nothing: object) -> None:
    with pytest.raises(AssertionError, match=r"without (name|__len__)"):
        check_dataset(nothing)


@pytest.mark.parametrize("name", ["dsprites", "color_dsprites", "color_dsprites_dlib", "noisy_dsprites"])
def test_our_datasets_keep_their_promises(drawn: Path, name: str) -> None:
    check_dataset(zoo.load_dataset(name, data_root=drawn))


def test_tiny_images_show_their_factors() -> None:
    data = TinyImages((8, 8, 1))
    images = data.images(np.arange(len(data)))[..., 0]
    rows, columns = images.max(axis=2).argmax(axis=1) // 2, images.max(axis=1).argmax(axis=1) // 2
    shades = images.max(axis=(1, 2)) // 85 - 1
    np.testing.assert_array_equal(np.stack([rows, columns, shades], axis=1), data.factors_of(np.arange(len(data))))
