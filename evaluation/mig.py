"""The mutual information gap.

After "Isolating Sources of Disentanglement in Variational Autoencoders" (Chen et al., 2018), by disentanglement_lib's
protocol (`mig`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from pydantic import PositiveInt

from ibgan_plugin.evaluation.degenerate import constant_factors, factor_names, joined, varying
from ibgan_plugin.evaluation.discrete import entropies, histogram_bins, mutual_information
from ibgan_plugin.evaluation.results import metric_result
from ibgan_plugin.evaluation.sampling import AtLeastTwo, draw_codes, factor_sizes, random_state
from zoo.interfaces import Dataset, Encoder


def mig(
    model: Encoder,
    data: Dataset,
    seed: int = 0,
    *,
    num_train: AtLeastTwo = 10_000,
    batch_size: PositiveInt = 16,
    num_bins: PositiveInt = 20,
) -> dict[str, Any]:
    """Mutual information gap: the lead of a factor's best code over its second best, in units of its entropy.

    Args:
        model: anything with `encode`: float32 (n, C, H, W) images in [0, 1] -> (n, D) codes.
        data: a dataset with ground-truth factors.
        seed: of the legacy RandomState. Draws in order, per batch: `batch_size` values of each factor in turn.
        num_train: how many images are drawn.
        batch_size: images per draw, and per call of `encode`.
        num_bins: equal bins that each code is cut into, from its least to its largest value.

    Returns:
        `score`, which is `discrete_mig`: the mean over the factors, in [0, 1]; `gaps` (F,), each factor's; `entropies`
        (F,) and `mutual_information` (D, F), in nats; `factors`, their names; `protocol`. A factor that took one value
        only has no gap (None) and is left out of the mean; with a single code there is no second best, and the score
        is None; both with a `reason`.

    Raises:
        MetricError: no factors, no `encode`, or codes of the wrong shape or not finite.
    """
    sizes = factor_sizes(data, "mig")
    codes, factors = draw_codes(
        model, data, sizes, num_train, random_state(seed), batch_size, what="mig: encoding images"
    )
    names, varies = factor_names(data, len(sizes)), varying(factors)
    information = mutual_information(histogram_bins(codes, num_bins), factors)
    entropy = entropies(factors)
    gaps = np.full(len(sizes), np.nan)
    if len(information) > 1:
        second, best = np.sort(information, axis=0)[-2:]
        gaps[varies] = (best - second)[varies] / entropy[varies]
    score = gaps[varies].mean() if len(information) > 1 and varies.any() else None
    return metric_result(
        score,
        {
            "source": "disentanglement_lib, mig",
            "num_train": num_train,
            "batch_size": batch_size,
            "num_bins": num_bins,
            "seed": seed,
        },
        reason=joined(
            "there is one code dimension only, so no gap to a second one" if len(information) == 1 else None,
            constant_factors(names, varies),
        ),
        discrete_mig=score,
        gaps=gaps,
        entropies=entropy,
        mutual_information=information,
        factors=names,
    )
