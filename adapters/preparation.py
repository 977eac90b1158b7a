"""A source of image files becomes a store: resumable, whole or not at all, in memory that does not grow with it.

Images are decoded by a few threads (Pillow releases the interpreter lock) in blocks of `BLOCK`; the array grows on the
disk in a hidden folder beside the store, with a note of how far it is, and becomes the store when it is complete.
"""

from __future__ import annotations

import bisect
import contextlib
import hashlib
import itertools
import math
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ibgan_plugin.adapters.recipe import BadImage, Recipe, quiet_pillow
from ibgan_plugin.adapters.sources import Source, Unreadable
from ibgan_plugin.adapters.store import Store, adopt, locked, open_made_from, telling_where_to_write, write_header
from zoo import terminal
from zoo.errors import DataError, ZooError
from zoo.files import sync, write_json
from zoo.untrusted import open_file, read_json
from zoo.untrusted_arrays import read_header

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLOCK = 64  # images in flight,
BLOCK_BYTES = 64 << 20  # and about as many bytes of their files
SAVE_EVERY = 4096  # images between two notes of how far it is
MAX_PROBLEMS = 100  # after so many the source is not the dataset, and going on would only take time
NAMED_IN_LINE = 10

PARTIAL_ARRAY, PROGRESS, FILES = "images.npy", "progress.json", "files.txt"


@dataclass(frozen=True)
class Layout:
    """How a publisher lays out a dataset.

    `wanted` tells its images by name; `missing(names, path)` returns what should be among the sorted names and is not,
    `path` being the folder or archive they are in; `image_size` is the (width, height) that all published images have;
    `published` is how many there are, None for a person's own.
    """

    name: str
    wanted: Callable[[str], bool]
    missing: Callable[[Sequence[str], Path], Iterable[str]] = lambda names, path: ()
    image_size: tuple[int, int] | None = None
    published: int | None = None


def prepare(folder: Path, source: Source, layout: Layout, recipe: Recipe) -> Store:
    """Return the store in `folder`, made from `source` where it is not that already.

    The images' order is that of their sorted names. DataError names every file that is missing or cannot be prepared;
    then nothing is left behind. An interrupted preparation goes on where it stopped.
    """
    made_from = source.identity() | {"recipe": recipe.record()}
    with contextlib.suppress(DataError):
        return _opened(folder, made_from, recipe)
    with locked(folder):
        try:  # another process may have made it while this one waited
            return _opened(folder, made_from, recipe)
        except DataError as error:
            if folder.exists():
                terminal.note(f"making {folder} again: {error}")
        with telling_where_to_write(folder):
            _make(folder, source, layout, recipe, made_from)
    return _opened(folder, made_from, recipe)


def _opened(folder: Path, made_from: dict[str, Any], recipe: Recipe) -> Store:
    store = open_made_from(folder, made_from)
    if store.rows.shape[1:] != recipe.image_shape:
        raise DataError(f"{folder} holds images of the shape {store.rows.shape[1:]}, not {recipe.image_shape}")
    return store


def _make(folder: Path, source: Source, layout: Layout, recipe: Recipe, made_from: dict[str, Any]) -> None:
    in_order = source.names(layout.wanted)
    names = sorted(in_order)
    if not names:
        raise DataError(f"{source.path} holds no images of {layout.name}")
    if layout.published is not None and len(names) != layout.published:
        terminal.warn(f"{source.path} holds {len(names):,} of the {layout.published:,} images of {layout.name}")
    record = {
        "dataset": layout.name,
        "images": len(names),
        "published": layout.published,
        "complete": None if layout.published is None else len(names) == layout.published,
        "image_shape": list(recipe.image_shape),
    }
    missing = (f"{name} is missing" for name in layout.missing(names, source.path))
    with _Partial(folder.with_name(f".{folder.name}.partial"), made_from, names, recipe, missing) as partial:
        with quiet_pillow(), terminal.progress(f"preparing {layout.name}", len(names), done=partial.done) as shown:
            for block in _blocks(source.read(in_order[partial.done :]), recipe, layout.image_size):
                for name, image in block:
                    if isinstance(image, str):
                        partial.problem(f"{name} {image}")
                    else:
                        partial.put(bisect.bisect_left(names, name), image)
                partial.advance(len(block))
                shown.advance(len(block))
                if len(partial.problems) >= MAX_PROBLEMS:
                    break
        if partial.problems:
            partial.remove()
            ask = "remove or repair these files" if layout.published is None else "fetch these files again"
            raise DataError(f"{source.path} cannot be prepared: {_told(partial.problems)}; {ask}")
        partial.finish(folder, record, names)


def _told(problems: Sequence[str]) -> str:
    """Return the problems as one line; where they are many, the rest has been told one by one."""
    if len(problems) <= NAMED_IN_LINE:
        return "; ".join(problems)
    stopped = ", and the rest was not looked at" if len(problems) >= MAX_PROBLEMS else ""
    return f"{'; '.join(problems[:NAMED_IN_LINE])}; and {len(problems) - NAMED_IN_LINE} more, told above{stopped}"


