"""Sweeps by way of Slurm's commands: what submitit asks of them, and what becomes of the jobs."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import signal
import sys
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.exploding import Exploding
from tests.processes import SECONDS, wait_for
from tests.zoo.sweep.watching import conducted, saved, starts
from zoo.errors import UsageError, ZooError
from zoo.registry import default_registry
from zoo.run import RunDirectory
from zoo.sweep.conduct import Conductor
from zoo.sweep.plan import Plan, SweepFolder
from zoo.sweep.slurm import SlurmExecutor, slurm_parameters
from zoo.sweep.spec import Slurm

pytest.importorskip("submitit")


def test_without_slurm_it_is_one_line(
    plan: Callable[..., Plan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="there is no Slurm here"):
        Conductor(default_registry(), plan(), SweepFolder(tmp_path), executor="slurm")


def test_what_slurm_is_asked_for() -> None:
    asked = Slurm(partition="gpu", timeout_min=90, gpus_per_node=1, setup=("module load cuda",), mem_gb=8)
    assert slurm_parameters(asked, 5) == {
        "name": "zoo-sweep",
        "timeout_min": 90,
        "gpus_per_node": 1,
        "mem_gb": 8.0,
        "nodes": 1,
        "tasks_per_node": 1,
        "slurm_array_parallelism": 5,
        "slurm_partition": "gpu",
        "slurm_signal_delay_s": 120,
        "slurm_setup": ["module load cuda"],
        "slurm_use_srun": True,
    }


def test_the_submission_to_slurm(
    slurm: Path, drawn: Path, plan: Callable[..., Plan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One array of all runs, with what the specification asks for; jobs that Slurm loses fail in a line each."""
    (slurm / "idle").touch()  # nothing is ever started
    monkeypatch.setattr("zoo.sweep.slurm._RESULT_MAY_LAG", 0.0)
    monkeypatch.setattr(SlurmExecutor, "look_every", 0.0)
    wanted = plan(
        seeds=[0, 1, 2],
        slurm={
            "partition": "gpu",
            "timeout_min": 90,
            "gpus_per_node": 1,
            "cpus_per_task": 4,
            "mem_gb": 8,
            "account": "group",
            "setup": ["module load cuda"],
            "additional_parameters": {"reservation": "mine"},
        },
    )

    def cancelled(*_: object) -> None:  # while the sweep looks on
        for file in slurm.glob("*.state"):
            file.write_text("CANCELLED")

    monkeypatch.setattr("zoo.terminal.LiveTable.show", cancelled)
    found = conducted(wanted, tmp_path / "sweep", executor="slurm", jobs=2, data_root=drawn)
    (script,) = slurm.glob("*.sh")
    lines = script.read_text().splitlines()
    folder = (tmp_path / "sweep" / "jobs").resolve()
    assert lines[0] == "#!/bin/bash"
    for line in (
        "#SBATCH --array=0-2%2",
        "#SBATCH --partition=gpu",
        "#SBATCH --time=90",
        "#SBATCH --gpus-per-node=1",
        "#SBATCH --cpus-per-task=4",
        "#SBATCH --mem=8GB",
        "#SBATCH --account=group",
        "#SBATCH --job-name=zoo-sweep",
        "#SBATCH --nodes=1",
        "#SBATCH --ntasks-per-node=1",
        "#SBATCH --signal=USR2@120",
        "#SBATCH --reservation=mine",
        "module load cuda",
        "export SUBMITIT_EXECUTOR=slurm",
    ):
        assert line in lines
    (command,) = [line for line in lines if line.startswith("srun ")]
    assert f"{sys.executable} -u -m submitit.core._submit {folder}" in command
    assert [row.state for row in found.rows] == ["failed"] * 3
    for row in found.rows:
        assert row.error.startswith("ended before its last step (killed? out of memory?); see ")
    remembered = json.loads((folder / "slurm.json").read_text())
    assert all((folder / session).is_dir() for session, _ in remembered.values())
    assert {name: job for name, (_, job) in remembered.items()} == {
        run.name: f"100_{index}" for index, run in enumerate(wanted.runs)
    }


