"""The beta-VAE score: how well a linear classifier tells which factor two sets of images share.

After "beta-VAE: Learning Basic Visual Concepts with a Constrained Variational Framework" (Higgins et al., 2017), by
disentanglement_lib's protocol (`beta_vae_sklearn`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import PositiveInt
from sklearn.linear_model import LogisticRegression

from ibgan_plugin.evaluation.encoding import Codes
from ibgan_plugin.evaluation.estimators import fitted
from ibgan_plugin.evaluation.results import metric_result
from ibgan_plugin.evaluation.sampling import AtLeastTwo, Integers, draw_factors, encode_sets, factor_sizes, random_state
from zoo.interfaces import Dataset, Encoder


def betavae(
    model: Encoder,
    data: Dataset,
    seed: int = 0,
    *,
    num_train: AtLeastTwo = 10_000,
    num_eval: PositiveInt = 5_000,
    batch_size: PositiveInt = 64,
) -> dict[str, Any]:
    """beta-VAE score: accuracy of a logistic regression from mean absolute code differences to the shared factor.

    A point: draw a factor; draw `batch_size` pairs of images that share its value; average |code - code| over the
    pairs, per dimension. The label is the factor.

    Args:
        model: anything with `encode`: float32 (n, C, H, W) images in [0, 1] -> (n, D) codes.
        data: a dataset with ground-truth factors.
        seed: of the legacy RandomState. Draws in order, per point: the shared factor, `batch_size` values of each
            factor in turn for the first images, and the same for the second ones.
        num_train: points that train the classifier.
        num_eval: fresh points that it is scored on.
        batch_size: pairs of images per point.

    Returns:
        `score`, which is `eval_accuracy`; `train_accuracy`; `converged`, whether the solver did within scikit-learn's
        default of 100 iterations; `protocol`. None with a `reason` where only one factor was ever drawn.

    Raises:
        MetricError: no factors, no `encode`, or codes of the wrong shape or not finite.
    """
    sizes = factor_sizes(data, "betavae")
    rng = random_state(seed)
    protocol = {
        "source": "disentanglement_lib, beta_vae_sklearn",
        "num_train": num_train,
        "num_eval": num_eval,
        "batch_size": batch_size,
        "estimator": "LogisticRegression",
        "seed": seed,
    }

    # The evaluation's points are drawn before the classifier is fitted, whose solver draws nothing.
    labels = np.empty(num_train + num_eval, np.int64)
    draws = pair_draws(sizes, labels, batch_size, rng)
    codes = encode_sets(model, data, draws, rng, 2 * len(labels) * batch_size, what="betavae: encoding images")
    if len(np.unique(labels[:num_train])) < 2:
        reason = "only one factor was drawn in training, so there is nothing to tell apart"
        return metric_result(None, protocol, reason=reason, eval_accuracy=None, train_accuracy=None, converged=None)

    points = np.stack([mean_difference(codes(point)) for point in range(len(labels))]).astype(np.float64)
    classifier, converged = fitted(LogisticRegression(random_state=rng), points[:num_train], labels[:num_train])
    right: NDArray[np.bool_] = classifier.predict(points) == labels
    score = right[num_train:].mean()
    return metric_result(
        score, protocol, eval_accuracy=score, train_accuracy=right[:num_train].mean(), converged=converged
    )


def pair_draws(sizes: tuple[int, ...], labels: Integers, pairs: int, rng: np.random.RandomState) -> Iterator[Integers]:
    """Draw points one by one as int64 (2 * `pairs`, F) factors, all first images before all second ones.

    The number of the factor that the two images of each pair share goes into `labels`.
    """
    for point in range(len(labels)):
        shared = labels[point] = rng.randint(len(sizes))
        first = draw_factors(sizes, pairs, rng)
        second = draw_factors(sizes, pairs, rng)
        second[:, shared] = first[:, shared]
        yield np.concatenate([first, second])


def mean_difference(codes: Codes) -> Codes:
    """Return the (D,) mean of |first - second| over pairs, given (2n, D) codes of the first and the second images."""
    first, second = np.split(codes, 2)
    return np.asarray(np.abs(first - second).mean(axis=0))
