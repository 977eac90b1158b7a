"""disentanglement_lib's Color-dSprites: five factors, and each observation's sprite in a random colour.

The colour is noise there, not a factor: uniform in [0.5, 1] per channel. (The IB-GAN paper's Color-dSprites, with
colour as a sixth factor, is `color_dsprites`.)
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ibgan_plugin.adapters import dsprites as plain
from ibgan_plugin.adapters.color_dsprites import painted
from ibgan_plugin.adapters.dsprites_renderer import SPACE
from ibgan_plugin.adapters.factors import checked_indices
from ibgan_plugin.adapters.observed_sprites import NoiseSeed, ObservedSprites, prepare, told

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["color_dsprites_dlib", "info", "prepare"]


class ColorDSpritesDlib(ObservedSprites):
    """The sprites on black, in colours that are noise."""

    name = "color_dsprites_dlib"

    def images(self, indices: ArrayLike) -> NDArray[np.uint8]:
        """Return uint8 (n, 64, 64, 3): the index's colour, each channel uniform among 128..255, on black."""
        checked = checked_indices(indices, len(SPACE))
        return painted(self.sprites.packed(checked), 128 + self.noise(checked, 3) // 2)

    def observe(self, indices: ArrayLike, random_state: np.random.RandomState) -> NDArray[np.float64]:
        """Return float64 (n, 64, 64, 3): one `uniform(0.5, 1, (n, 1, 1, 3))`, times the sprites."""
        masks = self.sprites.masks(indices)
        return masks[..., None] * random_state.uniform(0.5, 1, (len(masks), 1, 1, 3))


def color_dsprites_dlib(data_root: Path | None = None, *, noise_seed: NoiseSeed = 0) -> ColorDSpritesDlib:
    """Return it over the images that `dsprites(data_root)` returns; `noise_seed` gives other colours to the indices."""
    return ColorDSpritesDlib(plain.dsprites(data_root), noise_seed)


def info(data_root: Path | None = None) -> dict[str, Any]:
    """Tell what is there, as plain JSON values."""
    return told(ColorDSpritesDlib.name, data_root)
