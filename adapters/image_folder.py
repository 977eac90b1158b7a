"""Any tree or archive of images, as a dataset without factors."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

from ibgan_plugin.adapters.photographs import Collection, Photographs, find, prepare_command, store_folder
from ibgan_plugin.adapters.preparation import Layout
from ibgan_plugin.adapters.recipe import Crop, Recipe, Size
from ibgan_plugin.adapters.sources import ARCHIVES
from zoo.data_root import data_root as resolved
from zoo.errors import DataError
from zoo.untrusted import user_path

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")

USUAL = Recipe(size=64, crop="square", grayscale=False)
LAYOUT = Layout(name="image_folder", wanted=lambda name: name.lower().endswith(ENDINGS))


def image_folder(
    data_root: Path | None = None,
    *,
    source: Path | None = None,
    size: Size = USUAL.size,
    crop: Crop = USUAL.crop,
    grayscale: bool = USUAL.grayscale,
) -> Photographs:
    """Return the images of a folder, its subfolders included, or of an archive, prepared where they are not yet.

    `source` is the folder or archive, by default `image_folder` in the data root. Files are images by the ending of
    their name; others are left out. `crop` is the side of a centred square, "square" for the largest one, None for the
    whole image, squeezed to `size` x `size`. DataError where an image is damaged.
    """
    return _collection(data_root, source, Recipe(size, crop, grayscale)).open()


def prepare(
    data_root: Path | None = None,
    *,
    source: Path | None = None,
    size: Size = USUAL.size,
    crop: Crop = USUAL.crop,
    grayscale: bool = USUAL.grayscale,
) -> Path:
    """Make the store, anew where the files have changed since; return its folder."""
    return _collection(data_root, source, Recipe(size, crop, grayscale)).prepare()


def info(
    data_root: Path | None = None,
    *,
    source: Path | None = None,
    size: Size = USUAL.size,
    crop: Crop = USUAL.crop,
    grayscale: bool = USUAL.grayscale,
) -> dict[str, Any]:
    """Tell what is there and what is missing, as plain JSON values."""
    return _collection(data_root, source, Recipe(size, crop, grayscale)).info()


def _collection(data_root: Path | None, source: Path | None, recipe: Recipe) -> Collection:
    root = resolved(data_root)
    if source is None:
        path = find(root, ".", [LAYOUT.name])
        label = recipe.label
        fetch = (
            f"put the images in {root / LAYOUT.name}, or an archive of them ({', '.join(ARCHIVES)}) beside it, or name "
            "a folder or archive: --set source=PATH with zoo data prepare, --set dataset.source=PATH with zoo train"
        )
    else:
        path = user_path(source, DataError).absolute()
        label = f"{recipe.label}-{hashlib.sha256(os.fsencode(path)).hexdigest()[:8]}"
        fetch = (  # a run keeps the path, and the images may have been moved since
            f"there is no folder or archive {path}; name where it is now with --set dataset.source=PATH "
            "(zoo data prepare: --set source=PATH)"
        )
    return Collection(
        layout=LAYOUT,
        recipe=recipe,
        root=root,
        folder=store_folder(root, LAYOUT.name, label),
        path=path if path is not None and path.exists() else None,
        fetch=fetch,
        prepare_command=prepare_command(LAYOUT.name, recipe, USUAL, data_root, None if source is None else path),
    )
