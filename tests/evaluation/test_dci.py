import numpy as np
import pytest

from ibgan_plugin.evaluation.dci import completeness, dci, disentanglement

DIAGONAL = np.diag(np.full(5, 5.0))


@pytest.mark.parametrize(
    ("importance", "disentangled", "complete"),
    [
        (DIAGONAL, 1, 1),
        (np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]), 1, 1),
        (np.zeros((10, 10)), 0, 0),
        (np.vstack([DIAGONAL, DIAGONAL]), 1, 1 - np.log(2) / np.log(10)),  # two codes for a factor
        (DIAGONAL[:2], 1, 1),  # factors that no code tells
        (np.hstack([DIAGONAL, DIAGONAL]), 1 - np.log(2) / np.log(10), 1),  # one code for two factors
        # Worked by hand: code 0 has 3/4 of its importance on factor 0, code 1 all of its on factor 1.
        (
            np.array([[0.75, 0.25], [0.0, 1.0]]),
            0.5 * (1 + 0.75 * np.log2(0.75) + 0.25 * np.log2(0.25)) + 0.5 * 1,
            0.375 * 1 + 0.625 * (1 + 0.2 * np.log2(0.2) + 0.8 * np.log2(0.8)),
        ),
    ],
)
def test_scores_of_known_importances(importance, disentangled, complete):
    assert disentanglement(importance) == pytest.approx(disentangled, abs=1e-8)
    assert completeness(importance) == pytest.approx(complete, abs=1e-8)


@pytest.mark.parametrize("estimator", ["gradient_boosting", "histogram"])
def test_identity_and_one_code_for_two_factors(estimator, make_encoder, make_data):
    data = make_data((2, 3))
    sizes = {"num_train": 200, "num_eval": 100, "estimator": estimator}
    separate = dci(make_encoder(num_factors=2), data, **sizes)
    assert separate["score"] == separate["disentanglement"] > 0.99
    assert separate["completeness"] > 0.99
    assert separate["informativeness_train"] == separate["informativeness_test"] == 1
    assert separate["protocol"]["estimator"] == estimator

    both_in_one = dci(make_encoder(lambda f: np.stack([3 * f[:, 0] + f[:, 1], 0 * f[:, 0]], 1), 2), data, **sizes)
    assert both_in_one["score"] == pytest.approx(0, abs=1e-8), "it tells both factors alike"
    assert both_in_one["completeness"] == pytest.approx(1, abs=1e-8), "each factor is told by it alone"
    assert both_in_one["importance"] == [[1, 1], [0, 0]]


def test_a_constant_factor_is_left_out(make_encoder, make_data):
    result = dci(make_encoder(num_factors=3), make_data((2, 1, 3)), num_train=100, num_eval=50)
    assert result["factors"] == ["a", "c"]
    assert result["score"] > 0.99
    assert "left out: b" in result["reason"]


def test_what_needs_two_is_none_of_one(make_encoder, make_data):
    one_code = dci(make_encoder(lambda f: f[:, :1], 2), make_data((2, 3)), num_train=60, num_eval=30)
    assert one_code["completeness"] is None
    assert one_code["score"] is not None
    one_factor = dci(make_encoder(num_factors=1), make_data((3,)), num_train=60, num_eval=30)
    assert one_factor["score"] is None
    assert "two factors" in one_factor["reason"]


def test_the_bar_counts_every_tree(make_encoder, make_data, monkeypatch):
    counted = []

    class Bar:
        def advance(self, n):
            counted.append(n)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

    totals = []
    monkeypatch.setattr("ibgan_plugin.evaluation.dci.progress", lambda what, total: totals.append(total) or Bar())
    dci(make_encoder(num_factors=2), make_data((2, 3)), num_train=60, num_eval=30)
    assert sum(counted) == totals[0] == 100 * (1 + 3)
