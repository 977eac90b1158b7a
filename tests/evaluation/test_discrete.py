import numpy as np
import pytest

from ibgan_plugin.evaluation.discrete import entropies, histogram_bins, mutual_information


def test_three_bins():
    """disentanglement_lib's own example."""
    values = np.array([[0.1, 0.2, 0.3, 0.4, 0.5, 0.6], [0.6, 0.5, 0.4, 0.3, 0.2, 0.1]]).T
    assert histogram_bins(values, 3).T.tolist() == [[1, 1, 2, 2, 3, 3], [3, 3, 2, 2, 1, 1]]


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_bins_hold_what_the_histogram_counts(dtype):
    values = (np.random.default_rng(0).normal(size=(500, 3)) * 50).astype(dtype)
    bins = histogram_bins(values, 20)
    for column, numbers in zip(values.T, bins.T, strict=True):
        assert np.bincount(numbers, minlength=21)[1:].tolist() == np.histogram(column, 20)[0].tolist()


@pytest.mark.parametrize("value", [0.0, 0.1, 1e9, -1e-30])
def test_a_constant_falls_into_one_bin(value):
    bins = histogram_bins(np.full((9, 1), value, np.float32), 20)
    assert len(np.unique(bins)) == 1


def test_a_range_of_one_unit_in_the_last_place():
    low = np.float32(0.25)
    high = np.nextafter(low, np.float32(1))
    bins = histogram_bins(np.array([[low], [high], [low]]), 20)[:, 0]
    assert bins[0] == bins[2] != bins[1]


def plain_information(one, other):
    """The sum over the joint table of p log(p / (p p))."""
    total = 0.0
    for a in np.unique(one):
        for b in np.unique(other):
            joint = np.mean((one == a) & (other == b))
            if joint:
                total += joint * np.log(joint / (np.mean(one == a) * np.mean(other == b)))
    return total


def test_information_of_a_hand_made_table():
    """disentanglement_lib's own example, columns being variables here."""
    xs = np.array([[1, 2, 1, 2], [1, 1, 2, 2]]).T
    ys = np.array([[1, 2, 1, 2], [2, 2, 1, 1]]).T
    np.testing.assert_allclose(mutual_information(xs, ys), [[np.log(2), 0], [0, np.log(2)]], atol=1e-15)


def test_information_against_its_definition():
    rng = np.random.default_rng(3)
    first, second = rng.integers(0, 4, (200, 2)), rng.integers(0, 3, (200, 3))
    second[:, 0] = (first[:, 1] + (rng.random(200) < 0.2)) % 3
    expected = [[plain_information(a, b) for b in second.T] for a in first.T]
    np.testing.assert_allclose(mutual_information(first, second), expected, atol=1e-12)


def test_entropy():
    values = np.array([[1, 1, 2, 2, 3, 3], [0, 0, 0, 0, 0, 0]]).T
    np.testing.assert_allclose(entropies(values), [np.log(3), 0], atol=1e-15)


def test_many_classes_for_few_points_need_no_warning():
    values = np.arange(60)[:, np.newaxis]
    assert entropies(values)[0] == pytest.approx(np.log(60))
