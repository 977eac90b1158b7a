"""Disentanglement, completeness and informativeness.

After "A Framework for the Quantitative Evaluation of Disentangled Representations" (Eastwood & Williams, 2018), by
disentanglement_lib's protocol (`dci`): the importance of a code for a factor is that in boosted trees.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import PositiveInt
from scipy.stats import entropy
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier

from ibgan_plugin.evaluation.degenerate import constant_factors, factor_names, joined, varying
from ibgan_plugin.evaluation.encoding import Codes
from ibgan_plugin.evaluation.estimators import fitted
from ibgan_plugin.evaluation.results import metric_result
from ibgan_plugin.evaluation.sampling import AtLeastTwo, Integers, draw_codes, factor_sizes, random_state
from zoo.interfaces import Dataset, Encoder
from zoo.terminal import Progress, progress

# What disentanglement_lib adds to every importance before it takes entropies.
TINY = 1e-11


def dci(
    model: Encoder,
    data: Dataset,
    seed: int = 0,
    *,
    num_train: AtLeastTwo = 10_000,
    num_eval: PositiveInt = 5_000,
    num_test: PositiveInt | None = None,
    batch_size: PositiveInt = 16,
    estimator: Literal["gradient_boosting", "histogram"] = "gradient_boosting",
) -> dict[str, Any]:
    """DCI: do codes tell of one factor each, are factors told by one code each, and how well are they told.

    Takes minutes: one gradient-boosted classifier per factor, 100 rounds of a tree per value of the factor.

    Args:
        model: anything with `encode`: float32 (n, C, H, W) images in [0, 1] -> (n, D) codes.
        data: a dataset with ground-truth factors.
        seed: of the legacy RandomState, and of every classifier (disentanglement_lib leaves them unseeded). Draws in
            order, per batch: `batch_size` values of each factor in turn; the training images first.
        num_train: images that train the classifiers.
        num_eval: fresh images for `informativeness_test`.
        num_test: disentanglement_lib's name for `num_eval` here; goes before it.
        batch_size: images per draw, and per call of `encode`.
        estimator: "gradient_boosting" is the published one; "histogram" is scikit-learn's histogram-based one, faster,
            its importances being the gains of its splits. Its scores are not comparable with published ones.

    Returns:
        `score`, which is `disentanglement`; `completeness`; `informativeness_train` and `informativeness_test`, mean
        accuracies over the factors; all in [0, 1]; `importance` (D, F), a column summing to 1 (0 where no code helped);
        `factors`, the names of its columns; `protocol`. Factors that took one value only in training are left out.
        `disentanglement` needs two factors and `completeness` two codes; they are None otherwise; all with a `reason`.

    Raises:
        MetricError: no factors, no `encode`, or codes of the wrong shape or not finite.
    """
    sizes = factor_sizes(data, "dci")
    num_eval = num_test or num_eval
    rng = random_state(seed)
    train, train_factors = draw_codes(model, data, sizes, num_train, rng, batch_size, what="dci: encoding images")
    test, test_factors = draw_codes(model, data, sizes, num_eval, rng, batch_size, what="dci: encoding test images")

    names, varies = factor_names(data, len(sizes)), varying(train_factors)
    used = np.flatnonzero(varies)
    importance = np.zeros((train.shape[1], len(used)))
    right_train, right_test = np.zeros(len(used)), np.zeros(len(used))
    trees = ROUNDS * sum(_trees_per_round(train_factors[:, factor]) for factor in used)
    with progress("dci: growing trees", trees) as bar:
        for column, factor in enumerate(used):
            labels = train_factors[:, factor]
            classifier, importance[:, column] = _CLASSIFIERS[estimator](train, labels, seed, bar)
            right_train[column] = np.mean(classifier.predict(train) == labels)
            right_test[column] = np.mean(classifier.predict(test) == test_factors[:, factor])

    score = disentanglement(importance) if len(used) > 1 else None
    return metric_result(
        score,
        {
            "source": "disentanglement_lib, dci",
            "num_train": num_train,
            "num_eval": num_eval,
            "batch_size": batch_size,
            "estimator": estimator,
            "seed": seed,
        },
        reason=joined(
            constant_factors(names, varies),
            "disentanglement needs two factors that vary" if len(used) < 2 else None,
            "completeness needs two code dimensions" if train.shape[1] < 2 else None,
        ),
        disentanglement=score,
        completeness=completeness(importance) if train.shape[1] > 1 and len(used) else None,
        informativeness_train=right_train.mean() if len(used) else None,
        informativeness_test=right_test.mean() if len(used) else None,
        importance=importance,
        factors=[names[factor] for factor in used],
    )


def disentanglement(importance: NDArray[np.float64]) -> float:
    """1 - the entropy, in base F, of each code's importances over the factors, weighted by the code's share of all.

    `importance` is (D, F) with F >= 2.
    """
    per_code = 1 - entropy(importance.T + TINY, base=importance.shape[1])
    return float(np.sum(per_code * _shares(importance, axis=1)))


def completeness(importance: NDArray[np.float64]) -> float:
    """1 - the entropy, in base D, of each factor's importances over the codes, weighted by the factor's share of all.

    `importance` is (D, F) with D >= 2.
    """
    per_factor = 1 - entropy(importance + TINY, base=importance.shape[0])
    return float(np.sum(per_factor * _shares(importance, axis=0)))


def _shares(importance: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    if importance.sum() == 0:  # no code helped with any factor: all count the same
        importance = np.ones_like(importance)
    return np.asarray(importance.sum(axis=axis) / importance.sum())


# scikit-learn's default for both classifiers.
ROUNDS = 100


def _trees_per_round(labels: Integers) -> int:
    values = len(np.unique(labels))
    return 1 if values == 2 else values


def _gradient_boosting(
    codes: Codes, labels: Integers, seed: int, bar: Progress
) -> tuple[GradientBoostingClassifier, NDArray[np.float64]]:
    trees = _trees_per_round(labels)

    def count(*_: Any) -> bool:
        bar.advance(trees)
        return False  # don't stop

    classifier, _ = fitted(GradientBoostingClassifier(random_state=seed), codes, labels, monitor=count)
    return classifier, np.abs(classifier.feature_importances_)


def _histogram(
    codes: Codes, labels: Integers, seed: int, bar: Progress
) -> tuple[HistGradientBoostingClassifier, NDArray[np.float64]]:
    # Early stopping would make the number of rounds, and so the importances, depend on a random split.
    classifier, _ = fitted(
        HistGradientBoostingClassifier(max_iter=ROUNDS, early_stopping=False, random_state=seed), codes, labels
    )
    bar.advance(ROUNDS * _trees_per_round(labels))
    gains = np.zeros(codes.shape[1])
    for tree in (tree for trees in classifier._predictors for tree in trees):  # scikit-learn shows them nowhere else
        splits = tree.nodes[tree.nodes["is_leaf"] == 0]
        np.add.at(gains, splits["feature_idx"], splits["gain"])
    return classifier, gains / gains.sum() if gains.any() else gains


_CLASSIFIERS = {"gradient_boosting": _gradient_boosting, "histogram": _histogram}
