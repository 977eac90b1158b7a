"""Other archives: zips and tars with members of other names, kinds, sizes and headers."""

from __future__ import annotations

import tarfile
import warnings
import zipfile
from pathlib import Path

from hypothesis import strategies as st

from tests.fuzz.mutations.change import Change
from tests.fuzz.mutations.of_bytes import mutated
from tests.fuzz.readers.archives import picture

_hostile_names = st.one_of(
    st.sampled_from(
        [
            "../../x.png",
            "/x.png",
            "a/../../x.png",
            "..\\x.png",
            "C:\\x.png",
            "x\0.png",
            "x\n\x1b[31m.png",
            "set/0/000.PNG",
            "set/0/000.png",
            "./set/0/000.png",
            "",
            ".png",
            "set/\udcff.png",
            "n" * 60_000 + ".png",
            "/".join("d" * 900) + "/x.png",
        ]
    ),
    st.text(max_size=12).map(lambda text: f"{text}.png"),
)
_hostile_contents = st.one_of(st.binary(max_size=64), st.just(picture()), mutated(picture()))


@st.composite
def zip_of(draw: st.DrawFn, file: str) -> Change:
    """A zip with members of other names, kinds, sizes and compressions."""
    members = draw(st.lists(st.tuples(_hostile_names, _hostile_contents), min_size=1, max_size=4))
    packing = draw(st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]))
    attributes = draw(st.sampled_from([0, 0o120777 << 16, 0o010644 << 16, 0o060644 << 16, 0o40755 << 16]))
    claims = draw(st.sampled_from([None, None, 2**31, 2**32 - 2, 0]))
    bomb = draw(st.sampled_from([0, 0, 0, 2**26]))

    def write(folder: Path) -> None:
        with warnings.catch_warnings(), zipfile.ZipFile(folder / file, "w") as archive:
            warnings.simplefilter("ignore")  # two members of a name
            for name, content in members:
                member = zipfile.ZipInfo(name.encode("utf-8", "replace").decode() or "x")
                member.external_attr, member.compress_type = attributes, packing
                archive.writestr(member, content + bytes(bomb))
            if claims is not None:
                for member in archive.filelist:
                    member.file_size = claims

    return write


@st.composite
def tar_of(draw: st.DrawFn, file: str, mode: str) -> Change:
    """A tar with members of other names, kinds, sizes and headers."""
    members = draw(st.lists(st.tuples(_hostile_names, _hostile_contents), min_size=1, max_size=4))
    kind = draw(st.sampled_from([tarfile.REGTYPE, tarfile.REGTYPE, *b"1234567LKSVxg"]))
    size = draw(st.sampled_from([None, None, None, 2**33, 2**62, -512, 1]))
    style = draw(st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]))
    headers = draw(
        st.sampled_from(
            [
                {},
                {"size": "-1"},
                {"size": "9" * 400},
                {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"},
                {"GNU.sparse.size": "99999999999"},
                {"GNU.sparse.map": "0,1," * 500 + "1"},
                {"path": "../x"},
                {"path": "a\nb"},
                {"mtime": "nan"},
                {"comment": "1" * 5000},
                {"linkpath": "/etc/passwd"},
            ]
        )
    )

    def write(folder: Path) -> None:
        with tarfile.open(folder / file, mode, format=style) as archive:
            for name, content in members:
                member = tarfile.TarInfo(name.replace("\0", "_"))
                member.type = kind if isinstance(kind, bytes) else bytes([kind])
                member.size, member.linkname = len(content), "/etc/passwd"
                member.pax_headers = headers
                blocks = bytearray(member.tobuf(style, "utf-8", "surrogateescape"))
                if size is not None:
                    set_size(blocks, size)
                archive.fileobj.write(bytes(blocks))  # type: ignore[union-attr]  # it is open
                archive.fileobj.write(content + bytes(-len(content) % 512))  # type: ignore[union-attr]  # likewise
                archive.offset += len(blocks) + len(content) + -len(content) % 512

    return write


def set_size(blocks: bytearray, size: int) -> None:
    """Write a size, in base 256 where it is none of octal, into the last header, and its checksum anew."""
    at = len(blocks) - 512
    octal = 0 <= size < 8**11
    blocks[at + 124 : at + 136] = b"%011o\0" % size if octal else _base256(size)
    blocks[at + 148 : at + 156] = b" " * 8
    blocks[at + 148 : at + 156] = b"%06o\0 " % sum(blocks[at : at + 512])


def _base256(size: int) -> bytes:
    return (b"\xff" if size < 0 else b"\x80") + (size % 256**11).to_bytes(11, "big")
