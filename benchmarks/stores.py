"""Random batches from a store of prepared images, for the store used here and for the alternatives to it.

    python -m benchmarks.stores [--images N] [--batches N] [--json]

All hold the same N smooth random images of 64x64x3 (20,000 by default, 246 MB each, in a temporary folder that goes
away). The same indices are read from each, in turns, in one process; medians count, and every contestant's images are
compared. For the column `cold` the system is asked to forget the file before each batch, so the disk is in it.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ibgan_plugin.adapters.store import ARRAY, Made, Store, open_or_make
from zoo import terminal

BATCH = 64
CHUNK = 1000
SLOW = 10  # batches from a cold file, and from a warm one that takes this many times this many times the store's time

Read = Callable[[NDArray[np.int64]], NDArray[np.uint8]]
Contestants = dict[str, tuple[Callable[[], AbstractContextManager[Read]], Path]]


def measure(images: int = 20_000, batches: int = 200) -> dict[str, Any]:
    """Write every contestant, time batches from each; return rates and sizes."""
    with tempfile.TemporaryDirectory(prefix="stores-") as folder:
        contestants = _written(Path(folder), images)
        random = np.random.default_rng(0)
        warm = _warm(contestants, random.integers(images, size=(batches, BATCH)))
        cold = _cold(contestants, random.integers(images, size=(SLOW, BATCH)))
        return {
            "images": images,
            "batch": BATCH,
            "stores": {
                name: {
                    "batches per second": 1 / warm[name],
                    "batches per second, cold": 1 / cold[name] if cold else None,
                    "MB": file.stat().st_size / 1e6,
                }
                for name, (_, file) in contestants.items()
            },
        }


def _warm(contestants: Contestants, batches: NDArray[np.int64]) -> dict[str, float]:
    """Return the median seconds of a batch while the files are in memory."""
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    with contextlib.ExitStack() as opened:
        readers = {name: opened.enter_context(open_()) for name, (open_, _) in contestants.items()}
        for _, file in contestants.values():
            file.read_bytes()
        for indices in batches:
            expected = None
            for name, read in readers.items():
                usual = statistics.median(seconds["used here"] or [1])
                if len(seconds[name]) >= SLOW and statistics.median(seconds[name]) > SLOW * SLOW * usual:
                    continue
                started = time.perf_counter()
                found = read(indices)
                seconds[name].append(time.perf_counter() - started)
                expected = found if expected is None else expected
                if not np.array_equal(found, expected):
                    raise SystemExit(f"{name} gave other images than the store")
    return {name: statistics.median(found) for name, found in seconds.items()}


def _cold(contestants: Contestants, batches: NDArray[np.int64]) -> dict[str, float]:
    """Return the median seconds of a batch from the disk; nothing where the system cannot forget a file."""
    if not hasattr(os, "posix_fadvise"):
        return {}
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for indices in batches:
        for name, (open_, file) in contestants.items():
            with open_() as read:  # opened anew: pages that are mapped are not forgotten
                _forget(file)
                started = time.perf_counter()
                read(indices)
                seconds[name].append(time.perf_counter() - started)
    return {name: statistics.median(found) for name, found in seconds.items()}


def _forget(file: Path) -> None:
    """Ask the system to drop what it keeps of a file in memory."""
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


def _written(folder: Path, images: int) -> Contestants:
    """Write the same images in all ways; return how to open each, and its file."""
    shape = (images, 64, 64, 3)

    def blocks() -> Iterator[NDArray[np.uint8]]:
        for start in range(0, images, CHUNK):
            yield _smooth(start, min(CHUNK, images - start))

    store = open_or_make(folder / "store", {"source": "benchmark"}, lambda: Made(shape, blocks()))
    array_file = store.folder / ARRAY
    contestants: Contestants = {
        "used here": (functools.partial(_store, store.folder), array_file),
        "the same array, mapped by NumPy": (functools.partial(_mapped, array_file), array_file),
    }
    one_image = (1, 64, 64, 3)
    layouts: dict[str, tuple[dict[str, Any], Callable[[Path], AbstractContextManager[Read]]]] = {
        "HDF5, an image a chunk": ({"chunks": one_image}, _hdf5_one_by_one),
        "HDF5, an image a chunk, read by list": ({"chunks": one_image}, _hdf5),
        "HDF5, an image a chunk, gzip": ({"chunks": one_image, "compression": "gzip"}, _hdf5_one_by_one),
        "HDF5, contiguous": ({}, _hdf5_one_by_one),
        "HDF5, chunks chosen by h5py": ({"chunks": True}, _hdf5),
    }
    for name, (layout, open_) in layouts.items():
        path = folder / f"{name}.h5"
        with h5py.File(path, "w") as file:
            array = file.create_dataset("images", shape, np.uint8, **layout)
            for start, block in zip(range(0, images, CHUNK), blocks(), strict=True):
                array[start : start + CHUNK] = block
        contestants[name] = (functools.partial(open_, path), path)
    return contestants


@contextlib.contextmanager
def _store(folder: Path) -> Iterator[Read]:
    """Read as the datasets of image files do."""
    yield Store(folder).read


@contextlib.contextmanager
def _mapped(path: Path) -> Iterator[Read]:
    """Read the same file as NumPy maps it."""
    rows = np.asarray(np.load(path, mmap_mode="r"))
    yield lambda indices: rows[indices]


@contextlib.contextmanager
def _hdf5_one_by_one(path: Path) -> Iterator[Read]:
    """Read image by image."""
    with h5py.File(path, "r") as file:
        array = file["images"]
        yield lambda indices: np.stack([array[index] for index in indices.tolist()])


@contextlib.contextmanager
def _hdf5(path: Path) -> Iterator[Read]:
    """Read with h5py's own indexing, which wants increasing indices."""
    with h5py.File(path, "r") as file:
        array = file["images"]

        def read(indices: NDArray[np.int64]) -> NDArray[np.uint8]:
            increasing, places = np.unique(indices, return_inverse=True)
            return array[increasing][places]

        yield read


def _smooth(start: int, count: int) -> NDArray[np.uint8]:
    """Return random images that compress about as photographs do."""
    random = np.random.default_rng(start)
    made = np.empty((count, 64, 64, 3), np.uint8)
    for row in range(count):
        coarse = Image.fromarray(random.integers(256, size=(8, 8, 3), dtype=np.uint8))
        made[row] = np.asarray(coarse.resize((64, 64), Image.Resampling.BICUBIC))
    return made


def table(result: dict[str, Any]) -> None:
    """Print the results."""
    rows = [
        [
            name,
            f"{found['batches per second']:,.0f}",
            f"{found['batches per second, cold'] or float('nan'):,.0f}",
            f"{found['MB']:,.0f}",
        ]
        for name, found in result["stores"].items()
    ]
    headers = [f"{result['images']:,} images", f"batches of {BATCH} a second", "cold", "MB"]
    terminal.table(headers, rows)


def main() -> None:
    """Measure, and print a table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=20_000, help="images in each store")
    parser.add_argument("--batches", type=int, default=200, help="batches from each store")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    result = measure(options.images, options.batches)
    terminal.out_json(result) if options.json else table(result)


if __name__ == "__main__":
    main()