def _blocks(
    contents: Iterator[tuple[str, bytes | Unreadable]], recipe: Recipe, size: tuple[int, int] | None
) -> Iterator[list[tuple[str, NDArray[np.uint8] | str]]]:
    """Yield (name, image) or (name, what is wrong with it), `BLOCK` at a time."""

    def decoded(named: tuple[str, bytes | Unreadable]) -> tuple[str, NDArray[np.uint8] | str]:
        name, content = named
        if isinstance(content, Unreadable):
            return name, content.reason
        try:
            return name, recipe.apply(content, size)
        except BadImage as error:
            return name, str(error)

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as threads:
        while block := list(threads.map(decoded, _some(contents))):
            yield block


def _some(contents: Iterator[tuple[str, bytes | Unreadable]]) -> Iterator[tuple[str, bytes | Unreadable]]:
    """Yield the next few files: `BLOCK`, or fewer where they are large."""
    size = 0
    for named in itertools.islice(contents, BLOCK):
        yield named
        size += len(named[1]) if isinstance(named[1], bytes) else 0
        if size >= BLOCK_BYTES:
            return


class _Partial:
    """The folder in which a store grows, and how far it is. On leaving, an unfinished one notes where it stopped."""

    def __init__(
        self, folder: Path, made_from: dict[str, Any], names: Sequence[str], recipe: Recipe, problems: Iterable[str]
    ) -> None:
        """Go on with what is in `folder`, if it is of the same source and recipe; else begin, with these problems."""
        self.folder, self.array = folder, folder / PARTIAL_ARRAY
        self.shape = (len(names), *recipe.image_shape)
        self.made_from = made_from
        names_digest = hashlib.sha256("\n".join(names).encode(errors="surrogateescape")).hexdigest()
        self.key = {"made_from": made_from, "names_sha256": names_digest}
        self.done, self.problems = self._noted()
        self.saved = self.done
        if self.done:
            terminal.note(f"going on with {self.folder} after {self.done:,} images")
        else:
            self._begin(problems)
        self.file = self.array.open("r+b")
        self.offset = self.array.stat().st_size - math.prod(self.shape)

    def __enter__(self) -> _Partial:
        return self

    def __exit__(self, *_: object) -> None:
        if not self.file.closed:
            with contextlib.suppress(OSError, ZooError):  # what ends this block matters more
                self._save()
            self.file.close()

    def put(self, row: int, image: NDArray[np.uint8]) -> None:
        """Write one image. Plain writes, not a mapped array: mapped pages would count as this process's memory."""
        self.file.seek(self.offset + row * image.size)
        self.file.write(image.data)

    def problem(self, text: str) -> None:
        """Tell of a file that is missing or bad, and remember it."""
        terminal.note(text)
        self.problems.append(text)

    def advance(self, count: int) -> None:
        """Count images as done, and now and then note it."""
        self.done += count
        if self.done - self.saved >= SAVE_EVERY:
            self._save()

    def remove(self) -> None:
        """Leave nothing behind."""
        self.file.close()
        shutil.rmtree(self.folder)

    def finish(self, folder: Path, record: dict[str, Any], names: Sequence[str]) -> None:
        """Make the complete array the store."""
        self.file.close()
        adopt(folder, self.array, self.made_from, record, {FILES: "".join(f"{name}\n" for name in names)})
        shutil.rmtree(self.folder)

    def _noted(self) -> tuple[int, list[str]]:
        """Return how many images are done in what is there, and the problems they had: (0, []) where nothing fits."""
        try:
            noted = read_json(self.folder / PROGRESS, DataError, links=False)
            with open_file(self.array, DataError, links=False) as file:
                header = read_header(file, "it")
                whole = os.fstat(file.fileno()).st_size == file.tell() + math.prod(self.shape)
        except (DataError, ValueError):
            return 0, []
        match noted:
            case {"key": self.key, "done": int(done), "problems": list(problems)}:
                known = 0 <= done <= self.shape[0] and all(isinstance(problem, str) for problem in problems)
                if known and whole and header == (self.shape, False, np.dtype(np.uint8)):
                    return done, problems
        return 0, []

    def _begin(self, problems: Iterable[str]) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        with self.array.open("wb") as file:
            write_header(file, self.shape)
            file.truncate(file.tell() + math.prod(self.shape))
        for problem in itertools.islice(problems, MAX_PROBLEMS):
            self.problem(problem)

    def _save(self) -> None:
        """Put the images on the disk, then note that they are there."""
        self.file.flush()
        sync(self.array)
        write_json(self.folder / PROGRESS, {"key": self.key, "done": self.done, "problems": self.problems})
        self.saved = self.done
