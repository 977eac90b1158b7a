"""Every metric on every kind of representation and data set: a score or a stated reason, and nothing but JSON."""

import json
import math

import numpy as np
import pytest

from ibgan_plugin.evaluation.betavae import betavae
from ibgan_plugin.evaluation.dci import dci
from ibgan_plugin.evaluation.degenerate import constant_factors, joined, varying
from ibgan_plugin.evaluation.factorvae import factorvae, factorvae_dlib
from ibgan_plugin.evaluation.irs import irs
from ibgan_plugin.evaluation.mig import mig
from ibgan_plugin.evaluation.modularity import modularity
from ibgan_plugin.evaluation.sap import sap
from ibgan_plugin.evaluation.unsupervised import unsupervised
from zoo.errors import MetricError

METRICS = {
    "factorvae": (factorvae, {"votes": 40, "samples_per_vote": 20}),
    "factorvae_dlib": (factorvae_dlib, {"num_train": 60, "num_eval": 30, "num_variance_estimate": 100}),
    "betavae": (betavae, {"num_train": 60, "num_eval": 30, "batch_size": 8}),
    "mig": (mig, {"num_train": 200}),
    "dci": (dci, {"num_train": 60, "num_eval": 30, "estimator": "histogram"}),
    "modularity": (modularity, {"num_train": 100, "num_eval": 50}),
    "sap": (sap, {"num_train": 100, "num_eval": 50}),
    "irs": (irs, {"num_train": 200}),
    "unsupervised": (unsupervised, {"num_train": 200}),
}


def one_ulp_apart(factors):
    low = np.float32(0.25)
    return np.where(factors[:, :2] > 0, np.nextafter(low, np.float32(1)), low)


MORE = {
    "in the hundreds of millions": lambda f: (f * 1e8).astype(np.float32),
    "at the limit": lambda f: (f * 1.9e15).astype(np.float32),
    "tiny": lambda f: (f * 1e-30).astype(np.float32),
    "half precision": lambda f: f.astype(np.float16),
    "integers": lambda f: f.astype(np.int64),
    "one dimension": lambda f: f[:, :1],
    "linearly dependent": lambda f: np.hstack([f, f.sum(axis=1, keepdims=True)]),
    "a unit in the last place": one_ulp_apart,
    "a constant far from zero": lambda f: np.full((len(f), 2), 1e9, np.float32),
    "nothing of the factors": lambda f: np.random.default_rng(len(f)).normal(size=(len(f), 3)),
}
SIZES = {"usual": (2, 3, 4), "a constant factor": (3, 1, 4), "one factor": (4,), "nothing varies": (1, 1)}


def assert_sound(metric, encoder, data, settings):
    """A score or a reason for there being none, in JSON without NaN."""
    result = metric(encoder, data, seed=1, **settings)
    text = json.dumps(result, allow_nan=False)
    assert json.loads(text) == result
    keys = list(result)
    assert (keys[0], keys[-1]) == ("score", "protocol")
    if result["score"] is None:
        assert result["reason"]
    else:
        assert math.isfinite(result["score"])
    return result


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("kind", ["identity", "rotated", "dead dimensions", "constant", "NaN"])
def test_the_five_representations(name, kind, representation, make_data):
    metric, settings = METRICS[name]
    encoder, data = representation(kind), make_data((2, 3, 4, 2))
    if kind == "NaN":
        with pytest.raises(MetricError, match="NaN"):
            metric(encoder, data, **settings)
        return
    result = assert_sound(metric, encoder, data, settings)
    at_least = {"identity": 0.9, "dead dimensions": 0.6}
    if kind in at_least and name not in ("sap", "unsupervised"):  # for them see their own tests
        assert result["score"] >= at_least[kind]
    if kind == "constant" and name != "unsupervised":
        assert result["score"] < 0.6


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("kind", MORE)
def test_odd_representations(name, kind, make_encoder, make_data):
    metric, settings = METRICS[name]
    assert_sound(metric, make_encoder(MORE[kind], 3), make_data((2, 3, 4)), settings)


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("kind", SIZES)
def test_odd_data_sets(name, kind, make_encoder, make_data):
    metric, settings = METRICS[name]
    sizes = SIZES[kind]
    assert_sound(metric, make_encoder(num_factors=len(sizes)), make_data(sizes), settings)
    assert_sound(metric, make_encoder(lambda f: np.zeros((len(f), 2)), len(sizes)), make_data(sizes), settings)


