"""More than there is: tensors, archives and images of impossible sizes, bombs, headers without end; one by one."""

from __future__ import annotations

import io
import json
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.fuzz.fuzzer import Fuzzer
from tests.fuzz.hostile import in_place, refused
from tests.fuzz.mutations.of_archives import set_size
from tests.fuzz.readers.archives import IMAGES, picture
from tests.fuzz.readers.runs import MODEL, STATE, TRAINER, reseal, reseal_state
from tests.fuzz.readers.weights import safetensors


@pytest.mark.parametrize("settings", [{"ndf": 1024, "ngf": 1024}, {"z_dim": 10**12}, {"z_dim": 10**30}, {"ndf": 200}])
def test_a_configuration_that_makes_another_size_of_model(fuzzer: Fuzzer, settings: dict[str, int]) -> None:
    def change(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        config["settings"]["model"] |= settings
        (folder / "config.json").write_text(json.dumps(config))

    for name in ("model", "trainer"):
        refused(fuzzer, name, change)


@pytest.mark.parametrize("file", [MODEL, TRAINER])
@pytest.mark.parametrize(
    "header",
    [
        {"x": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}},
        {"x": {"dtype": "F32", "shape": [2**31, 2**31, 2**31], "data_offsets": [0, 4]}},
        {"x": {"dtype": "F4", "shape": [2], "data_offsets": [0, 1]}},
        {"x": {"dtype": "U64", "shape": [0, 2**62], "data_offsets": [0, 0]}},
        {"x": {"dtype": "F6_E2M3", "shape": [4], "data_offsets": [0, 3]}},
        {"__metadata__": {"a": "b"}},
        b"[" * 100_000,
        b"\xff" * 50,
    ],
)
def test_tensors_of_another_world(fuzzer: Fuzzer, file: str, header: Any) -> None:
    def change(folder: Path) -> None:
        (folder / file).write_bytes(safetensors(header, b"\0" * 4))
        reseal(folder)

    refused(fuzzer, "model" if file == MODEL else "trainer", change)


def test_weights_of_gigabytes_are_not_read(fuzzer: Fuzzer) -> None:
    """A sparse file that agrees with its state: 3 GiB of zeros that take no room on the disk."""

    def change(folder: Path) -> None:
        header = json.dumps({"x": {"dtype": "U8", "shape": [3 << 30], "data_offsets": [0, 3 << 30]}}).encode()
        with (folder / MODEL).open("wb") as file:
            file.write(struct.pack("<Q", len(header)) + header)
            file.truncate(8 + len(header) + (3 << 30))
        state = json.loads((folder / STATE).read_text())
        state["files"]["model.safetensors"] = {"size": 8 + len(header) + (3 << 30), "sha256": "not looked at"}
        (folder / STATE).write_text(json.dumps(state))
        reseal_state(folder)

    refused(fuzzer, "trainer", change, "holds another model's weights")


