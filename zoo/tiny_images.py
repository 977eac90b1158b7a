"""Images to check a plugin on: small, in memory, with ground truth, of any shape."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import PositiveInt

from zoo import hookimpl
from zoo.specs import DatasetSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

ImageShape = tuple[int, int, int]

TINY = "zoo-testing-tiny"


class TinyImages:
    """48 grey squares on black: every combination of row, column and shade once. In memory, of any image shape."""

    name = TINY
    factor_names = ("row", "column", "shade")
    factor_sizes = (4, 4, 3)

    def __init__(self, image_shape: ImageShape) -> None:
        self.image_shape = image_shape

    def __len__(self) -> int:
        return math.prod(self.factor_sizes)

    def images(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return uint8 (n, H, W, C); IndexError for an index outside [0, len)."""
        height, width, channels = self.image_shape
        images = np.zeros((len(indices), height, width, channels), np.uint8)
        tall, wide = max(1, height // 4), max(1, width // 4)
        for image, (row, column, shade) in zip(images, self.factors_of(indices), strict=True):
            top, left = row * height // 4, column * width // 4
            image[top : top + tall, left : left + wide] = 85 * (shade + 1)
        return images

    def index_of(self, factors: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return int64 (n,) from int (n, 3); ValueError for a value out of range."""
        return np.ravel_multi_index(tuple(np.asarray(factors).T), self.factor_sizes).astype(np.int64)

    def factors_of(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return int64 (n, 3) from int (n,); IndexError for an index outside [0, len)."""
        if len(indices) and not 0 <= np.min(indices) <= np.max(indices) < len(self):
            raise IndexError(f"an index is outside [0, {len(self)})")
        return np.stack(np.unravel_index(indices, self.factor_sizes), axis=1).astype(np.int64)


def tiny_images(
    data_root: Path | None = None, *, height: PositiveInt = 64, width: PositiveInt = 64, channels: PositiveInt = 3
) -> TinyImages:
    """Return `TinyImages` as a dataset of the registry; nothing is read from `data_root`."""
    return TinyImages((height, width, channels))


class TinyPlugin:
    """Registers the images to train on, in the manager of one check alone."""

    @hookimpl
    def zoo_datasets(self) -> list[DatasetSpec]:
        return [DatasetSpec(TINY, "zoo.testing:tiny_images", "grey squares to try a model on")]


def four_images(image_shape: ImageShape) -> Tensor:
    """Float32 (4, C, H, W) in [0, 1]."""
    import torch

    dataset = TinyImages(image_shape)
    pixels = dataset.images(np.arange(0, len(dataset), len(dataset) // 4))
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
