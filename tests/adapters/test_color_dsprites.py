from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ibgan_plugin.adapters.color_dsprites import COLORS, color_dsprites, info
from ibgan_plugin.adapters.dsprites import dsprites
from zoo.interfaces import Dataset


def test_it_is_the_dataset_it_says(drawn: Path) -> None:
    data = color_dsprites(drawn)
    assert isinstance(data, Dataset)
    assert (data.name, len(data), data.image_shape) == ("color_dsprites", 377_487_360, (64, 64, 3))
    assert data.factor_names == ("color", "shape", "scale", "orientation", "posX", "posY")
    assert data.factor_sizes == (512, 3, 6, 40, 32, 32)


def test_colors_are_eight_levels_a_channel_with_blue_fastest() -> None:
    levels = [0, 36, 73, 109, 146, 182, 219, 255]  # round(255 * k / 7), by hand
    assert COLORS.tolist() == [[r, g, b] for r in levels for g in levels for b in levels]


def test_images_are_the_plain_sprites_in_their_colors(drawn: Path) -> None:
    data, plain = color_dsprites(drawn), dsprites(drawn)
    factors = np.stack([np.random.default_rng(0).integers(size, size=40) for size in data.factor_sizes], axis=1)
    images = data.images(data.index_of(factors))
    assert images.dtype == np.uint8
    assert images.shape == (40, 64, 64, 3)
    sprites = plain.images(plain.index_of(factors[:, 1:])) > 0
    for image, sprite, color in zip(images, sprites, factors[:, 0], strict=True):
        np.testing.assert_array_equal(image, np.where(sprite, COLORS[color], 0))
    np.testing.assert_array_equal(data.factors_of(data.index_of(factors)), factors)


def test_the_ends(drawn: Path) -> None:
    data = color_dsprites(drawn)
    black, white = data.images(np.array([0, len(data) - 1]))
    assert black.max() == 0
    assert sorted(np.unique(white)) == [0, 255]
    for outside in (-1, len(data)):
        with pytest.raises(IndexError):
            data.images(np.array([outside]))


def test_info(drawn: Path) -> None:
    told = info(drawn)
    assert (told["name"], told["ready"], told["images"]) == ("color_dsprites", True, 377_487_360)
    assert told["factors"]["color"] == 512
    json.dumps(told, allow_nan=False)
