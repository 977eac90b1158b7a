"""A store: one uint8 array on disk made for fast random reads, and the record of what it was made from.

A store is a folder of `images.npy`, memory-mapped when opened, and `record.json`. It appears whole or not at all, and
only one process makes it while others wait. Opening checks the size and header of the array, that the record is the
one asked for, and a SHA-256 over `SAMPLED_ROWS` rows spread over the array, so that a damaged, foreign or outdated
store is never used; `sha256` in the record covers the whole file, for those who want to check every byte.
"""

from __future__ import annotations

import hashlib
import json
import math
import mmap
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo import terminal
from zoo.errors import DataError, ZooError, shown
from zoo.files import writing_folder
from zoo.settings import flat
from zoo.untrusted import open_file, read_json, refuse_link
from zoo.untrusted_arrays import read_header, shown_shape

if TYPE_CHECKING:
    from numpy.typing import NDArray

FORMAT = 2  # of the store; a store of another format is made anew
PREPARED = "prepared"  # the folder of the data root that all stores lie in, apart from what the user puts there
ARRAY, RECORD = "images.npy", "record.json"
SAMPLED_ROWS = 64
LARGEST_ROW = 4 << 20  # bytes; an image of 1024x1024 has 3 MiB


class Store:
    """An opened store: `rows`, uint8 (n, ...), read from the disk as needed, and `record`, what is known of it."""

    def __init__(self, folder: Path) -> None:
        """Open and verify the store in `folder`; DataError, naming what is wrong, where it is not whole."""
        self.folder = Path(folder)
        self.record = _read_record(self.folder)
        self._mapped, self._start, self.rows = _map(self.folder / ARRAY, self.record)
        if sampled_sha256(self.rows, self.record["format"]) != self.record["sampled_sha256"]:
            raise DataError(f"{self.folder / ARRAY} is damaged: sampled rows differ from its record")

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return a copy of these rows; for rows of a page or more what `rows[indices]` is for small ones.

        The system is told of all of them before the first is touched, so that a batch that is not in memory yet waits
        for the disk once, and not once an image: a hundred times faster then, and little slower when it is in memory.
        """
        if hasattr(mmap, "MADV_WILLNEED"):
            size = self.rows[0].size
            first = self._start + indices * size
            pages = first - first % mmap.PAGESIZE
            length = size + mmap.PAGESIZE  # from the page's start to the row's end, and seldom a page more
            for page in pages.tolist():
                self._mapped.madvise(mmap.MADV_WILLNEED, page, length)
        return self.rows[indices]

    def __reduce__(self) -> tuple[type[Store], tuple[Path]]:
        """Pickle the path, not the pixels: a worker process maps the file itself."""
        return Store, (self.folder,)


def open_or_make(folder: Path, made_from: dict[str, Any], make: Callable[[], Made]) -> Store:
    """Open the store in `folder`; make it first where it is not there, damaged, or made from something else.

    `made_from` holds the JSON values that tell what the store is made from; `make()` is called at most once, while
    other processes wait, and returns what to write. ZooError where the folder cannot be written.
    """
    try:
        return open_made_from(folder, made_from)
    except DataError:
        pass
    with locked(folder):
        try:  # another process may have made it while this one waited
            return open_made_from(folder, made_from)
        except DataError as error:
            if folder.exists():
                terminal.note(f"making {folder} again: {error}")
        with telling_where_to_write(folder):
            write(folder, made_from, make())
        return open_made_from(folder, made_from)


def open_made_from(folder: Path, made_from: dict[str, Any]) -> Store:
    """Open the store in `folder`, or raise DataError where it is not whole or made from something else."""
    store = Store(folder)
    if store.record["made_from"] != made_from:
        raise DataError(f"{folder} was made from something else: {_difference(store.record['made_from'], made_from)}")
    return store


def _difference(before: dict[str, Any], now: dict[str, Any]) -> str:
    """Name what differs: "bytes: 46, before 45; recipe.crop: 'square', before None"."""
    old = flat(before)
    told = [
        _IN_WORDS.get(key, f"{key}: {shown(value, 300)}, before {shown(old[key], 300)}")
        for key, value in flat(now).items()
        if key in old and old[key] != value
    ]
    return "; ".join(told) or "its record says other things of it"  # of another version, say


# Of these, the values would tell a person nothing.
_IN_WORDS = {
    "listing_sha256": "the files had other names or sizes",
    "mtime_ns": "the file was changed at another time",
}


class Made:
    """What `make` returns: the shape of all rows together, the rows block by block, and more for the record."""

    def __init__(
        self, shape: tuple[int, ...], blocks: Iterable[NDArray[np.uint8]], record: dict[str, Any] | None = None
    ) -> None:
        self.shape, self.blocks, self.record = shape, blocks, record or {}


def write(folder: Path, made_from: dict[str, Any], made: Made) -> None:
    """Write a store block by block: memory does not grow with the number of rows."""
    with writing_folder(folder) as temporary:
        with (temporary / ARRAY).open("wb") as file:
            whole = _Hashed(file)
            write_header(whole, made.shape)
            rows = 0
            for block in made.blocks:
                whole.write(np.ascontiguousarray(block, dtype=np.uint8).data)
                rows += len(block)
        if rows != made.shape[0]:
            raise DataError(f"{folder}: {rows:,} rows came where {made.shape[0]:,} were expected")
        _write_record(temporary, made_from, made.record, whole.digest.hexdigest())


def adopt(
    folder: Path, array: Path, made_from: dict[str, Any], record: dict[str, Any], files: Mapping[str, str]
) -> None:
    """Make a store of a finished .npy file, which is moved into it, and of text `files` to stand beside it."""
    with array.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    with writing_folder(folder) as temporary:
        array.replace(temporary / ARRAY)
        for name, text in files.items():
            (temporary / name).write_text(text, encoding="utf-8", errors="surrogateescape")
        _write_record(temporary, made_from, record, digest)


def _write_record(folder: Path, made_from: dict[str, Any], more: dict[str, Any], sha256: str) -> None:
    rows = np.load(folder / ARRAY, mmap_mode="r")
    record = {
        "format": FORMAT,
        "shape": list(rows.shape),
        "made_from": made_from,
        **more,
        "sha256": sha256,
        "sampled_sha256": sampled_sha256(rows, FORMAT),
    }
    (folder / RECORD).write_text(json.dumps(record, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def write_header(file: Any, shape: tuple[int, ...]) -> None:
    """Write the header of an .npy file of uint8 in C order."""
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})


def sampled_sha256(rows: NDArray[np.uint8], format: int) -> str:
    """Return the SHA-256 over the first, the last and `SAMPLED_ROWS` scattered rows, as a store of that format has it.

    In format 1 they may lie side by side; such stores are read, since what they were made from may be gone.
    """
    hashed = np.arange(SAMPLED_ROWS, dtype=np.uint64) * 2_654_435_761  # Knuth's multiplicative hash, of which the high
    # bits count: the low ones follow each other for some lengths.
    scattered = hashed % len(rows) if format == 1 else hashed % 2**32 * len(rows) >> 32
    digest = hashlib.sha256()
    for row in (0, *(int(row) for row in scattered), len(rows) - 1):
        digest.update(np.ascontiguousarray(rows[row]).data)
    return digest.hexdigest()


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of the store in `folder`, waiting for a process that has it; ZooError where that is impossible."""
    import filelock

    with telling_where_to_write(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        refuse_link(folder.parent / f".{folder.name}.lock", DataError)
        lock = filelock.FileLock(folder.parent / f".{folder.name}.lock")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def telling_where_to_write(folder: Path) -> Iterator[None]:
    """Turn a failed write into one line that names the folder and the way out."""
    try:
        yield
    except OSError as error:
        reason: OSError = error
    except ZooError as error:
        if not isinstance(error.__cause__, OSError):
            raise
        reason = error.__cause__
    else:
        return
    raise ZooError(
        f"cannot write {folder}: {reason.strerror or reason}; "
        "name a folder that can be written and has room with --data-root (or ZOO_DATA)"
    ) from reason


class _Hashed:
    """A file being written, and the SHA-256 of what went into it."""

    def __init__(self, file: Any) -> None:
        self.file, self.digest = file, hashlib.sha256()

    def write(self, data: Any) -> None:
        self.file.write(data)
        self.digest.update(data)


def _read_record(folder: Path) -> dict[str, Any]:
    path = folder / RECORD
    if not path.exists():
        raise DataError(f"{folder} holds no prepared data")
    record = read_json(path, DataError, links=False)
    if not isinstance(record, dict) or record.get("format") not in (1, FORMAT):
        raise DataError(f"{path} is not the record of a store of format {FORMAT}")
    if missing := {"shape", "made_from", "sampled_sha256"} - record.keys():
        raise DataError(f"{path} is damaged: it lacks {', '.join(sorted(missing))}")
    if not isinstance(record["made_from"], dict):
        raise DataError(f"{path} is damaged: it does not say what the store was made from")
    shape = record["shape"]
    numbers = isinstance(shape, list) and all(type(length) is int and length > 0 for length in shape)
    if not numbers or not 2 <= len(shape) <= 4 or math.prod(shape[1:]) > LARGEST_ROW:
        raise DataError(f"{path} is damaged: its shape is none of an array of images")
    return record


def _map(path: Path, record: dict[str, Any]) -> tuple[mmap.mmap, int, NDArray[np.uint8]]:
    """Map the array: the mapped file, where in it the rows begin, and the rows."""
    shape = tuple(record["shape"])
    try:
        with open_file(path, DataError, links=False) as file:
            found, fortran, dtype = read_header(file, "it")
            start, size = file.tell(), os.fstat(file.fileno()).st_size
            if dtype != np.uint8 or found != shape or fortran:
                raise ValueError(f"{str(dtype)[:40]} {shown_shape(found)} where its record says uint8 {shape}")
            if size != start + math.prod(shape):
                raise ValueError(f"{size:,} bytes where {start + math.prod(shape):,} were expected")
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is missing or damaged: {error}") from None
    return mapped, start, np.frombuffer(mapped, np.uint8, offset=start).reshape(shape)
