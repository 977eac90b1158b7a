import numpy as np
import pytest

from ibgan_plugin.evaluation.modularity import modularity, modularity_of

DIAGONAL = np.diag(np.full(5, 5.0))


@pytest.mark.parametrize(
    ("information", "expected"),
    [
        (np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]), 2 / 3),
        (DIAGONAL, 1),
        (np.zeros((10, 10)), 0),
        (np.vstack([DIAGONAL, DIAGONAL]), 1),
        (DIAGONAL[:2], 1),
        (np.hstack([DIAGONAL, DIAGONAL]), 1 - 1 / 9),
        (np.array([[2.0, 1.0, 1.0]]), 1 - (1 + 1) / (4 * 2)),  # by hand
    ],
)
def test_modularity_of_known_information(information, expected):
    assert modularity_of(information) == pytest.approx(expected, abs=1e-12)


def test_identity_is_modular_and_explicit(representation, data):
    result = modularity(representation("identity"), data, num_train=2000, num_eval=500)
    assert result["score"] == result["modularity_score"] > 0.99
    assert result["explicitness_score_train"] > 0.9
    assert result["explicitness_score_test"] > 0.9


def test_explicitness_of_binary_factors_is_perfect_or_chance(make_encoder, make_data):
    """A code that is the factor separates it without error: area 1. A dead code orders nothing: area 1/2."""
    result = modularity(make_encoder(lambda f: f * [1, 0], 2), make_data((2, 2)), num_train=400, num_eval=200)
    # Factor a is read from its own code; b only by what chance ties to a.
    assert result["explicitness_score_test"] == pytest.approx(0.75, abs=0.03)
    dead = modularity(make_encoder(lambda f: 0 * f, 2), make_data((2, 2)), num_train=100, num_eval=50)
    assert dead["explicitness_score_train"] == dead["explicitness_score_test"] == 0.5
    assert dead["score"] == 0


@pytest.mark.parametrize("value", [0.1, 1000.1])
def test_a_dead_code_says_nothing_whatever_its_value(make_encoder, data, value):
    """Not even by the rounding of a float32 mean, which would make it a constant of about the others' size."""

    def with_dead(constant):
        return make_encoder(lambda f: np.hstack([f + 0.5 * f[:, ::-1], np.full((len(f), 1), constant)]).astype("f4"))

    settings = {"num_train": 3000, "num_eval": 200}
    expected, found = (modularity(with_dead(constant), data, **settings) for constant in (0.0, value))
    assert found["explicitness_score_train"] == expected["explicitness_score_train"]
    assert found["explicitness_score_test"] == expected["explicitness_score_test"]


def test_values_that_the_test_images_lack_are_said(make_encoder, make_data):
    result = modularity(make_encoder(num_factors=2), make_data((30, 3)), num_train=500, num_eval=20)
    assert 0.5 < result["explicitness_score_test"] <= 1
    assert "values of factors have no area on the test images" in result["reason"]


def test_constant_factors(make_encoder, make_data):
    one_left = modularity(make_encoder(num_factors=2), make_data((1, 3)), num_train=100, num_eval=50)
    assert one_left["score"] is None
    assert one_left["explicitness_score_train"] == 1 or one_left["explicitness_score_train"] > 0.7
    assert "two factors" in one_left["reason"]
    assert "left out: a" in one_left["reason"]
