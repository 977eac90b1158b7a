"""Pictures of a model: sample grids and latent traversals.

A latent traversal takes base codes, moves one dimension at a time over a range and decodes: a dimension that stands for
one factor changes one thing in the picture (the paper's Figures 5, 8, 9, 10). Works on anything with `generate`,
`encode` and `decode`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from zoo.errors import MetricError, UsageError
from zoo.files import writing

GAP = 2
KL_DRAWS = 2_000


@dataclass(frozen=True)
class Traversal:
    """Decoded images of every base code with every dimension moved over every value, rows in the order shown."""

    images: NDArray[np.uint8]  # (bases, D, values, H, W, 3)
    dimensions: tuple[int, ...]  # (D,): which dimension each row moves
    values: tuple[float, ...]
    kl: tuple[float, ...] | None  # (D,): nats, in the order of the rows; None where the model has none


def to_pixels(images: torch.Tensor) -> NDArray[np.uint8]:
    """float (n, C, H, W) in [0, 1] -> uint8 (n, H, W, 3), rounded; gray is repeated."""
    pixels = images.detach().float().mul(255).round().clamp(0, 255).to(torch.uint8)
    if pixels.shape[1] == 1:
        pixels = pixels.expand(-1, 3, -1, -1)
    return pixels.permute(0, 2, 3, 1).cpu().numpy()


def image_grid(pixels: NDArray[np.uint8], columns: int | None = None) -> Image.Image:
    """uint8 (n, H, W, 3) -> one picture, `columns` wide (default: about square), on a white ground."""
    n, height, width, _ = pixels.shape
    columns = min(n, columns or math.ceil(math.sqrt(n)))
    rows = math.ceil(n / columns)
    size = (columns * (width + GAP) + GAP, rows * (height + GAP) + GAP)
    sheet = Image.new("RGB", size, "white")
    for index, image in enumerate(pixels):
        row, column = divmod(index, columns)
        sheet.paste(Image.fromarray(image), (GAP + column * (width + GAP), GAP + row * (height + GAP)))
    return sheet


def traverse(
    model: Any, codes: torch.Tensor, *, span: float = 3.0, steps: int = 11, kl: Sequence[float] | None = None
) -> Traversal:
    """Move each dimension of (bases, D) codes from -span to span in `steps` values and decode.

    With `kl` (D,), rows are ordered by it, largest first. Raises UsageError for a range or count that is none.
    """
    if not (span > 0 and steps >= 2):
        raise UsageError(f"a traversal needs a span above 0 and at least 2 steps, not {span} and {steps}")
    codes = codes.detach().float().cpu()
    bases, dimensions = codes.shape
    order = sorted(range(dimensions), key=lambda i: -kl[i]) if kl is not None else list(range(dimensions))
    values = torch.linspace(-span, span, steps)
    moved = codes[:, None, None, :].repeat(1, dimensions, steps, 1)  # (bases, D, steps, D)
    for row, dimension in enumerate(order):
        moved[:, row, :, dimension] = values
    decoded = torch.cat([model.decode(part).cpu() for part in moved.flatten(0, 2).split(256)])
    pixels = to_pixels(decoded)
    return Traversal(
        images=pixels.reshape(bases, dimensions, steps, *pixels.shape[1:]),
        dimensions=tuple(order),
        values=tuple(float(value) for value in values),
        kl=tuple(float(kl[i]) for i in order) if kl is not None else None,
    )


def base_codes(model: Any, num: int, seed: int = 0) -> torch.Tensor:
    """Return (num, D) codes of generated images: codes as the model itself uses them, whatever their distribution."""
    codes: torch.Tensor = model.encode(model.generate(num, seed=seed))
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
            pen.text((centre, head / 2), f"{traversal.values[column]:+.1f}", fill="black", font=font, anchor="mm")
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
