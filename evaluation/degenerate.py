"""Constant factors and dead codes: what the metrics leave out, and the words for it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from zoo.interfaces import Dataset


def varying(values: NDArray[np.number]) -> NDArray[np.bool_]:
    """Return bool (K,): which columns of (n, K) values hold more than one value. Exact, unlike a variance above 0."""
    return np.asarray(values.max(axis=0) != values.min(axis=0))


def factor_names(data: Dataset, num_factors: int) -> list[str]:
    """The factors' names; their numbers where the dataset gives none."""
    names = getattr(data, "factor_names", None)
    return [str(name) for name in (() if names is None else names)] or [str(number) for number in range(num_factors)]


def constant_factors(names: list[str], varies: NDArray[np.bool_]) -> str | None:
    """Say which factors took one value only, all factors being named; None where all vary."""
    constant = [name for name, on in zip(names, varies, strict=True) if not on]
    if not constant:
        return None
    return f"took one value only and left out: {', '.join(constant)}"


def joined(*reasons: str | None) -> str | None:
    """Join the reasons that there are; None where there are none."""
    return "; ".join(reason for reason in reasons if reason) or None
