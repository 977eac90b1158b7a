"""Pictures of a model: sample grids and latent traversals.

A latent traversal takes base codes, moves one dimension at a time over a range and decodes: a dimension that stands for
one factor changes one thing in the picture (the paper's Figures 5, 8, 9, 10). Works on anything with `generate`,
`encode` and `decode`.

`plot_*` return matplotlib Figures, for a paper or a notebook; `draw_*` and `image_grid` pictures with the model's own
pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from ibgan_plugin.evaluation.images import ImageShape, as_pixels, model_images
from ibgan_plugin.evaluation.logs import last_kl, read_log
from zoo.errors import MetricError, UsageError
from zoo.files import writing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from zoo.loading import Loaded

GAP = 2
WIDEST_SPAN = 1e6  # standard deviations of a code; float32 has no steps to speak of far beyond
KL_DRAWS = 2_000
_INCHES = 0.36  # of one image in a figure


@dataclass(frozen=True)
class Traversal:
    """Decoded images of every base code with every dimension moved over every value, rows in the order shown."""

    images: NDArray[np.uint8]  # (bases, rows, values, H, W, 3)
    dimensions: tuple[int, ...]  # (rows,): which dimension each row moves
    values: tuple[float, ...]
    kl: tuple[float, ...] | None  # (rows,): nats, in the order of the rows; None where the model has none


def to_pixels(
    images: Any, source: str = "to_pixels got", num: int | None = None, image_shape: ImageShape | None = None
) -> NDArray[np.uint8]:
    """float (n, C, H, W) in [0, 1] -> uint8 (n, H, W, 3), rounded; gray is repeated.

    Raises MetricError, which begins with `source`, for what cannot be drawn as it is: NaN, values outside [0, 1],
    another number of images than `num` or another shape than `image_shape` (H, W, C), where these are given.
    """
    if num is None:
        num = len(images) if hasattr(images, "__len__") else 1  # what has no length is refused for that
    pixels = as_pixels(images, source, num, image_shape)
    return np.repeat(pixels, 3, axis=3) if pixels.shape[3] == 1 else pixels


def generated(model: Any, num: int, seed: int = 0, image_shape: ImageShape | None = None) -> NDArray[np.uint8]:
    """Return `num` generated images as `to_pixels` does, with its errors."""
    return to_pixels(model.generate(num, seed=seed), f"{type(model).__name__}.generate returned", num, image_shape)


def decoded(model: Any, codes: torch.Tensor, image_shape: ImageShape | None = None) -> NDArray[np.uint8]:
    """Return the images of (n, D) codes as `to_pixels` does, with its errors."""
    return to_pixels(model.decode(codes), f"{type(model).__name__}.decode returned", len(codes), image_shape)


def image_grid(pixels: NDArray[np.uint8], columns: int | None = None, *, ground: str | None = "white") -> Image.Image:
    """uint8 (n, H, W, 3) -> one picture, `columns` wide (default: about square); `ground` None is transparent."""
    n, height, width, _ = pixels.shape
    columns = min(n, columns or math.ceil(math.sqrt(n)))
    rows = math.ceil(n / columns)
    size = (columns * (width + GAP) + GAP, rows * (height + GAP) + GAP)
    sheet = Image.new("RGB", size, ground) if ground else Image.new("RGBA", size)
    for index, image in enumerate(pixels):
        row, column = divmod(index, columns)
        sheet.paste(Image.fromarray(image), (GAP + column * (width + GAP), GAP + row * (height + GAP)))
    return sheet


def traverse(
    model: Any,
    codes: torch.Tensor,
    *,
    span: float = 3.0,
    steps: int = 11,
    kl: Sequence[float] | None = None,
    most: int | None = None,
    image_shape: ImageShape | None = None,
) -> Traversal:
    """Move each dimension of (bases, D) codes from -span to span in `steps` values and decode.

    With `kl` (D,), rows are ordered by it, largest first. With `most`, only the first `most` rows are made.
    Raises UsageError for a range or count that is none, and as `to_pixels`.
    """
    if not (0 < span <= WIDEST_SPAN and steps >= 2):
        raise UsageError(
            f"a traversal needs a span above 0, up to {WIDEST_SPAN:g}, and at least 2 steps, not {span} and {steps}"
        )
    codes = codes.detach().float().cpu()
    bases, dimensions = codes.shape
    order = sorted(range(dimensions), key=lambda i: -kl[i]) if kl is not None else list(range(dimensions))
    order = order[:most]
    values = torch.linspace(-span, span, steps)
    moved = codes[:, None, None, :].repeat(1, len(order), steps, 1)  # (bases, rows, steps, D)
    for row, dimension in enumerate(order):
        moved[:, row, :, dimension] = values
    pixels = np.concatenate([decoded(model, part, image_shape) for part in moved.flatten(0, 2).split(256)])
    return Traversal(
        images=pixels.reshape(bases, len(order), steps, *pixels.shape[1:]),
        dimensions=tuple(order),
        values=tuple(float(value) for value in values),
        kl=tuple(float(kl[i]) for i in order) if kl is not None else None,
    )


def base_codes(model: Any, num: int, seed: int = 0) -> torch.Tensor:
    """Return (num, D) codes of generated images: codes as the model itself uses them, whatever their distribution."""
    images = model_images(model.generate(num, seed=seed), f"{type(model).__name__}.generate returned", num)
    codes: torch.Tensor = model.encode(images)
    return codes


def kl_of_each_code(model: Any, seed: int = 0) -> list[float] | None:
    """Return the KL of each code dimension in nats, or None for a model that bounds none."""
    if not hasattr(model, "mi_bounds"):
        return None
    try:
        kl = model.mi_bounds(KL_DRAWS, seed)["kl"]
    except MetricError:
        return None
    return None if kl is None else [float(value) for value in kl]


def kl_of_loaded(loaded: Loaded, dimensions: int, seed: int = 0) -> list[float] | None:
    """Return the KL of each of a checkpoint's `dimensions` code dimensions, in nats, or None where nothing tells it.

    Where the model offers no bounds, it is what its run logged last up to that step. A number for other dimensions than
    the codes have is none.
    """
    kl = kl_of_each_code(loaded.model, seed)
    if kl is None and loaded.run is not None:
        kl = last_kl(read_log(loaded.run.path / "metrics.jsonl"), loaded.step)
    return kl if kl is not None and len(kl) == dimensions else None


def reconstructions(model: Any, images: torch.Tensor) -> NDArray[np.uint8]:
    """float32 (n, C, H, W) in [0, 1] -> uint8 (2, n, H, W, 3): the images, and what decode(encode(x)) makes of them."""
    channels, height, width = images.shape[1:]
    again = [decoded(model, model.encode(part), (height, width, channels)) for part in images.split(256)]
    return np.stack([to_pixels(images), np.concatenate(again)])


def plot_samples(model: Any, num: int = 64, seed: int = 0, *, image_shape: ImageShape | None = None) -> Figure:
    """A matplotlib Figure of `num` generated images in a grid. Raises as `to_pixels`."""
    pixels = generated(model, num, seed, image_shape)
    columns = math.ceil(math.sqrt(num))
    figure, (axes,) = _panels(columns, math.ceil(num / columns), 1, room=0.2)
    _show(axes, pixels, columns)
    return figure


def plot_reconstructions(model: Any, images: torch.Tensor) -> Figure:
    """A matplotlib Figure of float32 (n, C, H, W) images in [0, 1] above what decode(encode(x)) makes of them."""
    pairs = reconstructions(model, images)
    figure, (axes,) = _panels(pairs.shape[1], 2, 1, room=0.9)
    _show(axes, pairs.reshape(-1, *pairs.shape[2:]), pairs.shape[1], rows=["real", "again"])
    return figure


def plot_traversal(traversal: Traversal, titles: Sequence[str] | None = None) -> Figure:
    """A matplotlib Figure of a traversal: a row per dimension with its label, a panel per base code.

    `titles` name the panels. Text stays text in a PDF or SVG, and images keep their pixels.
    """
    bases, dimensions, steps = traversal.images.shape[:3]
    figure, panels = _panels(steps, dimensions, bases, room=1.2 if traversal.kl is None else 1.6)
    for index, (axes, base) in enumerate(zip(panels, traversal.images, strict=True)):
        labels = labels_of(traversal) if index == 0 else None
        _show(axes, base.reshape(-1, *base.shape[2:]), steps, rows=labels)
        ends_and_middle = sorted({0, steps // 2, steps - 1})
        axes.set_xticks(
            [GAP / 2 + (column + 0.5) * (base.shape[3] + GAP) for column in ends_and_middle],
            [f"{traversal.values[column]:+z.1f}" for column in ends_and_middle],
        )
        if titles is not None:
            axes.set_title(titles[index], fontsize=9, parse_math=False)
    return figure


def _panels(columns: int, rows: int, panels: int, *, room: float) -> tuple[Figure, list[Axes]]:
    """A figure for `panels` grids of images side by side, with `room` inches for labels."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(panels * columns * _INCHES + room, rows * _INCHES + 0.5), layout="constrained")
    return figure, list(figure.subplots(1, panels, squeeze=False)[0])