def deflated(path: Path, name: str, size: int, head: bytes = b"") -> None:
    """A zip with one member of so many zeros."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open(name, "w", force_zip64=True) as file:
        file.write(head)
        for _ in range(size >> 24):
            file.write(bytes(1 << 24))


@pytest.mark.slow
def test_bombs_in_archives(fuzzer: Fuzzer) -> None:
    head = b"\x93NUMPY\x01\x00" + struct.pack("<H", 70)
    head += repr({"descr": "|u1", "fortran_order": False, "shape": (2 << 30,)}).encode().ljust(69) + b"\n"
    refused(fuzzer, "zip", lambda folder: deflated(folder / "set.zip", "bomb.png", 2 << 30), "far more than images")
    refused(fuzzer, "dsprites npz", lambda folder: deflated(folder / "file.npz", "latents_values.npy", 2 << 30, head))
    refused(fuzzer, "fid statistics", lambda folder: deflated(folder / "stats.npz", "mu.npy", 2 << 30, head))

    def packed_tar(mode: str, pax: bool) -> Callable[[Path], None]:
        def change(folder: Path) -> None:
            ending = {"w:gz": ".tar.gz", "w:bz2": ".tar.bz2", "w:xz": ".tar.xz"}[mode]
            with tarfile.open(folder / f"set{ending}", mode) as archive:
                member = tarfile.TarInfo("bomb.png")
                member.size = 2 << 30
                member.type = tarfile.XHDTYPE if pax else tarfile.REGTYPE
                archive.fileobj.write(member.tobuf())  # type: ignore[union-attr]  # it is open
                for _ in range(128):
                    archive.fileobj.write(bytes(1 << 24))  # type: ignore[union-attr]  # likewise

        return change

    for name, mode in (("tar.gz", "w:gz"), ("tar.bz2", "w:bz2"), ("tar.xz", "w:xz")):
        refused(fuzzer, name, packed_tar(mode, False))
        refused(fuzzer, name, packed_tar(mode, True), "a header in it is larger than any")


def test_a_member_without_a_name(fuzzer: Fuzzer) -> None:
    def change(folder: Path) -> None:
        content = (folder / "set.zip").read_bytes()
        directory = content.index(b"PK\x01\x02")
        length = struct.unpack_from("<H", content, directory + 28)[0]
        nameless = content[:directory] + content[directory : directory + 28] + b"\0\0"
        rest = content[directory + 30 : directory + 46] + content[directory + 46 + length :]
        end = rest.index(b"PK\x05\x06")
        size = struct.unpack_from("<I", rest, end + 12)[0] - length
        (folder / "set.zip").write_bytes(nameless + rest[: end + 12] + struct.pack("<I", size) + rest[end + 16 :])

    assert fuzzer.check("zip", change)["end"] == "read"  # without that member


@pytest.mark.parametrize("size", [-512, -1, 2**33, 2**62])
def test_tar_members_of_impossible_sizes(fuzzer: Fuzzer, size: int) -> None:
    def change(folder: Path) -> None:
        block = bytearray(tarfile.TarInfo("a.png").tobuf())
        set_size(block, size)
        (folder / "set.tar").write_bytes(bytes(block) + bytes(1024))

    refused(fuzzer, "tar", change)


def test_a_map_of_holes_without_end(fuzzer: Fuzzer) -> None:
    """Python's tarfile reads this for ever: the map says that it has more entries than there are bytes."""

    def change(folder: Path) -> None:
        with tarfile.open(folder / "set.tar", "w", format=tarfile.PAX_FORMAT) as archive:
            member = tarfile.TarInfo("a.png")
            member.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "a.png"}
            member.size = 5
            archive.addfile(member, io.BytesIO(b"99999"))

    refused(fuzzer, "tar", change)


def png(width: int, height: int) -> bytes:
    """A sound PNG of one bit a pixel, all black."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    packer, row = zlib.compressobj(), bytes(1 + (width + 7) // 8)
    packed = b"".join(packer.compress(row * 100) for _ in range(height // 100)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def many_scans() -> bytes:
    """A progressive JPEG whose last scan comes five thousand times."""
    content = picture("JPEG", (40, 40))
    last = content.rindex(b"\xff\xda")
    return content[:last] + content[last:-2] * 5000 + b"\xff\xd9"


@pytest.mark.parametrize(
    ("file", "content", "told"),
    [
        ("image.png", lambda: png(60_000, 60_000), "too large"),
        ("image.png", lambda: png(9_000, 9_000), "at most"),
        ("image.ppm", lambda: b"P6\n60000 60000\n255\n", "too large"),
        ("image.ppm", lambda: b"P5\n7000 7000\n255\n", "is damaged"),
        ("image.gif", lambda: b"GIF89a\xff\xff\xff\xff\x80\0\0" + bytes(6), ""),
        ("image.jpeg", many_scans, "scans"),
    ],
    ids=["60000 squared", "more than is read", "ppm", "ppm without pixels", "gif", "scans"],
)
def test_images_that_are_bombs(fuzzer: Fuzzer, file: str, content: Callable[[], bytes], told: str) -> None:
    def change(folder: Path) -> None:
        for other in IMAGES:
            (folder / other).unlink()
        (folder / file).write_bytes(content())

    refused(fuzzer, "images", change, told)


@pytest.mark.slow
def test_the_largest_images_that_are_read_take_little_memory(fuzzer: Fuzzer) -> None:
    """Three of 49 million pixels, which are decoded one at a time."""
    from PIL import Image

    def change(path: Path) -> None:
        stream = io.BytesIO()
        Image.new("RGB", (7000, 7000)).save(stream, "PNG", compress_level=1)
        path.mkdir()
        for number in range(3):
            (path / f"{number}.png").write_bytes(stream.getvalue())

    assert fuzzer.check("zip", in_place("set.zip", change))["end"] == "read"
