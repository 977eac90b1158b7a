"""Datasets, and converters of datasets and checkpoints. Imports `zoo` only."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ibgan_plugin.adapters.ground_truth import as_ground_truth_data

__all__ = ["as_ground_truth_data"]


def __getattr__(name: str) -> Any:
    """Import numpy only when the name is used: the host imports this package to list what it offers."""
    if name == "as_ground_truth_data":
        from ibgan_plugin.adapters.ground_truth import as_ground_truth_data

        return as_ground_truth_data
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
