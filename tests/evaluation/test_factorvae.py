"""`factorvae` against the plain vote-by-vote loop, hand-made representations and its own words."""

import json

import numpy as np
import pytest
import torch

from ibgan_plugin.evaluation.factorvae import accuracy, factorvae, factorvae_dlib, least_varying, vote_table
from zoo.errors import MetricError, SettingError


def codes_of(model, data, indices):
    """Codes of images by index, the plain way."""
    images = torch.from_numpy(data.images(np.asarray(indices))).permute(0, 3, 1, 2).float() / 255
    return np.asarray(model.encode(images), dtype=np.float64)


def plain_factorvae(model, data, seed, votes, samples, threshold):
    """The protocol as the paper words it, one vote after the other, each encoded when it is drawn."""
    rng = np.random.RandomState(seed)
    variances = np.var(codes_of(model, data, np.arange(len(data))), axis=0)
    active = [d for d, variance in enumerate(variances) if variance >= threshold]
    tables = []
    for _ in range(2):
        table = np.zeros((len(data.factor_sizes), len(variances)), int)
        for _ in range(votes):
            fixed = rng.randint(len(data.factor_sizes))
            factors = np.zeros((samples, len(data.factor_sizes)), int)
            for column, size in enumerate(data.factor_sizes):
                factors[:, column] = rng.randint(size, size=samples)
            factors[:, fixed] = factors[0, fixed]
            codes = codes_of(model, data, data.index_of(factors))
            table[fixed, min(active, key=lambda d: np.var(codes[:, d]) / variances[d])] += 1
        tables.append(table)
    names = tables[0].argmax(axis=0)
    right = [sum(table[names[d], d] for d in range(len(variances))) / votes for table in tables]
    return *right, *tables, variances, active


@pytest.mark.parametrize("name", ["identity", "rotated", "dead dimensions"])
def test_gives_the_numbers_of_the_plain_loop(name, representation, data):
    score, eval_accuracy, table, eval_table, variances, active = plain_factorvae(
        representation(name), data, seed=3, votes=150, samples=20, threshold=0.05
    )
    result = factorvae(representation(name), data, seed=3, votes=150, samples_per_vote=20, batch_size=77)
    assert result["score"] == score
    assert result["eval_accuracy"] == eval_accuracy
    assert result["vote_table"] == table.tolist()
    assert result["eval_vote_table"] == eval_table.tolist()
    np.testing.assert_allclose(result["variances"], variances, rtol=1e-13)
    assert result["active_dims"] == active


def test_gives_the_numbers_of_the_plain_loop_for_a_convolutional_encoder(make_data):
    torch.manual_seed(0)

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.body = torch.nn.Sequential(
                torch.nn.Conv2d(3, 8, 4, 2, 1), torch.nn.LeakyReLU(0.2), torch.nn.Flatten(), torch.nn.Linear(128, 5)
            )

        def encode(self, images):
            return 15 * self.body(255 * images)

    data = make_data(channels=3)
    net = Net()
    with torch.no_grad():
        score, eval_accuracy, table, *_ = plain_factorvae(net, data, seed=0, votes=100, samples=10, threshold=0.05)
    result = factorvae(net, data, votes=100, samples_per_vote=10)
    assert 0.3 < score < 1, "a case that distinguishes"
    assert (result["score"], result["eval_accuracy"]) == (score, eval_accuracy)
    assert result["vote_table"] == table.tolist()


def test_bf16_runs_the_encoder_under_autocast_and_says_so(data):
    seen = []

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.eye(64)[:, :4].contiguous())

        def encode(self, images):
            codes = 255 * images.flatten(1) @ self.weight
            seen.append(codes.dtype)
            return codes

    for variance_images in (None, 50):
        result = factorvae(Net(), data, votes=20, variance_images=variance_images, precision="bf16")
        assert result["protocol"]["precision"] == "bf16"
        assert result["score"] == 1
    assert set(seen) == {torch.bfloat16}
    assert not torch.is_autocast_enabled("cpu")
    factorvae(Net(), data, votes=20)
    assert seen[-1] == torch.float32


def test_a_dead_dimension_takes_no_part_even_at_threshold_zero(make_encoder, data):
    dead = np.float32(0.1)
    encoder = make_encoder(lambda f: np.hstack([f, np.full((len(f), 1), dead)]).astype(np.float32))
    result = factorvae(encoder, data, votes=30, variance_threshold=0.0)
    assert result["active_dims"] == [0, 1, 2, 3]
    assert result["score"] == 1


def test_identity_is_perfect_and_its_variances_are_those_of_uniform_integers(representation, data):
    result = factorvae(representation("identity"), data, votes=60)
    assert result["score"] == result["eval_accuracy"] == 1
    assert result["variances"] == pytest.approx([(size**2 - 1) / 12 for size in data.factor_sizes])
    assert result["classifier"] == [0, 1, 2, 3]
    assert result["factors"] == ["a", "b", "c", "d"]


def test_the_score_counts_hand_made_votes():
    table = vote_table(np.array([0, 0, 0, 1, 1, 1]), np.array([0, 0, 1, 1, 1, 0]), (2, 3))
    assert table.tolist() == [[2, 1, 0], [1, 2, 0]]
    # Dimension 0 stands for factor 0 and dimension 1 for factor 1: four of six votes.
    assert accuracy(table.argmax(axis=0), table) == pytest.approx(4 / 6)
    fresh = np.array([[0, 3, 0], [1, 0, 0]])
    assert accuracy(table.argmax(axis=0), fresh) == 0


