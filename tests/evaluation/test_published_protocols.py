"""Every metric of disentanglement_lib against its protocol restated here: plain loops, one draw after the other.

The restatement follows the published code in what it draws from the RandomState and when, and in which precision it
computes; it shares nothing with the modules under test. All numbers must agree to the last digit.
"""

import numpy as np
import pytest
import scipy.linalg
import scipy.stats
import torch
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import mutual_info_score, roc_auc_score
from sklearn.multiclass import OneVsRestClassifier
from sklearn.svm import LinearSVC

from ibgan_plugin.evaluation.betavae import betavae
from ibgan_plugin.evaluation.dci import dci
from ibgan_plugin.evaluation.factorvae import factorvae_dlib
from ibgan_plugin.evaluation.irs import irs
from ibgan_plugin.evaluation.mig import mig
from ibgan_plugin.evaluation.modularity import modularity
from ibgan_plugin.evaluation.sap import sap
from ibgan_plugin.evaluation.unsupervised import unsupervised


class Published:
    """disentanglement_lib's data object and representation function over a data set and an encoder of ours."""

    def __init__(self, data, encoder, seed):
        self.data, self.encoder, self.rng = data, encoder, np.random.RandomState(seed)
        self.num_factors = len(data.factor_sizes)

    def factors(self, num):
        values = np.zeros((num, self.num_factors), dtype=np.int64)
        for column, size in enumerate(self.data.factor_sizes):
            values[:, column] = self.rng.randint(size, size=num)
        return values

    def observations(self, factors):
        indices = self.data.index_of(factors)
        if hasattr(self.data, "observe"):
            return self.data.observe(indices, self.rng)
        return self.data.images(indices).astype(np.float32) / 255

    def represent(self, observations):
        tensor = torch.from_numpy(np.moveaxis(observations, 3, 1).astype(np.float32).copy())
        return np.array(self.encoder.encode(tensor))

    def codes_and_factors(self, num, batch_size):
        """(D, num) codes and (F, num) factors, as the metrics there hold them."""
        codes, factors = [], []
        for start in range(0, num, batch_size):
            drawn = self.factors(min(batch_size, num - start))
            factors.append(drawn)
            codes.append(self.represent(self.observations(drawn)))
        return np.vstack(codes).T, np.vstack(factors).T


def discretized(values, bins):
    result = np.zeros_like(values)
    for i in range(len(values)):
        result[i] = np.digitize(values[i], np.histogram(values[i], bins)[1][:-1])
    return result


def information(codes, factors):
    return np.array([[mutual_info_score(factor, code) for factor in factors] for code in codes])


@pytest.fixture(params=["images by index", "random observations"])
def case(request, data, make_encoder, noisy_data, noise_reading_encoder):
    """A data set and a float32 encoder with a dead dimension, so that precision and order of sums matter."""
    if request.param == "random observations":
        return noisy_data, noise_reading_encoder
    mixed = np.random.default_rng(1).normal(size=(4, 3)).round(2)
    dead_last = make_encoder(lambda f: np.hstack([f @ mixed, np.zeros((len(f), 1))]).astype(np.float32))
    return data, dead_last


def test_factorvae_dlib(case):
    data, encoder = case
    published = Published(data, encoder, seed=7)
    sample = published.observations(published.factors(300))
    codes = np.vstack([published.represent(sample[i : i + 64]) for i in range(0, 300, 64)])
    variances = np.var(codes, axis=0, ddof=1)
    active = np.sqrt(variances) >= 0.05
    accuracies, classifier = [], None
    for num in (400, 200):
        table = np.zeros((published.num_factors, len(variances)), int)
        for _ in range(num):
            fixed = published.rng.randint(published.num_factors)
            factors = published.factors(16)
            factors[:, fixed] = factors[0, fixed]
            local = np.var(published.represent(published.observations(factors)), axis=0, ddof=1)
            table[fixed, np.argmin(local[active] / variances[active])] += 1
        classifier = table.argmax(axis=0) if classifier is None else classifier
        accuracies.append(sum(table[classifier[d], d] for d in range(len(variances))) / num)

    result = factorvae_dlib(
        encoder, data, seed=7, num_train=400, num_eval=200, num_variance_estimate=300, batch_size=16
    )
    assert [result["train_accuracy"], result["eval_accuracy"]] == accuracies
    assert result["score"] == result["eval_accuracy"]
    assert 0.3 < result["score"] < 1, "a case that distinguishes"
    assert result["num_active_dims"] == active.sum()
    assert result["num_active_dims_dlib"] == len(active)


