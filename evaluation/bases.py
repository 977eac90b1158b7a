"""Which images the base codes of a traversal are encoded from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from ibgan_plugin.evaluation.encoding import images_tensor
from ibgan_plugin.evaluation.images import dataset_images
from zoo.errors import UsageError, unknown

if TYPE_CHECKING:
    from zoo.interfaces import Dataset

MOST = 16


def named_images(dataset: Dataset, words: str) -> NDArray[np.int64]:
    """`"7,8"` -> the indices int64 (n,). UsageError for what is no number, or no image of the dataset."""
    try:
        numbers = [int(word) for word in words.split(",")]
    except ValueError:
        raise UsageError(f"--images {words!r}: expected image numbers separated by commas") from None
    if not all(0 <= n < len(dataset) for n in numbers):
        raise UsageError(f"--images {words!r}: {dataset.name} has images 0 to {len(dataset) - 1:,}")
    return np.array(numbers, dtype=np.int64)


def one_per_value(dataset: Dataset, factor: str) -> NDArray[np.int64]:
    """One image for each value of a factor, all other factors at their middle value: indices int64 (values,).

    On dSprites `shape` gives a square, an ellipse and a heart in the centre, as in the paper's Figure 8.
    UsageError for a dataset without factors, a name that is none of them, or one with more than 16 values.
    """
    names, sizes = dataset.factor_names, dataset.factor_sizes
    if names is None or sizes is None:
        raise UsageError(f"{dataset.name} has no ground-truth factors; choose images with --images instead")
    if factor not in names:
        raise UsageError(unknown("factor", factor, names))
    at = names.index(factor)
    if sizes[at] > MOST:
        raise UsageError(f"{factor} has {sizes[at]} values, more than {MOST} base codes; choose images with --images")
    factors = np.tile(np.array(sizes, dtype=np.int64) // 2, (sizes[at], 1))
    factors[:, at] = np.arange(sizes[at])
    return dataset.index_of(factors)


def encoded(model: Any, dataset: Dataset, indices: NDArray[np.int64]) -> torch.Tensor:
    """The codes (n, D) of images of a dataset."""
    codes: torch.Tensor = model.encode(images_tensor(dataset_images(dataset, indices)))
    return codes
