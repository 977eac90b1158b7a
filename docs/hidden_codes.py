"""Where IB-GAN writes its codes on sprites: into the sprite, or into dots of the background.

    python docs/hidden_codes.py CHECKPOINT... [--num 400] [--seed 0]      # a JSON line each

Codes r ~ N(0, I) are decoded. Of each image the largest bright spot with two pixels around it is kept ("sprite"), or
everything else is ("background"); what is taken out becomes black, as the background of sprites is. For each r_i it
prints the correlation of what went in with what `encode` reads, of the whole images and of both parts. A code whose
values `encode` reads as (nearly) one has none: null.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from zoo.loading import load_checkpoint
from zoo.registry import default_registry

BRIGHT = 0.35  # of the largest channel; 27 of the 512 colours of Color-dSprites are darker, and their sprites missed
MARGIN = 2  # pixels
STILL = 0.05  # a standard deviation below which a code says nothing


def largest_spots(images: torch.Tensor) -> NDArray[np.bool_]:
    """float32 (n, C, H, W) in [0, 1] -> bool (n, H, W): the largest connected bright spot and a margin."""
    bright = (images.amax(1) > BRIGHT).numpy()
    spots = np.zeros_like(bright)
    for image, spot in zip(bright, spots, strict=True):
        labels, count = ndimage.label(image, np.ones((3, 3)))
        if count:
            largest = 1 + int(np.argmax(ndimage.sum(image, labels, range(1, count + 1))))
            spot[:] = ndimage.binary_dilation(labels == largest, iterations=MARGIN)
    return spots


def correlations(codes: NDArray[np.float64], read: NDArray[np.float64]) -> list[float | None]:
    """(n, D) and (n, D) -> the correlation of each dimension with itself, to two digits; None for one that is still."""
    pairs = zip(codes.T, read.T, strict=True)
    return [None if b.std() < STILL else round(float(np.corrcoef(a, b)[0, 1]), 2) for a, b in pairs]


def hidden_codes(checkpoint: str, num: int = 400, seed: int = 0) -> dict[str, Any]:
    """Decode `num` codes with an IB-GAN and read them back, from whole images and from parts of them."""
    loaded = load_checkpoint(default_registry(), "ibgan", checkpoint, device="cpu")
    model, name = loaded.model, loaded.name if loaded.run is None else loaded.run.path.name
    codes = torch.randn(num, model.code_dim, generator=torch.Generator().manual_seed(seed))
    images = model.decode(codes)
    sprite = torch.from_numpy(largest_spots(images))[:, None]
    parts = {"whole": images, "sprite": images * sprite, "background": images * ~sprite}
    found = {part: correlations(codes.double().numpy(), model.encode(x).double().numpy()) for part, x in parts.items()}
    about = {"run": name, "dataset": loaded.config.dataset, "step": loaded.step, "num": num, "seed": seed}
    return about | found


def main(words: Sequence[str] | None = None) -> None:
    """Print a line for each checkpoint."""
    parser = argparse.ArgumentParser(description="Where IB-GAN writes its codes: into the sprite, or the background.")
    parser.add_argument("checkpoints", nargs="+", metavar="CHECKPOINT", help="a run, a checkpoint or pretrained:NAME")
    parser.add_argument("--num", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(words)
    for checkpoint in given.checkpoints:
        print(json.dumps(hidden_codes(checkpoint, given.num, given.seed)))  # noqa: T201  # a script's output


if __name__ == "__main__":
    main()
