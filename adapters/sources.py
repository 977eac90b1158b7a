"""Where images come from: an unpacked folder, a tar or a zip. Nothing is unpacked to the disk.

Members are read from the archive one by one, into memory, up to `MAX_BYTES` each. An archive with a member whose name
leads out of it, or with a link or device, is refused as a whole: nobody publishes images like that. So is one that
unpacks to far more than images can be packed by. In a folder, only files are read, and links only within it.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import tarfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from ibgan_plugin.adapters.unpacking import HEADERS, Unpacked, largest_unpacked, unpacked
from zoo.errors import DataError, shown
from zoo.untrusted import open_file, open_member, open_zip, said

ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".zip")
MAX_BYTES = 32 << 20  # of one image file; the largest published ones here have less than 1 MB

Wanted = Callable[[str], bool]


@dataclass(frozen=True)
class Unreadable:
    """In place of a file's bytes: why they could not be read."""

    reason: str


class Source(Protocol):
    """Files by name; names are relative, with forward slashes."""

    path: Path

    def names(self, wanted: Wanted) -> list[str]:
        """Return the names that are wanted, in the order that `read` gives them; DataError for a refused archive."""
        ...

    def read(self, names: Sequence[str]) -> Iterator[tuple[str, bytes | Unreadable]]:
        """Yield the contents of `names`, which are some of `names(...)` in the same order."""
        ...

    def identity(self) -> dict[str, Any]:
        """Return JSON values that change when the source is replaced."""
        ...


def source(path: Path, prefix: str = "") -> Source:
    """Return the source at `path`, a folder or an archive; `prefix` is put before the names in a folder."""
    if path.is_dir():
        return Folder(path, prefix)
    with open_file(path, DataError):
        pass  # a pipe or a device is told here, and not waited for
    if path.name.endswith(".zip"):
        return Zip(path)
    if path.name.endswith(ARCHIVES):
        return Tar(path)
    raise DataError(f"{path} is neither a folder nor an archive ({', '.join(ARCHIVES)})")


class Folder:
    """An unpacked folder. Hidden files are left out, linked folders not followed, nor links that lead out of it."""

    def __init__(self, path: Path, prefix: str = "") -> None:
        self.path, self.prefix = path, prefix

    def names(self, wanted: Wanted) -> list[str]:
        """Return the wanted names, sorted."""
        return sorted(name for name, _ in self._files() if wanted(name))

    def read(self, names: Sequence[str]) -> Iterator[tuple[str, bytes | Unreadable]]:
        """Yield the contents of `names`."""
        inside = self.path.resolve()
        for name in names:
            file = self.path / name.removeprefix(self.prefix)
            content: bytes | Unreadable
            try:
                if file.is_symlink() and not file.resolve().is_relative_to(inside):
                    content = Unreadable("is a link that leads out of the folder")
                else:
                    with open_file(file, DataError) as opened:
                        content = _bounded(opened.read(MAX_BYTES + 1))
            except DataError as error:
                content = Unreadable(f"cannot be read: {str(error).removeprefix(f'cannot read {file}: ')}")
            except (OSError, RuntimeError) as error:  # RuntimeError: links that lead to each other
                content = Unreadable(f"cannot be read: {said(error)}")
            yield name, content

    def identity(self) -> dict[str, Any]:
        """Return the path, and a digest over the names and sizes of all files."""
        digest = hashlib.sha256()
        for name, size in sorted(self._files()):
            digest.update(f"{name}\0{size}\n".encode(errors="surrogateescape"))
        return {"source": str(self.path.absolute()), "listing_sha256": digest.hexdigest()}

    def _files(self) -> Iterator[tuple[str, int]]:
        pending = [(self.path, self.prefix)]
        while pending:
            folder, prefix = pending.pop()
            try:
                with os.scandir(folder) as entries:
                    for entry in entries:
                        if entry.name.startswith("."):
                            continue
                        if entry.is_dir(follow_symlinks=False):
                            pending.append((Path(entry.path), f"{prefix}{entry.name}/"))
                        elif entry.is_file() or (entry.is_symlink() and not entry.is_dir()):  # a broken link is told
                            yield f"{prefix}{entry.name}", entry.stat(follow_symlinks=False).st_size
            except OSError as error:
                raise DataError(f"{folder} cannot be read: {error.strerror or error}") from error


