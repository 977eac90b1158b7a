"""Sweeps that really run: in this process, in others that are stopped and killed, and by way of Slurm's commands."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import zoo
from zoo.errors import UsageError, ZooError
from zoo.registry import default_registry
from zoo.run import RunDirectory
from zoo.sweep import conduct, here
from zoo.sweep.conduct import Conductor, slurm_parameters
from zoo.sweep.plan import Plan, SweepFolder
from zoo.sweep.spec import Slurm

pytest.importorskip("submitit")

QUICK = {"mi_bounds": {"num": 50}}
SECONDS = 180


def conducted(plan: Plan, out: Path, **options: Any) -> Conductor:
    folder = SweepFolder(out)
    conductor = Conductor(default_registry(), plan, folder, **{"executor": "debug"} | options)
    with folder.locked():
        folder.begin(plan)
        conductor.run()
    return conductor


def content(run: Path) -> dict[str, bytes]:
    """The bytes of all checkpoints of a run."""
    return {str(f.relative_to(run)): f.read_bytes() for f in sorted((run / "checkpoints").rglob("*")) if f.is_file()}


def touched(run: Path) -> dict[str, int]:
    """When each file of a run that tells of work was last written."""
    files = [*sorted((run / "checkpoints").rglob("*")), *sorted(run.glob("*.json*"))]
    return {str(file.relative_to(run)): file.stat().st_mtime_ns for file in files if file.is_file()}


def starts(run: Path) -> list[str]:
    """The starts of a run, as its configuration has them."""
    return list(RunDirectory(run).config.made_by)


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
    one_thread: None, drawn: Path, plan: Callable[..., Plan], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import threading

    wanted = plan()
    run = RunDirectory(tmp_path / "sweep" / "runs" / wanted.runs[0].name)
    held, release = threading.Event(), threading.Event()

    def hold() -> None:
        with run.locked():
            held.set()
            release.wait(SECONDS)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(SECONDS)
    threading.Timer(1.5, release.set).start()
    found = conducted(wanted, tmp_path / "sweep", data_root=drawn)
    holder.join()
    assert [row.state for row in found.rows] == ["finished"]
    assert "is being written by another process; waiting for it" in capsys.readouterr().err


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
    (left,) = folder.measured.iterdir()
    assert not (left / "checkpoints").exists()
    rates = [record["steps_per_second"] for record in RunDirectory(left).records("metrics.jsonl")]
    after = costs(wanted, folder, folders_with_runs(folder.measured), threads=1, cluster=False)
    for cost in after:
        assert 1_000 / max(rates) <= cost.training_seconds <= 1_000 / min(rates)


# What submitit is asked for.


def test_without_submitit_it_is_one_line(
    plan: Callable[..., Plan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(UsageError, match=r"not installed: pip install 'ibgan-plugin\[cluster\]'"):
        Conductor(default_registry(), plan(), SweepFolder(tmp_path))


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


def kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def test_the_submission_to_slurm(
    slurm: Path, drawn: Path, plan: Callable[..., Plan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One array of all runs, with what the specification asks for; jobs that Slurm loses fail in a line each."""
    (slurm / "idle").touch()  # nothing is ever started
    monkeypatch.setattr(conduct, "_RESULT_MAY_LAG", 0.0)
    monkeypatch.setitem(conduct._LOOK, "slurm", 0.0)
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


PICKLE = """
import os, pickle, sys
class Evil:
    def __reduce__(self):
        return (os.mkdir, (sys.argv[2],))
with open(sys.argv[1], "wb") as file:
    pickle.dump(Evil(), file)
"""


def test_a_folder_from_elsewhere_has_nothing_unpickled(
    slurm: Path, drawn: Path, plan: Callable[..., Plan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its slurm.json may name a job that Slurm has, and its result may be prepared: only the run directory is read."""
    wanted, out = plan(seeds=[0, 1, 2, 3]), tmp_path / "sweep"
    SweepFolder(out).begin(wanted)
    result = out / "jobs" / f"20260101-000000-{'0' * 16}" / "77" / "77_0_result.pkl"
    result.parent.mkdir(parents=True)
    subprocess.run([sys.executable, "-c", PICKLE, str(result), str(tmp_path / "unpickled")], check=True)
    entries = [[result.parent.parent.name, "77"], ["../../elsewhere", "77"], [result.parent.parent.name, "--all"], 3]
    named = {run.name: entry for run, entry in zip(wanted.runs, entries, strict=True)}
    monkeypatch.setattr(conduct, "_RESULT_MAY_LAG", 0.0)
    monkeypatch.setitem(conduct._LOOK, "slurm", 0.0)
    monkeypatch.setattr("zoo.terminal.LiveTable.show", lambda *_: None)
    (slurm / "idle").touch()
    (slurm / "77.state").write_text("RUNNING")

    def refused(self: Conductor, jobs: list[Any]) -> list[Any]:
        raise ZooError(f"{len(jobs)} jobs")

    monkeypatch.setattr(Conductor, "_submitted", refused)
    for document, handed_out in ((named, 4), (dict(list(named.items())[:3]), 3)):
        (out / "jobs" / "slurm.json").write_text(json.dumps(document))
        conductor = Conductor(default_registry(), wanted, SweepFolder(out), executor="slurm", jobs=4, data_root=drawn)
        with pytest.raises(ZooError, match=f"^{handed_out} jobs$"):
            conductor.run()
    (watched,) = conductor._still_at_work(deque(conductor.rows[:1]))
    assert conductor._has_ended(watched)
    assert conductor._result(watched) == {"state": "ended"}
    assert not (tmp_path / "unpickled").exists()


# In other processes.


def wait_for(what: Callable[[], Any], process: subprocess.Popen[str] | None = None) -> None:
    """Wait until something is so; fail where it takes too long, or a process ends before."""
    end = time.monotonic() + SECONDS
    while not what():
        assert time.monotonic() < end
        assert process is None or process.poll() is None, process.communicate()
        time.sleep(0.05)


def saved(run: Path) -> int:
    return max(RunDirectory(run).steps(), default=0)


@pytest.fixture
def sweep(drawn: Path, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start `zoo sweep` in a session of its own, its output in files; whatever is left of it is killed at the end."""
    started: list[subprocess.Popen[str]] = []

    def call(spec: Path, *words: str) -> subprocess.Popen[str]:
        program = "import sys; from zoo.cli import main; main()"
        number = len(started)
        with (tmp_path / f"out{number}").open("w") as out, (tmp_path / f"err{number}").open("w") as err:
            process = subprocess.Popen(
                [sys.executable, "-c", program, "sweep", str(spec), "--out", "sweep", *words],
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
    assert errors[0] == "error: ibgan-dsprites-loss=raises-seed=0: ArithmeticError: two lines, 1 threads, GPU 5"
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