def test_betavae(case):
    data, encoder = case
    published = Published(data, encoder, seed=2)
    points, labels = [], []

    def draw(num):
        points.clear(), labels.clear()
        for _ in range(num):
            shared = published.rng.randint(published.num_factors)
            one, other = published.factors(8), published.factors(8)
            other[:, shared] = one[:, shared]
            one, other = published.observations(one), published.observations(other)
            points.append(np.mean(np.abs(published.represent(one) - published.represent(other)), axis=0))
            labels.append(shared)
        return np.array(points, dtype=np.float64), np.array(labels)

    train, train_labels = draw(200)
    classifier = LogisticRegression(random_state=published.rng).fit(train, train_labels)
    train_accuracy = np.mean(classifier.predict(train) == train_labels)
    test, test_labels = draw(150)
    eval_accuracy = classifier.score(test, test_labels)

    result = betavae(encoder, data, seed=2, num_train=200, num_eval=150, batch_size=8)
    assert (result["train_accuracy"], result["eval_accuracy"]) == (train_accuracy, eval_accuracy)
    assert 0.3 < result["score"] < 1
    assert result["converged"]


def test_mig(case):
    data, encoder = case
    codes, factors = Published(data, encoder, seed=3).codes_and_factors(500, 16)
    table = np.sort(information(discretized(codes, 20), factors), axis=0)[::-1]
    entropy = [mutual_info_score(factor, factor) for factor in factors]
    expected = np.mean((table[0] - table[1]) / entropy)
    assert mig(encoder, data, seed=3, num_train=500)["discrete_mig"] == expected


def test_dci(case):
    data, encoder = case
    published = Published(data, encoder, seed=4)
    train, train_factors = published.codes_and_factors(100, 16)
    test, test_factors = published.codes_and_factors(60, 16)
    importance, right_train, right_test = np.zeros((len(train), len(train_factors))), [], []
    for j, labels in enumerate(train_factors):
        model = GradientBoostingClassifier(random_state=4).fit(train.T, labels)
        importance[:, j] = np.abs(model.feature_importances_)
        right_train.append(np.mean(model.predict(train.T) == labels))
        right_test.append(np.mean(model.predict(test.T) == test_factors[j]))
    per_code = 1 - scipy.stats.entropy(importance.T + 1e-11, base=importance.shape[1])
    per_factor = 1 - scipy.stats.entropy(importance + 1e-11, base=importance.shape[0])

    result = dci(encoder, data, seed=4, num_train=100, num_eval=60)
    assert result["importance"] == importance.tolist()
    assert result["disentanglement"] == np.sum(per_code * importance.sum(axis=1) / importance.sum())
    assert result["completeness"] == np.sum(per_factor * importance.sum(axis=0) / importance.sum())
    assert result["informativeness_train"] == np.mean(right_train)
    assert result["informativeness_test"] == np.mean(right_test)


def test_modularity(case):
    data, encoder = case
    published = Published(data, encoder, seed=5)
    train, train_factors = published.codes_and_factors(300, 16)
    test, test_factors = published.codes_and_factors(200, 16)
    squared = information(discretized(train, 20), train_factors) ** 2
    scores = []
    for row in squared:
        others = np.sum(row) - np.max(row)
        scores.append(1 - others / (np.max(row) * (len(row) - 1.0)) if np.max(row) else 0.0)
    mean, deviation = np.mean(train, axis=1), np.std(train, axis=1)
    deviation[deviation == 0] = 1  # NaN there
    train, test = ((codes - mean[:, None]) / deviation[:, None] for codes in (train, test))
    areas = []
    for labels, test_labels in zip(train_factors, test_factors, strict=True):
        model = OneVsRestClassifier(LogisticRegression()).fit(train.T, labels)
        areas.append(
            [
                roc_auc_score(given[:, None] == np.unique(given), model.predict_proba(codes.T))
                for codes, given in ((train, labels), (test, test_labels))
            ]
        )

    result = modularity(encoder, data, seed=5, num_train=300, num_eval=200)
    assert result["modularity_score"] == np.mean(scores)
    assert [result["explicitness_score_train"], result["explicitness_score_test"]] == np.mean(areas, axis=0).tolist()
    assert result["converged"]


