"""disentanglement_lib's Noisy-dSprites: white sprites, and a background of uniform noise in every channel."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ibgan_plugin.adapters import dsprites as plain
from ibgan_plugin.adapters.dsprites_renderer import SPACE
from ibgan_plugin.adapters.factors import checked_indices
from ibgan_plugin.adapters.observed_sprites import NoiseSeed, ObservedSprites, prepare, told

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["info", "noisy_dsprites", "prepare"]


class NoisyDSprites(ObservedSprites):
    """The sprites on noise."""

    name = "noisy_dsprites"

    def images(self, indices: ArrayLike) -> NDArray[np.uint8]:
        """Return uint8 (n, 64, 64, 3): 255 on the sprite, elsewhere the index's noise, uniform among 0..255."""
        checked = checked_indices(indices, len(SPACE))
        images = self.noise(checked, int(np.prod(self.image_shape))).reshape(-1, *self.image_shape)
        images[self.sprites.masks(checked).view(bool)] = 255
        return images

    def observe(self, indices: ArrayLike, random_state: np.random.RandomState) -> NDArray[np.float64]:
        """Return float64 (n, 64, 64, 3): one `uniform(0, 1, (n, 64, 64, 3))` added to the sprites, clipped at 1."""
        masks = self.sprites.masks(indices)
        noise = random_state.uniform(0, 1, (len(masks), *self.image_shape))
        return np.minimum(masks[..., None] + noise, 1.0)


def noisy_dsprites(data_root: Path | None = None, *, noise_seed: NoiseSeed = 0) -> NoisyDSprites:
    """Return it over the images that `dsprites(data_root)` returns; `noise_seed` gives other noise to the indices."""
    return NoisyDSprites(plain.dsprites(data_root), noise_seed)


def info(data_root: Path | None = None) -> dict[str, Any]:
    """Tell what is there, as plain JSON values."""
    return told(NoisyDSprites.name, data_root)
