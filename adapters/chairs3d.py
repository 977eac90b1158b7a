"""3D Chairs: 1,393 chairs, each rendered from 62 sides: 86,366 images of 600x600 on white.

Aubry, Maturana, Efros, Russell, Sivic: "Seeing 3D chairs", CVPR 2014. The archive holds
`rendered_chairs/<chair>/renders/image_<view>_p<elevation>_t<azimuth>_r<distance>.png`. The IB-GAN paper uses them gray
at 64x64 and states no crop.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ibgan_plugin.adapters.photographs import Collection, Photographs, find, prepare_command, store_folder, where_to_put
from ibgan_plugin.adapters.preparation import Layout
from ibgan_plugin.adapters.recipe import Crop, Recipe, Size
from zoo.data_root import data_root as resolved

STEM = "rendered_chairs"
PAGE = "https://www.di.ens.fr/willow/research/seeing3Dchairs/"

_VIEW = re.compile(r"(?P<chair>(?:.*/)?rendered_chairs/[^/]+)/renders/image_(?P<view>\d{3})_p\d{3}_t\d{3}_r\d{3}\.png")


def missing_views(names: Sequence[str], _: Path) -> Iterator[str]:
    """Yield, for each chair, the views that other chairs have and it has not.

    Views are known by their number only: the published numbers have a gap between the two elevations.
    """
    views: dict[str, set[str]] = {}
    for name in names:
        match = _VIEW.fullmatch(name)
        assert match is not None  # the names are those wanted
        views.setdefault(match["chair"], set()).add(match["view"])
    every = set().union(*views.values())
    for chair, has in sorted(views.items()):
        for view in sorted(every - has):
            yield f"{chair}/renders/image_{view}_*.png"


USUAL = Recipe(size=64, crop=None, grayscale=True)
LAYOUT = Layout(
    name="chairs3d",
    wanted=lambda name: _VIEW.fullmatch(name) is not None,
    missing=missing_views,
    image_size=(600, 600),
    published=86_366,
)


def chairs3d(
    data_root: Path | None = None,
    *,
    size: Size = USUAL.size,
    crop: Crop = USUAL.crop,
    grayscale: bool = USUAL.grayscale,
) -> Photographs:
    """Return 3D Chairs, prepared where it is not yet.

    `crop` is the side of a centred square cut out of the 600x600 pixels before they are resized to `size`.
    DataError where there is neither a prepared store nor the publisher's files, or where these are not whole.
    """
    return _collection(data_root, Recipe(size, crop, grayscale)).open()


def prepare(
    data_root: Path | None = None,
    *,
    size: Size = USUAL.size,
    crop: Crop = USUAL.crop,
    grayscale: bool = USUAL.grayscale,
) -> Path:
    """Make the store, anew where the publisher's files have changed since; return its folder."""
    return _collection(data_root, Recipe(size, crop, grayscale)).prepare()


def info(
    data_root: Path | None = None,
    *,
    size: Size = USUAL.size,
    crop: Crop = USUAL.crop,
    grayscale: bool = USUAL.grayscale,
) -> dict[str, Any]:
    """Tell what is there and what is missing, as plain JSON values."""
    return _collection(data_root, Recipe(size, crop, grayscale)).info()


def _collection(data_root: Path | None, recipe: Recipe) -> Collection:
    root = resolved(data_root)
    return Collection(
        layout=LAYOUT,
        recipe=recipe,
        root=root,
        folder=store_folder(root, LAYOUT.name, recipe.label),
        path=find(root, LAYOUT.name, [STEM]),
        fetch=f"fetch {STEM}.tar from {PAGE} and {where_to_put(root, LAYOUT.name, STEM)}",
        prepare_command=prepare_command(LAYOUT.name, recipe, USUAL, data_root),
        prefix=f"{STEM}/",
    )
