"""From a dataset with factors to factors, and to images and codes of them, drawn in disentanglement_lib's order.

All sampling goes through one legacy `numpy.random.RandomState`, as theirs does, so that one seed means the same images
here and there (https://github.com/google-research/disentanglement_lib).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Annotated, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ibgan_plugin.evaluation.encoding import ENCODE_BATCH, Codes, EncodedImages, encode_batches, encode_images
from ibgan_plugin.evaluation.images import dataset_images, dataset_name
from zoo.errors import MetricError, SettingError
from zoo.interfaces import Dataset, Encoder
from zoo.terminal import progress

Integers: TypeAlias = NDArray[np.int64]
AtLeastTwo: TypeAlias = Annotated[int, Field(ge=2)]


def random_state(seed: int) -> np.random.RandomState:
    """The legacy generator, which takes seeds of 32 bits. Raises SettingError for others."""
    if not 0 <= seed < 2**32:
        raise SettingError(f"seed {seed}: the metrics' random generator takes seeds from 0 to 2**32 - 1; choose one")
    return np.random.RandomState(seed)


def factor_sizes(data: Dataset, metric: str) -> tuple[int, ...]:
    """The number of values of each ground-truth factor. Raises MetricError where the dataset has none."""
    sizes = getattr(data, "factor_sizes", None)
    if sizes is None or len(sizes) == 0:
        raise MetricError(
            f"{metric} needs ground-truth factors and dataset {dataset_name(data)!r} has none; "
            "evaluate it on one that has"
        )
    return tuple(int(size) for size in sizes)


def dataset_size(data: Dataset, metric: str) -> int:
    """The number of its images, every combination of factors once where it has no length; MetricError without both."""
    sizes = getattr(data, "factor_sizes", None)
    if not hasattr(data, "__len__") and sizes is not None and len(sizes):
        return math.prod(map(int, sizes))
    if not hasattr(data, "__len__"):
        raise MetricError(
            f"{metric} needs to know how many images dataset {dataset_name(data)!r} has; give it a method __len__"
        )
    return len(data)


def draw_factors(sizes: tuple[int, ...], num: int, rng: np.random.RandomState) -> Integers:
    """Draw int64 (num, F) factor values, uniform and independent: one draw of `num` values a factor, in order."""
    return np.stack([rng.randint(size, size=num) for size in sizes], axis=1).astype(np.int64, copy=False)


# The following are disentanglement_lib's draws. A dataset whose observations are random there has
# `observe(indices, random_state)`: NHWC floats in [0, 1], drawn from the same generator right after the factors.


def draw_codes(
    model: Encoder,
    data: Dataset,
    sizes: tuple[int, ...],
    num: int,
    rng: np.random.RandomState,
    batch_size: int,
    *,
    what: str = "encoding images",
) -> tuple[Codes, Integers]:
    """Draw `num` images uniformly over the factors; return their (num, D) codes and int64 (num, F) factors.

    The factors are drawn `batch_size` at a time and encoded in the same batches: the batch size is part of the
    protocol, since it decides which draws are which factor.
    """
    factors = np.empty((num, len(sizes)), np.int64)

    def batches() -> Iterator[NDArray[Any]]:
        for start in range(0, num, batch_size):
            drawn = draw_factors(sizes, min(batch_size, num - start), rng)
            factors[start : start + len(drawn)] = drawn
            yield dataset_images(data, data.index_of(drawn), rng)

    return encode_batches(model, batches(), num, what), factors


def draw_sample(
    model: Encoder,
    data: Dataset,
    sizes: tuple[int, ...],
    num: int,
    rng: np.random.RandomState,
    batch_size: int,
    *,
    what: str = "encoding images",
) -> Codes:
    """The same where all factors are drawn before the first image: (num, D) codes, encoded `batch_size` a call."""
    indices = data.index_of(draw_factors(sizes, num, rng))
    # Observations drawn in pieces are those drawn at once: one stream of numbers, image after image.
    batches = (dataset_images(data, indices[start : start + batch_size], rng) for start in range(0, num, batch_size))
    return encode_batches(model, batches, num, what)


def encode_sets(
    model: Encoder,
    data: Dataset,
    sets: Iterable[Integers],
    rng: np.random.RandomState,
    num_images: int,
    *,
    what: str = "encoding images",
) -> Callable[[int], Codes]:
    """Encode sets of images (a vote's), given by int64 (n, F) factors that `sets` draws from `rng` one after the other.

    Returns a function from a set's number to its (n, D) codes. An image that many sets hold is encoded once; random
    observations never come twice, and are encoded set by set, `num_images` of them in all.
    """
    if hasattr(data, "observe"):
        with progress(what, num_images) as bar:
            encoded = []
            for factors in sets:
                encoded.append(encode_images(model, dataset_images(data, data.index_of(factors), rng)))
                bar.advance(len(factors))
        return encoded.__getitem__
    indices = [data.index_of(factors) for factors in sets]
    known = EncodedImages(model, data, np.unique(np.concatenate(indices)), ENCODE_BATCH, what=what)
    return lambda number: known.at(indices[number])
