"""What stands in for a dataset, for a model, and for the Inception network."""

from __future__ import annotations

import numpy as np
import torch


class Pictures:
    """Images held in memory: `pixels` is uint8 (n, H, W, C)."""

    factor_names = factor_sizes = None

    def __init__(self, pixels: np.ndarray, name: str = "pictures") -> None:
        self.pixels, self.name, self.read = pixels, name, 0

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def image_shape(self) -> tuple[int, ...]:
        return self.pixels.shape[1:]

    def images(self, indices):
        self.read += len(indices)
        return self.pixels[indices]


class Painter:
    """A model without parameters: the seed decides the images, which are coarse squares of random colours."""

    def __init__(self, channels: int = 3, side: int = 16) -> None:
        self.channels, self.side, self.calls = channels, side, []

    def generate(self, num: int, seed: int = 0) -> torch.Tensor:
        self.calls.append((num, seed))
        generator = torch.Generator().manual_seed(seed)
        coarse = torch.rand((num, self.channels, 4, 4), generator=generator)
        return torch.nn.functional.interpolate(coarse, size=self.side, mode="nearest")


class SmallFeatures:
    """Stands in for the Inception network: six fixed projections of the pixels."""

    dims = 6

    def __init__(self, weights, device="cpu", precision="fp32", batch_size=None) -> None:
        self.batch_size = batch_size or 16

    def __call__(self, images: np.ndarray) -> np.ndarray:
        assert images.dtype == np.uint8
        colour = np.broadcast_to(images, (*images.shape[:3], 3)).reshape(len(images), -1).astype(np.float64)
        return (colour @ np.random.default_rng(7).normal(size=(colour.shape[1], self.dims)) / 255).astype(np.float32)
