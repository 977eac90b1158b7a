"""Conducting sweeps in tests, and looking at what they do."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

from zoo.registry import default_registry
from zoo.run import RunDirectory
from zoo.sweep.conduct import Conductor
from zoo.sweep.plan import Plan, SweepFolder


def conducted(plan: Plan, out: Path, **options: Any) -> Conductor:
    folder = SweepFolder(out)
    conductor = Conductor(default_registry(), plan, folder, **{"executor": "debug"} | options)
    with folder.locked():
        folder.write_plan(plan)
        conductor.run()
    return conductor


def saved(run: Path) -> int:
    return max(RunDirectory(run).steps(), default=0)


def starts(run: Path) -> list[str]:
    """The starts of a run, as its configuration has them."""
    return list(RunDirectory(run).config.made_by)


def kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def kill_all(process: subprocess.Popen[str], out: Path) -> None:
    """What a machine that loses its power does: the sweep, submitit's controllers and the runs themselves are gone."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for owner in out.glob("runs/*/owner.json"):
        kill(json.loads(owner.read_text())["pid"])
    for status in Path("/proc").glob("[0-9]*/cmdline"):  # those that import torch still, and have no lock yet
        try:
            if str(out.resolve()).encode() in status.read_bytes():
                kill(int(status.parent.name))
        except OSError:
            continue
