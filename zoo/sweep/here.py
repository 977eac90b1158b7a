"""What the processes of runs on this machine get: their threads, their GPU, their environment."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager

from zoo.signals import handling


def threads_each(jobs: int) -> int:
    """The threads of a run on this machine: $OMP_NUM_THREADS, else its share of the CPUs."""
    named = os.environ.get("OMP_NUM_THREADS", "")
    return int(named) if named.isdecimal() and int(named) > 0 else max((os.cpu_count() or 1) // jobs, 1)


def gpu(place: int) -> str:
    """The GPU for a place on this machine, as CUDA_VISIBLE_DEVICES names it; submitit would hide them all."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        import torch

        visible = ",".join(map(str, range(torch.cuda.device_count())))
    named = [part for part in visible.split(",") if part.strip()]
    return named[place % len(named)].strip() if named else ""


def deaf_to_ctrl_c() -> AbstractContextManager[None]:
    """Start processes that ignore SIGINT, as every process does whose parent ignored it when it began."""
    return handling({signal.SIGINT: signal.SIG_IGN})


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set variables for the processes that are started meanwhile."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
