"""How to read a score: which way its metric goes, and what the paper reports.

The metric has scored already, perhaps elsewhere: that no plugin here has it is no error, and nothing is known of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zoo import settings
from zoo.errors import AmbiguousNameError, UnknownNameError, ZooError
from zoo.registry import Registry, resolve
from zoo.specs import MetricSpec


def published(registry: Registry, metric: str, model: str, dataset: str, *, typed: bool = False) -> float | None:
    """What the paper reports for this model and dataset, or None. `typed` as below."""
    spec = _spec(registry, metric, typed=typed)
    return spec.published.get((model, dataset)) if spec else None


def lower_is_better(registry: Registry, metric: str, *, typed: bool = False) -> bool:
    """Which way a metric goes; one that no plugin here registers is taken to go up.

    `typed` says that a person named the metric, perhaps by its import path.
    """
    spec = _spec(registry, metric, typed=typed)
    return spec.lower_is_better if spec else False


def departures(registry: Registry, metric: str, values: Mapping[str, Any], *, typed: bool = False) -> list[str]:
    """What of a metric's settings is not its default, as `key=value`: the score may be of another protocol then.

    Nothing of a metric that is not here, or has no such settings any more.
    """
    spec = _spec(registry, metric, typed=typed)
    try:
        found = settings.departures(resolve(spec.target), values) if spec else {}
    except ZooError:
        return []
    return [f"{name}={value}" for name, value in found.items()]


def _spec(registry: Registry, metric: str, *, typed: bool) -> MetricSpec | None:
    try:
        return registry.spec(MetricSpec, metric, typed=typed)
    except (UnknownNameError, AmbiguousNameError):
        return None
