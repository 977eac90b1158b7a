"""Sweeps that really run: in this process, and in others that are stopped and killed."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import zoo
from tests.processes import SECONDS, content, wait_for
from tests.zoo.sweep.watching import conducted, kill_all, saved, starts
from zoo.errors import UsageError
from zoo.registry import default_registry
from zoo.run import RunDirectory
from zoo.sweep import conduct, here
from zoo.sweep.conduct import Conductor
from zoo.sweep.plan import Plan, SweepFolder

pytest.importorskip("submitit")

QUICK = {"mi_bounds": {"num": 50}}


def touched(run: Path) -> dict[str, int]:
    """When each file of a run that tells of work was last written."""
    files = [*sorted((run / "checkpoints").rglob("*")), *sorted(run.glob("*.json*"))]
    return {str(file.relative_to(run)): file.stat().st_mtime_ns for file in files if file.is_file()}


# In this process.


def test_in_this_process(one_thread: None, drawn: Path, plan: Callable[..., Plan], tmp_path: Path) -> None:
    """submitit's debug executor; the runs are those that `zoo train` and `zoo eval` make."""
    wanted = plan(models=["ibgan", "vae"], seeds=[0, 1], metrics=["mi_bounds"], metric_settings=QUICK)
    found = conducted(wanted, tmp_path / "sweep", data_root=drawn)
    # A VAE has no such bounds: that costs its own rows.
    assert {row.run.name: row.state for row in found.rows} == {
        "ibgan-dsprites-seed=0": "finished",
        "ibgan-dsprites-seed=1": "finished",
        "vae-dsprites-seed=0": "failed",
        "vae-dsprites-seed=1": "failed",
    }
    assert all(row.error.startswith("mi_bounds: mi_bounds is not defined for VAE") for row in found.failed)
    straight = zoo.train(
        "ibgan",
        "dsprites",
        out=tmp_path / "alone",
        seed=1,
        steps=3,
        settings=dict(wanted.runs[0].settings),
        data_root=drawn,
    )
    run = tmp_path / "sweep" / "runs" / "ibgan-dsprites-seed=1"
    assert content(run) == content(straight.path)
    document = zoo.evaluate("ibgan", straight.path, ["mi_bounds"], settings=QUICK, data_root=drawn)
    (record,) = RunDirectory(run).records("evaluations.jsonl")
    assert record["metrics"] == document["metrics"]


def test_finished_work_is_not_done_again(
    one_thread: None, drawn: Path, plan: Callable[..., Plan], tmp_path: Path
) -> None:
    out = tmp_path / "sweep"
    conducted(plan(seeds=[0], metrics=["mi_bounds"], metric_settings=QUICK), out, data_root=drawn)
    first = out / "runs" / "ibgan-dsprites-seed=0"
    before = touched(first)
    # Grown by a seed: that alone is done.
    grown = plan(seeds=[0, 1], metrics=["mi_bounds"], metric_settings=QUICK)
    found = conducted(grown, out, data_root=drawn)
    assert [row.state for row in found.rows] == ["finished", "finished"]
    assert touched(first) == before
    # By steps: it goes on, bit for bit, and is scored anew.
    longer = plan(seeds=[0, 1], steps=5, metrics=["mi_bounds"], metric_settings=QUICK)
    conducted(longer, out, data_root=drawn)
    straight = zoo.train(
        "ibgan",
        "dsprites",
        out=tmp_path / "alone",
        seed=0,
        steps=5,
        settings=dict(grown.runs[0].settings),
        data_root=drawn,
    )
    assert (
        content(first)["checkpoints/step-00000005/model.safetensors"]
        == content(straight.path)["checkpoints/step-00000005/model.safetensors"]
    )
    assert starts(first) == ["from step 1", "from step 4"]
    assert [record["step"] for record in RunDirectory(first).records("evaluations.jsonl")] == [3, 5]
    # An evaluation that is gone is computed again, and nothing else.
    (first / "evaluations.jsonl").unlink()
    before = touched(first)
    conducted(longer, out, data_root=drawn)
    after = touched(first)
    assert after.pop("evaluations.jsonl") > max(before.values())
    assert after == before


