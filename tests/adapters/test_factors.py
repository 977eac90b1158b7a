from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibgan_plugin.adapters.factors import FactorSpace, checked_indices

SPACE = FactorSpace(("a", "b", "c"), (3, 2, 4))


def test_indices_count_the_factors_with_the_last_one_fastest() -> None:
    every = np.array(list(itertools.product(range(3), range(2), range(4))))
    assert len(SPACE) == 24
    np.testing.assert_array_equal(SPACE.index_of(every), np.arange(24))
    np.testing.assert_array_equal(SPACE.factors_of(np.arange(24)), every)
    assert SPACE.index_of(every).dtype == SPACE.factors_of(np.arange(24)).dtype == np.int64


@given(st.lists(st.integers(1, 600), min_size=1, max_size=6), st.data())  # their product fits into int64
def test_factors_and_indices_are_inverse(sizes: list[int], data: st.DataObject) -> None:
    space = FactorSpace(tuple(f"f{k}" for k in range(len(sizes))), tuple(sizes))
    index = np.array([data.draw(st.integers(0, len(space) - 1)) for _ in range(5)])
    np.testing.assert_array_equal(space.index_of(space.factors_of(index)), index)


@pytest.mark.parametrize(
    ("factors", "message"),
    [
        ([[0, 0, 4]], r"factor c is 4; it must lie in \[0, 4\)"),
        ([[0, 0, 0], [0, -1, 0]], "factor b is -1"),
        ([[0, 0]], r"shape \(n, 3\)"),
        ([0, 0, 0], r"shape \(n, 3\)"),
        ([[0.0, 0.0, 0.0]], "integers"),
    ],
)
def test_bad_factors_are_refused_by_name(factors: list[list[int]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SPACE.index_of(np.array(factors))


@pytest.mark.parametrize("indices", [[24], [-1], [0, 5, 1_000_000], [[0, 1]]])
def test_indices_outside_are_refused(indices: list[int]) -> None:
    with pytest.raises(IndexError):
        SPACE.factors_of(np.array(indices))


def test_no_indices_are_fine_and_floats_are_not() -> None:
    assert checked_indices([], 5).shape == (0,)
    with pytest.raises(TypeError, match="integers"):
        checked_indices(np.array([0.0]), 5)
