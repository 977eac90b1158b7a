"""Dependence among the codes, with no look at the factors, by disentanglement_lib's protocol (`unsupervised_metrics`).

After "Challenging Common Assumptions in the Unsupervised Learning of Disentangled Representations" (Locatello et al.,
2019), Section 5.2 and Appendix.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import PositiveInt
from scipy.linalg import sqrtm

from ibgan_plugin.evaluation.degenerate import joined, varying
from ibgan_plugin.evaluation.discrete import histogram_bins, mutual_information
from ibgan_plugin.evaluation.results import metric_result
from ibgan_plugin.evaluation.sampling import AtLeastTwo, draw_codes, factor_sizes, random_state
from zoo.interfaces import Dataset, Encoder

Matrix: TypeAlias = NDArray[np.floating]


def unsupervised(
    model: Encoder,
    data: Dataset,
    seed: int = 0,
    *,
    num_train: AtLeastTwo = 10_000,
    batch_size: PositiveInt = 16,
    num_bins: PositiveInt = 20,
) -> dict[str, Any]:
    """Total correlation, Wasserstein correlation and mean mutual information of the codes: 0 is independent.

    Args:
        model: anything with `encode`: float32 (n, C, H, W) images in [0, 1] -> (n, D) codes.
        data: a dataset with ground-truth factors, which the images are drawn by.
        seed: of the legacy RandomState. Draws in order, per batch: `batch_size` values of each factor in turn.
        num_train: how many images are drawn.
        batch_size: images per draw, and per call of `encode`.
        num_bins: equal bins that each code is cut into for the mutual information.

    Returns:
        `score`, which is `gaussian_total_correlation`, in nats: KL(N(0, C) | N(0, diag C)) of the codes' covariance C;
        `gaussian_wasserstein_correlation`: the squared 2-Wasserstein distance of the same two, in squared units of the
        code, and `gaussian_wasserstein_correlation_norm`, the same over tr C; `mutual_info_score`: the mean over pairs
        of different codes, in nats; `num_active_dims`; `protocol`. Codes that never vary are left out of all but
        `mutual_info_score`, where they count 0. None, with a `reason`: the total correlation of a singular covariance
        (it is infinite), all Gaussian ones where no code varies, and the mutual information of a single code.

    Raises:
        MetricError: no factors, no `encode`, or codes of the wrong shape or not finite.
    """
    sizes = factor_sizes(data, "unsupervised")
    codes, _ = draw_codes(
        model, data, sizes, num_train, random_state(seed), batch_size, what="unsupervised: encoding images"
    )
    active = varying(codes)
    covariance: Matrix = np.atleast_2d(np.cov(codes[:, active], rowvar=False)) if active.any() else np.zeros((0, 0))
    singular = bool(active.any()) and _is_singular(covariance)
    total = gaussian_total_correlation(covariance) if active.any() and not singular else None
    distance = gaussian_wasserstein_correlation(covariance, singular=singular) if active.any() else None

    dims = codes.shape[1]
    bins = histogram_bins(codes, num_bins)
    information = mutual_information(bins, bins)
    np.fill_diagonal(information, 0)
    return metric_result(
        total,
        {
            "source": "disentanglement_lib, unsupervised_metrics",
            "num_train": num_train,
            "batch_size": batch_size,
            "num_bins": num_bins,
            "seed": seed,
        },
        reason=joined(
            None if active.any() else "no code dimension varies, so there is no dependence to measure",
            "the codes are linearly dependent: their total correlation is infinite" if singular else None,
            f"{dims - active.sum()} of {dims} code dimensions never vary" if 0 < active.sum() < dims else None,
            "there is one code dimension only, so no pair" if dims == 1 else None,
        ),
        gaussian_total_correlation=total,
        gaussian_wasserstein_correlation=distance,
        gaussian_wasserstein_correlation_norm=None if distance is None else distance / np.trace(covariance),
        mutual_info_score=information.sum() / (dims**2 - dims) if dims > 1 else None,
        num_active_dims=active.sum(),
    )


def gaussian_total_correlation(covariance: Matrix) -> float:
    """KL(N(0, C) | N(0, diag C)) in nats, for a (D, D) covariance C of full rank."""
    return float(0.5 * (np.sum(np.log(np.diag(covariance))) - np.linalg.slogdet(covariance)[1]))


def gaussian_wasserstein_correlation(covariance: Matrix, *, singular: bool = False) -> float:
    """The squared 2-Wasserstein distance of N(0, C) and N(0, diag C), for a (D, D) covariance C.

    scipy's matrix root, except where C is singular: the root of a nonsymmetric singular matrix is ill-conditioned, and
    its trace is the sum of the roots of the eigenvalues of the symmetric matrix that it is similar to.
    """
    variances = np.diag(covariance)
    if singular:
        scale = np.sqrt(variances)
        symmetric = covariance * scale[:, np.newaxis] * scale
        root_trace = np.sum(np.sqrt(np.clip(np.linalg.eigvalsh(symmetric), 0, None)))
    else:
        root_trace = np.trace(sqrtm(covariance * variances[:, np.newaxis])).real
    return float(2 * np.trace(covariance) - 2 * root_trace)


def _is_singular(covariance: Matrix) -> bool:
    scale = np.sqrt(np.diag(covariance))
    return bool(np.linalg.matrix_rank(covariance / scale[:, np.newaxis] / scale, hermitian=True) < len(covariance))
