"""Separated attribute predictability.

After "Variational Inference of Disentangled Latent Concepts from Unlabeled Observations" (Kumar et al., 2018), Section
3, by disentanglement_lib's protocol (`sap_score`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import PositiveInt
from sklearn.svm import LinearSVC

from ibgan_plugin.evaluation.degenerate import constant_factors, factor_names, joined, varying
from ibgan_plugin.evaluation.encoding import Codes
from ibgan_plugin.evaluation.estimators import fitted
from ibgan_plugin.evaluation.results import metric_result
from ibgan_plugin.evaluation.sampling import AtLeastTwo, Integers, draw_codes, factor_sizes, random_state
from zoo.interfaces import Dataset, Encoder
from zoo.terminal import progress


def sap(
    model: Encoder,
    data: Dataset,
    seed: int = 0,
    *,
    num_train: AtLeastTwo = 10_000,
    num_eval: PositiveInt = 5_000,
    num_test: PositiveInt | None = None,
    batch_size: PositiveInt = 16,
    continuous_factors: bool = False,
) -> dict[str, Any]:
    """SAP: by how much the best single code predicts a factor better than the second best one does.

    Args:
        model: anything with `encode`: float32 (n, C, H, W) images in [0, 1] -> (n, D) codes.
        data: a dataset with ground-truth factors.
        seed: of the legacy RandomState. Draws in order, per batch: `batch_size` values of each factor in turn; the
            training images first.
        num_train: images that train the classifiers.
        num_eval: fresh images that they are scored on.
        num_test: disentanglement_lib's name for `num_eval` here; goes before it.
        batch_size: images per draw, and per call of `encode`.
        continuous_factors: score a pair by its squared correlation over the training images instead of by the accuracy
            of a linear support vector machine from the raw code to the factor's value.

    Returns:
        `score`, which is `SAP_score`: the mean over the factors, in [0, 1]; `predictability` (D, F), the accuracies or
        squared correlations; `converged`, whether every solver did; `factors`, the names of the columns; `protocol`.
        Factors that took one value only in training are left out; with a single code there is no second best and the
        score is None; both with a `reason`.

    Raises:
        MetricError: no factors, no `encode`, or codes of the wrong shape or not finite.
    """
    sizes = factor_sizes(data, "sap")
    num_eval = num_test or num_eval
    rng = random_state(seed)
    train, train_factors = draw_codes(model, data, sizes, num_train, rng, batch_size, what="sap: encoding images")
    test, test_factors = draw_codes(model, data, sizes, num_eval, rng, batch_size, what="sap: encoding test images")

    names, varies = factor_names(data, len(sizes)), varying(train_factors)
    used = np.flatnonzero(varies)
    if continuous_factors:
        predictability, converged = squared_correlations(train, train_factors[:, used]), True
    else:
        predictability, converged = _accuracies(train, train_factors[:, used], test, test_factors[:, used])
    score = gap_of_best_two(predictability) if train.shape[1] > 1 and len(used) else None
    return metric_result(
        score,
        {
            "source": "disentanglement_lib, sap_score",
            "num_train": num_train,
            "num_eval": num_eval,
            "batch_size": batch_size,
            "continuous_factors": continuous_factors,
            "estimator": "squared correlation" if continuous_factors else "LinearSVC(C=0.01, class_weight='balanced')",
            "seed": seed,
        },
        reason=joined(
            "there is one code dimension only, so no gap to a second one" if train.shape[1] == 1 else None,
            constant_factors(names, varies),
        ),
        SAP_score=score,
        predictability=predictability,
        converged=converged,
        factors=[names[factor] for factor in used],
    )


def gap_of_best_two(predictability: NDArray[np.float64]) -> float:
    """The mean over the columns of (D, F), D >= 2, of the largest value's lead over the second largest."""
    ordered = np.sort(predictability, axis=0)
    return float(np.mean(ordered[-1] - ordered[-2]))


def squared_correlations(codes: Codes, factors: Integers) -> NDArray[np.float64]:
    """Return the (D, F) squared correlations of (n, D) codes and (n, F) factors; 0 for a code of variance <= 1e-12."""
    result = np.zeros((codes.shape[1], factors.shape[1]))
    for i, code in enumerate(codes.T):
        for j, factor in enumerate(factors.T):
            covariance = np.cov(code, factor, ddof=1)
            if covariance[0, 0] > 1e-12:
                result[i, j] = covariance[0, 1] ** 2 / (covariance[0, 0] * covariance[1, 1])
    return result


def _accuracies(
    train: Codes, train_factors: Integers, test: Codes, test_factors: Integers
) -> tuple[NDArray[np.float64], bool]:
    result, converged = np.zeros((train.shape[1], train_factors.shape[1])), True
    with progress("sap: fitting classifiers", result.size) as bar:
        for i in range(train.shape[1]):
            for j in range(train_factors.shape[1]):
                # The primal solver, scikit-learn's own choice for one feature: disentanglement_lib met the dual one,
                # which reaches the same optimum by unseeded random steps, or stops before it.
                machine, well = fitted(
                    LinearSVC(C=0.01, class_weight="balanced", dual=False), train[:, i : i + 1], train_factors[:, j]
                )
                converged &= well
                result[i, j] = np.mean(machine.predict(test[:, i : i + 1]) == test_factors[:, j])
                bar.advance()
    return result, converged
