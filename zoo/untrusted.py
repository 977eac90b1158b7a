"""Reading files that nobody vouches for: regular files, of a bounded size, as strict JSON or as a zip that is no bomb.

What is read in a run directory, a data folder or a file from elsewhere is opened here. A named pipe, a device or a
folder in the place of a file is refused and never waited for; a size is looked at before anything is read; a link is
followed only where a person named it, never inside a folder that may come from elsewhere. Each function takes the kind
of error to raise, and raises nothing else: one line that names the file.
"""

from __future__ import annotations

import json
import math
import os
import stat
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import IO, Any

from zoo.errors import ZooError, shown

LARGEST_STEP = 2**53  # as a number in JSON is whole everywhere
LARGEST_JSON = 4 * 2**20
DEEPEST_JSON = 100

# An entry of a zip's directory takes 46 bytes and its name on the disk, and about 700 in memory.
LARGEST_ZIP_DIRECTORY = 32 * 2**20

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def open_file(path: Path, error: type[ZooError], *, links: bool = True) -> BufferedReader:
    """Open a regular file for reading, without waiting for anything else. `links` False refuses a link.

    Raises `error`, one line, where there is no such file or it is something else.
    """
    if not links:
        refuse_link(path, error)
    try:
        # Opening a device may do something, and opening a pipe waits for who writes to it: so this looks before, does
        # not wait, and looks again at what it has opened.
        mode = path.stat().st_mode
        if stat.S_ISREG(mode):
            handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            mode = os.fstat(handle).st_mode
            if stat.S_ISREG(mode):
                return os.fdopen(handle, "rb")
            os.close(handle)
    except OSError as reason:
        raise error(f"cannot read {path}: {reason.strerror}") from None
    except ValueError:  # a NUL in the name
        raise error(f"cannot read {path}: there are no such names") from None
    raise error(f"cannot read {path}: it is {_KINDS.get(stat.S_IFMT(mode), 'no file')}, expected a file")


def exists(path: Path) -> bool:
    """Whether there is something of that name; not, where the system will not even look (a name too long)."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def refuse_link(path: Path, error: type[ZooError]) -> None:
    """Raise `error` where `path` is a link: it could lead anywhere, and what is written there too."""
    try:
        link = path.is_symlink()
    except (OSError, ValueError):  # then nothing can be opened there either
        return
    if link:
        raise error(f"{path} is a link, which is not followed there; put what it leads to in its place")


def read_bytes(path: Path, limit: int, error: type[ZooError], *, links: bool = True) -> bytes:
    """Return what is in a regular file of at most `limit` bytes. Raises `error`, one line, for anything else."""
    with open_file(path, error, links=links) as file:
        size = os.fstat(file.fileno()).st_size
        if size > limit:
            raise error(f"{path} is {size:,} bytes, larger than any file of its kind (at most {limit:,})")
        try:
            content = file.read(limit + 1)
        except OSError as reason:
            raise error(f"cannot read {path}: {reason.strerror}") from None
    if len(content) > limit:
        raise error(f"{path} is larger than any file of its kind (at most {limit:,} bytes)")
    return content


def read_json(path: Path, error: type[ZooError], *, limit: int = LARGEST_JSON, links: bool = True) -> Any:
    """Return the document in a JSON file. Raises `error`, one line, where there is none.

    The standard's JSON: no NaN or infinity, and no nesting deeper than any file here has.
    """
    content = read_bytes(path, limit, error, links=links)
    try:
        return parse_json(content)
    except ValueError as reason:
        raise error(f"{path} is not JSON: {str(reason)[:200]}") from None


def parse_json(content: bytes) -> Any:
    """Return the document in some bytes. Raises ValueError, in one line, for anything that is not strict JSON."""
    try:
        document = json.loads(content.decode("utf-8"), parse_constant=_refused, parse_float=_finite)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    level = [document]
    for _ in range(DEEPEST_JSON):
        level = [part for outer in level if isinstance(outer, dict | list) for part in _parts(outer)]
        if not level:
            return document
    raise ValueError("it is nested too deeply")


@contextmanager
def open_zip(path: Path, error: type[ZooError]) -> Iterator[zipfile.ZipFile]:
    """Open a zip for reading; its directory is read, and bounded. Raises `error`, one line, for anything else.

    Only members that are stored or deflated can be opened by `open_member`, which bounds what they unpack to.
    """
    with open_file(path, error) as file:
        try:
            archive = zipfile.ZipFile(Bounded(file, LARGEST_ZIP_DIRECTORY))
        except Exception as reason:  # zipfile's parser raises what it stumbles over
            raise error(
                f"{path} cannot be read as a zip archive ({said(reason)}); it is cut short or of another kind"
            ) from None
        with archive:
            yield archive


@contextmanager
def open_member(archive: zipfile.ZipFile, name: str) -> Iterator[IO[bytes]]:
    """Open a member that gives no more at a time than it is asked for. KeyError, ValueError, or what zipfile raises.

    zipfile unpacks other compressions than deflate in one go, however large that is.
    """
    member = archive.getinfo(name)
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{shown(name)} is packed in an unusual way (compression {member.compress_type})")
    with archive.open(member) as file:
        yield file


class Bounded:
    """A binary file that is never read in larger pieces than `limit`, whatever a header in it says how long one is."""

    def __init__(self, file: Any, limit: int) -> None:
        self.file, self.limit = file, limit

    def read(self, size: int = -1) -> bytes:
        """Read up to `size` bytes, or to the end; ValueError where that is more than the limit."""
        if size is None or size < 0:
            content: bytes = self.file.read(self.limit + 1)
        elif size <= self.limit:
            content = self.file.read(size)
        else:
            raise ValueError(f"a header in it is said to have {size:,} bytes")
        if len(content) > self.limit:
            raise ValueError(f"a part of it has more than {self.limit:,} bytes")
        return content

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a position."""
        position: int = self.file.seek(offset, whence)
        return position

    def tell(self) -> int:
        """The position."""
        position: int = self.file.tell()
        return position

    def seekable(self) -> bool:
        """Yes."""
        return True

    def close(self) -> None:
        """Close the file."""
        self.file.close()


def said(reason: BaseException) -> str:
    """What a foreign parser's exception says, as a few words on one line."""
    text = " ".join(str(reason).split())[:200]
    return text or type(reason).__name__


def user_path(path: Path | str, error: type[ZooError] = ZooError) -> Path:
    """Return a path that a person typed, `~` expanded. Raises `error` for the home of a user who does not exist."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise error(f"{path}: there is no such user's home folder; write the path out") from None


def _parts(outer: dict[Any, Any] | list[Any]) -> Iterator[Any]:
    return iter(outer.values() if isinstance(outer, dict) else outer)


def _refused(word: str) -> Any:
    raise ValueError(f"it holds {word}")


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"it holds the number {digits[:20]}, which is too large")
    return value
