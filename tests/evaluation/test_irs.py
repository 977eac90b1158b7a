import numpy as np
import pytest

from ibgan_plugin.evaluation.irs import irs, robustness_of


def test_robustness_by_hand():
    """Codes 0, 2 and 10, 14 in two groups: largest deviation 7.5 from 6.5; within, 1 and 2, on average 1.5."""
    codes = np.array([[0.0], [2.0], [10.0], [14.0]])
    groups = np.array([[1, 1], [1, 2], [2, 1], [2, 2]])
    matrix, weights = robustness_of(groups, codes, 1.0)
    assert weights.tolist() == [7.5]
    # Grouped by the second factor: 0, 10 and 2, 14 lie 5 and 6 from their means.
    np.testing.assert_allclose(matrix, [[1 - 1.5 / 7.5, 1 - 5.5 / 7.5]])


def test_the_quantile_stands_for_the_worst():
    codes = np.array([[0.0], [0.0], [0.0], [4.0], [100.0]])
    groups = np.array([[1], [1], [1], [1], [2]])
    largest = 100 - 20.8
    # Deviations from the group's mean 1: 1, 1, 1, 3; their median is 1, their maximum 3; the other group's are 0.
    assert robustness_of(groups, codes, 1.0)[0][0, 0] == pytest.approx(1 - 1.5 / largest)
    assert robustness_of(groups, codes, 0.5)[0][0, 0] == pytest.approx(1 - 0.5 / largest)


def test_identity_is_wholly_robust(representation, data):
    result = irs(representation("identity"), data, num_train=500)
    assert result["score"] == result["IRS"] == 1
    assert result["num_active_dims"] == 4
    assert np.argmax(result["robustness"], axis=1).tolist() == [0, 1, 2, 3]


def test_a_mixed_code_is_not(representation, data):
    assert 0.2 < irs(representation("rotated"), data, num_train=500)["score"] < 0.8


def test_dead_codes_are_left_out_exactly(make_encoder, data):
    """A float32 constant whose mean is not itself has a variance above 0 by rounding alone."""
    constant = np.float32(0.1)
    assert np.full(10_000, constant).reshape(-1, 1).var(axis=0)[0] > 0
    encoder = make_encoder(lambda f: np.hstack([f, np.full((len(f), 1), 0.1)]).astype(np.float32))
    result = irs(encoder, data, num_train=10_000)
    assert result["score"] == 1
    assert result["num_active_dims"] == 4
    assert result["robustness"][4] is None


def test_no_code_that_varies_scores_zero_and_says_so(representation, data):
    result = irs(representation("constant"), data, num_train=100)
    assert result["score"] == 0
    assert result["reason"] == "no code dimension varies"
