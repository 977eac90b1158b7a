"""The official dSprites files: found, checked and read in blocks, never unpickled and never whole in memory.

Two layouts are published: the npz with keys `imgs`, `latents_values`, `latents_classes` (and `metadata`, a pickle,
which is not read), and the HDF5 with `imgs`, `latents/values`, `latents/classes`. `imgs` is uint8 {0, 1}
(737280, 64, 64); the latents have six columns, the first being the constant colour.
"""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ibgan_plugin.adapters.dsprites_renderer import SIDE, SPACE
from ibgan_plugin.adapters.factors import FactorSpace
from ibgan_plugin.adapters.places import search_roots
from ibgan_plugin.adapters.store import Made
from zoo.errors import DataError
from zoo.terminal import progress

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
        with zipfile.ZipFile(path) as archive:
            return archive.comment == DRAWN_COMMENT
    except (OSError, ValueError, zipfile.BadZipFile):  # an HDF5, or damaged, which `read` will tell
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
    except (OSError, EOFError, KeyError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        reason = error.args[0] if isinstance(error, KeyError) else error
        raise DataError(
            f"{path} is not a whole official dSprites file: {reason}; fetch it again, or move it away to have the "
            "images drawn"
        ) from error


@contextmanager
def _npz_arrays(path: Path) -> Iterator[Any]:
    with zipfile.ZipFile(path) as archive:

        @contextmanager
        def arrays(key: str, dtype: type, shape: tuple[int, ...]) -> Iterator[Read]:
            with archive.open(f"{key}.npy") as stream:
                version = np.lib.format.read_magic(stream)
                if version not in ((1, 0), (2, 0)):
                    raise ValueError(f"{key} is an .npy of the unknown version {version}")
                header = getattr(np.lib.format, f"read_array_header_{version[0]}_0")
                found, fortran, kind = header(stream)
                _expect(key, kind, found, dtype, shape)
                if fortran:
                    raise ValueError(f"{key} is in Fortran order; C order was expected")

                def read_rows(rows: int) -> NDArray[Any]:
                    size = rows * math.prod(shape[1:]) * kind.itemsize
                    data = stream.read(size)
                    if len(data) != size:
                        raise ValueError(f"{key} is cut off")
                    return np.frombuffer(data, kind).reshape(rows, *shape[1:])

                yield read_rows

        yield arrays


@contextmanager
def _hdf5_arrays(path: Path) -> Iterator[Any]:
    import h5py

    with h5py.File(path, "r") as file:

        @contextmanager
        def arrays(key: str, dtype: type, shape: tuple[int, ...]) -> Iterator[Read]:
            node = file.get(key.replace("latents_", "latents/"))
            if not isinstance(node, h5py.Dataset):
                raise ValueError(f"it has no array {key.replace('latents_', 'latents/')}")
            _expect(key, node.dtype, node.shape, dtype, shape)
            start = 0

            def read_rows(rows: int) -> NDArray[Any]:
                nonlocal start
                start += rows
                return node[start - rows : start]

            yield read_rows

        yield arrays


def _expect(key: str, kind: np.dtype[Any], found: tuple[int, ...], dtype: type, shape: tuple[int, ...]) -> None:
    if kind != np.dtype(dtype) or found != shape:
        raise ValueError(f"{key} is {kind} {found}; {np.dtype(dtype)} {shape} was expected")
