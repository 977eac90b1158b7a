import numpy as np
import pytest

from ibgan_plugin.evaluation.unsupervised import (
    gaussian_total_correlation,
    gaussian_wasserstein_correlation,
    unsupervised,
)


@pytest.mark.parametrize("rho", [0.0, 0.3, 0.9, -0.99])
@pytest.mark.parametrize("scale", [1.0, 7.0])
def test_two_correlated_gaussians(rho, scale):
    """-log(1 - rho^2) / 2, whatever the scale; and the roots of 1 + rho and 1 - rho, times the variance."""
    covariance = scale**2 * np.array([[1, rho], [rho, 1]])
    assert gaussian_total_correlation(covariance) == pytest.approx(-0.5 * np.log(1 - rho**2), abs=1e-12)
    expected = scale**2 * (4 - 2 * (np.sqrt(1 + rho) + np.sqrt(1 - rho)))
    assert gaussian_wasserstein_correlation(covariance) == pytest.approx(expected, abs=1e-9)
    assert gaussian_wasserstein_correlation(covariance, singular=True) == pytest.approx(expected, abs=1e-9)


def test_both_roots_agree_at_full_rank():
    mixing = np.random.default_rng(0).normal(size=(8, 8))
    covariance = mixing @ mixing.T
    assert gaussian_wasserstein_correlation(covariance) == pytest.approx(
        gaussian_wasserstein_correlation(covariance, singular=True), rel=1e-9
    )


def test_independent_codes(representation, data):
    result = unsupervised(representation("identity"), data, num_train=5000)
    assert 0 <= result["score"] < 0.01
    assert result["mutual_info_score"] < 0.01
    assert result["gaussian_wasserstein_correlation_norm"] == pytest.approx(
        result["gaussian_wasserstein_correlation"] / sum((n**2 - 1) / 12 for n in data.factor_sizes), rel=0.1
    )


def test_dead_codes_change_only_the_mean_over_pairs(representation, data):
    alive = unsupervised(representation("identity"), data, num_train=500)
    dead = unsupervised(representation("dead dimensions"), data, num_train=500)
    for key in ("score", "gaussian_wasserstein_correlation", "gaussian_wasserstein_correlation_norm"):
        assert dead[key] == alive[key]
    assert dead["mutual_info_score"] == pytest.approx(alive["mutual_info_score"] * (4 * 3) / (6 * 5))
    assert dead["reason"] == "2 of 6 code dimensions never vary"


def test_a_code_that_comes_twice_has_infinite_total_correlation(make_encoder, make_data):
    """(x, x) against (x, y): the root of [[1, 1], [1, 1]] has trace sqrt(2), so the distance is (4 - 2 sqrt(2)) var."""
    result = unsupervised(make_encoder(lambda f: np.hstack([f, f]), 1), make_data((5,)), num_train=500)
    assert result["score"] is None
    assert "infinite" in result["reason"]
    assert result["gaussian_wasserstein_correlation_norm"] == pytest.approx((4 - 2 * np.sqrt(2)) / 2)
    assert result["mutual_info_score"] == pytest.approx(np.log(5), abs=0.01)


def test_one_code_has_no_pair(make_encoder, data):
    result = unsupervised(make_encoder(lambda f: f[:, :1]), data, num_train=100)
    assert result["score"] == 0
    assert result["mutual_info_score"] is None
    assert "no pair" in result["reason"]