def _show(axes: Axes, pixels: NDArray[np.uint8], columns: int, rows: Sequence[str] | None = None) -> None:
    axes.imshow(np.asarray(image_grid(pixels, columns)), interpolation="nearest")
    axes.tick_params(length=0, labelsize=8)
    for side in axes.spines.values():
        side.set_visible(False)
    height = pixels.shape[1] + GAP
    axes.set_yticks([GAP / 2 + (row + 0.5) * height for row in range(len(rows or ()))], rows or [])
    axes.set_xticks([])


def draw_traversal(traversal: Traversal) -> Image.Image:
    """One picture: a row per dimension with its label, a block of columns per base code."""
    blocks = [image_grid(base.reshape(-1, *base.shape[2:]), columns=base.shape[1]) for base in traversal.images]
    labels = labels_of(traversal)
    font = ImageFont.load_default(13)
    label_width = max(math.ceil(font.getlength(label)) for label in labels) + 12
    block_width, block_height = blocks[0].size
    head = 20
    sheet = Image.new("RGB", (label_width + len(blocks) * (block_width + 4 * GAP), head + block_height), "white")
    pen = ImageDraw.Draw(sheet)
    row_height = (block_height - GAP) / len(labels)
    for row, label in enumerate(labels):
        pen.text((6, head + GAP + (row + 0.5) * row_height), label, fill="black", font=font, anchor="lm")
    for index, block in enumerate(blocks):
        left = label_width + index * (block_width + 4 * GAP)
        sheet.paste(block, (left, head))
        for column in (0, len(traversal.values) // 2, len(traversal.values) - 1):
            centre = left + GAP + (column + 0.5) * (block_width - GAP) / len(traversal.values)
            pen.text((centre, head / 2), f"{traversal.values[column]:+z.1f}", fill="black", font=font, anchor="mm")
    return sheet


def animate_traversal(traversal: Traversal, path: Path, *, milliseconds: int = 90) -> None:
    """Write an animated GIF, there and back: a column per base code, a row per dimension, all moving at once."""
    labels = labels_of(traversal)
    font = ImageFont.load_default(13)
    label_width = max(math.ceil(font.getlength(label)) for label in labels) + 12
    frames = []
    there = list(range(len(traversal.values)))
    for step in there + there[-2:0:-1]:
        moment = traversal.images[:, :, step].swapaxes(0, 1)  # (D, bases, H, W, 3)
        grid = image_grid(moment.reshape(-1, *moment.shape[2:]), columns=moment.shape[1])
        frame = Image.new("RGB", (label_width + grid.width, grid.height), "white")
        frame.paste(grid, (label_width, 0))
        pen = ImageDraw.Draw(frame)
        row_height = (grid.height - GAP) / len(labels)
        for row, label in enumerate(labels):
            pen.text((6, GAP + (row + 0.5) * row_height), label, fill="black", font=font, anchor="lm")
        frames.append(frame)
    with writing(path) as temporary:
        frames[0].save(temporary, format="GIF", save_all=True, append_images=frames[1:], duration=milliseconds, loop=0)


def labels_of(traversal: Traversal) -> list[str]:
    """ "r3  1.42 nats" for each row."""
    if traversal.kl is None:
        return [f"r{dimension}" for dimension in traversal.dimensions]
    return [f"r{i}  {kl:.2f} nats" for i, kl in zip(traversal.dimensions, traversal.kl, strict=True)]


def save_picture(picture: Image.Image, path: Path) -> None:
    """Write a picture atomically, in the format its ending names (PNG where it has none)."""
    formats = Image.registered_extensions()
    with writing(path) as temporary:
        picture.save(temporary, format=formats.get(path.suffix.lower(), "PNG"))
