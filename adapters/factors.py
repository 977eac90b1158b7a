"""Factors and indices: an image's index is the mixed-radix number of its factors, the last factor fastest."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class FactorSpace:
    """The names and sizes of a dataset's factors, and the arithmetic between factors and indices."""

    names: tuple[str, ...]
    sizes: tuple[int, ...]

    def __len__(self) -> int:
        return math.prod(self.sizes)

    @property
    def bases(self) -> NDArray[np.int64]:
        """What one step of each factor adds to the index: int64 (F,)."""
        return np.array([math.prod(self.sizes[k + 1 :]) for k in range(len(self.sizes))], dtype=np.int64)

    def index_of(self, factors: ArrayLike) -> NDArray[np.int64]:
        """Return int64 (n,) from int (n, F); ValueError for another shape or a value out of range."""
        values = np.asarray(factors)
        if values.ndim != 2 or values.shape[1] != len(self.sizes) or values.dtype.kind not in "iu":
            raise ValueError(
                f"factors must be integers of shape (n, {len(self.sizes)}) for {', '.join(self.names)}; "
                f"got {values.dtype} {values.shape}"
            )
        values = values.astype(np.int64, copy=False)
        outside = (values < 0) | (values >= np.array(self.sizes))
        if outside.any():
            row, column = np.argwhere(outside)[0]
            raise ValueError(
                f"factor {self.names[column]} is {values[row, column]}; it must lie in [0, {self.sizes[column]})"
            )
        return values @ self.bases

    def factors_of(self, indices: ArrayLike) -> NDArray[np.int64]:
        """Return int64 (n, F) from int (n,); IndexError for an index outside [0, len)."""
        rest = checked_indices(indices, len(self))
        return rest[:, None] // self.bases % np.array(self.sizes)


def checked_indices(indices: ArrayLike, length: int) -> NDArray[np.int64]:
    """Return `indices` as int64 (n,); IndexError for an index outside [0, length), TypeError for no integers."""
    values = np.asarray(indices)
    if values.dtype.kind not in "iu" and values.size:
        raise TypeError(f"indices must be integers, not {values.dtype}")
    if values.ndim != 1:
        raise IndexError(f"indices must have one dimension, not the shape {values.shape}")
    values = values.astype(np.int64, copy=False)
    if values.size and (values.min() < 0 or values.max() >= length):
        raise IndexError(f"index {values.min() if values.min() < 0 else values.max()} is outside [0, {length})")
    return values


def named(names: Sequence[str], sizes: Sequence[int]) -> dict[str, int]:
    """Return {name: size}, as `zoo data info` prints it."""
    return dict(zip(names, (int(size) for size in sizes), strict=True))
