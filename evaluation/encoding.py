"""From images to codes, by anything that encodes: batch by batch, each image once, in evaluation mode."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from ibgan_plugin.evaluation.images import checked_images, dataset_images
from zoo.device import Backend, device_of, evaluation_mode
from zoo.errors import MetricError
from zoo.interfaces import Dataset, Encoder
from zoo.terminal import progress

Codes: TypeAlias = NDArray[np.floating]

# Images per call of `encode` where no protocol says how many.
ENCODE_BATCH = 128

# Squares of larger codes, summed over a data set, leave the range of float32.
LARGEST_CODE = 1e16


def images_tensor(images: Any, device: torch.device | str = "cpu") -> torch.Tensor:
    """Return float32 (n, C, H, W) in [0, 1], contiguous, from (n, H, W, C): uint8, or floats in [0, 1].

    Takes an array or a tensor. Raises MetricError for anything else.
    """
    return _channels_first(checked_images(images, "images_tensor got"), device)


def _channels_first(images: NDArray[Any], device: torch.device | str) -> torch.Tensor:
    """`images_tensor` of an array that was checked.

    Contiguous although channels_last would cost nothing for colour images: encoders of other projects use `view`.
    The bytes, a quarter of the floats, are what moves to the device; float64, which Apple's GPUs lack, stays behind.
    """
    n, height, width, channels = images.shape
    # A dataset may hand out a read-only view of its file, which no tensor is made of without a warning.
    pixels_or_floats = images if images.dtype == np.uint8 else np.float32(images)
    source = torch.from_numpy(np.require(pixels_or_floats, requirements=("C", "W"))).to(device)
    pixels = source.view(n, 1, height, width) if channels == 1 else source.permute(0, 3, 1, 2)
    floats = torch.empty((n, channels, height, width), dtype=torch.float32, device=device).copy_(pixels)
    return floats.div_(255) if source.dtype == torch.uint8 else floats


def encoding_in(precision: Literal["fp32", "bf16"], model: Encoder) -> AbstractContextManager[Any]:
    """The context in which the encoder's matrix products run in this precision; float32 unless it says otherwise."""
    return Backend(device_of(model), precision).autocast()


def encode_images(model: Encoder, images: NDArray[Any]) -> Codes:
    """Return the (n, D) codes of images as `dataset_images` returns them.

    They keep the encoder's own precision, float32 at least. A torch module encodes in evaluation mode, and has its own
    mode back afterwards. Raises MetricError where the model has no `encode`, where that fails or returns another shape,
    and where codes are not finite.
    """
    name = type(model).__name__
    if not callable(getattr(model, "encode", None)):
        raise MetricError(f"{name} has no encode method, so it has no representation to measure")
    tensor = _channels_first(images, device_of(model))
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
    model: Encoder, data: Dataset, indices: NDArray[np.int64], batch_size: int, *, what: str = "encoding images"
) -> Codes:
    """Return the (n, D) codes of the images at int64 (n,) indices, `batch_size` images a call, with progress."""
    starts = range(0, len(indices), batch_size)
    batches = (dataset_images(data, indices[start : start + batch_size]) for start in starts)
    return encode_batches(model, batches, len(indices), what)


class EncodedImages:
    """Codes by image index, each image encoded once.

    `indices` must be sorted and without repeats (`numpy.unique` makes them so) and hold every index asked for later.
    """

    def __init__(
        self,
        model: Encoder,
        data: Dataset,
        indices: NDArray[np.int64],
        batch_size: int,
        *,
        what: str = "encoding images",
    ) -> None:
        self.codes = encode_indices(model, data, indices, batch_size, what=what)
        self._indices = indices
        # Where none is left out from the first to the last, as in a whole dataset, the index is the row.
        self._complete = int(indices[-1]) == len(indices) - 1

    def at(self, indices: NDArray[np.int64]) -> Codes:
        """Return the (n, D) codes at int64 (n,) indices."""
        return self.codes[indices if self._complete else np.searchsorted(self._indices, indices)]


def encode_batches(model: Encoder, batches: Iterable[NDArray[Any]], num_images: int, what: str) -> Codes:
    """Return the (num_images, D) codes of batches of (n, H, W, C) images, with progress. Raises as `encode_images`."""
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
