"""The interventional robustness score.

After "Robustly Disentangled Causal Mechanisms" (Suter et al., 2019, arXiv:1811.00007), by disentanglement_lib's
protocol (`irs`).
"""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveInt

from ibgan_plugin.evaluation.degenerate import factor_names, varying
from ibgan_plugin.evaluation.discrete import histogram_bins
from ibgan_plugin.evaluation.encoding import Codes
from ibgan_plugin.evaluation.results import metric_result
from ibgan_plugin.evaluation.sampling import AtLeastTwo, Integers, draw_codes, factor_sizes, random_state
from zoo.interfaces import Dataset, Encoder


def irs(
    model: Encoder,
    data: Dataset,
    seed: int = 0,
    *,
    num_train: AtLeastTwo = 10_000,
    batch_size: PositiveInt = 16,
    num_bins: PositiveInt = 20,
    diff_quantile: Annotated[float, Field(gt=0, le=1)] = 0.99,
) -> dict[str, Any]:
    """IRS: how little a code moves, at worst, while the factor it stands for is held and the others change.

    Args:
        model: anything with `encode`: float32 (n, C, H, W) images in [0, 1] -> (n, D) codes.
        data: a dataset with ground-truth factors.
        seed: of the legacy RandomState. Draws in order, per batch: `batch_size` values of each factor in turn.
        num_train: how many images are drawn.
        batch_size: images per draw, and per call of `encode`.
        num_bins: equal bins that each factor's values are put into; a factor of more values than bins loses some.
        diff_quantile: which quantile of the deviations from the group's mean stands for the worst (1: the paper's
            maximum).

    Returns:
        `score`, which is `IRS`, at most 1 (below 0 where images of equal factors lie further apart than any from the
        mean): the mean over the codes, weighted by their largest deviation from their mean; `num_active_dims`, the
        number of codes that vary (disentanglement_lib reports a sum of codes under that name); `robustness` (D, F),
        None for codes that don't vary; `factors`; `protocol`. Codes that never vary are left out; where none varies the
        score is 0, with a `reason`.

    Raises:
        MetricError: no factors, no `encode`, or codes of the wrong shape or not finite.
    """
    sizes = factor_sizes(data, "irs")
    codes, factors = draw_codes(
        model, data, sizes, num_train, random_state(seed), batch_size, what="irs: encoding images"
    )
    active = varying(codes)
    robustness: list[Any] = [None] * codes.shape[1]
    score = 0.0
    if active.any():
        matrix, weights = robustness_of(histogram_bins(factors, num_bins), codes[:, active], diff_quantile)
        score = float(np.average(matrix.max(axis=1), weights=weights))
        for row, code in enumerate(np.flatnonzero(active)):
            robustness[code] = matrix[row]
    return metric_result(
        score,
        {
            "source": "disentanglement_lib, irs",
            "num_train": num_train,
            "batch_size": batch_size,
            "num_bins": num_bins,
            "diff_quantile": diff_quantile,
            "seed": seed,
        },
        reason=None if active.any() else "no code dimension varies",
        IRS=score,
        num_active_dims=active.sum(),
        robustness=robustness,
        factors=factor_names(data, len(sizes)),
    )


def robustness_of(
    groups: Integers, codes: Codes, diff_quantile: float
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Return the (D, F) robustness of (n, D) codes that vary to interventions on (n, F) grouped factors.

    1 - the mean over a factor's groups of the `diff_quantile` of |code - the group's mean|, divided by the largest
    |code - mean| over all; that divisor (D,), the codes' weights, is returned too.
    """
    largest = np.max(np.abs(codes - codes.mean(axis=0)), axis=0)
    deviations = np.zeros((codes.shape[1], groups.shape[1]))
    for factor, group_of in enumerate(groups.T):
        values = np.unique(group_of)
        for value in values:
            group = codes[group_of == value]
            deviations[:, factor] += np.percentile(np.abs(group - group.mean(axis=0)), diff_quantile * 100, axis=0)
        deviations[:, factor] /= len(values)
    return 1 - deviations / largest[:, np.newaxis], largest