class Zip:
    """A zip archive."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def names(self, wanted: Wanted) -> list[str]:
        """Return the wanted names, sorted: a zip can be read in any order."""
        found, size, most = [], 0, largest_unpacked(self.path.stat().st_size)
        with open_zip(self.path, DataError) as archive:
            for member in archive.infolist():
                _refuse_unsafe(self.path, member.filename)
                if member.external_attr >> 28 == 0o12:  # the file type that Unix keeps in the upper half
                    raise DataError(f"{self.path} is refused: {shown(member.filename)} in it is a link")
                folder = member.filename.endswith("/")  # zipfile's is_dir fails on an empty name
                if not folder and _visible(member.filename) and wanted(member.filename):
                    found.append(member.filename)
                    size += member.file_size
        if size > most:
            raise DataError(f"{self.path} is refused: it unpacks to {size:,} bytes, far more than images are packed by")
        return _distinct(self.path, sorted(found))

    def read(self, names: Sequence[str]) -> Iterator[tuple[str, bytes | Unreadable]]:
        """Yield the contents of `names`."""
        with open_zip(self.path, DataError) as archive:
            for name in names:
                try:
                    with open_member(archive, name) as file:
                        content: bytes | Unreadable = _bounded(file.read(MAX_BYTES + 1))
                except Exception as error:  # one member; zipfile and zlib raise what they stumble over
                    content = Unreadable(f"cannot be read from the archive: {said(error)}")
                yield name, content

    def identity(self) -> dict[str, Any]:
        """Return the path, the size and the time of the last change."""
        return _file_identity(self.path)


class Tar:
    """A tar archive, compressed or not. It is read from front to end, so its order is the archive's own."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def names(self, wanted: Wanted) -> list[str]:
        """Return the wanted names in the archive's order."""
        found = [name for name, _, _ in self._members() if wanted(name)]
        _distinct(self.path, sorted(found))
        return found

    def read(self, names: Sequence[str]) -> Iterator[tuple[str, bytes | Unreadable]]:
        """Yield the contents of `names`."""
        left = iter(names)
        next_name = next(left, None)
        if next_name is None:
            return
        for name, archive, member in self._members():
            if name != next_name:
                continue
            with _reading(self.path):
                file = archive.extractfile(member)
                assert file is not None  # links and devices were refused, folders left out
                content = _bounded(file.read(MAX_BYTES + 1))
            yield name, content
            next_name = next(left, None)
            if next_name is None:
                return

    def identity(self) -> dict[str, Any]:
        """Return the path, the size and the time of the last change."""
        return _file_identity(self.path)

    def _members(self) -> Iterator[tuple[str, tarfile.TarFile, tarfile.TarInfo]]:
        with _reading(self.path), unpacked(self.path) as file, _opened(file) as archive:
            while (member := archive.next()) is not None:
                if member.size < 0:  # some versions of Python would find this member for ever
                    raise tarfile.ReadError("a file of negative size")
                # tarfile would keep every member it has seen; memory must not grow with the archive.
                archive.members.clear()  # type: ignore[attr-defined]  # a list that the type stubs leave out
                _refuse_unsafe(self.path, member.name)
                if not (member.isfile() or member.isdir()) or member.issparse():
                    raise DataError(f"{self.path} is refused: {shown(member.name)} in it is a link or a device")
                if member.isfile() and _visible(member.name):
                    file.left = MAX_BYTES + HEADERS
                    yield member.name.removeprefix("./"), archive, member
                file.left = HEADERS
            if file.tell() == archive.offset:  # the closing block of zeros would have been read
                raise tarfile.ReadError("it ends without its closing mark")


def _opened(file: Unpacked) -> tarfile.TarFile:
    return tarfile.TarFile(fileobj=file, mode="r")  # type: ignore[arg-type]  # it has what tarfile asks of a file


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn what a damaged archive makes its reader raise into one line."""
    try:
        yield
    except DataError:
        raise
    except Exception as error:  # tarfile and the unpackers raise what they stumble over
        raise DataError(f"{path} is not a whole archive ({said(error)}); fetch or pack it again") from error


def _bounded(content: bytes) -> bytes | Unreadable:
    return content if len(content) <= MAX_BYTES else Unreadable(f"has more than {MAX_BYTES >> 20} MiB")


def _refuse_unsafe(archive: Path, name: str) -> None:
    """Refuse names that would lead out of a folder the archive is unpacked in, on any system."""
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if name.startswith(("/", "\\")) or ".." in parts or (parts and ":" in parts[0]):
        raise DataError(f"{archive} is refused: the name {shown(name)} in it leads out of the archive")


def _visible(name: str) -> bool:
    """Whether this is a file of the publisher's: not the leavings of a file manager."""
    return not any((part.startswith(".") and part != ".") or part == "__MACOSX" for part in name.split("/"))


def _distinct(archive: Path, names: list[str]) -> list[str]:
    """Return sorted `names`; DataError where one occurs twice."""
    for one, other in itertools.pairwise(names):
        if one == other:
            raise DataError(f"{archive} is refused: it holds {shown(one)} twice")
    return names


def _file_identity(path: Path) -> dict[str, Any]:
    status = path.stat()
    return {"source": str(path.absolute()), "bytes": status.st_size, "mtime_ns": status.st_mtime_ns}
