"""What every metric returns: plain JSON values, a score or the reason why there is none."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np


def metric_result(
    score: float | None, protocol: Mapping[str, Any], *, reason: str | None = None, **keys: Any
) -> dict[str, Any]:
    """Return `{"score", <keys>, "reason", "protocol"}` as plain JSON values.

    NumPy scalars and arrays become numbers and lists, and what is not finite becomes None. `reason` says why a number
    is missing or is a convention (no active dimension: 0); the key stands only where there is something to say. A
    number that is not finite without any reason being given is named in one, so that no such None goes unexplained.
    """
    values = {"score": score, **keys}
    if reason is None:
        lost = [key for key, value in values.items() if not _finite(value)]
        reason = f"not finite on these codes: {', '.join(lost)}" if lost else None
    said = {} if reason is None else {"reason": reason}
    return {**_plain(values), **said, "protocol": _plain(protocol)}


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _finite(value: Any) -> bool:
    if isinstance(value, np.ndarray | list | tuple):
        return all(map(_finite, value))
    return not isinstance(value, float | np.floating) or math.isfinite(value)
