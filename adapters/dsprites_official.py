"""The official dSprites files: found, checked and read in blocks, never unpickled and never whole in memory.

Two layouts are published: the npz with keys `imgs`, `latents_values`, `latents_classes` (and `metadata`, a pickle,
which is not read), and the HDF5 with `imgs`, `latents/values`, `latents/classes`. `imgs` is uint8 {0, 1}
(737280, 64, 64); the latents have six columns, the first being the constant colour.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ibgan_plugin.adapters.dsprites_renderer import SIDE, SPACE
from ibgan_plugin.adapters.factors import FactorSpace
from ibgan_plugin.adapters.hdf5 import open_hdf5
from ibgan_plugin.adapters.places import search_roots
from ibgan_plugin.adapters.store import Made
from zoo.errors import DataError
from zoo.terminal import progress
from zoo.untrusted import open_file, open_zip, said
from zoo.untrusted_arrays import open_array, shown_shape

if TYPE_CHECKING:
    from numpy.typing import NDArray

STEM = "dsprites_ndarray_co1sh3sc6or40x32y32_64x64"
SUFFIXES = (".npz", ".hdf5", ".h5")
DRAWN_COMMENT = b"drawn by ibgan-plugin"  # of a zip: the mark of a file that is not the official one
BLOCK = 4096  # images unpacked at a time: 16 MiB
HDF5_BLOCK = 23040  # the official file's chunks are this many images deep: 90 MiB

Read = Callable[[int], "NDArray[Any]"]


def find(root: Path) -> Path | None:
    """Return the official file: in the data root, in its `dsprites/`, or in disentanglement_lib's data folder."""
    folders = [root, *(each / "dsprites" for each in search_roots(root))]
    candidates = (folder / f"{STEM}{suffix}" for suffix in SUFFIXES for folder in folders)
    return next((path.absolute() for path in candidates if path.is_file() and not _drawn_here(path)), None)


def _drawn_here(path: Path) -> bool:
    """Whether this is a drawn npz that `zoo convert` wrote: drawing the images again is no worse than reading it."""
    try:
        with open_zip(path, DataError) as archive:
            return archive.comment == DRAWN_COMMENT
    except DataError:  # an HDF5, or damaged, which `read` will tell
        return False


def identity(path: Path) -> dict[str, Any]:
    """Return what a store made from this file is recognised by; a file that was replaced has another identity."""
    status = path.stat()
    return {"source": str(path), "bytes": status.st_size, "mtime_ns": status.st_mtime_ns}


def read(path: Path, space: FactorSpace = SPACE) -> Made:
    """Return the packed bits of an official file, (n, 512); DataError, on the way, where it is not what it should be.

    `space` is the factor space that the file must cover in order.
    """
    reader = _npz_arrays if path.suffix == ".npz" else _hdf5_arrays
    return Made((len(space), SIDE * SIDE // 8), _packed_blocks(path, reader, space))


def _packed_blocks(path: Path, reader: Any, space: FactorSpace) -> Iterator[NDArray[np.uint8]]:
    count = len(space)
    with _blaming(path), reader(path) as arrays, progress(f"reading {path.name}", count) as shown:
        with arrays("latents_values", np.float64, (count, 1 + len(space.sizes))):
            pass  # its presence, shape and type are all that is checked
        with arrays("latents_classes", np.int64, (count, 1 + len(space.sizes))) as classes:
            for start in range(0, count, BLOCK):
                indices = np.arange(start, min(start + BLOCK, count))
                expected = np.concatenate([np.zeros((len(indices), 1), np.int64), space.factors_of(indices)], axis=1)
                if not np.array_equal(classes(len(indices)), expected):
                    raise ValueError("latents_classes is not in the published order")
        with arrays("imgs", np.uint8, (count, SIDE, SIDE)) as images:
            block = BLOCK if path.suffix == ".npz" else HDF5_BLOCK
            for start in range(0, count, block):
                pixels = images(min(block, count - start))
                if pixels.max() > 1:
                    raise ValueError(f"imgs holds the value {pixels.max()}; only 0 and 1 were expected")
                yield np.packbits(pixels.reshape(len(pixels), -1), axis=1)
                shown.advance(len(pixels))


@contextmanager
def _blaming(path: Path) -> Iterator[None]:
    """Turn whatever a damaged file makes its reader raise into one line."""
    try:
        yield
    except Exception as error:  # zipfile and zlib raise what they stumble over
        reason = error.args[0] if isinstance(error, KeyError) and error.args else said(error)
        raise DataError(
            f"{path} is not a whole official dSprites file: {reason}; fetch it again, or move it away to have the "
            "images drawn"
        ) from error


@contextmanager
def _npz_arrays(path: Path) -> Iterator[Any]:
    with open_zip(path, DataError) as archive:

        @contextmanager
        def arrays(key: str, dtype: type, shape: tuple[int, ...]) -> Iterator[Read]:
            with open_array(archive, key) as array:
                if array.dtype != np.dtype(dtype) or array.shape != shape:
                    found = f"{array.dtype} {shown_shape(array.shape)}"
                    raise ValueError(f"{key} is {found}; {np.dtype(dtype)} {shape} was expected")
                yield array.rows

        yield arrays


@contextmanager
def _hdf5_arrays(path: Path) -> Iterator[Any]:
    with open_file(path, DataError):
        pass  # what is no file is told before a process is started for it
    with open_hdf5(path) as file:

        @contextmanager
        def arrays(key: str, dtype: type, shape: tuple[int, ...]) -> Iterator[Read]:
            file.open(key.replace("latents_", "latents/"), np.dtype(dtype), shape)
            yield file.rows

        yield arrays
