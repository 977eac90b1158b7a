"""Arrays of an HDF5 file that nobody vouches for, read by a process of their own.

libhdf5 is a large C library, and a damaged file can crash it, keep it busy for ever or make it ask for any amount of
memory; a sound-looking one can send it to other files, by external links and external storage. So it runs in a
child process, which has little memory and no say: the parent asks for arrays of a known type and shape, waits no
longer than `STALL_SECONDS` for an answer, and takes only as many bytes as it asked for. Whatever becomes of the child
is told in one line.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import h5py
    import numpy as np
    from numpy.typing import NDArray

STALL_SECONDS = 120.0  # without a byte from the child
MEMORY = 768 * 2**20  # bytes that the child may have beyond its libraries
PIPE = 2**20  # bytes between the two
CPU_SECONDS = 3600  # after which the system stops a child whose parent is gone

_LARGEST_CHUNK = 128 * 2**20
_FILTERS = {1: "deflate", 2: "shuffle", 3: "fletcher32"}


class HDF5Error(Exception):
    """A file that cannot be read, in one line."""


class HDF5File:
    """An HDF5 file, opened by a child process; see `open_hdf5`."""

    def __init__(self, child: subprocess.Popen[bytes]) -> None:
        self._child = child
        self._row: tuple[np.dtype[Any], tuple[int, ...]] | None = None

    def open(self, key: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
        """Turn to the array `key`. HDF5Error where it is not there, or of another type or shape."""
        self._ask(["open", key, dtype.str, list(shape)])
        self._row = dtype, shape[1:]

    def rows(self, count: int) -> NDArray[Any]:
        """Return the next `count` rows of the array. HDF5Error where they cannot be read."""
        import numpy as np

        assert self._row is not None
        dtype, shape = self._row
        self._ask(["rows", count])
        found = np.empty((count, *shape), dtype)
        self._fill(found.reshape(-1).view(np.uint8).data)
        return found

    def _ask(self, question: list[Any]) -> None:
        assert self._child.stdin is not None
        with suppress(BrokenPipeError):  # it is gone: there will be no answer either
            self._child.stdin.write(json.dumps(question).encode() + b"\n")
            self._child.stdin.flush()
        length = int.from_bytes(self._take(4), "big")
        problem = self._take(length).decode("utf-8", errors="replace")
        if problem:
            raise HDF5Error(problem)

    def _take(self, size: int) -> bytearray:
        content = bytearray(size)
        self._fill(memoryview(content))
        return content

    def _fill(self, left: memoryview) -> None:
        assert self._child.stdout is not None
        handle, deadline = self._child.stdout.fileno(), time.monotonic() + STALL_SECONDS
        while left:
            ready, _, _ = select.select([handle], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise HDF5Error(f"the HDF5 library does not come to an end with it (waited {STALL_SECONDS:.0f} s)")
            count = os.readv(handle, [left])
            if count == 0:
                raise HDF5Error(f"the HDF5 library fails on it ({_end_of(self._child)})")
            left, deadline = left[count:], time.monotonic() + STALL_SECONDS


@contextmanager
def open_hdf5(path: Path) -> Iterator[HDF5File]:
    """Open an HDF5 file in a child process, which ends with the block. HDF5Error, one line, for whatever is wrong."""
    variables = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-m", __name__, os.fspath(path.absolute())]
    child = subprocess.Popen(
        command, env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0
    )
    assert child.stdout is not None
    with suppress(OSError, AttributeError):  # where the system has larger pipes, there is less to wait for
        fcntl.fcntl(child.stdout.fileno(), fcntl.F_SETPIPE_SZ, PIPE)
    try:
        yield HDF5File(child)
    finally:
        child.kill()
        for pipe in (child.stdin, child.stdout):
            assert pipe is not None
            with suppress(OSError):
                pipe.close()
        child.wait()


def _end_of(child: subprocess.Popen[bytes]) -> str:
    with suppress(subprocess.TimeoutExpired):
        code = child.wait(timeout=5)
        return f"signal {-code}" if code < 0 else f"exit code {code}"
    return "it closed its output"


# The child's side.


def _serve(path: str) -> None:
    """Answer the questions on stdin: four bytes of length, a problem of that length or nothing, then what was asked."""
    import h5py  # before the limits: its libraries count, too
    import numpy as np

    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever libraries print goes nowhere
    _limit()
    file: h5py.File | None = None
    array: Any = None
    start = 0
    for line in sys.stdin.buffer:
        problem, content = "", memoryview(b"")
        try:
            question, *arguments = json.loads(line)
            file = file or h5py.File(path, "r")
            if question == "open":
                array, start = _checked(file, *arguments), 0
            else:
                found = array[start : start + arguments[0]]
                start += len(found)
                content = np.ascontiguousarray(found).reshape(-1).view(np.uint8).data
        except Exception as error:  # h5py raises what it makes of libhdf5's errors, of every kind
            problem = " ".join(str(error).split())[:200] or type(error).__name__
        encoded = problem.encode("utf-8", errors="replace")
        answers.write(len(encoded).to_bytes(4, "big") + encoded)
        answers.flush()
        while content:
            content = content[os.write(answers.fileno(), content) :]


def _checked(file: h5py.File, key: str, dtype: str, shape: list[int]) -> Any:
    """Return an array that is in this file itself, and of this type and shape. ValueError for anything else."""
    import h5py
    import numpy as np

    *folders, name = key.split("/")
    group: Any = file
    for part in (*folders, name):
        if not isinstance(group, h5py.Group) or part not in group:
            raise ValueError(f"it has no array {key}")
        if not isinstance(group.get(part, getlink=True), h5py.HardLink):
            raise ValueError(f"{key} is a link, which may lead to another file")
        group = group[part]
    array = group
    if not isinstance(array, h5py.Dataset):
        raise ValueError(f"it has no array {key}")
    if array.is_virtual or array.external:
        raise ValueError(f"{key} is kept in other files")
    if array.dtype != dtype or list(array.shape or ()) != shape:
        raise ValueError(
            f"{key} is {str(array.dtype)[:40]} {array.shape}; {np.dtype(dtype)} {tuple(shape)} was expected"
        )
    if array.chunks is not None and prod(array.chunks) * array.dtype.itemsize > _LARGEST_CHUNK:
        raise ValueError(f"{key} has chunks of the shape {array.chunks}, larger than any")
    made = array.id.get_create_plist()
    others = {made.get_filter(number)[0] for number in range(made.get_nfilters())} - _FILTERS.keys()
    if others:
        raise ValueError(f"{key} has the filter {min(others)}; {', '.join(_FILTERS.values())} were expected")
    return array


def _limit() -> None:
    """Take this process's memory and time, so that a file cannot use up the machine's."""
    import resource

    with suppress(OSError, ValueError):  # where the system tells or limits nothing of the kind
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        most = pages * os.sysconf("SC_PAGE_SIZE") + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    _serve(sys.argv[1])
