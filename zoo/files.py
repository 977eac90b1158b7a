"""The one place that writes files and folders atomically: whole under their name, or not there."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from zoo.errors import ZooError


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; when the block ends well, the file there is synced and takes its name.

    Raises ZooError, with the reason the system gives, where the folder cannot be written.
    """
    path = Path(path)
    temporary: Path | None = None
    try:
        if path.exists() and not path.is_file():  # a device would be replaced by a file
            raise ZooError(f"cannot write {path}: what has that name is no file; choose another")
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=path.suffix, dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        sync(temporary)
        temporary.chmod(0o644)
        temporary.replace(path)
        sync(path.parent)
    except OSError as error:
        raise ZooError(cannot_write(path, error)) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


@contextmanager
def writing_folder(path: Path) -> Iterator[Path]:
    """The same for a folder and all that is in it: all of it appears under `path` at once, or none of it.

    A folder that stands under that name already is replaced.
    """
    path = Path(path)
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
        yield temporary
        for inside in [*temporary.rglob("*"), temporary]:
            inside.chmod(0o755 if inside.is_dir() else 0o644)
            sync(inside)
        remove_folder(path)
        temporary.replace(path)
        sync(path.parent)
    except OSError as error:
        raise ZooError(cannot_write(path, error)) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def remove_folder(path: Path) -> None:
    """Remove a folder, if it is there: it loses its name at once, so that nobody ever meets half of it."""
    if path.exists():
        doomed = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
        path.replace(doomed)
        shutil.rmtree(doomed)


def write_json(path: Path, document: Any) -> None:
    """Write a JSON document atomically; a NaN raises ValueError."""
    text = json.dumps(document, indent=2, allow_nan=False) + "\n"
    with writing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def sync(path: Path) -> None:
    """Ask the system to put a file or a folder on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def cannot_write(path: Path, error: OSError) -> str:
    """The one line for a failed write."""
    in_the_way = isinstance(error, FileExistsError | NotADirectoryError)
    reason = "a file is in the way of a folder" if in_the_way else error.strerror or error
    return f"cannot write {path}: {reason}; choose a folder that can be written and has room"
