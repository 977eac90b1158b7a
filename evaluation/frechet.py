"""The Fréchet distance between two Gaussians, and the mean and covariance of features that stream by.

Dowson & Landau, "The Fréchet distance between multivariate normal distributions", 1982; on features of an image
network it is the FID of Heusel et al., "GANs trained by a two time-scale update rule", 2017, Eq. 6. NumPy only.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]  # it has no stubs

from zoo.errors import MetricError

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Gaussian:
    """A mean float64 (D,) and a covariance float64 (D, D), estimated (ddof 1) from `count` vectors.

    `count` None: not known. Where it is known it bounds the covariance's rank by `count` - 1.
    """

    mean: Floats
    covariance: Floats
    count: int | None = None

    @property
    def rank_bound(self) -> int:
        dims = len(self.mean)
        return dims if self.count is None else min(dims, self.count - 1)


class RunningGaussian:
    """Takes feature vectors block by block and gives their Gaussian; holds one D x D matrix, however many came.

    Blocks are merged around their own means (Chan, Golub & LeVeque, 1979): nothing cancels where features vary little
    around a large mean, as sums of plain outer products would.
    """

    def __init__(self, dims: int) -> None:
        self.count = 0
        self._mean = np.zeros(dims)
        self._scatter = np.zeros((dims, dims))  # the sum of outer products of deviations from the mean

    def add(self, features: NDArray[Any]) -> None:
        """Take (n, D) features of any float type."""
        block = np.asarray(features, dtype=np.float64)
        if len(block) == 0:
            return
        block_mean = block.mean(axis=0)
        deviations = block - block_mean
        shift = block_mean - self._mean
        total = self.count + len(block)
        with one_blas_thread():
            self._scatter += deviations.T @ deviations
            self._scatter += np.outer(shift * (self.count * len(block) / total), shift)
        self._mean += shift * (len(block) / total)
        self.count = total

    def gaussian(self) -> Gaussian:
        """Return what `numpy.mean` and `numpy.cov` would. Raises MetricError for fewer than two vectors."""
        if self.count < 2:
            raise MetricError(f"a covariance needs two images at least, and there is {self.count}; use more images")
        return Gaussian(self._mean.copy(), self._scatter / (self.count - 1), self.count)


def frechet_distance(first: Gaussian, second: Gaussian) -> float:
    """Return |m1 - m2|² + tr(C1 + C2 - 2 (C1 C2)^(1/2)), never negative. One BLAS thread, seconds at D = 2048.

    Raises MetricError where the two differ in dimensions or hold NaN or infinity.
    """
    if first.mean.shape != second.mean.shape:
        raise MetricError(
            f"features of {len(first.mean)} and of {len(second.mean)} dimensions cannot be compared; "
            "compute both sides with the same network"
        )
    for gaussian in (first, second):
        if not (np.isfinite(gaussian.mean).all() and np.isfinite(gaussian.covariance).all()):
            raise MetricError("the features' mean or covariance holds NaN or infinity; the Fréchet distance has none")
    difference = first.mean - second.mean
    with one_blas_thread():
        overlap = _trace_of_root_of_product(first, second)
    distance = difference @ difference + np.trace(first.covariance) + np.trace(second.covariance) - 2 * overlap
    return max(float(distance), 0.0)  # equal Gaussians come out at rounding size on either side of 0


def _trace_of_root_of_product(first: Gaussian, second: Gaussian) -> float:
    """tr (C1 C2)^(1/2), as a symmetric problem: with C1 = F Fᵀ, C1 C2 has the eigenvalues of Fᵀ C2 F.

    Where a covariance is singular its zero eigenvalues come out of rounding as 1e-16 or so, and their square roots, a
    thousand times 1e-8, would be seen in the sum: features that never vary are left out, and no more eigenvalues are
    taken than the counts of images allow.
    """
    varying = (np.diagonal(first.covariance) > 0) & (np.diagonal(second.covariance) > 0)
    if not varying.any():
        return 0.0
    if first.rank_bound < second.rank_bound:
        first, second = second, first  # the one that is more likely to have a Cholesky factor
    block = np.ix_(varying, varying)
    factor = _factor(first.covariance[block], first.rank_bound)
    eigenvalues = np.linalg.eigvalsh(factor.T @ second.covariance[block] @ factor)[-second.rank_bound :]
    return float(np.sqrt(np.clip(eigenvalues, 0, None)).sum())


def _factor(covariance: Floats, rank_bound: int) -> NDArray[np.floating[Any]]:
    """Return F (D, K) with F Fᵀ = covariance: Cholesky's where there is one (twice as fast, and more exact where
    variances span many magnitudes), else from the `rank_bound` largest eigenvalues."""
    try:
        return np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError:
        eigenvalues, vectors = np.linalg.eigh(covariance)
        largest = slice(-rank_bound, None)
        return vectors[:, largest] * np.sqrt(np.clip(eigenvalues[largest], 0, None))


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Hold BLAS to one thread: on a busy machine, two that wait for each other took ten times as long as one."""
    with ThreadpoolController().limit(limits=1, user_api="blas"):
        yield