@pytest.mark.parametrize("continuous", [False, True])
def test_sap(case, continuous):
    data, encoder = case
    published = Published(data, encoder, seed=6)
    train, train_factors = published.codes_and_factors(300, 16)
    test, test_factors = published.codes_and_factors(200, 16)
    table = np.zeros((len(train), len(train_factors)))
    for i, code in enumerate(train):
        for j, labels in enumerate(train_factors):
            if continuous:
                covariance = np.cov(code, labels, ddof=1)
                if covariance[0, 0] > 1e-12:
                    table[i, j] = covariance[0, 1] ** 2 / (covariance[0, 0] * covariance[1, 1])
            else:
                machine = LinearSVC(C=0.01, class_weight="balanced").fit(code[:, None], labels)
                table[i, j] = np.mean(machine.predict(test[i][:, None]) == test_factors[j])
    ordered = np.sort(table, axis=0)

    result = sap(encoder, data, seed=6, num_train=300, num_eval=200, continuous_factors=continuous)
    assert result["predictability"] == table.tolist()
    assert result == sap(encoder, data, seed=6, num_train=300, num_test=200, continuous_factors=continuous)
    assert result["SAP_score"] == np.mean(ordered[-1] - ordered[-2])
    assert result["converged"]


def test_irs(case):
    data, encoder = case
    codes, factors = Published(data, encoder, seed=8).codes_and_factors(400, 16)
    groups = discretized(factors, 20).T
    latents = codes[codes.var(axis=1) > 0].T
    largest = np.max(np.abs(latents - latents.mean(axis=0)), axis=0)
    deviations = np.zeros((latents.shape[1], groups.shape[1]))
    for i in range(groups.shape[1]):
        values = np.unique(groups[:, i])
        for value in values:
            group = latents[groups[:, i] == value]
            deviations[:, i] += np.percentile(np.abs(group - np.mean(group, axis=0)), q=99, axis=0)
        deviations[:, i] /= len(values)
    expected = np.average((1 - deviations / largest[:, None]).max(axis=1), weights=largest)

    result = irs(encoder, data, seed=8, num_train=400)
    assert result["IRS"] == expected
    assert result["num_active_dims"] == latents.shape[1]


def test_unsupervised(case):
    data, encoder = case
    codes, _ = Published(data, encoder, seed=9).codes_and_factors(400, 16)
    alive = codes[codes.var(axis=1) > 0]  # dead ones make it NaN there
    covariance = np.cov(alive)
    total = 0.5 * (np.sum(np.log(np.diag(covariance))) - np.linalg.slogdet(covariance)[1])
    root = scipy.linalg.sqrtm(covariance * np.expand_dims(np.diag(covariance), axis=1))
    distance = 2 * np.trace(covariance) - 2 * np.trace(root)
    table = information(discretized(codes, 20), discretized(codes, 20))
    np.fill_diagonal(table, 0)

    result = unsupervised(encoder, data, seed=9, num_train=400)
    assert result["gaussian_total_correlation"] == total
    assert result["gaussian_wasserstein_correlation"] == distance
    assert result["gaussian_wasserstein_correlation_norm"] == distance / np.sum(np.diag(covariance))
    assert result["mutual_info_score"] == np.sum(table) / (len(codes) ** 2 - len(codes))


def test_a_batch_size_is_part_of_the_protocol(data, make_encoder):
    encoder = make_encoder(lambda factors: factors @ np.random.default_rng(1).normal(size=(4, 3)))
    codes, factors = Published(data, encoder, seed=3).codes_and_factors(500, 50)
    table = np.sort(information(discretized(codes, 20), factors), axis=0)[::-1]
    entropy = [mutual_info_score(factor, factor) for factor in factors]
    result = mig(encoder, data, seed=3, num_train=500, batch_size=50)
    assert result["discrete_mig"] == np.mean((table[0] - table[1]) / entropy)
    assert result["discrete_mig"] != mig(encoder, data, seed=3, num_train=500)["discrete_mig"]
