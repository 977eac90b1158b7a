"""From a dataset with factors and anything that encodes images to codes and factors, in disentanglement_lib's order.

All sampling goes through one legacy `numpy.random.RandomState`, as theirs does, so that one seed means the same images
here and there (https://github.com/google-research/disentanglement_lib).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Annotated, Any, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from zoo.device import Backend, device_of, evaluation_mode
from zoo.errors import MetricError, SettingError
from zoo.interfaces import Dataset, Encoder
from zoo.terminal import progress

Codes: TypeAlias = NDArray[np.floating]
Integers: TypeAlias = NDArray[np.int64]
AtLeastTwo: TypeAlias = Annotated[int, Field(ge=2)]

# Images per call of `encode` where no protocol says how many.
ENCODE_BATCH = 128

# Squares of larger codes, summed over a data set, leave the range of float32.
LARGEST_CODE = 1e16


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
    if not hasattr(data, "__len__") and sizes:
        return math.prod(sizes)
    if not hasattr(data, "__len__"):
        raise MetricError(
            f"{metric} needs to know how many images dataset {dataset_name(data)!r} has; give it a method __len__"
        )
    return len(data)


def dataset_name(data: Dataset) -> str:
    """The dataset's name; that of its class where it has none."""
    return str(getattr(data, "name", None) or type(data).__name__)


def draw_factors(sizes: tuple[int, ...], num: int, rng: np.random.RandomState) -> Integers:
    """Draw int64 (num, F) factor values, uniform and independent: one draw of `num` values a factor, in order."""
    return np.stack([rng.randint(size, size=num) for size in sizes], axis=1).astype(np.int64, copy=False)


def images_tensor(images: NDArray[Any], device: torch.device | str = "cpu") -> torch.Tensor:
    """Return float32 (n, C, H, W) in [0, 1], contiguous, from (n, H, W, C): uint8, or floats in [0, 1].

    Contiguous although channels_last would cost nothing for colour images: encoders of other projects use `view`.
    The bytes, a quarter of the floats, are what moves to the device; float64, which Apple's GPUs lack, stays behind.
    """
    n, height, width, channels = images.shape
    source = torch.from_numpy(np.ascontiguousarray(images if images.dtype == np.uint8 else np.float32(images)))
    source = source.to(device)
    pixels = source.view(n, 1, height, width) if channels == 1 else source.permute(0, 3, 1, 2)
    floats = torch.empty((n, channels, height, width), dtype=torch.float32, device=device).copy_(pixels)
    return floats.div_(255) if source.dtype == torch.uint8 else floats


def encoding_in(precision: Literal["fp32", "bf16"], model: Encoder) -> AbstractContextManager[Any]:
    """The context in which the encoder's matrix products run in this precision; float32 unless it says otherwise."""
    return Backend(device_of(model), precision).autocast()


def encode_images(model: Encoder, images: NDArray[Any]) -> Codes:
    """Return the (n, D) codes of (n, H, W, C) images, uint8 or floats in [0, 1].

    They keep the encoder's own precision, float32 at least. A torch module encodes in evaluation mode, and has its own
    mode back afterwards. Raises MetricError where the model has no `encode`, where that fails or returns another shape,
    and where codes are not finite.
    """
    name = type(model).__name__
    if not callable(getattr(model, "encode", None)):
        raise MetricError(f"{name} has no encode method, so it has no representation to measure")
    tensor = images_tensor(images, device_of(model))
    try:
        with torch.no_grad(), evaluation_mode(model):
            encoded = model.encode(tensor)
    except Exception as error:  # whatever foreign code raises becomes one line
        first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
        shape = tuple(tensor.shape)
        raise MetricError(f"{name}.encode failed on float32 images of shape {shape}: {first_line}") from error
    codes = _as_floats(encoded, name)
    if codes.ndim != 2 or len(codes) != len(images) or codes.shape[1] == 0:
        raise MetricError(
            f"{name}.encode returned shape {codes.shape} for {len(images)} images; expected ({len(images)}, D)"
        )
    usable = np.abs(codes) <= LARGEST_CODE  # False for NaN
    if not usable.all():
        bad = int(np.count_nonzero(~usable.all(axis=1)))
        raise MetricError(
            f"{name}.encode returned codes that are NaN, infinite or larger than {LARGEST_CODE:g} for {bad} of "
            f"{len(images)} images; the model has probably diverged, choose an earlier checkpoint"
        )
    return codes


