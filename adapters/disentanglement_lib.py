"""disentanglement_lib's file formats: the dSprites file that its loaders open, and what its pipeline leaves of a model.

With `$DISENTANGLEMENT_LIB_DATA` set to the folder written here, its `dsprites_full`, `dsprites_noshape`,
`color_dsprites` and `noisy_dsprites` find their data.
"""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ibgan_plugin.adapters.color_dsprites_dlib import ColorDSpritesDlib
from ibgan_plugin.adapters.dsprites import DSprites
from ibgan_plugin.adapters.dsprites_official import DRAWN_COMMENT, STEM
from ibgan_plugin.adapters.dsprites_renderer import CENTRES, ORIENTATIONS, SCALES, SIDE, SPACE
from ibgan_plugin.adapters.noisy_dsprites import NoisyDSprites
from zoo.errors import DataError
from zoo.files import writing
from zoo.terminal import progress
from zoo.untrusted import exists

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from zoo.interfaces import Dataset

BLOCK = 8192  # images at a time: 32 MiB
COMPRESSION = 3  # of zlib; level 6 takes three times as long for a file half the size, level 1 as long for a larger one

POSITIONS = np.linspace(0, 1, len(CENTRES))  # (CENTRES - 16) / 32, to the last bit of the official file
VALUES = (np.ones(1), np.arange(1.0, 4.0), SCALES, ORIENTATIONS, POSITIONS, POSITIONS)
"""What the classes of the six latents stand for: colour, shape, scale, orientation (radians), posX, posY."""


class DisentanglementLib:
    """Writes datasets in the layout of disentanglement_lib's data folder, and checkpoints in that of its results."""

    def dataset_to(self, dataset: Dataset, out: Path) -> Path:
        """Write `out`/dsprites/dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz and return its path.

        It has the official file's arrays: `imgs` uint8 {0, 1} (737280, 64, 64), `latents_classes`, `latents_values`,
        and `metadata`, a pickled dict, which disentanglement_lib's loader unpickles. DataError for a dataset that
        disentanglement_lib does not read from that file, and where a file of that name is there: it may be the official
        one.
        """
        if isinstance(dataset, ColorDSpritesDlib | NoisyDSprites):
            dataset = dataset.sprites  # theirs draw colour and noise on the same file when they are loaded
        if not isinstance(dataset, DSprites):
            raise DataError(
                f"disentanglement_lib has no file format for {dataset.name}; "
                f"{DSprites.name}, {ColorDSpritesDlib.name} and {NoisyDSprites.name} can be written for it"
            )
        path = out / "dsprites" / f"{STEM}.npz"
        if exists(path):
            raise DataError(f"{path} exists already; choose another --out, or move it away")
        with writing(path) as temporary:
            _write_npz(dataset, temporary)
        return path

    def checkpoint_to(self, checkpoint: Path, out: Path, *, model: str | None = None) -> Path:
        """Write the results of a run, or of one checkpoint in it, and its representor into `out`; return that.

        `model` is needed where that is one given by its import path, since no file may name code to import.
        See `disentanglement_lib_checkpoint.write_checkpoint`.
        """
        from ibgan_plugin.adapters.disentanglement_lib_checkpoint import write_checkpoint  # torch: not for datasets

        return write_checkpoint(checkpoint, out, model)


def _write_npz(sprites: DSprites, path: Path) -> None:
    count = len(sprites)
    latents = (count, 1 + len(SPACE.sizes))
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=COMPRESSION) as archive,
        progress("writing dsprites", count) as shown,
    ):
        if sprites.source == "drawn":
            archive.comment = DRAWN_COMMENT
        with _member(archive, "metadata", object, ()) as file:
            file.write(_pickled_metadata(sprites))
        with _member(archive, "latents_classes", np.int64, latents) as file:
            for indices in _blocks(count):
                file.write(_classes(indices).tobytes())
        with _member(archive, "latents_values", np.float64, latents) as file:
            for indices in _blocks(count):
                classes = _classes(indices)
                columns = [values[classes[:, column]] for column, values in enumerate(VALUES)]
                file.write(np.stack(columns, axis=1).tobytes())
        with _member(archive, "imgs", np.uint8, (count, SIDE, SIDE)) as file:
            for indices in _blocks(count):
                file.write(sprites.masks(indices).data)
                shown.advance(len(indices))


@contextmanager
def _member(archive: zipfile.ZipFile, key: str, dtype: type, shape: tuple[int, ...]) -> Iterator[Any]:
    """Open an array of an npz for writing, after its header."""
    with archive.open(f"{key}.npy", "w", force_zip64=True) as file:
        header = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        yield file


def _blocks(count: int) -> Iterator[NDArray[np.int64]]:
    for start in range(0, count, BLOCK):
        yield np.arange(start, min(start + BLOCK, count))


def _classes(indices: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the six latent classes of images, int64 (n, 6): the constant colour, then the factors."""
    factors = SPACE.factors_of(indices)
    return np.concatenate([np.zeros((len(factors), 1), dtype=np.int64), factors], axis=1)


def _pickled_metadata(sprites: DSprites) -> bytes:
    """Return the pickle of a 0-d object array that holds the metadata, for any NumPy and any Python to load.

    NumPy 2 names its module `numpy._core` in a pickle, which the versions that disentanglement_lib runs with do not
    have; both know `numpy.core`. In protocol 2 names are lines, and there are no lengths to keep right.
    """
    names = ("color", *SPACE.names)
    metadata = {
        "title": "dSprites",
        "description": f"{len(sprites):,} binary sprites, {SIDE}x{SIDE}; written by ibgan-plugin",
        "source": sprites.source,
        "latents_names": names,
        "latents_sizes": [1, *SPACE.sizes],
        "latents_possible_values": {name: values.tolist() for name, values in zip(names, VALUES, strict=True)},
    }
    pickled = pickle.dumps(np.array(metadata, dtype=object), protocol=2)
    return pickled.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")
