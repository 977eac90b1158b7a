"""Batches of dsprites and color_dsprites against disentanglement_lib's way of producing them.

    python -m benchmarks.batches [--batches N] [--json]

Plain is what its data objects do: index a uint8 array of all images and expand it, as float32, to one channel; for
colour, draw a colour an image and multiply in float64. Ours are uint8 images. Both are timed as they come, and as far
as the float32 tensor that a training step takes, which costs ours more: it has yet to convert. Both are given the same
indices. Training images are drawn too, each in its own way: disentanglement_lib trains on a tf.data generator that
draws the factors of one image at a time and looks that one up, and TensorFlow makes batches of them, for which
`np.stack` stands here; ours draws a batch's indices from the generator of its step, which `zoo train` makes anew.

They run in turns, in one process that keeps its freed memory, as `zoo train` does; the medians count. Making the plain
way's array reads all of the store, so both find their images in memory.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import zoo
from zoo import terminal
from zoo.device import Backend
from zoo.interfaces import Dataset
from zoo.memory import keep_freed
from zoo.randomness import numpy_stream

BATCH = 64
CHUNK = 8192


def measure(batches: int = 2000) -> list[dict[str, Any]]:
    """Time both datasets; return batches per second and ratios. Takes 3 GB of memory, as the plain way does."""
    sprites = zoo.load_dataset("dsprites")
    colour = zoo.load_dataset("color_dsprites")
    unpacked = np.empty((len(sprites), 64, 64), np.uint8)
    for start in range(0, len(sprites), CHUNK):
        indices = np.arange(start, min(start + CHUNK, len(sprites)))
        unpacked[indices] = sprites.images(indices)[..., 0] > 0

    def plain_gray(indices: NDArray[np.int64], _: np.random.RandomState) -> NDArray[np.float32]:
        return np.expand_dims(unpacked[indices].astype(np.float32), axis=3)

    def plain_colour(indices: NDArray[np.int64], random: np.random.RandomState) -> NDArray[np.float64]:
        three = np.repeat(np.expand_dims(unpacked[indices % len(sprites)].astype(np.float32), axis=3), 3, axis=3)
        colour = random.uniform(0.5, 1, [len(indices), 1, 1, 3])
        for axis in (1, 2):  # a colour for every pixel, in float64, as its data object makes it
            colour = np.repeat(colour, 64, axis=axis)
        return three * colour

    to_tensor = Backend.choose("cpu", "fp32").images

    def as_tensor(plain: Callable[..., NDArray[Any]]) -> Callable[..., Tensor]:
        return lambda indices, random: torch.from_numpy(plain(indices, random)).permute(0, 3, 1, 2).float()

    found = []
    for name, data, plain in (("dsprites", sprites, plain_gray), ("color_dsprites", colour, plain_colour)):
        found.append(_compare(name, "images", data.images, plain, len(data), batches))
        tensors = partial(_tensors, data, to_tensor)
        found.append(_compare(name, "tensors", tensors, as_tensor(plain), len(data), batches))
        drawn = partial(_drawn_one_by_one, sprites.factor_sizes, plain)
        found.append(_compare(name, "training images", partial(_drawn, data), drawn, len(data), max(1, batches // 10)))
    return found


def _drawn_one_by_one(
    sizes: Sequence[int], plain: Callable[..., NDArray[Any]], indices: NDArray[np.int64], random: np.random.RandomState
) -> NDArray[Any]:
    """As many images as there are indices, which are drawn here: factor by factor, image by image."""
    bases = np.prod(sizes) / np.cumprod(sizes)
    images = []
    for _ in indices:
        factors = np.zeros((1, len(sizes)), np.int64)
        for column, size in enumerate(sizes):
            factors[:, column] = random.randint(size, size=1)
        images.append(plain(np.array(np.dot(factors, bases), dtype=np.int64), random)[0])
    return np.stack(images)


def _drawn(data: Dataset, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
    """As many images as there are indices, which are drawn here."""
    return data.images(numpy_stream(0, "data", int(indices[0])).integers(0, len(data), len(indices)))


def _tensors(data: Dataset, to_tensor: Callable[..., Tensor], indices: NDArray[np.int64]) -> Tensor:
    return to_tensor(data.images(indices))


def _compare(
    name: str, what: str, ours: Callable[..., Any], plain: Callable[..., Any], size: int, batches: int
) -> dict[str, Any]:
    random = np.random.RandomState(0)
    seconds: dict[str, list[float]] = {"plain": [], "ours": []}
    for _ in range(batches):
        indices = random.randint(0, size, BATCH)
        for contestant, run in (("plain", lambda i: plain(i, random)), ("ours", ours)):
            started = time.perf_counter()
            run(indices)
            seconds[contestant].append(time.perf_counter() - started)
    rates = {contestant: 1 / statistics.median(found) for contestant, found in seconds.items()}
    return {"dataset": name, "as": what, "batches per second": rates, "times faster": rates["ours"] / rates["plain"]}


def table(results: list[dict[str, Any]]) -> None:
    """Print the results."""
    rows = [
        [
            f"{r['dataset']}, {r['as']}",
            f"{r['batches per second']['plain']:,.0f}",
            f"{r['batches per second']['ours']:,.0f} ({r['times faster']:.2f}x)",
        ]
        for r in results
    ]
    terminal.table([f"batches of {BATCH} a second", "plain", "ours"], rows)


def main() -> None:
    """Measure, and print a table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, default=2000, help="batches of each contestant")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    keep_freed()
    results = measure(options.batches)
    terminal.out_json(results) if options.json else table(results)


if __name__ == "__main__":
    main()
