import numpy as np
import pytest
from sklearn.svm import LinearSVC

from ibgan_plugin.evaluation.sap import gap_of_best_two, sap, squared_correlations


def test_the_gap_of_a_hand_made_table():
    assert gap_of_best_two(np.array([[0.9, 0.2], [0.5, 0.7], [0.1, 0.7]])) == pytest.approx((0.4 + 0.0) / 2)


def test_squared_correlations_by_hand():
    codes = np.array([[0.0, 1.0, 3.0], [1.0, -1.0, 3.0], [2.0, 1.0, 3.0], [3.0, -1.0, 3.0]])
    factor = np.array([[0], [1], [2], [3]])
    # The first is the factor. The second: covariance -4/6, variances 8/6 and 10/6, so 1/5. The third is dead.
    np.testing.assert_allclose(squared_correlations(codes, factor), [[1], [1 / 5], [0]], atol=1e-15)


def test_identity_of_continuous_factors(representation, data):
    result = sap(representation("identity"), data, num_train=2000, num_eval=100, continuous_factors=True)
    assert 0.99 < result["score"] <= 1


def test_two_codes_for_a_factor_leave_no_gap(make_encoder, data):
    result = sap(make_encoder(lambda f: np.hstack([f, f])), data, num_train=200, num_eval=100)
    assert result["score"] == 0


def test_a_binary_factor_is_told_by_its_own_code(make_encoder, make_data):
    result = sap(make_encoder(num_factors=2), make_data((2, 2)), num_train=300, num_eval=200)
    table = np.array(result["predictability"])
    assert np.diag(table).tolist() == [1, 1]
    assert np.abs(table[[0, 1], [1, 0]] - 0.5).max() < 0.1, "the other code guesses"
    assert result["score"] == pytest.approx(1 - table[[0, 1], [1, 0]].mean())


def test_a_linear_machine_tells_only_the_outer_values(make_encoder, make_data):
    """One value against the rest is no half-line for the middle one of three: 2/3 at best."""
    result = sap(make_encoder(num_factors=2), make_data((3, 3)), num_train=600, num_eval=600)
    assert np.diag(result["predictability"]) == pytest.approx(2 / 3, abs=0.06)


def test_the_penalty_is_the_published_one(make_encoder, make_data):
    """Codes are taken raw: on small ones, how a machine with C = 0.01 does is not how one with C = 1 does."""
    data = make_data((3, 4))
    codes = np.array([[0.0, 0.05, 0.2]]).T  # of the values of factor a
    encoder = make_encoder(lambda f: np.hstack([codes[f[:, 0].astype(int)], 0.05 * f[:, 1:]]), 2)
    rng = np.random.RandomState(0)
    train, test = (
        np.vstack([np.stack([rng.randint(3, size=n), rng.randint(4, size=n)], axis=1) for n in [16] * 12 + [8]])
        for _ in range(2)
    )

    def accuracy(c):
        machine = LinearSVC(C=c, class_weight="balanced").fit(codes[train[:, 0]], train[:, 0])
        return np.mean(machine.predict(codes[test[:, 0]]) == test[:, 0])

    assert accuracy(0.01) != accuracy(1)
    result = sap(encoder, data, num_train=200, num_eval=200)
    assert result["predictability"][0][0] == accuracy(0.01)


def test_degenerate_cases(make_encoder, make_data, data):
    one_code = sap(make_encoder(lambda f: f[:, :1]), data, num_train=50, num_eval=20)
    assert one_code["score"] is None
    assert "one code dimension" in one_code["reason"]
    constant = sap(make_encoder(num_factors=2), make_data((1, 2)), num_train=50, num_eval=20)
    assert constant["factors"] == ["b"]
    assert "left out: a" in constant["reason"]
