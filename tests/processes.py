"""What tests that start other processes share: how they start them, wait for them, and look at what they leave."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

SECONDS = 180
# The command line, as the installed script starts it.
ZOO = (sys.executable, "-c", "import sys; from zoo.cli import main; main()")
# What gives a program its own peak memory, in KB. Not `ru_maxrss`: that counts the process it was forked from.
PEAK = "int(next(line for line in open('/proc/self/status') if line.startswith('VmHWM')).split()[1])"


def wait_for(what: Callable[[], Any], process: subprocess.Popen[str] | None = None) -> None:
    """Wait until something is so; fail where it takes too long, or a process ends before."""
    end = time.monotonic() + SECONDS
    while not what():
        assert time.monotonic() < end
        assert process is None or process.poll() is None, process.communicate()
        time.sleep(0.01)


def content(run: Path, step: int | None = None) -> dict[str, bytes]:
    """The bytes of all checkpoints of a run, or of that of a step; there is at least one."""
    folder = run / "checkpoints"
    if step is not None:
        folder /= f"step-{step:08d}"
    files = {str(f.relative_to(run)): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}
    assert files, folder
    return files
