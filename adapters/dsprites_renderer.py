"""The 737,280 images of dSprites, drawn.

dSprites (Matthey et al., 2017) was drawn from vector outlines and rasterised without anti-aliasing: a pixel is on when
its centre lies inside the outline. The outlines below were fitted to the 320 frames that the dataset's repository
publishes as an animation, and reproduce all of them bit for bit; docs/datasets.md says what those frames cannot tell.

A point-in-polygon test a pixel would take minutes. Instead, each outline is cut with the 64 * 32 distinct scanlines
that the rows of all vertical positions make, and each row of each image is the exclusive or, over the cuts, of "all
pixels right of the cut": eight bytes from a table of 65.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from ibgan_plugin.adapters.factors import FactorSpace

if TYPE_CHECKING:
    from numpy.typing import NDArray

SPACE = FactorSpace(("shape", "scale", "orientation", "posX", "posY"), (3, 6, 40, 32, 32))
SIDE = 64
PACKED_BYTES = SIDE * SIDE // 8
VERSION = 1  # of the drawing; raise it when a constant below changes, so that cached drawings are drawn anew

SCALES = np.linspace(0.5, 1, 6)
ORIENTATIONS = np.linspace(0, 2 * np.pi, 40)  # both ends: the last orientation repeats the first
CENTRES = 16 + 32 * np.linspace(0, 1, 32)  # of a sprite, in pixels, in both directions


def square() -> NDArray[np.float64]:
    """The square's outline at scale 1, (4, 2). Nominally of half side 0.15 * 64; a pixel at 9.59985 is outside."""
    return 9.598 * np.array([(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)])


def ellipse() -> NDArray[np.float64]:
    """The ellipse's outline at scale 1, (72, 2): a polygon, as in the original."""
    angle = 2 * np.pi * np.arange(72) / 72
    return np.stack([12.775 * np.cos(angle), 7.22 * np.sin(angle)], axis=1)


def heart() -> NDArray[np.float64]:
    """The heart's outline at scale 1, (154, 2): 78 points of a heart curve, and the mirror images of 76 of them."""
    t = np.pi * np.arange(78) / 77
    u = 9.60002 * np.sin(t) ** 3
    v = -0.66231 * (13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)) - 1.43896
    right = np.stack([u, v], axis=1)
    left = right[-2:0:-1] * (-1, 1)  # both curves share the points on the axis, t = 0 and t = pi
    return np.concatenate([right, left])


OUTLINES = (square(), ellipse(), heart())


def placed_outline(shape: int, scale: int, orientation: int) -> NDArray[np.float64]:
    """Return the outline around the sprite's centre, (vertices, 2), in pixels, x right and y down."""
    u, v = SCALES[scale] * OUTLINES[shape].T
    cos, sin = np.cos(ORIENTATIONS[orientation]), np.sin(ORIENTATIONS[orientation])
    return np.stack([u * cos + v * sin, v * cos - u * sin], axis=1)


def draw(shape: int, scale: int, orientation: int) -> NDArray[np.uint8]:
    """Return the 1,024 images of one sprite at all positions: packed bits, uint8 (1024, 512), posY fastest.

    A row of the result is `np.packbits` of the 64x64 mask.
    """
    scanlines, cuts = _cuts(placed_outline(shape, scale, orientation))
    # The first pixel whose centre is right of each cut, for every horizontal position: (posX, scanline, cut).
    first = np.ceil(cuts + (CENTRES[:, None, None] - 0.5))
    words = _RIGHT_OF[np.clip(first, 0, SIDE, out=first).astype(np.intp)]
    images = np.zeros((len(CENTRES), _SCANLINES.size), dtype=np.uint64)
    images[:, scanlines] = np.bitwise_xor.reduce(words, axis=2)
    return images.view(np.uint8).reshape(-1, PACKED_BYTES)


def draw_all() -> Iterator[NDArray[np.uint8]]:
    """Yield all images in the dataset's order, as `draw` gives them."""
    shapes, scales, orientations = SPACE.sizes[:3]
    for shape in range(shapes):
        for scale in range(scales):
            for orientation in range(orientations):
                yield draw(shape, scale, orientation)


# The y of every pixel row below the sprite's centre, for every vertical position: (posY * row,).
_SCANLINES = (np.arange(SIDE) + 0.5 - CENTRES[:, None]).ravel()

# Entry k: a row of pixels, those from column k on set, as the eight bytes of its packed bits.
_RIGHT_OF = np.packbits(np.arange(SIDE) >= np.arange(SIDE + 1)[:, None], axis=1).view(np.uint64).ravel()


def _cuts(outline: NDArray[np.float64]) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Cut an outline with the scanlines: which scanlines meet it, (n,), and where, (n, most cuts), inf where fewer.

    The heart has four cuts in its cleft, so the number is even but not always two.
    """
    x0, y0 = outline.T
    x1, y1 = np.roll(outline, -1, axis=0).T
    reached = np.flatnonzero((y0.min() <= _SCANLINES) & (y0.max() >= _SCANLINES))
    y = _SCANLINES[reached, None]
    row, edge = np.nonzero((y0 <= y) != (y1 <= y))
    x = x0[edge] + (y[row, 0] - y0[edge]) * ((x1 - x0)[edge] / (y1 - y0)[edge])
    counts = np.bincount(row, minlength=len(reached))
    slot = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
    cuts = np.full((len(reached), counts.max()), np.inf)
    cuts[row, slot] = x
    return reached, cuts
