"""dSprites seen through noise: what disentanglement_lib's colour and noise variants share.

There, an observation is drawn anew each time; here, `images(indices)` must be a function of the index, so the noise of
an image comes from a counter-based generator keyed by (noise seed, index). `observe` draws as disentanglement_lib does.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from pydantic import Field

from ibgan_plugin.adapters import dsprites as plain
from ibgan_plugin.adapters.dsprites_renderer import SIDE, SPACE

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

NoiseSeed = Annotated[int, Field(ge=0, lt=1 << 63)]


class ObservedSprites(ABC):
    """dSprites' factors and indices with images of three channels, of which each variant says what they show."""

    name: ClassVar[str]
    image_shape = (SIDE, SIDE, 3)
    factor_names = SPACE.names
    factor_sizes = SPACE.sizes

    def __init__(self, sprites: plain.DSprites, noise_seed: int) -> None:
        self.sprites, self.source, self.noise_seed = sprites, sprites.source, noise_seed

    def __len__(self) -> int:
        return len(SPACE)

    @abstractmethod
    def images(self, indices: ArrayLike) -> NDArray[np.uint8]:
        """Return uint8 (n, 64, 64, 3), the same for the same noise seed and index."""

    @abstractmethod
    def observe(self, indices: ArrayLike, random_state: np.random.RandomState) -> NDArray[np.float64]:
        """Return float64 (n, 64, 64, 3) in [0, 1], the noise drawn from `random_state` as disentanglement_lib does."""

    def index_of(self, factors: ArrayLike) -> NDArray[np.int64]:
        """Return int64 (n,) from int (n, 5); ValueError for a value out of range."""
        return SPACE.index_of(factors)

    def factors_of(self, indices: ArrayLike) -> NDArray[np.int64]:
        """Return int64 (n, 5) from int (n,)."""
        return SPACE.factors_of(indices)

    def noise(self, indices: NDArray[np.int64], size: int) -> NDArray[np.uint8]:
        """Return `size` random bytes for each index, uint8 (n, size): Philox keyed by (noise seed, index)."""
        words = -(-size // 8)
        drawn = np.empty((len(indices), words), dtype="<u8")
        for row, index in enumerate(indices.tolist()):
            drawn[row] = np.random.Philox(key=np.array([self.noise_seed, index], dtype=np.uint64)).random_raw(words)
        return drawn.view(np.uint8)[:, :size]


def prepare(data_root: Path | None = None) -> Path:
    """Prepare the store of dSprites, which is all that is stored; return its folder."""
    return plain.prepare(data_root)


def told(name: str, data_root: Path | None) -> dict[str, Any]:
    """Tell what is there, as `info` of one variant."""
    return plain.info(data_root) | {"name": name, "image_shape": list(ObservedSprites.image_shape)}