@pytest.mark.parametrize("name", METRICS)
def test_a_data_set_without_factors_is_refused(name, representation, make_data):
    metric, settings = METRICS[name]
    data = make_data()
    data.factor_sizes = data.factor_names = None
    with pytest.raises(MetricError, match=f"^{name} needs ground-truth factors.*'factored' has none"):
        metric(representation("identity"), data, **settings)


class Bare:
    """Someone's dataset: no name, no names of factors, sizes in an array, and a length only where `sized`."""

    def __init__(self, data):
        self.factor_sizes = np.array(data.factor_sizes)
        self.images, self.index_of = data.images, data.index_of


class Sized(Bare):
    def __len__(self):
        return int(np.prod(self.factor_sizes))


@pytest.mark.parametrize("name", METRICS)
def test_images_and_factors_are_all_that_a_data_set_needs(name, representation, make_data):
    metric, settings = METRICS[name]
    data = make_data((2, 3, 4, 2))
    bare = Sized(data) if name == "factorvae" else Bare(data)
    expected = metric(representation("rotated"), data, seed=1, **settings)
    if "factors" in expected:
        expected["factors"] = ["0", "1", "2", "3"]
    assert assert_sound(metric, representation("rotated"), bare, settings) == expected


def test_the_entire_data_set_has_a_length_or_it_is_that_of_its_factors(representation, data):
    settings = {"votes": 20, "samples_per_vote": 10}
    without, within = (factorvae(representation("identity"), one, **settings) for one in (Bare(data), data))
    assert without.pop("factors") != within.pop("factors")  # which have no names there
    assert without == within


@pytest.mark.parametrize("sizes", [(), np.array([]), None])
def test_no_factors_are_refused_whatever_says_so(sizes, representation, data):
    bare = Bare(data)
    bare.factor_sizes = sizes
    with pytest.raises(MetricError, match="needs ground-truth factors and dataset 'Bare' has none"):
        mig(representation("identity"), bare)


@pytest.mark.parametrize("name", METRICS)
def test_two_images_are_enough_to_get_an_answer(name, make_encoder, make_data):
    metric, _ = METRICS[name]
    fewest = {
        "factorvae": {"votes": 1, "samples_per_vote": 2, "variance_images": 2},
        "factorvae_dlib": {"num_train": 1, "num_eval": 1, "num_variance_estimate": 2, "batch_size": 2},
        "betavae": {"num_train": 2, "num_eval": 1, "batch_size": 1},
    }
    settings = fewest.get(name, {"num_train": 2} | ({"num_eval": 1} if name in ("dci", "modularity", "sap") else {}))
    for seed in range(4):
        result = metric(make_encoder(num_factors=2), make_data((2, 3)), seed=seed, **settings)
        json.dumps(result, allow_nan=False)
        assert result["score"] is not None or result["reason"]


def test_varying_is_exact():
    values = np.array([[0.1, 1.0], [0.1, 1.0 + 1e-16], [0.1, 1.0 + 2.3e-16]])
    assert varying(values).tolist() == [False, True]


def test_reasons():
    assert constant_factors(["a", "b", "c"], np.array([True, False, False])) == "took one value only and left out: b, c"
    assert constant_factors(["a"], np.array([True])) is None
    assert joined(None, "one", None, "two") == "one; two"
    assert joined(None, None) is None
