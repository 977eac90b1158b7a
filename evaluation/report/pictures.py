"""What a model shows: samples, traversals, reconstructions, each as pictures that a page can hold within itself."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from ibgan_plugin.evaluation import figures
from ibgan_plugin.evaluation.bases import encoded, one_per_value
from ibgan_plugin.evaluation.encoding import images_tensor
from ibgan_plugin.evaluation.images import ImageShape, dataset_images
from zoo.randomness import numpy_stream

if TYPE_CHECKING:
    from zoo.interfaces import Dataset

BASES = 3
SPAN = 3.0
RECONSTRUCTIONS = 10
MOST_DIMENSIONS = 32
# Sheets are lossless up to this size for a run; above it they are WebP of high quality.
_LOSSLESS_BYTES = 3_000_000
_QUALITY = 90
_WIDEST = 16_383  # of WebP, in pixels


@dataclass(frozen=True)
class Picture:
    """A picture as a data URI, with its size in pixels."""

    uri: str
    width: int
    height: int


@dataclass(frozen=True)
class Base:
    """What a traversal starts from: its name, and the image that its code decodes to."""

    name: str
    picture: Picture


@dataclass(frozen=True)
class Dimension:
    """One dimension moved: a sheet with a row of frames for each base, a column for each value."""

    index: int
    kl: float | None  # nats
    sheet: Picture
    own: tuple[float, ...]  # each base's own value of it
    start: tuple[int, ...]  # the frame nearest to that


@dataclass(frozen=True)
class Sliders:
    """A traversal as sliders show it, the dimensions by their KL."""

    bases: tuple[Base, ...]
    dimensions: tuple[Dimension, ...]
    values: tuple[float, ...]
    cell: tuple[int, int]  # width, height of a frame
    all_dimensions: int  # of the code; more than are shown where it has very many

    @property
    def largest_kl(self) -> float:
        """Nats, above 0."""
        return max([dimension.kl or 0.0 for dimension in self.dimensions] + [1e-9])


def samples(model: Any, num: int, seed: int, image_shape: ImageShape | None = None) -> Picture:
    """A grid of generated images."""
    return _picture(figures.image_grid(figures.generated(model, num, seed, image_shape), ground=None))


def real_images(dataset: Dataset, num: int, seed: int) -> Picture:
    """A grid of images of the dataset: the same for every run, chosen by the seed alone."""
    return _picture(figures.image_grid(figures.to_pixels(images_tensor(_drawn(dataset, num, seed))), ground=None))


def reconstructed(model: Any, dataset: Dataset, seed: int) -> Picture:
    """Two rows: the first of the real images, and what decode(encode(x)) makes of each."""
    pairs = figures.reconstructions(model, images_tensor(_drawn(dataset, RECONSTRUCTIONS, seed)))
    return _picture(figures.image_grid(pairs.reshape(-1, *pairs.shape[2:]), columns=RECONSTRUCTIONS, ground=None))


def base_codes(model: Any, dataset: Dataset | None, seed: int) -> tuple[torch.Tensor, list[str]]:
    """Return the codes (3, D) that traversals start from, and what each is called.

    One image for each value of a factor with three values, as dSprites' shape, where there is one; else three images
    of the dataset; else, without a dataset at hand, three generated images.
    """
    if dataset is None:
        return figures.base_codes(model, BASES, seed), [f"generated {i + 1}" for i in range(BASES)]
    names, sizes = dataset.factor_names, dataset.factor_sizes
    if names is not None and sizes is not None and BASES in sizes:
        factor = names[sizes.index(BASES)]
        return encoded(model, dataset, one_per_value(dataset, factor)), [f"{factor} {value}" for value in range(BASES)]
    indices = _indices(dataset, BASES, seed)
    return encoded(model, dataset, indices), [f"image {index:,}" for index in indices]


def sliders(
    model: Any,
    codes: torch.Tensor,
    names: Sequence[str],
    steps: int,
    kl: Sequence[float] | None,
    image_shape: ImageShape | None = None,
) -> Sliders:
    """Decode every base with every dimension at every value; at most 32 dimensions, those of the largest KL.

    Of images so large that a row of `steps` of them makes no WebP, there are fewer.
    """
    codes = codes.detach().float().cpu()
    originals = figures.decoded(model, codes, image_shape)
    height, width = originals.shape[1:3]
    steps = min(steps, _WIDEST // width)
    traversal = figures.traverse(
        model, codes, span=SPAN, steps=steps, kl=kl, most=MOST_DIMENSIONS, image_shape=image_shape
    )
    values = np.array(traversal.values)
    sheets = [_sheet(traversal.images[:, row]) for row in range(len(traversal.dimensions))]
    return Sliders(
        bases=tuple(Base(name, _picture(Image.fromarray(image))) for name, image in zip(names, originals, strict=True)),
        dimensions=tuple(
            Dimension(
                index,
                traversal.kl[row] if traversal.kl is not None else None,
                picture,
                tuple(float(value) for value in codes[:, index]),
                tuple(int(np.abs(values - float(value)).argmin()) for value in codes[:, index]),
            )
            for row, (index, picture) in enumerate(zip(traversal.dimensions, _pictures(sheets), strict=True))
        ),
        values=traversal.values,
        cell=(width, height),
        all_dimensions=codes.shape[1],
    )


def _sheet(frames: NDArray[np.uint8]) -> Image.Image:
    """uint8 (bases, values, H, W, 3) -> one picture without gaps, a row for each base."""
    bases, values, height, width, channels = frames.shape
    return Image.fromarray(frames.transpose(0, 2, 1, 3, 4).reshape(bases * height, values * width, channels))


def _pictures(sheets: Sequence[Image.Image]) -> list[Picture]:
    """Pictures of one traversal: lossless if all of them together are small enough."""
    lossless = [_picture(sheet) for sheet in sheets]
    if sum(len(picture.uri) for picture in lossless) <= _LOSSLESS_BYTES:
        return lossless
    return [_picture(sheet, lossless=False) for sheet in sheets]


def _picture(image: Image.Image, *, lossless: bool = True) -> Picture:
    content = io.BytesIO()
    image.save(content, format="WEBP", lossless=lossless, quality=100 if lossless else _QUALITY, method=4)
    uri = "data:image/webp;base64," + base64.b64encode(content.getvalue()).decode("ascii")
    return Picture(uri, image.width, image.height)


def _drawn(dataset: Dataset, num: int, seed: int) -> NDArray[Any]:
    return dataset_images(dataset, _indices(dataset, num, seed))


def _indices(dataset: Dataset, num: int, seed: int) -> NDArray[np.int64]:
    indices: NDArray[np.int64] = numpy_stream(seed, "report").integers(0, len(dataset), num)
    return indices
