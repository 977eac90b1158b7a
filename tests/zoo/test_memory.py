"""Freed memory stays with the process: seen in the page faults of a real one."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

from zoo.memory import keep_freed

# Allocates, fills and frees what a training step might, over and over; prints the page faults of the later rounds.
PROGRAM = """
import resource, sys
if "keep" in sys.argv:
    from zoo.memory import keep_freed
    assert keep_freed()
import numpy as np
def step():
    arrays = [np.ones(size, np.float32) for size in (1 << 20, 1 << 21, 1 << 19, 1 << 21)]
    while arrays:
        arrays.pop()
for _ in range(5):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    step()
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / 10)
"""


def _faults_a_step(*words: str) -> float:
    done = subprocess.run([sys.executable, "-c", PROGRAM, *words], capture_output=True, text=True, check=True)
    return float(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_a_process_that_keeps_its_memory_does_not_fault_it_in_again() -> None:
    plain, keeping = _faults_a_step(), _faults_a_step("keep")
    assert keeping < 20
    assert plain > 50 * max(keeping, 1)


HUGE = """
import re
from pathlib import Path
from zoo.memory import keep_freed
assert keep_freed()
mappings = re.split(r"(?m)^(?=[0-9a-f]+-[0-9a-f]+ )", Path("/proc/self/smaps").read_text())
kept = [text for text in mappings if "[heap]" in text and re.search(r"VmFlags:.* hg\\b", text)]
for what in ("Size", "Rss"):
    print(sum(int(re.search(rf"{what}: +(\\d+) kB", text)[1]) for text in kept))
"""


@pytest.mark.skipif(not Path("/sys/kernel/mm/transparent_hugepage").exists(), reason="a system without huge pages")
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_the_memory_that_is_kept_is_asked_for_in_huge_pages_and_not_before_it_is_used() -> None:
    done = subprocess.run([sys.executable, "-c", HUGE], capture_output=True, text=True, check=True)
    kilobytes, resident = map(int, done.stdout.split())
    assert kilobytes > 900_000
    assert resident < 20_000


def test_a_system_without_it_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_such_library(name: str | None) -> object:
        raise OSError("no C library here")

    monkeypatch.setattr("zoo.memory.ctypes.CDLL", no_such_library)
    assert not keep_freed()