def encode_indices(
    model: Encoder, data: Dataset, indices: Integers, batch_size: int, *, what: str = "encoding images"
) -> Codes:
    """Return the (n, D) codes of the images at int64 (n,) indices, `batch_size` images a call, with progress."""
    starts = range(0, len(indices), batch_size)
    batches = (data.images(indices[start : start + batch_size]) for start in starts)
    return _encode_batches(model, batches, len(indices), what)


class EncodedImages:
    """Codes by image index, each image encoded once.

    `indices` must be sorted and without repeats (`numpy.unique` makes them so) and hold every index asked for later.
    """

    def __init__(
        self, model: Encoder, data: Dataset, indices: Integers, batch_size: int, *, what: str = "encoding images"
    ) -> None:
        self.codes = encode_indices(model, data, indices, batch_size, what=what)
        self._indices = indices
        # Where none is left out from the first to the last, as in a whole dataset, the index is the row.
        self._complete = int(indices[-1]) == len(indices) - 1

    def at(self, indices: Integers) -> Codes:
        """Return the (n, D) codes at int64 (n,) indices."""
        return self.codes[indices if self._complete else np.searchsorted(self._indices, indices)]


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
            yield _observed(data, data.index_of(drawn), rng)

    return _encode_batches(model, batches(), num, what), factors


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
    batches = (_observed(data, indices[start : start + batch_size], rng) for start in range(0, num, batch_size))
    return _encode_batches(model, batches, num, what)


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
                encoded.append(encode_images(model, _observed(data, data.index_of(factors), rng)))
                bar.advance(len(factors))
        return encoded.__getitem__
    indices = [data.index_of(factors) for factors in sets]
    known = EncodedImages(model, data, np.unique(np.concatenate(indices)), ENCODE_BATCH, what=what)
    return lambda number: known.at(indices[number])


def _observed(data: Dataset, indices: Integers, rng: np.random.RandomState) -> NDArray[Any]:
    observe = getattr(data, "observe", None)
    return data.images(indices) if observe is None else observe(indices, rng)


def _encode_batches(model: Encoder, batches: Iterable[NDArray[Any]], num_images: int, what: str) -> Codes:
    codes: Codes | None = None
    done = 0
    with progress(what, num_images) as bar:
        for images in batches:
            part = encode_images(model, images)
            if codes is None:
                codes = np.empty((num_images, part.shape[1]), part.dtype)
            elif part.shape[1] != codes.shape[1]:
                raise MetricError(
                    f"{type(model).__name__}.encode returned {part.shape[1]} dimensions for one batch and "
                    f"{codes.shape[1]} for another; expected the same for all"
                )
            codes[done : done + len(part)] = part
            done += len(part)
            bar.advance(len(part))
    assert codes is not None, "no images"
    return codes


def _as_floats(encoded: Any, name: str) -> Codes:
    if isinstance(encoded, torch.Tensor):
        encoded = encoded.detach()
        if encoded.dtype in (torch.float16, torch.bfloat16):  # NumPy has no bfloat16, and 16 bits no statistics
            encoded = encoded.float()
        encoded = encoded.cpu().numpy()
    codes = np.asarray(encoded)
    if codes.dtype.kind in "biu":
        return codes.astype(np.float64)
    if codes.dtype.kind != "f":
        raise MetricError(
            f"{name}.encode returned {type(encoded).__name__} of {codes.dtype}; expected an array of floats"
        )
    return codes.astype(np.float32) if codes.dtype == np.float16 else codes
