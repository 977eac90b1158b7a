"""CelebA, aligned and cropped: 202,599 photographs of faces, 178x218.

Liu, Luo, Wang, Tang: "Deep Learning Face Attributes in the Wild", ICCV 2015. The archive holds
`img_align_celeba/000001.jpg` and so on. The IB-GAN paper uses "the cropped version" at 64x64: the centred square of 148
is the crop that generative models on CelebA commonly mean, and a setting here.
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
from zoo.errors import DataError, shown
from zoo.untrusted import read_bytes

STEM = "img_align_celeba"
PARTITION = "list_eval_partition.txt"  # of the five text files beside the images, the one that just lists them
PAGE = "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html"

LARGEST_LIST = 16 << 20  # bytes; the published list has 2.7 MB

_FACE = re.compile(r"(?:.*/)?img_align_celeba/(\d{6})\.jpg")
_LINE = re.compile(r"(\d{6})\.jpg\s+[012]")


def missing_faces(names: Sequence[str], path: Path) -> Iterator[str]:
    """Yield the numbers that the published list beside the images has and they have not.

    Without the list, numbers below the highest one count as missing.
    """
    there = bytearray(1_000_000)
    highest = 0
    for name in names:
        match = _FACE.fullmatch(name)
        assert match is not None  # the names are those wanted
        there[int(match[1])] = 1
        highest = max(highest, int(match[1]))
    lists = (path.parent / PARTITION, path.parent.parent / "Eval" / PARTITION)  # the publisher's folders Img and Eval
    listed = next((file for file in lists if file.exists()), None)
    for number in range(1, highest + 1) if listed is None else _listed(listed):
        if not there[number]:
            yield f"{STEM}/{number:06d}.jpg"


USUAL = Recipe(size=64, crop=148)
LAYOUT = Layout(
    name="celeba",
    wanted=lambda name: _FACE.fullmatch(name) is not None,
    missing=missing_faces,
    image_size=(178, 218),
    published=202_599,
)


def celeba(data_root: Path | None = None, *, size: Size = USUAL.size, crop: Crop = USUAL.crop) -> Photographs:
    """Return CelebA, prepared where it is not yet.

    `crop` is the side of a centred square cut out of the 178x218 pixels before they are resized to `size`; "square" is
    the largest one, None the whole image, squeezed. DataError where there is neither a prepared store nor the
    publisher's files, or where these are not whole.
    """
    return _collection(data_root, Recipe(size, crop)).open()


def prepare(data_root: Path | None = None, *, size: Size = USUAL.size, crop: Crop = USUAL.crop) -> Path:
    """Make the store, anew where the publisher's files have changed since; return its folder."""
    return _collection(data_root, Recipe(size, crop)).prepare()


def info(data_root: Path | None = None, *, size: Size = USUAL.size, crop: Crop = USUAL.crop) -> dict[str, Any]:
    """Tell what is there and what is missing, as plain JSON values."""
    return _collection(data_root, Recipe(size, crop)).info()


def _collection(data_root: Path | None, recipe: Recipe) -> Collection:
    root = resolved(data_root)
    return Collection(
        layout=LAYOUT,
        recipe=recipe,
        root=root,
        folder=store_folder(root, LAYOUT.name, recipe.label),
        path=find(root, LAYOUT.name, [STEM, f"Img/{STEM}"]),
        fetch=(
            f"fetch {STEM}.zip from {PAGE} and {where_to_put(root, LAYOUT.name, STEM)}; "
            f"{PARTITION} beside it, which may be left out, lets missing images be named"
        ),
        prepare_command=prepare_command(LAYOUT.name, recipe, USUAL, data_root),
        prefix=f"{STEM}/",
    )


def _listed(file: Path) -> Iterator[int]:
    text = read_bytes(file, LARGEST_LIST, DataError).decode("utf-8", errors="replace")
    for count, line in enumerate(text.split("\n"), 1):
        match = _LINE.fullmatch(line.strip())
        if match is not None:
            yield int(match[1])
        elif line.strip():
            raise DataError(f"{file}, line {count}: {shown(line.strip(), 40)} is not like '000001.jpg 0'")
