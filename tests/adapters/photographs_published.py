"""Small sources of chairs3d and celeba in exactly the publishers' layouts, and ways to put images somewhere."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

Files = dict[str, bytes]

AZIMUTHS = [round(360 * k / 31) for k in range(31)]
# 31 views from each elevation, numbered 0..30 and 32..62: the published numbers leave 31 out.
VIEWS = [f"image_{k + 32 * e:03d}_p0{20 + 10 * e}_t{AZIMUTHS[k]:03d}_r096.png" for e in (0, 1) for k in range(31)]
PARTS = ("list_eval_partition.txt", "identity_CelebA.txt", "list_attr_celeba.txt", "list_bbox_celeba.txt")


@cache
def picture(seed: int, width: int, height: int, kind: str) -> bytes:
    """An image of smooth random colours: small as a file, different everywhere."""
    coarse = np.random.default_rng(seed).integers(256, size=(5, 4, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(coarse).resize((width, height), Image.Resampling.NEAREST).save(stream, kind)
    return stream.getvalue()


def chair_files(chairs: int) -> Files:
    names = [f"rendered_chairs/{0x1005F475 + 977 * c:032x}/renders/{view}" for c in range(chairs) for view in VIEWS]
    files = {name: picture(k % 50, 600, 600, "PNG") for k, name in enumerate(names)}
    return files | {"rendered_chairs/all_chair_names.mat": b"MATLAB 5.0 MAT-file"}


def celeba_files(faces: int) -> Files:
    return {f"img_align_celeba/{k + 1:06d}.jpg": picture(k % 50, 178, 218, "JPEG") for k in range(faces)}


def put_folder(parent: Path, files: Files) -> None:
    for name, content in files.items():
        (parent / name).parent.mkdir(parents=True, exist_ok=True)
        (parent / name).write_bytes(content)


def put_tar(parent: Path, files: Files) -> None:
    parent.mkdir(parents=True, exist_ok=True)
    stem = next(iter(files)).split("/")[0]
    with tarfile.open(parent / f"{stem}.tar", "w") as archive:
        for name, content in sorted(files.items(), reverse=True):  # the archive's order is not that of the names
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def put_zip(parent: Path, files: Files) -> None:
    parent.mkdir(parents=True, exist_ok=True)
    stem = next(iter(files)).split("/")[0]
    with zipfile.ZipFile(parent / f"{stem}.zip", "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)


Put = Callable[[Path, Files], None]
PUTS = pytest.mark.parametrize("put", [put_folder, put_tar, put_zip], ids=["folder", "tar", "zip"])


def stores(root: Path) -> list[str]:
    """All files in the folder of prepared stores that are not locks."""
    prepared = root / "prepared"
    found = [path for path in prepared.rglob("*") if path.is_file() and not path.name.endswith(".lock")]
    return sorted(str(path.relative_to(prepared)) for path in found)


def written(content: bytes) -> Any:
    return Image.open(io.BytesIO(content))
