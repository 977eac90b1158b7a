"""The FactorVAE score by two protocols: the IB-GAN paper's (`factorvae`) and disentanglement_lib's (`factorvae_dlib`).

Both after "Disentangling by Factorising" (Kim & Mnih, 2018): images that share one factor's value vote with the code
dimension that varies least among them, relative to its variance over the data; the score is the accuracy of the
majority-vote classifier from dimensions to factors.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveInt

from ibgan_plugin.evaluation.degenerate import factor_names, varying
from ibgan_plugin.evaluation.encoding import ENCODE_BATCH, Codes, EncodedImages, encode_indices, encoding_in
from ibgan_plugin.evaluation.results import metric_result
from ibgan_plugin.evaluation.sampling import (
    AtLeastTwo,
    Integers,
    dataset_size,
    draw_factors,
    draw_sample,
    encode_sets,
    factor_sizes,
    random_state,
)
from zoo.interfaces import Dataset, Encoder

# The batches in which disentanglement_lib encodes the images for the variances.
DLIB_ENCODE_BATCH = 64

# dSprites' size: the most images that "the entire dataset" is taken literally for.
LARGEST_ENTIRE_DATASET = 737_280


def factorvae(
    model: Encoder,
    data: Dataset,
    seed: int = 0,
    *,
    votes: PositiveInt = 800,
    samples_per_vote: AtLeastTwo = 100,
    variance_threshold: Annotated[float, Field(ge=0)] = 0.05,
    variance_images: AtLeastTwo | None = None,
    batch_size: PositiveInt = ENCODE_BATCH,
    precision: Literal["fp32", "bf16"] = "fp32",
) -> dict[str, Any]:
    """FactorVAE score by the protocol of the IB-GAN paper (Appendix C.1).

    A vote: draw a factor, fix it at a drawn value, draw `samples_per_vote` images, encode them, and take the dimension
    with the least variance after division by its variance over the entire dataset. Dimensions whose variance over the
    entire dataset (the variance, not its root) is below `variance_threshold` take no part.

    Args:
        model: anything with `encode`: float32 (n, C, H, W) images in [0, 1] -> (n, D) codes.
        data: a dataset with ground-truth factors.
        seed: of the legacy RandomState, 0 to 2**32 - 1. Draws in order: the images for the variances, where these are
            a sample; then per vote the factor, and `samples_per_vote` values of each factor in turn.
        votes: how many votes train the classifier, and how many fresh ones it is evaluated on.
        samples_per_vote: images per vote.
        variance_threshold: least variance of an active dimension, in squared units of the code.
        variance_images: how many images give the variances, drawn with replacement from a dataset that has more; None
            is the entire dataset, or a sample of 737,280 images from one that is larger than that.
        batch_size: images per call of `encode`.
        precision: "bf16" runs the encoder's matrix products in bfloat16 where torch can: faster, but close votes can
            go otherwise, so its scores are estimates of those in "fp32".

    Returns:
        `score`, the accuracy on the training votes as the authors report it; `eval_accuracy`, on as many fresh votes;
        `vote_table` and `eval_vote_table`, counts (F, D), and the `factors` that name the rows; `classifier`, each
        dimension's factor (None for inactive ones); `variances` (D,); `active_dims`; `num_active_dims`; `protocol`.
        Without an active dimension both accuracies are 0, with a `reason`.

    Raises:
        MetricError: no factors, no `encode`, or codes of the wrong shape or not finite.
    """
    sizes = factor_sizes(data, "factorvae")
    rng = random_state(seed)
    wanted = LARGEST_ENTIRE_DATASET if variance_images is None else variance_images
    size = dataset_size(data, "factorvae")
    entire = wanted >= size
    protocol = {
        "source": "IB-GAN paper, Appendix C.1",
        "votes": votes,
        "samples_per_vote": samples_per_vote,
        "variance_threshold": variance_threshold,
        "variance_images": size if entire else wanted,
        "variance_over": "the entire dataset" if entire else "a sample with replacement",
        "batch_size": batch_size,
        "precision": precision,
        "seed": seed,
    }

    with encoding_in(precision, model):
        if entire:
            known = EncodedImages(model, data, np.arange(size), batch_size, what="factorvae: encoding the dataset")
            codes = known.codes
        else:
            sample = data.index_of(draw_factors(sizes, wanted, rng))
            codes = encode_indices(model, data, sample, batch_size, what="factorvae: encoding for the variances")
    variances = codes.var(axis=0, dtype=np.float64)
    # A dead dimension can't be compared with its variance, which need not be 0 exactly.
    active = (variances >= variance_threshold) & varying(codes)

    dims = {"variances": variances, "active_dims": np.flatnonzero(active), "num_active_dims": int(active.sum())}
    table_shape = (len(sizes), len(variances))
    names = factor_names(data, len(sizes))
    if not active.any():
        none = np.zeros(table_shape, np.int64)
        reason = f"no dimension has a variance of {variance_threshold:g} or more over the dataset"
        accuracies = {"eval_accuracy": 0.0, "vote_table": none, "eval_vote_table": none, "factors": names}
        return metric_result(0.0, protocol, reason=reason, **accuracies, classifier=[None] * len(variances), **dims)

    fixed = np.empty(2 * votes, np.int64)
    drawn = np.stack([data.index_of(factors) for factors in vote_draws(sizes, fixed, samples_per_vote, rng)])
    if not entire:
        with encoding_in(precision, model):
            known = EncodedImages(model, data, np.unique(drawn), batch_size, what="factorvae: encoding the votes")
    winners = np.array([least_varying(known.at(row).astype(np.float64), variances, active) for row in drawn])
    training = vote_table(fixed[:votes], winners[:votes], table_shape)
    fresh = vote_table(fixed[votes:], winners[votes:], table_shape)
    classifier = training.argmax(axis=0)
    return metric_result(
        accuracy(classifier, training),
        protocol,
        eval_accuracy=accuracy(classifier, fresh),
        vote_table=training,
        eval_vote_table=fresh,
        factors=names,
        classifier=[int(factor) if on else None for factor, on in zip(classifier, active, strict=True)],
        **dims,
    )


def factorvae_dlib(
    model: Encoder,
    data: Dataset,
    seed: int = 0,
    *,
    num_train: PositiveInt = 10_000,
    num_eval: PositiveInt = 5_000,
    num_variance_estimate: AtLeastTwo = 10_000,
    batch_size: AtLeastTwo = 64,
    prune_threshold: Annotated[float, Field(ge=0)] = 0.05,
) -> dict[str, Any]:
    """FactorVAE score by the protocol of disentanglement_lib (`factor_vae_score` with its studies' settings).

    Differs from `factorvae` in the numbers of votes and images, in taking the variances of a sample, in pruning by the
    standard deviation, and in reporting the accuracy on fresh votes.

    Args:
        model: anything with `encode`: float32 (n, C, H, W) images in [0, 1] -> (n, D) codes.
        data: a dataset with ground-truth factors.
        seed: of the legacy RandomState. Draws in order: `num_variance_estimate` values of each factor in turn; then per
            vote the fixed factor and `batch_size` values of each factor.
        num_train: votes that train the classifier.
        num_eval: fresh votes that it is scored on.
        num_variance_estimate: images for the variances (with ddof 1).
        batch_size: images per vote.
        prune_threshold: least standard deviation of an active dimension, in units of the code.

    Returns:
        `score`, which is `eval_accuracy`; `train_accuracy`; `num_active_dims`, the true number, and
        `num_active_dims_dlib`, what disentanglement_lib reports under that name (the number of all dimensions);
        `protocol`. Without an active dimension both accuracies are 0, with a `reason`.

    Raises:
        MetricError: no factors, no `encode`, or codes of the wrong shape or not finite.
    """
    sizes = factor_sizes(data, "factorvae_dlib")
    rng = random_state(seed)
    protocol = {
        "source": "disentanglement_lib, factor_vae_score",
        "num_train": num_train,
        "num_eval": num_eval,
        "num_variance_estimate": num_variance_estimate,
        "batch_size": batch_size,
        "prune_threshold": prune_threshold,
        "seed": seed,
    }

    sample = draw_sample(
        model, data, sizes, num_variance_estimate, rng, DLIB_ENCODE_BATCH, what="factorvae_dlib: encoding for variances"
    )
    variances = sample.var(axis=0, ddof=1)
    active = (np.sqrt(variances) >= prune_threshold) & varying(sample)
    if not active.any():
        return metric_result(
            0.0,
            protocol,
            reason=f"no dimension has a standard deviation of {prune_threshold:g} or more over the sample",
            eval_accuracy=0.0,
            train_accuracy=0.0,
            num_active_dims=0,
            num_active_dims_dlib=0,
        )

    fixed = np.empty(num_train + num_eval, np.int64)
    draws = vote_draws(sizes, fixed, batch_size, rng)
    codes = encode_sets(model, data, draws, rng, len(fixed) * batch_size, what="factorvae_dlib: encoding images")
    winners = np.array([least_varying(codes(vote), variances, active) for vote in range(len(fixed))])
    shape = (len(sizes), len(variances))
    training = vote_table(fixed[:num_train], winners[:num_train], shape)
    fresh = vote_table(fixed[num_train:], winners[num_train:], shape)
    classifier = training.argmax(axis=0)
    score = accuracy(classifier, fresh)
    return metric_result(
        score,
        protocol,
        eval_accuracy=score,
        train_accuracy=accuracy(classifier, training),
        num_active_dims=active.sum(),
        num_active_dims_dlib=len(active),
    )


def vote_draws(sizes: tuple[int, ...], fixed: Integers, samples: int, rng: np.random.RandomState) -> Iterator[Integers]:
    """Draw votes one by one, in disentanglement_lib's order, as int64 (`samples`, F) factors; note each in `fixed`.

    Per vote the number of the fixed factor, then `samples` values of each factor; the fixed one keeps its first value.
    """
    for vote in range(len(fixed)):
        factor = fixed[vote] = rng.randint(len(sizes))
        factors = draw_factors(sizes, samples, rng)
        factors[:, factor] = factors[0, factor]
        yield factors


def least_varying(codes: Codes, variances: NDArray[np.floating], active: NDArray[np.bool_]) -> int:
    """The active dimension of (n, D) codes with the least variance relative to `variances`; the first one of equals."""
    relative = codes.var(axis=0, ddof=1)[active] / variances[active]
    return int(np.flatnonzero(active)[relative.argmin()])


def vote_table(factors: Integers, winners: Integers, shape: tuple[int, int]) -> Integers:
    """Count int64 (F, D): how often dimension d won the votes for factor f."""
    table = np.zeros(shape, np.int64)
    np.add.at(table, (factors, winners), 1)
    return table


def accuracy(classifier: Integers, table: Integers) -> float:
    """The share of the votes in an (F, D) table that a classifier, (D,) factors, names rightly."""
    return float(table[classifier, np.arange(table.shape[1])].sum() / table.sum())
