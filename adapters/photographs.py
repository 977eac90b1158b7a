"""Datasets of image files: what `chairs3d`, `celeba` and `image_folder` share. They have no ground-truth factors."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from ibgan_plugin.adapters.factors import checked_indices
from ibgan_plugin.adapters.places import search_roots
from ibgan_plugin.adapters.preparation import Layout, prepare
from ibgan_plugin.adapters.recipe import Recipe
from ibgan_plugin.adapters.sources import ARCHIVES, source
from ibgan_plugin.adapters.store import ARRAY, PREPARED, RECORD, Store
from zoo import terminal
from zoo.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray


class Photographs:
    """Images served from a store, in the order of their files' names. `source` is where they were prepared from.

    `caveat` says how much of the published dataset they are, where they are not all of it; else it is None.
    """

    factor_names = None
    factor_sizes = None

    def __init__(self, name: str, store: Store, caveat: str | None) -> None:
        self.name, self.store, self.caveat = name, store, caveat
        self.source: str = store.record["made_from"]["source"]

    def __len__(self) -> int:
        return len(self.store)

    @property
    def preparation(self) -> str:
        """What was done to the images, as JSON: which crop a FID is of, say."""
        return json.dumps(self.store.record["made_from"]["recipe"], sort_keys=True)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels)."""
        height, width, channels = self.store.rows.shape[1:]
        return height, width, channels

    def images(self, indices: ArrayLike) -> NDArray[np.uint8]:
        """Return uint8 (n, H, W, C); IndexError for an index outside [0, len)."""
        return self.store.read(checked_indices(indices, len(self)))

    def index_of(self, factors: ArrayLike) -> NoReturn:
        """Raise DataError: there are no factors."""
        raise DataError(f"{self.name} has no ground-truth factors")

    def factors_of(self, indices: ArrayLike) -> NoReturn:
        """Raise DataError: there are no factors."""
        raise DataError(f"{self.name} has no ground-truth factors")


@dataclass(frozen=True)
class Collection:
    """One dataset of image files, prepared in one way.

    `root` is the data root and `folder` that of the store; `path` is the folder or archive that the images are in, None
    where there is none; `prefix` stands before the names in a folder, as in an archive; `fetch` says what to get and
    where to put it; `prepare_command` is what to type for this preparation.
    """

    layout: Layout
    recipe: Recipe
    root: Path
    folder: Path
    path: Path | None
    fetch: str
    prepare_command: str
    prefix: str = ""

    def open(self) -> Photographs:
        """Open the prepared store, whether or not the files it was made from are still there; else prepare it.

        DataError where there is neither a store nor the files, or where these are not whole.
        """
        store = self._prepared()
        if store is not None and self._has_changed(store):
            terminal.warn(
                f"{self.path} has changed since its {len(store):,} images were prepared, which are used; "
                f"{self.prepare_command} makes them anew"
            )
        store = self._make() if store is None else store
        return Photographs(self.layout.name, store, self._part(store))

    def prepare(self) -> Path:
        """Make the store, anew where the files have changed since, and return its folder."""
        if self.path is None and self._prepared() is not None:
            return self.folder
        return self._make().folder

    def info(self) -> dict[str, Any]:
        """Tell what is there and what is missing, as plain JSON values."""
        store = self._prepared()
        if store is not None and self._has_changed(store):
            note = f"ready, but the files have changed since: `{self.prepare_command}` makes it anew"
        elif store is not None:
            part = self._part(store)
            note = "ready" if part is None else f"ready, but not whole: {part}"
        elif self.path is not None:
            note = f"prepared on first use or by `{self.prepare_command}`"
        else:
            note = f"fetch what is missing, then run `{self.prepare_command}`"
        return {
            "name": self.layout.name,
            "ready": store is not None,
            "where": str(self.folder / ARRAY),
            "images": None if store is None else len(store),
            "published_images": self.layout.published,
            "image_shape": list(self.recipe.image_shape),
            "factors": None,
            "source": self._source_text(store),
            "recipe": self.recipe.record(),
            "prepared": sorted(record.parent.name for record in self.folder.parent.glob(f"[!.]*/{RECORD}")),
            "missing": [self.fetch] if store is None and self.path is None else [],
            "note": note,
        }

    def _prepared(self) -> Store | None:
        try:
            store = Store(self.folder)
        except DataError:
            return None
        made_from = store.record["made_from"]
        fits = store.rows.shape[1:] == self.recipe.image_shape and isinstance(made_from.get("source"), str)
        return store if fits and made_from.get("recipe") == self.recipe.record() else None

    def _part(self, store: Store) -> str | None:
        published = self.layout.published
        return None if published in (None, len(store)) else f"{len(store):,} of {published:,} images"

    def _has_changed(self, store: Store) -> bool:
        """Whether the files are not those of the store any more. Asked of a person's own images alone: published ones
        stay as they are, and so many take seconds to list.
        """
        if self.path is None or self.layout.published is not None:
            return False
        try:
            now = source(self.path, self.prefix).identity()
        except DataError:  # the store is whole all the same
            return False
        made_from = store.record["made_from"]
        return any(made_from.get(key) != value for key, value in now.items() if key != "source")  # it may be moved

    def _make(self) -> Store:
        if self.path is None:
            looked = " and ".join(map(str, search_roots(self.root)))
            raise DataError(
                f"{self.layout.name} is not there: looked in {looked} (--data-root or ZOO_DATA names another data "
                f"root); {self.fetch}"
            )
        return prepare(self.folder, source(self.path, self.prefix), self.layout, self.recipe)

    def _source_text(self, store: Store | None) -> str | None:
        if store is not None:
            return str(store.record["made_from"]["source"])
        return None if self.path is None else str(self.path)


def prepare_command(
    name: str, recipe: Recipe, usual: Recipe, data_root: Path | None, source: Path | None = None
) -> str:
    """Return what to type to prepare a dataset so; what is as usual is left out."""
    given, defaults = asdict(recipe), asdict(usual)
    words = [] if source is None else [f"source={source}"]
    words += [f"{key}={str(value).lower()}" for key, value in given.items() if value != defaults[key]]
    root = "" if data_root is None else f" --data-root {shlex.quote(str(data_root))}"
    return f"zoo data prepare {name}" + "".join(f" --set {shlex.quote(word)}" for word in words) + root


def store_folder(root: Path, name: str, label: str) -> Path:
    """Return where the store of a dataset, prepared in the way that `label` names, lies."""
    return root / PREPARED / name / label


def find(root: Path, name: str, stems: Sequence[str]) -> Path | None:
    """Return the first folder or archive called by one of `stems`.

    Looked for in the data root's folder of the dataset's name, in the data root, and in the same two places of
    disentanglement_lib's data folder.
    """
    for folder in (place for each in search_roots(root) for place in (each / name, each)):
        for stem in stems:
            if (folder / stem).is_dir():
                return (folder / stem).absolute()
            for suffix in ARCHIVES:
                if (folder / f"{stem}{suffix}").is_file():
                    return (folder / f"{stem}{suffix}").absolute()
    return None


def where_to_put(root: Path, name: str, stem: str) -> str:
    """Return the part of `fetch` that says where the files go."""
    return f"put {stem}.tar, .tar.gz or .zip, or the unpacked folder {stem}/, in {root / name}"