def test_a_folder_from_elsewhere_has_nothing_unpickled(
    slurm: Path, drawn: Path, plan: Callable[..., Plan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its slurm.json may name a job that Slurm has, and its result may be prepared: only the run directory is read."""
    wanted, out = plan(seeds=[0, 1, 2, 3]), tmp_path / "sweep"
    SweepFolder(out).write_plan(wanted)
    result = out / "jobs" / f"20260101-000000-{'0' * 16}" / "77" / "77_0_result.pkl"
    result.parent.mkdir(parents=True)
    result.write_bytes(pickle.dumps(Exploding(tmp_path / "unpickled")))
    entries = [[result.parent.parent.name, "77"], ["../../elsewhere", "77"], [result.parent.parent.name, "--all"], 3]
    named = {run.name: entry for run, entry in zip(wanted.runs, entries, strict=True)}
    monkeypatch.setattr("zoo.sweep.slurm._RESULT_MAY_LAG", 0.0)
    monkeypatch.setattr(SlurmExecutor, "look_every", 0.0)
    monkeypatch.setattr("zoo.terminal.LiveTable.show", lambda *_: None)
    (slurm / "idle").touch()
    (slurm / "77.state").write_text("RUNNING")

    def refused(self: SlurmExecutor, jobs: list[Any]) -> list[Any]:
        raise ZooError(f"{len(jobs)} jobs")

    monkeypatch.setattr(SlurmExecutor, "_submitted", refused)
    for document, handed_out in ((named, 4), (dict(list(named.items())[:3]), 3)):
        (out / "jobs" / "slurm.json").write_text(json.dumps(document))
        conductor = Conductor(default_registry(), wanted, SweepFolder(out), executor="slurm", jobs=4, data_root=drawn)
        with pytest.raises(ZooError, match=f"^{handed_out} jobs$"):
            conductor.run()
    (watched,) = conductor.executor.still_at_work(deque(conductor.rows[:1]))
    assert watched.has_ended(stopped=False)
    assert watched.result() == {"state": "ended"}
    assert not (tmp_path / "unpickled").exists()


@pytest.mark.slow
def test_by_way_of_slurm(
    slurm: Path, tiny_spec: Callable[..., Path], sweep: Callable[..., Any], tmp_path: Path
) -> None:
    spec = tiny_spec(seeds=[0, 1], metrics=["mi_bounds"])
    process = sweep(spec, "--executor", "slurm")
    assert process.wait(SECONDS) == 0, (tmp_path / "err0").read_text()
    for seed in (0, 1):
        run = tmp_path / "sweep" / "runs" / f"ibgan-dsprites-seed={seed}"
        assert saved(run) == 3
        assert [record["step"] for record in RunDirectory(run).records("evaluations.jsonl")] == [3]
    assert sorted(file.stem for file in slurm.glob("*.state")) == ["100_0", "100_1"]


@pytest.mark.slow
@pytest.mark.parametrize("together", [False, True], ids=["time is over", "preempted"])
def test_a_job_whose_time_is_over_is_requeued_and_goes_on(
    slurm: Path, tiny_spec: Callable[..., Path], sweep: Callable[..., Any], tmp_path: Path, together: bool
) -> None:
    spec = tiny_spec(steps=400, settings={"save_every": 0, "log_every": 1})
    run = tmp_path / "sweep" / "runs" / "ibgan-dsprites-seed=0"
    process = sweep(spec, "--executor", "slurm")
    wait_for(lambda: (run / "metrics.jsonl").exists(), process)
    pid = int((slurm / "100.pid").read_text())
    if together:  # on preemption, SIGTERM comes first
        os.kill(pid, signal.SIGTERM)
    os.kill(pid, signal.SIGUSR2)
    wait_for(lambda: (slurm / "100.requeued").exists(), process)
    stopped_at = saved(run)
    assert 0 < stopped_at < 400  # a checkpoint was written, though the run saves at its end only
    assert process.wait(SECONDS) == 0, (tmp_path / "err0").read_text()
    assert saved(run) == 400
    assert starts(run) == ["from step 1", f"from step {stopped_at + 1}"]


@pytest.mark.slow
def test_jobs_that_slurm_has_already_are_watched(
    slurm: Path, tiny_spec: Callable[..., Path], sweep: Callable[..., Any], tmp_path: Path
) -> None:
    spec = tiny_spec(seeds=[0, 1], steps=100, settings={"save_every": 0, "log_every": 1})
    first = sweep(spec, "--executor", "slurm")
    wait_for(lambda: (tmp_path / "sweep" / "runs" / "ibgan-dsprites-seed=0" / "metrics.jsonl").exists(), first)
    first.kill()
    first.wait()
    again = sweep(spec, "--executor", "slurm")
    assert again.wait(SECONDS) == 0, (tmp_path / "err1").read_text()
    assert "of the runs are with Slurm already" in (tmp_path / "err1").read_text()
    assert len(list(slurm.glob("*.sh"))) == 1  # nothing was submitted twice
    for seed in (0, 1):
        assert starts(tmp_path / "sweep" / "runs" / f"ibgan-dsprites-seed={seed}") == ["from step 1"]


@pytest.mark.slow
def test_stopping_cancels_what_slurm_has(
    slurm: Path, tiny_spec: Callable[..., Path], sweep: Callable[..., Any], tmp_path: Path
) -> None:
    spec = tiny_spec(seeds=[0, 1], steps=100_000, settings={"save_every": 0, "log_every": 1})
    run = tmp_path / "sweep" / "runs" / "ibgan-dsprites-seed=0"
    process = sweep(spec, "--executor", "slurm")
    wait_for(lambda: (run / "metrics.jsonl").exists(), process)
    process.send_signal(signal.SIGINT)
    assert process.wait(SECONDS) == 130
    assert saved(run) > 0
    assert {file.read_text() for file in slurm.glob("*.state")} == {"CANCELLED"}
    assert not (tmp_path / "sweep" / "runs" / "ibgan-dsprites-seed=1" / "config.json").exists()


def test_a_refused_submission_is_one_line(slurm: Path, drawn: Path, plan: Callable[..., Plan], tmp_path: Path) -> None:
    sbatch = Path(shutil.which("sbatch") or "")
    sbatch.write_text("#!/bin/sh\necho 'sbatch: error: invalid partition specified: gpu' >&2\nexit 1\n")
    with pytest.raises(ZooError, match=r"Slurm refused the jobs: .*invalid partition specified: gpu"):
        conducted(plan(seeds=[0, 1]), tmp_path / "sweep", executor="slurm", jobs=2, data_root=drawn)
