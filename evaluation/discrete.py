"""Discretised codes and their mutual information with the factors, in nats, as disentanglement_lib computes them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import mutual_info_score
from sklearn.metrics.cluster import contingency_matrix

from ibgan_plugin.evaluation.sampling import Integers


def histogram_bins(values: NDArray[np.number], num_bins: int) -> Integers:
    """Return int64 (n, D) bin numbers from 1 to `num_bins` for (n, D) values: equal bins per column, from min to max.

    The edges are `numpy.histogram`'s, in the precision of the values.
    """
    return np.stack([np.digitize(column, _left_edges(column, num_bins)) for column in values.T], axis=1)


def mutual_information(first: Integers, second: Integers) -> NDArray[np.float64]:
    """Return (D, F) mutual information in nats between the columns of (n, D) and of (n, F) discrete values."""
    return np.array([[_information(b, a) for b in second.T] for a in first.T])


def entropies(values: Integers) -> NDArray[np.float64]:
    """Return the (F,) entropies in nats of the columns of (n, F) discrete values."""
    return np.array([_information(column, column) for column in values.T])


def _information(one: Integers, other: Integers) -> float:
    # The table that mutual_info_score would count itself, without its look at whether labels are likely to be classes.
    return float(mutual_info_score(None, None, contingency=contingency_matrix(one, other, sparse=True)))


def _left_edges(column: NDArray[np.number], num_bins: int) -> NDArray[np.floating]:
    try:
        return np.histogram_bin_edges(column, num_bins)[:-1]
    except ValueError:
        # NumPy refuses to cut a range of a few units in the last place into so many bins; the same edges, some equal.
        low, high = column.min(), column.max()
        low, high = (low - 0.5, high + 0.5) if low == high else (low, high)
        return np.linspace(low, high, num_bins + 1, dtype=np.result_type(low, high, column))[:-1]
