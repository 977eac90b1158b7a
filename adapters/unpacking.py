"""A tar's bytes, unpacked on the way, and no more of them than images can be packed by.

tarfile trusts a tar: it reads a header of as many bytes as the header says, a map of holes as long as there is data,
and both without end where the file is made so. Here every read is counted.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from zoo.errors import DataError
from zoo.untrusted import open_file

HEADERS = 10 << 10  # bytes that tarfile may read to come to the next member: names have up to 4 KiB
# Image files are packed already, and hardly shrink. A gigabyte is allowed whatever it was packed into.
MOST_UNPACKED, LARGEST_RATIO = 1 << 30, 100
XZ_MEMORY = 256 << 20  # the largest preset of xz needs 65 MiB

_BLOCK = 512
_PIECE = 1 << 20


@contextmanager
def unpacked(path: Path) -> Iterator[Unpacked]:
    """Open a tar, which may be packed by gzip, bzip2 or xz, for reading from front to end.

    DataError where `path` is no file. Reading raises ValueError for too much, and what the unpackers raise where the
    file is damaged.
    """
    with open_file(path, DataError) as file:
        start = file.read(6)
        file.seek(0)
        most = largest_unpacked(os.fstat(file.fileno()).st_size)
        if start.startswith(b"\x1f\x8b"):
            yield Unpacked(gzip.GzipFile(fileobj=file), most)
        elif start.startswith(b"BZh"):
            yield Unpacked(bz2.BZ2File(file), most)
        elif start == b"\xfd7zXZ\x00":
            yield Unpacked(io.BufferedReader(_Xz(file)), most)
        else:
            yield Unpacked(file, sys.maxsize)


def largest_unpacked(size: int) -> int:
    """How many bytes may come out of an archive of `size` bytes."""
    return max(MOST_UNPACKED, LARGEST_RATIO * size)


class Unpacked:
    """A stream that goes forward only. `left` says how many bytes may be read before it is set anew."""

    def __init__(self, file: Any, most: int) -> None:
        self.left = HEADERS
        self._file, self._most, self._position = file, most, 0

    def read(self, size: int = -1) -> bytes:
        """Read on; ValueError for more than is left, EOFError where there is no end to reading at the end."""
        if not 0 <= size <= self.left:
            raise ValueError("a header in it is larger than any")
        content = self._forward(size)
        self.left -= max(len(content), _BLOCK)
        return content

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go forward to a position, or to the end of the stream before it; ValueError for going back."""
        if whence != 0 or offset < self._position:
            raise ValueError("its parts are not in order")
        if isinstance(self._file, io.BufferedReader) and self._file.seekable():  # not packed
            self._position = self._file.seek(offset)
        while self._position < offset and self._forward(min(_PIECE, offset - self._position)):
            pass
        return self._position

    def tell(self) -> int:
        """The position."""
        return self._position

    def _forward(self, size: int) -> bytes:
        content: bytes = self._file.read(size)
        self._position += len(content)
        if self._position > self._most:
            raise ValueError(f"it unpacks to more than {self._most:,} bytes, far more than images are packed by")
        return content


class _Xz(io.RawIOBase):
    """An xz file, unpacked in bounded memory: lzma.LZMAFile would take as much as the file says it needs."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._waiting = file, b""
        self._unpacker = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY)

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Unpack up to `len(buffer)` bytes; 0 at the end. EOFError where the file is cut off."""
        while True:
            if self._unpacker.eof:
                self._waiting = self._unpacker.unused_data.lstrip(b"\0") or self._file.read(_PIECE).lstrip(b"\0")
                if not self._waiting:
                    return 0
                self._unpacker = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY)
            if self._unpacker.needs_input and not self._waiting:
                self._waiting = self._file.read(_PIECE)
                if not self._waiting:
                    raise EOFError("it is cut off")
            content = self._unpacker.decompress(self._waiting, len(buffer))
            self._waiting = b""
            if content:
                buffer[: len(content)] = content
                return len(content)
