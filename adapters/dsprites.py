"""dSprites: 737,280 binary images of 64x64 with five factors, drawn here or read from the official file.

Matthey, Higgins, Hassabis, Lerchner: "dSprites: Disentanglement testing Sprites dataset", 2017. Where the user has the
official file it is used; else the images are drawn (`dsprites_renderer`), once, into the data root.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ibgan_plugin.adapters import dsprites_official as official
from ibgan_plugin.adapters.dsprites_renderer import PACKED_BYTES, SIDE, SPACE, VERSION, draw_all
from ibgan_plugin.adapters.factors import checked_indices, named
from ibgan_plugin.adapters.store import ARRAY, PREPARED, Made, Store, open_made_from, open_or_make
from zoo.data_root import data_root as resolved
from zoo.errors import DataError
from zoo.terminal import progress

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


# Sixteen pixels, 16 bytes of 0 or 255, for each two packed bytes: looking them up is faster than unpacking bits.
_SPREAD = np.negative(np.unpackbits(np.arange(2**16, dtype="<u2").view(np.uint8))).view("V16")


class DSprites:
    """The images as packed bits in a store. `source` is "drawn", or the path of the official file they come from."""

    name = "dsprites"
    image_shape = (SIDE, SIDE, 1)
    factor_names = SPACE.names
    factor_sizes = SPACE.sizes

    def __init__(self, store: Store, source: str) -> None:
        self.store, self.source = store, source

    def __len__(self) -> int:
        return len(self.store)

    def packed(self, indices: ArrayLike) -> NDArray[np.uint8]:
        """Return the sprites as uint8 (n, 512), eight pixels a byte, the first one its highest bit."""
        return self.store.rows.take(checked_indices(indices, len(self)), axis=0)

    def masks(self, indices: ArrayLike) -> NDArray[np.uint8]:
        """Return the sprites as uint8 (n, 64, 64) in {0, 1}."""
        return np.unpackbits(self.packed(indices), axis=1).reshape(-1, SIDE, SIDE)

    def images(self, indices: ArrayLike) -> NDArray[np.uint8]:
        """Return uint8 (n, 64, 64, 1) in {0, 255}; IndexError for an index outside [0, len)."""
        return _SPREAD.take(self.packed(indices).view("<u2")).view(np.uint8).reshape(-1, SIDE, SIDE, 1)

    def index_of(self, factors: ArrayLike) -> NDArray[np.int64]:
        """Return int64 (n,) from int (n, 5); ValueError for a value out of range."""
        return SPACE.index_of(factors)

    def factors_of(self, indices: ArrayLike) -> NDArray[np.int64]:
        """Return int64 (n, 5) from int (n,)."""
        return SPACE.factors_of(indices)


def dsprites(data_root: Path | None = None) -> DSprites:
    """Return dSprites, from the official file where one is found, else drawn; the first call prepares its store.

    DataError where the official file is damaged; ZooError where the data root cannot be written.
    """
    root = resolved(data_root)
    file = official.find(root)
    if file is None:
        return DSprites(_whole(open_or_make(_drawn(root), _DRAWING, _draw)), "drawn")
    store = open_or_make(_imported(root), official.identity(file), lambda: official.read(file))
    return DSprites(_whole(store), str(file))


def prepare(data_root: Path | None = None) -> Path:
    """Draw or import the store where that is not done; return its folder."""
    return dsprites(data_root).store.folder


def info(data_root: Path | None = None) -> dict[str, Any]:
    """Tell what is there, as plain JSON values; draws and imports nothing."""
    root = resolved(data_root)
    file = official.find(root)
    folder, made_from = (_drawn(root), _DRAWING) if file is None else (_imported(root), official.identity(file))
    problem = None
    try:
        _whole(open_made_from(folder, made_from))
    except DataError as error:
        problem = str(error)
    return {
        "name": DSprites.name,
        "ready": problem is None,
        "where": str(folder / ARRAY),
        "images": len(SPACE),
        "image_shape": list(DSprites.image_shape),
        "factors": named(SPACE.names, SPACE.sizes),
        "source": "drawn" if file is None else str(file),
        "missing": [],  # nothing has to be fetched
        "note": "ready" if problem is None else f"made on first use or by `zoo data prepare`: {problem}",
    }


_DRAWING = {"source": "drawn", "renderer": VERSION}


def _drawn(root: Path) -> Path:
    return root / PREPARED / "dsprites" / "drawn"


def _imported(root: Path) -> Path:
    return root / PREPARED / "dsprites" / "imported"


def _whole(store: Store) -> Store:
    """Return a store of all sprites; DataError for one that says what it was made from, and is of another shape."""
    if store.rows.shape != (len(SPACE), PACKED_BYTES):
        raise DataError(f"{store.folder} is no store of {len(SPACE):,} sprites; remove it to have it made again")
    return store


def _draw() -> Made:
    return Made((len(SPACE), PACKED_BYTES), _counted(draw_all()))


def _counted(blocks: Iterable[NDArray[np.uint8]]) -> Iterator[NDArray[np.uint8]]:
    with progress("drawing dsprites", len(SPACE)) as shown:
        for block in blocks:
            yield block
            shown.advance(len(block))
