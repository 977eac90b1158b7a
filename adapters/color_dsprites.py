"""Color-dSprites: dSprites in 512 colours, 377,487,360 images by index arithmetic over the store of dSprites.

IB-GAN paper (Jeon et al., AAAI 2021), Appendix F: "each color channel into 8 values linearly spaced between [0, 1]".
That rule gives 8^3 = 512 colours, black among them, as the authors' code has it; the "256" beside it in the paper
contradicts the rule.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ibgan_plugin.adapters import dsprites as plain
from ibgan_plugin.adapters.dsprites_renderer import SIDE
from ibgan_plugin.adapters.dsprites_renderer import SPACE as PLAIN_SPACE
from ibgan_plugin.adapters.factors import FactorSpace, checked_indices, named

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

LEVELS = np.round(255 * np.arange(8) / 7).astype(np.uint8)
COLORS = np.stack([LEVELS[np.arange(512) // 64], LEVELS[np.arange(512) // 8 % 8], LEVELS[np.arange(512) % 8]], axis=1)
"""The RGB of colour 64 * r + 8 * g + b: uint8 (512, 3)."""

SPACE = FactorSpace(("color", *PLAIN_SPACE.names), (len(COLORS), *PLAIN_SPACE.sizes))


class ColorDSprites:
    """The sprites in their colours on black; colour is the first factor, and the slowest."""

    name = "color_dsprites"
    image_shape = (SIDE, SIDE, 3)
    factor_names = SPACE.names
    factor_sizes = SPACE.sizes

    def __init__(self, sprites: plain.DSprites) -> None:
        self.sprites, self.source = sprites, sprites.source

    def __len__(self) -> int:
        return len(SPACE)

    def images(self, indices: ArrayLike) -> NDArray[np.uint8]:
        """Return uint8 (n, 64, 64, 3); IndexError for an index outside [0, len)."""
        color, sprite = np.divmod(checked_indices(indices, len(self)), len(PLAIN_SPACE))
        return painted(self.sprites.packed(sprite), COLORS[color])

    def index_of(self, factors: ArrayLike) -> NDArray[np.int64]:
        """Return int64 (n,) from int (n, 6); ValueError for a value out of range."""
        return SPACE.index_of(factors)

    def factors_of(self, indices: ArrayLike) -> NDArray[np.int64]:
        """Return int64 (n, 6) from int (n,)."""
        return SPACE.factors_of(indices)


# For each two bytes, sixteen pixels, 48 bytes: 255 for each channel of a pixel that is on, else 0.
_SPREAD = np.unpackbits(np.arange(2**16, dtype="<u2").view(np.uint8).reshape(-1, 2), axis=1)
_SPREAD = np.repeat(np.negative(_SPREAD), 3, axis=1).view("V48").ravel()


def painted(packed: NDArray[np.uint8], colors: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return uint8 (n, 64, 64, 3): sprites (n, 512) as `DSprites.packed` has them, each in its colour (n, 3).

    Most of an image is black. Where two bytes, sixteen pixels, are not, a table spreads them over their channels and
    the colour is cut out by that, eight bytes at a time.
    """
    groups = packed.view("<u2").ravel()  # (n * 256,)
    lit = np.flatnonzero(groups)
    pixels = _SPREAD.take(groups.take(lit)).view(np.uint64)
    pixels &= np.tile(colors, (1, 16)).view("V48").ravel().take(lit // 256).view(np.uint64)
    images = np.zeros(groups.size, "V48")
    images[lit] = pixels.view("V48")
    return images.view(np.uint8).reshape(-1, SIDE, SIDE, 3)


def color_dsprites(data_root: Path | None = None) -> ColorDSprites:
    """Return Color-dSprites over the images that `dsprites(data_root)` returns, prepared where they are not yet."""
    return ColorDSprites(plain.dsprites(data_root))


def prepare(data_root: Path | None = None) -> Path:
    """Prepare the store of dSprites, which is all that is stored; return its folder."""
    return plain.prepare(data_root)


def info(data_root: Path | None = None) -> dict[str, Any]:
    """Tell what is there, as plain JSON values."""
    return plain.info(data_root) | {
        "name": ColorDSprites.name,
        "images": len(SPACE),
        "image_shape": list(ColorDSprites.image_shape),
        "factors": named(SPACE.names, SPACE.sizes),
    }
