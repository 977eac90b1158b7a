"""Archives of images, preparations of them that were killed, and the images themselves."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path


def picture(kind: str = "PNG", size: tuple[int, int] = (24, 20), mode: str = "RGB") -> bytes:
    import numpy as np
    from PIL import Image

    pixels = np.random.default_rng(1).integers(256, size=(size[1], size[0], 3), dtype=np.uint8)
    stream = io.BytesIO()
    more = {"progressive": True} if kind == "JPEG" else {}
    Image.fromarray(pixels).convert(mode).save(stream, kind, **more)
    return stream.getvalue()


def members() -> dict[str, bytes]:
    return {f"set/{i}/{i:03d}.png": picture(size=(16 + i, 16)) for i in range(3)} | {"set/readme.txt": b"text"}


def build_zip(folder: Path) -> None:
    with zipfile.ZipFile(folder / "set.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members().items():
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)


def tar(ending: str, mode: str) -> Callable[[Path], None]:
    def build(folder: Path) -> None:
        with tarfile.open(folder / f"set{ending}", mode, format=tarfile.PAX_FORMAT) as archive:
            for name, content in members().items():
                member = tarfile.TarInfo(name)
                member.size, member.pax_headers = len(content), {"comment": "x" * 20}
                archive.addfile(member, io.BytesIO(content))

    return build


def reader(ending: str) -> Callable[[Path], None]:
    """All the way: `zoo data prepare image_folder --set source=...`, and the images."""

    def read(folder: Path) -> None:
        import numpy as np

        from ibgan_plugin.adapters.image_folder import image_folder

        data = image_folder(folder / "data", source=str(folder / f"set{ending}"), size=8)
        assert data.images(np.arange(len(data))).shape == (len(data), 8, 8, 3)

    return read


def build_partial(folder: Path) -> None:
    """A preparation that was killed in the middle: what it left, and the archive."""
    import numpy as np

    from ibgan_plugin.adapters.preparation import PARTIAL_ARRAY, PROGRESS
    from ibgan_plugin.adapters.store import write_header

    build_zip(folder)
    archive = folder / "set.zip"
    os.utime(archive, ns=(10**18, 10**18))
    hidden = folder / "partial"
    hidden.mkdir()
    with (hidden / PARTIAL_ARRAY).open("wb") as file:
        write_header(file, (3, 8, 8, 3))
        file.write(np.zeros((3, 8, 8, 3), np.uint8).data)
    (hidden / PROGRESS).write_text(json.dumps({"key": {}, "done": 1, "problems": []}))


def read_partial(folder: Path) -> None:
    """Go on with a preparation whose note has the right key, whatever else it says."""
    from ibgan_plugin.adapters import image_folder as module
    from ibgan_plugin.adapters.preparation import PROGRESS
    from ibgan_plugin.adapters.recipe import Recipe
    from ibgan_plugin.adapters.sources import source
    from ibgan_plugin.adapters.store import PREPARED

    os.utime(folder / "set.zip", ns=(10**18, 10**18))
    recipe, archive = Recipe(8, "square"), source(folder / "set.zip")
    names = sorted(archive.names(module.LAYOUT.wanted))
    digest = hashlib.sha256("\n".join(names).encode()).hexdigest()
    key = {"made_from": archive.identity() | {"recipe": recipe.record()}, "names_sha256": digest}
    label = f"{recipe.label}-{hashlib.sha256(os.fsencode(folder / 'set.zip')).hexdigest()[:8]}"
    place = folder / "data" / PREPARED / "image_folder" / f".{label}.partial"
    place.parent.mkdir(parents=True)
    (folder / "partial").rename(place)
    note = (place / PROGRESS).read_bytes().replace(b'"key": {}', b'"key": ' + json.dumps(key).encode())
    (place / PROGRESS).write_bytes(note)
    reader(".zip")(folder)


IMAGES = tuple(f"image.{kind}" for kind in ("png", "jpeg", "bmp", "gif", "webp", "tiff", "ppm"))


def build_images(folder: Path) -> None:
    for kind in ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM"):
        (folder / f"image.{kind.lower()}").write_bytes(picture(kind))


def read_images(folder: Path) -> None:
    from ibgan_plugin.adapters.recipe import BadImage, Recipe, quiet_pillow
    from zoo.errors import DataError

    with quiet_pillow():
        for file in sorted(folder.iterdir()):
            try:
                Recipe(8, "square").apply(file.read_bytes())
            except BadImage as error:
                raise DataError(f"{file} {error}") from error
