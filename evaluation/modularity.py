"""Modularity of the codes and explicitness of the factors.

After "Learning Deep Disentangled Embeddings with the F-Statistic Loss" (Ridgeway & Mozer, 2018), by
disentanglement_lib's protocol (`modularity_explicitness`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import PositiveInt
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.multiclass import OneVsRestClassifier

from ibgan_plugin.evaluation.degenerate import constant_factors, factor_names, joined, varying
from ibgan_plugin.evaluation.discrete import histogram_bins, mutual_information
from ibgan_plugin.evaluation.encoding import Codes
from ibgan_plugin.evaluation.estimators import fitted
from ibgan_plugin.evaluation.results import metric_result
from ibgan_plugin.evaluation.sampling import AtLeastTwo, Integers, draw_codes, factor_sizes, random_state
from zoo.interfaces import Dataset, Encoder
from zoo.terminal import progress


def modularity(
    model: Encoder,
    data: Dataset,
    seed: int = 0,
    *,
    num_train: AtLeastTwo = 10_000,
    num_eval: PositiveInt = 5_000,
    num_test: PositiveInt | None = None,
    batch_size: PositiveInt = 16,
    num_bins: PositiveInt = 20,
) -> dict[str, Any]:
    """Modularity: does each code depend on one factor only? Explicitness: can a linear classifier read the factors?

    Args:
        model: anything with `encode`: float32 (n, C, H, W) images in [0, 1] -> (n, D) codes.
        data: a dataset with ground-truth factors.
        seed: of the legacy RandomState. Draws in order, per batch: `batch_size` values of each factor in turn; the
            training images first.
        num_train: images for the mutual information, and to train the classifiers.
        num_eval: fresh images for `explicitness_score_test`.
        num_test: disentanglement_lib's name for `num_eval` here; goes before it.
        batch_size: images per draw, and per call of `encode`.
        num_bins: equal bins that each code is cut into, from its least to its largest value.

    Returns:
        `score`, which is `modularity_score`, in [0, 1]: the mean over the codes, 0 for a code that tells nothing of any
        factor; `explicitness_score_train` and `explicitness_score_test`: the area under the ROC curve of one-vs-rest
        logistic regressions on standardised codes, mean over the values of a factor, then over the factors;
        `converged`, whether every solver did; `mutual_information` (D, F) in nats; `factors`; `protocol`. Factors that
        took one value only in training are left out, and so are values that the test images lack; modularity needs
        two factors and is None otherwise; all with a `reason`.

    Raises:
        MetricError: no factors, no `encode`, or codes of the wrong shape or not finite.
    """
    sizes = factor_sizes(data, "modularity")
    num_eval = num_test or num_eval
    rng = random_state(seed)
    train, train_factors = draw_codes(model, data, sizes, num_train, rng, batch_size, what="modularity: encoding")
    test, test_factors = draw_codes(model, data, sizes, num_eval, rng, batch_size, what="modularity: encoding tests")

    names, varies = factor_names(data, len(sizes)), varying(train_factors)
    used = np.flatnonzero(varies)
    information = mutual_information(histogram_bins(train, num_bins), train_factors)
    score = modularity_of(information[:, used]) if len(used) > 1 else None

    mean, deviation = train.mean(axis=0), train.std(axis=0)
    dead = ~varying(train) | (deviation == 0)
    mean[dead], deviation[dead] = train[0, dead], 1  # a dead code becomes 0, neither NaN nor a magnified rounding
    train, test = (train - mean) / deviation, (test - mean) / deviation
    areas_train: list[Any] = []
    areas_test: list[Any] = []
    converged, lacking = True, 0
    with progress("modularity: fitting classifiers", sum(sizes[factor] for factor in used)) as bar:
        for factor in used:
            labels = train_factors[:, factor]
            classifier, well = fitted(OneVsRestClassifier(LogisticRegression()), train, labels)
            converged &= well
            areas_train.append(np.mean(_areas(classifier, train, labels)))
            areas = _areas(classifier, test, test_factors[:, factor])
            lacking += len(classifier.classes_) - len(areas)
            areas_test.append(np.mean(areas) if areas else np.nan)
            bar.advance(sizes[factor])
    return metric_result(
        score,
        {
            "source": "disentanglement_lib, modularity_explicitness",
            "num_train": num_train,
            "num_eval": num_eval,
            "batch_size": batch_size,
            "num_bins": num_bins,
            "estimator": "one-vs-rest LogisticRegression",
            "seed": seed,
        },
        reason=joined(
            constant_factors(names, varies),
            "modularity needs two factors that vary" if len(used) < 2 else None,
            f"{lacking} values of factors have no area on the test images, which lack them or hold nothing else"
            if lacking
            else None,
        ),
        modularity_score=score,
        explicitness_score_train=np.mean(areas_train) if areas_train else None,
        explicitness_score_test=np.mean(areas_test) if areas_test else None,
        converged=converged,
        mutual_information=information,
        factors=names,
    )


def modularity_of(information: NDArray[np.float64]) -> float:
    """The mean over the codes of 1 - (squared information on all but the best factor) / (best squared * (F - 1)).

    `information` is (D, F) with F >= 2; a code without information on any factor counts 0.
    """
    squared = np.square(information)
    best = squared.max(axis=1)
    others = squared.sum(axis=1) - best
    told = best > 0
    scores = np.zeros(len(squared))
    scores[told] = 1 - others[told] / (best[told] * (squared.shape[1] - 1.0))
    return float(scores.mean())


def _areas(classifier: OneVsRestClassifier, codes: Codes, labels: Integers) -> list[float]:
    """The areas under the ROC curves of the values that some, but not all, of `labels` have."""
    probabilities = classifier.predict_proba(codes)
    is_value = labels[:, np.newaxis] == classifier.classes_
    counts = is_value.sum(axis=0)
    return [
        float(roc_auc_score(is_value[:, k], probabilities[:, k]))
        for k in np.flatnonzero((counts > 0) & (counts < len(labels)))
    ]
