"""Images as others give them, checked: those of a dataset, and those that a model generates or decodes."""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from zoo.errors import MetricError
from zoo.interfaces import Dataset

Images: TypeAlias = NDArray[np.uint8]
ImageShape: TypeAlias = tuple[int, int, int]  # (height, width, channels)

# Half a level of 255: so far beyond [0, 1], no uint8 value is closer than 0 or 255. That is rounding, no other scale.
_MARGIN = 0.5 / 255


def dataset_name(data: Dataset) -> str:
    """The dataset's name; that of its class where it has none."""
    return str(getattr(data, "name", None) or type(data).__name__)


def dataset_images(
    data: Dataset, indices: NDArray[np.int64], random_state: np.random.RandomState | None = None
) -> NDArray[Any]:
    """Return the images at int64 (n,) indices: uint8 (n, H, W, C), or floats in [0, 1].

    With a random state they are the dataset's observations where it has `observe`. Raises MetricError, naming dataset
    and method, for anything else.
    """
    found: Any
    if random_state is not None and hasattr(data, "observe"):
        method, found = "observe", data.observe(indices, random_state)
    else:
        method, found = "images", data.images(indices)
    return checked_images(found, f"{method}() of dataset {dataset_name(data)!r} returned", len(indices))


def checked_images(images: Any, source: str, num: int | None = None) -> NDArray[Any]:
    """Return an array, or a tensor as one, that holds uint8 (n, H, W, C) or floats in [0, 1]; `num` is n if known.

    Raises MetricError, which begins with `source`, for anything else: on another scale there would be wrong codes.
    """
    array = as_array(images)
    if (
        not isinstance(array, np.ndarray)
        or not (array.dtype == np.uint8 or array.dtype.kind == "f")
        or array.ndim != 4
        or (num is not None and len(array) != num)
    ):
        asked, n = ("", "n") if num is None else (f" for {num} images", str(num))
        raise MetricError(
            f"{source} {kind(array)}{asked}; expected uint8 ({n}, H, W, C), or floats in [0, 1] of that shape"
        )
    if array.dtype != np.uint8 and array.size:
        low, high = float(array.min()), float(array.max())
        if not (low >= -_MARGIN and high <= 1 + _MARGIN):  # NaN is neither
            raise MetricError(
                f"{source} floats from {low:.3g} to {high:.3g}; expected them in [0, 1], or uint8 from 0 to 255"
            )
    return array


def as_array(images: Any) -> Any:
    """Return a tensor as an array; anything else as it is."""
    if not isinstance(images, torch.Tensor):
        return images
    images = images.detach().cpu()
    return (images.float() if images.dtype == torch.bfloat16 else images).numpy()  # NumPy has no bfloat16


def kind(images: Any) -> str:
    """Return what a message says of it: type and shape of an array."""
    return f"{images.dtype} {images.shape}" if isinstance(images, np.ndarray) else f"a {type(images).__name__}"


def model_images(images: Any, source: str, num: int, image_shape: ImageShape | None = None) -> torch.Tensor:
    """Return a model's `num` images, a tensor or an array, as float32 (n, C, H, W) in [0, 1], without gradients.

    Raises MetricError, which begins with `source`, for another shape or type, NaN or infinity, or values outside
    [0, 1]; with an `image_shape`, for images of another.
    """
    if isinstance(images, np.ndarray) and images.dtype.kind == "f":
        images = torch.from_numpy(images.astype(np.float32, order="C"))
    if not isinstance(images, torch.Tensor) or not images.is_floating_point():
        found = getattr(images, "dtype", type(images).__name__)
        raise MetricError(f"{source} {found}; expected a float32 tensor or array (n, C, H, W) in [0, 1]")
    if images.ndim != 4 or len(images) != num or images.shape[1] not in (1, 3):
        raise MetricError(f"{source} shape {tuple(images.shape)} for {num} images; expected ({num}, 1 or 3, H, W)")
    channels, height, width = images.shape[1:]
    if image_shape is not None and (height, width, channels) != tuple(image_shape):
        expected = "x".join(map(str, image_shape))
        raise MetricError(
            f"{source} images of {height}x{width}x{channels}; expected {expected}, as those that the model was "
            "trained on"
        )
    images = images.detach().float()
    low, high = (float(bound) for bound in images.aminmax()) if images.numel() else (0.0, 1.0)
    if not (math.isfinite(low) and math.isfinite(high)):
        broken = int((~torch.isfinite(images)).flatten(1).any(dim=1).sum())
        raise MetricError(
            f"{source} NaN or infinity in {broken} of {num} images; the model has probably diverged, choose an "
            "earlier checkpoint"
        )
    if low < -_MARGIN or high > 1 + _MARGIN:
        raise MetricError(f"{source} values from {low:.3g} to {high:.3g}; expected images in [0, 1]")
    return images


def as_pixels(images: Any, source: str, num: int, image_shape: ImageShape | None = None) -> Images:
    """Return a model's images as uint8 (n, H, W, C), rounded half up, as torchvision's save_image does.

    Raises as `model_images`.
    """
    levels = model_images(images, source, num, image_shape).mul(255).add_(0.5).clamp_(0, 255).to(torch.uint8)
    return levels.permute(0, 2, 3, 1).cpu().numpy()
