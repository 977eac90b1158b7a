"""The bounds on the mutual information that IB-GAN's objective trades off (Jeon et al., 2021, Eq. 6-10).

A model offers them as a method, since they are made of its own networks:
`mi_bounds(num: int, seed: int) -> {"mi_lower": float, "mi_upper": float | None, "kl": (D_r,) array | None}`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from pydantic import PositiveInt

from ibgan_plugin.evaluation.results import metric_result
from zoo.device import evaluation_mode
from zoo.errors import MetricError
from zoo.interfaces import Dataset


def mi_bounds(model: Any, data: Dataset, seed: int = 0, *, num: PositiveInt = 10_000) -> dict[str, Any]:
    """I^L, I^U and the KL of each r_i, in nats, averaged over draws of z.

    Args:
        model: a model with `mi_bounds(num, seed)`.
        data: not used: the bounds are those of generated images.
        seed: of the draws of z, r and whatever else the model draws.
        num: draws of z.

    Returns:
        `score`, which is `mi_lower`, I^L: the variational lower bound of I(z; G(z)), which a bad reconstructor
        makes negative; `mi_upper`, I^U: the upper bound, None for a model without an encoder e(r|z); `kl` (D_r,):
        KL(e(r_i|z) | N(0, 1)) of each r_i, None likewise; `protocol`.

    Raises:
        MetricError: the model has no such bounds, or doesn't return them as said.
    """
    name = type(model).__name__
    if not callable(getattr(model, "mi_bounds", None)):
        raise MetricError(
            f"mi_bounds is not defined for {name}: it needs a model that has bounds on its mutual information "
            "(IB-GAN, InfoGAN, GAN), as a method mi_bounds(num, seed)"
        )
    with evaluation_mode(model):
        bounds = model.mi_bounds(num=num, seed=seed)
    if not isinstance(bounds, Mapping) or not {"mi_lower", "mi_upper", "kl"} <= bounds.keys():
        raise MetricError(f"{name}.mi_bounds returned {bounds!r:.80}; expected a mapping of mi_lower, mi_upper and kl")
    lower = float(bounds["mi_lower"])
    upper = None if bounds["mi_upper"] is None else float(bounds["mi_upper"])
    kl = None if bounds["kl"] is None else np.asarray(bounds["kl"], dtype=np.float64).ravel().tolist()
    if not all(map(math.isfinite, [lower, *([] if upper is None else [upper]), *(kl or [])])):
        raise MetricError(f"{name}.mi_bounds is not finite: the model has probably diverged, choose an earlier one")
    return metric_result(
        lower,
        {"source": "IB-GAN paper, Eq. 6-10", "num": num, "seed": seed},
        reason="the model has no encoder e(r|z), so no upper bound" if upper is None else None,
        mi_lower=lower,
        mi_upper=upper,
        kl=kl,
    )
