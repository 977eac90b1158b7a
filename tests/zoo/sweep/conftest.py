"""Small sweeps, run directories made by hand, and what a sweep's command line needs to run in other processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.processes import ZOO
from tests.zoo.sweep.slurm_commands import install
from tests.zoo.sweep.watching import kill_all
from zoo.config import RunConfig
from zoo.registry import default_registry
from zoo.run import RunDirectory
from zoo.sweep.plan import Plan
from zoo.sweep.spec import SweepSpec

TINY: dict[str, Any] = {"model.ngf": 4, "model.ndf": 4, "batch_size": 4, "device": "cpu"}


@pytest.fixture
def plan() -> Callable[..., Plan]:
    """Plan a sweep of tiny models on dSprites; keywords are the keys of a specification."""

    def make(**document: Any) -> Plan:
        full = {"models": ["ibgan"], "datasets": ["dsprites"], "steps": 3, "settings": TINY} | document
        return Plan.of(default_registry(), SweepSpec.checked(full, "spec"))

    return make


@pytest.fixture
def hand_made() -> Callable[..., RunDirectory]:
    """Make a run directory of nothing but logs and one checkpoint."""

    def make(
        path: Path,
        config: RunConfig,
        *,
        step: int = 0,
        log: Sequence[tuple[int, float]] = (),
        evaluations: Sequence[Mapping[str, Any]] = (),
        made_by: Mapping[str, Any] = {},
    ) -> RunDirectory:
        run = RunDirectory(path)
        run.write_config(config.model_copy(update={"made_by": dict(made_by)}))
        for at, rate in log:
            run.append("metrics.jsonl", {"step": at, "mi_lower": 0.5, "steps_per_second": rate})
        for record in evaluations:
            run.append("evaluations.jsonl", record)
        if step:
            run.save(step, {"weight": torch.zeros(2)}, {"momentum": torch.zeros(2)}, {"steps_done": step})
        return run

    return make


@pytest.fixture
def evaluation() -> Callable[..., dict[str, Any]]:
    """A record of evaluations.jsonl as `zoo eval` writes it."""

    def make(step: int, metric: str, score: float | None, seed: int = 0, **more: Any) -> dict[str, Any]:
        result = {"score": score, "protocol": {}}
        record = {"checkpoint": "there", "step": step, "seed": seed, "metrics": {metric: result}, "errors": {}}
        return record | {"settings": {}, "seconds": 1.5} | more

    return make


@pytest.fixture
def tiny_spec(tmp_path: Path) -> Callable[..., Path]:
    """Write the TOML file of a sweep of tiny models, and return its path."""

    def write(**document: Any) -> Path:
        full = {"models": ["ibgan"], "datasets": ["dsprites"], "steps": 3} | document
        tables = {key: full.pop(key) for key in list(full) if isinstance(full[key], dict)}
        tables["settings"] = TINY | tables.get("settings", {})
        lines = [f"{key} = {json.dumps(value)}" for key, value in full.items()]
        for name, table in tables.items():
            lines += [f"[{name}]", *(f"{json.dumps(key)} = {json.dumps(value)}" for key, value in table.items())]
        path = tmp_path / "tiny.toml"
        path.write_text("\n".join(lines) + "\n")
        return path

    return write


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Slurm's commands on the PATH; returns the folder of their state."""
    variables = install(tmp_path / "slurm")
    monkeypatch.setenv("PATH", variables["PATH"] + os.pathsep + os.environ["PATH"])
    monkeypatch.setenv("FAKE_SLURM", variables["FAKE_SLURM"])
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    yield Path(variables["FAKE_SLURM"])
    for pid in Path(variables["FAKE_SLURM"]).glob("*.pid"):
        with suppress(ProcessLookupError):
            os.kill(int(pid.read_text()), signal.SIGKILL)


@pytest.fixture
def sweep(drawn: Path, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start `zoo sweep` in a session of its own, its output in files; whatever is left of it is killed at the end."""
    started: list[subprocess.Popen[str]] = []

    def call(spec: Path, *words: str) -> subprocess.Popen[str]:
        number = len(started)
        with (tmp_path / f"out{number}").open("w") as out, (tmp_path / f"err{number}").open("w") as err:
            process = subprocess.Popen(
                [*ZOO, "sweep", str(spec), "--out", "sweep", *words],
                cwd=tmp_path,
                env=os.environ | {"OMP_NUM_THREADS": "1"},
                stdout=out,
                stderr=err,
                text=True,
                start_new_session=True,
            )
        started.append(process)
        return process

    yield call
    for process in started:
        kill_all(process, tmp_path / "sweep")