def test_the_least_varying_dimension_is_relative_to_the_data_and_active():
    codes = np.array([[0.0, 0.0, 5.0], [2.0, 1.0, 5.0]])  # variances 2, 0.5, 0
    everywhere = np.array([True, True, True])
    assert least_varying(codes, np.array([1.0, 1.0, 1.0]), everywhere) == 2
    assert least_varying(codes, np.array([100.0, 1.0, 1.0]), np.array([True, True, False])) == 0


def test_the_threshold_is_on_the_variance_not_on_its_root(make_encoder, data):
    # A uniform factor of 3 values has variance 2/3: scaled by 0.25 it is 0.0417, with a root of 0.204.
    encoder = make_encoder(lambda factors: factors * [0.25, 1, 1, 1])
    assert factorvae(encoder, data, votes=10)["active_dims"] == [1, 2, 3]
    assert factorvae(encoder, data, votes=10, variance_threshold=0.04)["active_dims"] == [0, 1, 2, 3]


def test_a_variance_of_the_threshold_itself_is_enough(representation, data):
    # The four values of b: (4² - 1) / 12, which a float64 holds.
    result = factorvae(representation("identity"), data, votes=10, variance_threshold=1.25)
    assert result["variances"][1] == 1.25
    assert result["active_dims"] == [1, 2, 3]


def test_the_other_protocol_prunes_by_the_root(make_encoder, data):
    """Of a uniform factor of 3 values, scaled by 0.1, the variance is 0.0067 and its root 0.082; by 0.05, 0.041."""
    settings = {"num_train": 20, "num_eval": 10, "num_variance_estimate": 300}
    for scale, num_active in ((0.1, 4), (0.05, 3)):
        result = factorvae_dlib(make_encoder(lambda f, by=scale: f * [by, 1, 1, 1]), data, **settings)
        assert (result["num_active_dims"], result["num_active_dims_dlib"]) == (num_active, 4)


@pytest.mark.parametrize(("dead", "threshold"), [(0.1, 0.0), (1000.1, 0.05)])
def test_rounding_does_not_bring_a_dead_dimension_to_life(make_encoder, data, dead, threshold):
    """The float32 mean of a constant is not always that constant, and then its variance is above 0."""
    encoder = make_encoder(lambda f: np.hstack([f, np.full((len(f), 1), dead)]).astype(np.float32))
    settings = {"num_train": 40, "num_eval": 20, "num_variance_estimate": 10_000, "prune_threshold": threshold}
    result = factorvae_dlib(encoder, data, **settings)
    assert (result["num_active_dims"], result["score"]) == (4, 1)


def test_without_an_active_dimension_the_score_is_zero_and_says_why(representation, data):
    for threshold in (0.05, 0.0):
        result = factorvae(representation("constant"), data, votes=10, variance_threshold=threshold)
        assert result["score"] == result["eval_accuracy"] == 0
        assert "variance" in result["reason"]
        assert result["active_dims"] == []
        json.dumps(result, allow_nan=False)


def test_every_image_is_encoded_once(representation, data):
    encoder = representation("identity")
    factorvae(encoder, data, votes=200)
    assert encoder.encoded == data.images_read == len(data)


def test_variances_of_a_sample_are_stated_and_use_its_draws(representation, data):
    result = factorvae(representation("identity"), data, seed=4, votes=50, variance_images=100)
    rng = np.random.RandomState(4)
    sample = np.stack([rng.randint(size, size=100) for size in data.factor_sizes], axis=1)
    assert result["variances"] == pytest.approx(sample.var(axis=0).tolist(), rel=1e-12)
    assert result["protocol"]["variance_images"] == 100
    assert result["protocol"]["variance_over"] == "a sample with replacement"


@pytest.mark.parametrize(
    ("variance_images", "stated"),
    [
        (None, (360, "the entire dataset")),
        (1_000, (360, "the entire dataset")),
        (360, (360, "the entire dataset")),
        (359, (359, "a sample with replacement")),
    ],
)
def test_as_many_images_as_there_are_and_more_are_the_entire_dataset(representation, data, variance_images, stated):
    result = factorvae(representation("identity"), data, votes=5, variance_images=variance_images)
    assert (result["protocol"]["variance_images"], result["protocol"]["variance_over"]) == stated
    every_value = np.stack([np.arange(size).var() for size in data.factor_sizes])
    assert (result["variances"] == pytest.approx(every_value, rel=1e-12)) == (stated[0] == 360)


def test_a_larger_dataset_gives_its_variances_by_a_stated_sample(representation, make_data, monkeypatch):
    monkeypatch.setattr("ibgan_plugin.evaluation.factorvae.LARGEST_ENTIRE_DATASET", 200)
    result = factorvae(representation("identity"), make_data(), votes=40)
    assert result["protocol"]["variance_images"] == 200
    assert result["protocol"]["variance_over"] == "a sample with replacement"
    assert result["score"] == 1


def test_one_seed_one_result(representation, data):
    encoder = representation("rotated")
    assert factorvae(encoder, data, seed=1, votes=50) == factorvae(encoder, data, seed=1, votes=50)
    assert factorvae(encoder, data, seed=1, votes=50) != factorvae(encoder, data, seed=2, votes=50)


def test_refusals(representation, data, make_encoder):
    with pytest.raises(MetricError, match="ground-truth factors"):
        plain = type(data)()
        plain.factor_sizes = plain.factor_names = None
        factorvae(representation("identity"), plain)
    with pytest.raises(MetricError, match="NaN"):
        factorvae(representation("NaN"), data)
    with pytest.raises(SettingError, match="seed"):
        factorvae(representation("identity"), data, seed=-1)