def test_a_damaged_last_checkpoint_is_trained_again(
    one_thread: None, drawn: Path, plan: Callable[..., Plan], tmp_path: Path
) -> None:
    """Its sizes are right, so only reading it shows; the score must be that of the step that was asked for."""
    out, wanted = tmp_path / "sweep", plan(seeds=[0], metrics=["mi_bounds"], metric_settings=QUICK)
    conducted(wanted, out, data_root=drawn)
    run = out / "runs" / "ibgan-dsprites-seed=0"
    before, (scored,) = content(run), RunDirectory(run).records("evaluations.jsonl")
    (run / "evaluations.jsonl").unlink()
    weights = run / "checkpoints" / "step-00000003" / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    found = conducted(wanted, out, data_root=drawn)
    assert [row.state for row in found.rows] == ["finished"]
    (again,) = RunDirectory(run).records("evaluations.jsonl")
    assert (again["step"], again["metrics"]) == (3, scored["metrics"])
    name = "checkpoints/step-00000003/model.safetensors"
    assert content(run)[name] == before[name]


def test_a_dataset_that_is_missing_costs_its_runs_only(
    one_thread: None, drawn: Path, plan: Callable[..., Plan], tmp_path: Path
) -> None:
    found = conducted(plan(datasets=["celeba", "dsprites"], seeds=[0, 1]), tmp_path / "sweep", data_root=drawn)
    assert [row.state for row in found.rows] == ["failed", "finished", "failed", "finished"]
    for row in found.failed:
        assert "img_align_celeba" in row.error
        assert "\n" not in row.error
        assert not row.directory.path.exists()


