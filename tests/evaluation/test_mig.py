import numpy as np
import pytest

from ibgan_plugin.evaluation.mig import mig


def plain_entropy(values):
    share = np.unique(values, return_counts=True)[1] / len(values)
    return -np.sum(share * np.log(share))


def test_a_code_for_each_factor_leaves_chance_as_the_only_gap(representation, data):
    result = mig(representation("identity"), data, num_train=4000)
    assert 0.99 < result["score"] < 1
    assert result["entropies"] == pytest.approx([np.log(size) for size in data.factor_sizes], abs=0.01)
    assert np.argmax(result["mutual_information"], axis=0).tolist() == [0, 1, 2, 3]


def test_two_codes_for_a_factor_leave_no_gap(make_encoder, data):
    result = mig(make_encoder(lambda factors: np.hstack([factors, factors])), data, num_train=500)
    assert result["score"] == 0
    assert result["gaps"] == [0, 0, 0, 0]


def test_gaps_by_their_definition(make_encoder, make_data):
    """Codes a and a + 2b of factors (a, b) with 2 and 3 values: the second one tells both, the first one only a."""
    data = make_data((2, 3))
    result = mig(make_encoder(lambda f: np.stack([f[:, 0], f[:, 0] + 2 * f[:, 1]], axis=1), 2), data, num_train=600)
    # Both codes know a whole; of b, the second code knows all and the first what chance gives.
    rng = np.random.RandomState(0)
    drawn = np.vstack([np.stack([rng.randint(2, size=n), rng.randint(3, size=n)], axis=1) for n in [16] * 37 + [8]])
    a, b = drawn.T
    chance = plain_entropy(a) + plain_entropy(b) - plain_entropy(10 * a + b)
    assert result["gaps"][0] == pytest.approx(0, abs=1e-12)
    assert result["gaps"][1] == pytest.approx(1 - chance / plain_entropy(b), abs=1e-12)
    assert result["score"] == pytest.approx(np.mean(result["gaps"]))


def test_a_constant_factor_is_left_out(make_encoder, make_data):
    result = mig(make_encoder(num_factors=3), make_data((4, 1, 5)), num_train=2000)
    assert result["gaps"][1] is None
    assert result["score"] == pytest.approx((result["gaps"][0] + result["gaps"][2]) / 2)
    assert result["reason"] == "took one value only and left out: b"


def test_one_code_has_no_second(make_encoder, data):
    result = mig(make_encoder(lambda factors: factors[:, :1]), data, num_train=100)
    assert result["score"] is None
    assert "one code dimension" in result["reason"]
