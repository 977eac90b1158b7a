"""The process that reads hostile inputs: it survives nothing that its parent would not notice.

`python -m tests.fuzz.worker SANDBOX` answers each line `{"reader": NAME, "folder": PATH, "warm": PATH}` on stdin with
one line: how reading ended, how long it took, how much memory it took at most, and what it did that no reader may do.
An audit hook sees that: a file opened outside of the sandbox and of Python's own folders, anything written or removed
outside of the sandbox, a process started, a connection, a class looked up for a pickle.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.fuzz.readers import READERS
from zoo.errors import ZooError

ADDRESS_SPACE = 6 << 30  # bytes that a read may ask for beyond what is there: so that a bomb takes no machine down

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# Which arguments are paths, and which are folders that these are relative to (-1: none).
_CHANGES = {
    "os.remove": ((0,), 1),
    "os.rename": ((0, 1), 2),
    "os.rmdir": ((0,), 1),
    "os.mkdir": ((0,), 2),
    "os.link": ((0, 1), 2),
    "os.symlink": ((1,), 2),
    "os.truncate": ((0,), None),
    "os.chmod": ((0,), 2),
}
_NEVER = ("os.system", "os.exec", "os.fork", "os.spawn", "os.posix_spawn", "socket.connect", "socket.getaddrinfo")
_NEVER_EITHER = ("pickle.find_class", "webbrowser.open", "urllib.Request", "ftplib.connect", "smtplib.connect")
# libhdf5's, the one that tells a run its commit, and how Python finds libraries and matplotlib fonts when first asked.
_OWN_PROCESSES = ("ibgan_plugin.adapters.hdf5", "git", "/sbin/ldconfig", "fc-list")


class Watch:
    """What reading did that it may not do."""

    def __init__(self, sandbox: Path) -> None:
        self.on = False
        self.seen: list[str] = []
        self._sandbox = os.path.realpath(sandbox)
        roots = {sys.prefix, sys.base_prefix, str(Path(__file__).parents[2]), *filter(None, sys.path)}
        system = ("/usr", "/lib", "/lib64", "/proc", "/sys", "/dev/null", "/dev/urandom", "/etc/localtime")
        shared = filter(None, os.environ.get("ZOO_FUZZ_READABLE", "").split(os.pathsep))
        self._readable = (self._sandbox, *map(os.path.realpath, roots), *system, *map(os.path.realpath, shared))
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.on:
            return
        self.on = False  # what looking at it does is not looked at
        try:
            found = self._problem(event, arguments)
        finally:
            self.on = True
        if found:
            self.seen.append(found)

    def _problem(self, event: str, arguments: tuple[Any, ...]) -> str:
        if event == "open":
            path, mode, flags = arguments
            if not isinstance(path, str | bytes | os.PathLike):
                return ""
            writes = bool((flags or 0) & _WRITING) or any(sign in str(mode or "") for sign in "wax+")
            return self._outside(path, (self._sandbox, "/dev/null") if writes else self._readable, event)
        if event in _CHANGES:
            paths, relative = _CHANGES[event]
            if relative is not None and arguments[relative] != -1:
                return ""  # to an opened folder, which was looked at when it was opened
            return next(filter(None, (self._outside(arguments[i], (self._sandbox,), event) for i in paths)), "")
        if event == "subprocess.Popen":
            words = [str(word) for word in arguments[1]]
            return "" if any(name in words for name in _OWN_PROCESSES) else f"{event} {words}"[:300]
        return f"{event} {arguments}"[:300] if event in _NEVER or event in _NEVER_EITHER else ""

    def _outside(self, path: Any, roots: tuple[str, ...], event: str) -> str:
        try:
            real = os.path.realpath(os.fsdecode(path))
        except (ValueError, OSError, TypeError):
            return ""
        inside = any(real == root or real.startswith(root.rstrip("/") + "/") for root in roots)
        return "" if inside else f"{event} {real}"


def attempt(read: Callable[[Path], Any], folder: Path) -> dict[str, Any]:
    """Read, and say how it ended."""
    try:
        read(folder)
    except ZooError as error:
        return {"end": "refused", "message": str(error)}
    except BaseException as error:
        told = traceback.format_exception(error)
        return {"end": "defect", "message": f"{type(error).__name__}: {str(error)[:500]}", "traceback": "".join(told)}
    return {"end": "read", "message": ""}


def memory(line: str) -> int:
    """How much memory this process has (VmRSS), or had at most (VmHWM), in bytes.

    Not `ru_maxrss`: that counts the process that this one was forked from, and never goes down.
    """
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return 1024 * int(status.partition(f"{line}:")[2].split()[0])


def main(sandbox: Path) -> None:
    """Answer until stdin ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    output = os.open(sandbox / "output", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115  # stays until the end
    sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115  # likewise
    watch, warmed = Watch(sandbox), set()
    for line in sys.stdin:
        asked = json.loads(line)
        reader = READERS[asked["reader"]]
        if reader.name not in warmed:  # what it imports and caches belongs to no input
            warmed.add(reader.name)
            warm = attempt(reader.read, Path(asked["warm"]))
            if warm["end"] != "read":
                warm["message"] = f"the valid file is not read: {warm['message']}"
                answers.write(json.dumps(warm | {"end": "defect", "seconds": 0, "bytes": 0, "seen": []}) + "\n")
                answers.flush()
                continue
            pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
            most = pages * resource.getpagesize() + ADDRESS_SPACE
            resource.setrlimit(resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))
        os.lseek(output, 0, os.SEEK_SET)
        os.ftruncate(output, 0)
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak is from here on
        watch.seen, before = [], memory("VmRSS")
        watch.on, began = True, time.monotonic()
        outcome = attempt(reader.read, Path(asked["folder"]))
        seconds = time.monotonic() - began
        watch.on = False
        grown = memory("VmHWM") - before  # a child's is bounded by its own limit
        outcome |= {"seconds": seconds, "bytes": grown, "seen": watch.seen[:5]}
        answers.write(json.dumps(outcome) + "\n")
        answers.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
