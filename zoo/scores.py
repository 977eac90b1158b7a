"""How to read a score: which way its metric goes, and what the paper reports.

The metric has scored already, perhaps elsewhere: that no plugin here has it is no error, and nothing is known of it.
"""

from __future__ import annotations

from zoo.errors import AmbiguousNameError, UnknownNameError
from zoo.registry import Registry
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


def _spec(registry: Registry, metric: str, *, typed: bool) -> MetricSpec | None:
    try:
        return registry.spec(MetricSpec, metric, typed=typed)
    except (UnknownNameError, AmbiguousNameError):
        return None
