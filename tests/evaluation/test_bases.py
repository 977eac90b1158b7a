"""Which images base codes come from, on a data set whose pixels are its factors, and on dSprites."""

from __future__ import annotations

import numpy as np
import pytest

import zoo
from ibgan_plugin.evaluation.bases import encoded, named_images, one_per_value
from zoo.errors import UsageError


def test_one_image_for_each_value_with_the_others_in_their_middle(data):
    indices = one_per_value(data, "b")

    assert data.factors_of(indices).tolist() == [[1, 0, 2, 3], [1, 1, 2, 3], [1, 2, 2, 3], [1, 3, 2, 3]]


def test_dsprites_shapes_are_in_the_centre_and_differ_in_nothing_else(drawn):
    sprites = zoo.load_dataset("dsprites", data_root=drawn)

    indices = one_per_value(sprites, "shape")

    factors = sprites.factors_of(indices)
    assert factors[:, 0].tolist() == [0, 1, 2]
    assert (factors[:, 1:] == factors[0, 1:]).all()
    rows, columns = np.indices((64, 64))
    for image in sprites.images(indices)[..., 0] > 0:
        assert abs(rows[image].mean() - 31.5) < 3
        assert abs(columns[image].mean() - 31.5) < 3


@pytest.mark.parametrize(
    ("factor", "message"), [("shpe", "unknown factor 'shpe'; did you mean 'shape'"), ("posX", "32")]
)
def test_a_factor_that_does_not_serve_is_refused(drawn, factor, message):
    with pytest.raises(UsageError, match=message):
        one_per_value(zoo.load_dataset("dsprites", data_root=drawn), factor)


def test_a_dataset_without_factors_is_refused(data):
    data.factor_names = data.factor_sizes = None
    with pytest.raises(UsageError, match="no ground-truth factors"):
        one_per_value(data, "a")


def test_images_by_number(data):
    assert named_images(data, "0, 359").tolist() == [0, 359]
    for words in ("x", "", "1,,2", "1.5"):
        with pytest.raises(UsageError, match="numbers separated by commas"):
            named_images(data, words)
    for words in ("360", "-1", "0,99999999999999999999999"):
        with pytest.raises(UsageError, match="has images 0 to 359"):
            named_images(data, words)


def test_codes_are_of_the_images_in_user_range(data, make_encoder):
    codes = encoded(make_encoder(), data, np.array([0, 359]))

    assert codes.tolist() == [[0, 0, 0, 0], [2, 3, 4, 5]]