def test_a_run_that_another_program_has_is_waited_for(
    one_thread: None, drawn: Path, plan: Callable[..., Plan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import threading

    wanted = plan()
    run = RunDirectory(tmp_path / "sweep" / "runs" / wanted.runs[0].name)
    held, release = threading.Event(), threading.Event()

    def hold() -> None:
        with run.locked():
            held.set()
            release.wait(SECONDS)

    told = []

    def note(message: str) -> None:
        told.append(message)
        if message == f"{run.path} is being written by another process; waiting for it":
            assert run.steps() == []
            release.set()

    monkeypatch.setattr("zoo.terminal.note", note)
    holder = threading.Thread(target=hold)
    holder.start()
    assert held.wait(SECONDS)
    try:
        found = conducted(wanted, tmp_path / "sweep", data_root=drawn)
        assert release.is_set(), told
    finally:
        release.set()
        holder.join()
    assert [row.state for row in found.rows] == ["finished"]


def test_a_measurement_leaves_rates_only(
    one_thread: None, drawn: Path, plan: Callable[..., Plan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from zoo.sweep.cost import costs, to_measure
    from zoo.sweep.progress import folders_with_runs

    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    wanted, folder = plan(steps=1_000, seeds=[0, 1]), SweepFolder(tmp_path / "sweep")
    before = costs(wanted, folder, [], threads=1, cluster=False)
    measured = to_measure(wanted, before)
    assert [run.name for run in measured] == ["ibgan-dsprites-seed=0"]
    found = conduct.measure(default_registry(), wanted, measured, folder, executor="debug", jobs=1, data_root=drawn)
    assert [row.state for row in found.rows] == ["finished"]
    assert not (folder.path / "runs").exists()
    assert not folder.jobs.exists()  # a job of the real sweep, with the same name, may be in a cluster's queue
    (left,) = (folder.measured.path / "runs").iterdir()
    assert not (left / "checkpoints").exists()
    rates = [record["steps_per_second"] for record in RunDirectory(left).records("metrics.jsonl")]
    after = costs(wanted, folder, folders_with_runs(folder.measured.path / "runs"), threads=1, cluster=False)
    for cost in after:
        assert 1_000 / max(rates) <= cost.training_seconds <= 1_000 / min(rates)


# What the processes here get.


def test_without_submitit_it_is_one_line(
    plan: Callable[..., Plan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(UsageError, match=r"not installed: pip install 'ibgan-plugin\[cluster\]'"):
        Conductor(default_registry(), plan(), SweepFolder(tmp_path))


def test_threads_and_gpus_are_shared_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert here.threads_each(2) == 3
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert [here.threads_each(jobs) for jobs in (1, 2, 3, 9)] == [8, 4, 2, 1]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,GPU-abc")
    assert [here.gpu(place) for place in range(3)] == ["2", "GPU-abc", "2"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert here.gpu(0) == ""


# In other processes.


@pytest.mark.slow
def test_killed_in_the_middle_it_goes_on_and_repeats_nothing(
    one_thread: None, drawn: Path, tiny_spec: Callable[..., Path], sweep: Callable[..., Any], tmp_path: Path
) -> None:
    settings = {"save_every": 2, "log_every": 1}
    spec = tiny_spec(
        models=["ibgan", "gan", "infogan"],
        seeds=[0, 1],
        steps=40,
        metrics=["factorvae"],
        settings=settings,
        metric_settings_factorvae={},
    )
    text = spec.read_text().replace("[metric_settings_factorvae]\n", "")
    spec.write_text(text + "[metric_settings.factorvae]\nvotes = 20\nvariance_images = 256\n")
    runs = tmp_path / "sweep" / "runs"

    def done() -> list[Path]:
        """The runs that have their score, after the last step."""
        return [file.parent for file in runs.glob("*/evaluations.jsonl") if saved(file.parent) == 40]

    first = sweep(spec, "--jobs", "2")
    wait_for(lambda: len(done()) >= 2, first)
    wait_for(lambda: any(0 < saved(run) < 40 for run in runs.iterdir()), first)
    kill_all(first, tmp_path / "sweep")

    finished = {run: touched(run) for run in done()}
    assert 2 <= len(finished) < 6
    expected = {
        run.name: saved(run) for run in runs.iterdir() if run not in finished and (run / "config.json").exists()
    }
    assert any(0 < step < 40 for step in expected.values())

    again = sweep(spec, "--jobs", "2")
    assert again.wait(SECONDS) == 0, (tmp_path / "err1").read_text()
    assert len(done()) == 6
    for run, before in finished.items():
        assert touched(run) == before
    for name, step in expected.items():
        at = [] if step == 40 else [f"from step {step + 1}"] if step else ["from step 1"]
        assert starts(runs / name) == list(dict.fromkeys(["from step 1", *at]))
    # Bit for bit what it is without all that.
    name = next(name for name, step in expected.items() if 0 < step < 40)
    model, _, seed = name.partition("-dsprites-seed=")
    straight = zoo.train(
        model,
        "dsprites",
        out=tmp_path / "alone",
        seed=int(seed),
        steps=40,
        settings={"model.ngf": 4, "model.ndf": 4, "batch_size": 4, "device": "cpu", **settings},
        data_root=drawn,
    )
    assert content(runs / name) == content(straight.path)

    # A third start has nothing to do.
    before_all = {run: touched(run) for run in runs.iterdir()}
    third = sweep(spec, "--json")
    assert third.wait(SECONDS) == 0
    assert {run: touched(run) for run in runs.iterdir()} == before_all
    document = json.loads((tmp_path / "out2").read_text())
    assert [(group["model"], group["num_seeds"]) for group in document["groups"]] == [
        ("ibgan", 2),
        ("gan", 2),
        ("infogan", 2),
    ]


@pytest.mark.slow
def test_jobs_that_outlive_their_sweep_are_waited_for(
    tiny_spec: Callable[..., Path], sweep: Callable[..., Any], tmp_path: Path
) -> None:
    """Only the sweep is killed: submitit's processes go on. The next start does not get in their way."""
    spec = tiny_spec(seeds=[0], steps=150, settings={"save_every": 2, "log_every": 1})
    run = tmp_path / "sweep" / "runs" / "ibgan-dsprites-seed=0"
    first = sweep(spec)
    wait_for(lambda: saved(run) >= 2, first)
    first.kill()
    first.wait()
    again = sweep(spec)
    assert again.wait(SECONDS) == 0, (tmp_path / "err1").read_text()
    assert saved(run) == 150
    assert starts(run) == ["from step 1"]


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_stopped_it_writes_checkpoints_and_says_how_to_go_on(
    tiny_spec: Callable[..., Path], sweep: Callable[..., Any], tmp_path: Path, number: int, code: int
) -> None:
    spec = tiny_spec(seeds=[0, 1, 2], steps=100_000, settings={"save_every": 0, "log_every": 1})
    runs = [tmp_path / "sweep" / "runs" / f"ibgan-dsprites-seed={seed}" for seed in (0, 1, 2)]
    process = sweep(spec, "--jobs", "2")
    wait_for(lambda: all((run / "metrics.jsonl").exists() for run in runs[:2]), process)
    if number == signal.SIGINT:
        os.killpg(process.pid, number)  # as a terminal does: to the sweep and to all that it started
    else:
        process.send_signal(number)
    assert process.wait(SECONDS) == code
    err = (tmp_path / "err0").read_text()
    assert "stopping: every run writes a checkpoint" in err
    assert "2 stopped, 1 waiting" in err
    assert "the same command goes on" in err
    assert "Traceback" not in err
    assert [saved(run) > 0 for run in runs] == [True, True, False]
    last = saved(runs[0])
    assert RunDirectory(runs[0]).records("metrics.jsonl")[-1]["step"] == last
    # It goes on from there.
    again = sweep(spec, "--jobs", "2")
    wait_for(lambda: len(starts(runs[0])) == 2, again)
    assert starts(runs[0]) == ["from step 1", f"from step {last + 1}"]


MISBEHAVING = """
import os
from zoo import hookimpl
from zoo.specs import LossSpec

@hookimpl
def zoo_losses():
    return [LossSpec(name, f"misbehaving_losses:{name}") for name in ("raises", "dies")]
"""

LOSSES = """
import os
import torch
from ibgan_plugin.losses import IBGANLoss

class raises(IBGANLoss):
    def terms(self, judged):
        threads, gpu = torch.get_num_threads(), os.environ["CUDA_VISIBLE_DEVICES"]
        raise ArithmeticError(f"two\\nlines, {threads} threads, GPU {gpu}")

class dies(IBGANLoss):
    def terms(self, judged):
        os._exit(3)
"""


@pytest.mark.slow
def test_a_failed_run_costs_its_own_row(
    distribution: Callable[..., Path],
    tiny_spec: Callable[..., Path],
    sweep: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    site = distribution("misbehaving", MISBEHAVING)
    (site / "misbehaving_losses.py").write_text(LOSSES)
    monkeypatch.setenv("PYTHONPATH", str(site))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,6")  # which submitit would take away
    spec = tiny_spec(grid={"loss": ["raises", "ibgan", "dies"]})
    process = sweep(spec, "--jobs", "2")
    assert process.wait(SECONDS) == 1
    err = (tmp_path / "err0").read_text()
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert errors[0] == (
        "error: ibgan-dsprites-loss=raises-seed=0: the first step of ibgan failed on images (64, 64, 1) of dsprites: "
        "ArithmeticError: two lines, 1 threads, GPU 5"
    )
    assert errors[1].startswith(
        "error: ibgan-dsprites-loss=dies-seed=0: ended before its last step (killed? out of memory?); see "
    )
    assert len(errors) == 2
    assert saved(tmp_path / "sweep" / "runs" / "ibgan-dsprites-loss=ibgan-seed=0") == 3
    log = Path(errors[1].rpartition("see ")[2])
    assert log.is_file()
    # Started again, only the failed ones are tried.
    before = touched(tmp_path / "sweep" / "runs" / "ibgan-dsprites-loss=ibgan-seed=0")
    assert sweep(spec, "--jobs", "2").wait(SECONDS) == 1
    assert touched(tmp_path / "sweep" / "runs" / "ibgan-dsprites-loss=ibgan-seed=0") == before
