import numpy as np
import pytest

from ibgan_plugin.evaluation.betavae import betavae, mean_difference, pair_draws


def test_the_mean_difference_by_hand():
    codes = np.array([[0.0, 1.0], [2.0, 1.0], [3.0, 1.0], [1.0, 5.0]])  # pairs: rows 0 and 2, rows 1 and 3
    assert mean_difference(codes).tolist() == [(3 + 1) / 2, (0 + 4) / 2]


def test_pairs_share_the_labelled_factor_and_no_other():
    labels = np.empty(40, np.int64)
    for point, factors in enumerate(pair_draws((50, 60, 70), labels, 8, np.random.RandomState(1))):
        same = (factors[:8] == factors[8:]).all(axis=0)
        assert same.tolist() == [factor == labels[point] for factor in range(3)]
        assert len(np.unique(factors[:8, labels[point]])) > 1, "the shared value differs from pair to pair"


def test_identity_is_perfect(representation, data):
    result = betavae(representation("identity"), data, num_train=300, num_eval=100, batch_size=32)
    assert result["score"] == result["eval_accuracy"] == result["train_accuracy"] == 1


def test_a_constant_code_guesses(representation, data):
    result = betavae(representation("constant"), data, num_train=300, num_eval=2000, batch_size=2)
    assert result["score"] == pytest.approx(1 / 4, abs=0.05)


def test_one_factor_leaves_nothing_to_tell_apart(make_encoder, make_data):
    result = betavae(make_encoder(num_factors=1), make_data((5,)), num_train=20, num_eval=10)
    assert result["score"] is None
    assert "only one factor" in result["reason"]


def test_every_image_is_encoded_once(representation, data):
    encoder = representation("identity")
    betavae(encoder, data, num_train=200, num_eval=100, batch_size=16)
    assert encoder.encoded == len(data)


def test_the_solver_draws_nothing(representation, data):
    """The evaluation's points are drawn before the fit; that is the published order only if the fit draws nothing."""
    from sklearn.linear_model import LogisticRegression

    rng = np.random.RandomState(0)
    before = rng.get_state()[1].copy()
    points = np.random.default_rng(0).normal(size=(50, 3))
    LogisticRegression(random_state=rng).fit(points, np.arange(50) % 3)
    assert (rng.get_state()[1] == before).all()
