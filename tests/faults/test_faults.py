"""What happens to runs on other people's machines, made to happen: full, read-only and vanished folders, terminals that
close. Always: one line, the last checkpoint intact, and the run goes on from it as if nothing had been.
"""

from __future__ import annotations

import os
import pty
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import zoo
from tests.processes import ZOO, wait_for
from zoo.run import RunDirectory

Start = Callable[..., "subprocess.Popen[str]"]
PIPED: dict[str, Any] = {
    "stdout": subprocess.PIPE,
    "stderr": subprocess.PIPE,
    "text": True,
    "env": os.environ | {"OMP_NUM_THREADS": "1"},
}
NARROW = {"model.ngf": 4, "model.ndf": 4}
FOREVER = ("--steps", "100000", "--save-every", "2", "--precision", "fp32", "--set", "log_every=1")


def wait_for_step(run: Path, step: int, process: subprocess.Popen[str]) -> None:
    wait_for((run / "checkpoints" / f"step-{step:08d}").exists, process)


def goes_on_as_if_nothing_had_been(run: Path, drawn: Path, untouched: Path) -> None:
    """Resume a run for three steps more, and hold it against one that nothing happened to."""
    newest = RunDirectory(run).newest()
    assert newest is not None
    steps = newest.step + 3
    zoo.train("ibgan", "dsprites", out=run, steps=steps, resume=True, data_root=drawn)
    options = {"steps": steps, "device": "cpu", "precision": "fp32", "batch_size": 8, "log_every": 1, "save_every": 0}
    zoo.train("ibgan", "dsprites", out=untouched, settings=options | NARROW, data_root=drawn)
    found, expected = (RunDirectory(out).newest() for out in (run, untouched))
    assert found is not None and expected is not None
    assert found.state == expected.state  # with the hashes of the weights and of the optimiser's state


@pytest.fixture
def words(drawn: Path, small_words: tuple[str, ...], one_thread: None) -> tuple[str, ...]:
    return ("train", "ibgan", "--dataset", "dsprites", *small_words, "--data-root", str(drawn))


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of 40 MB; only root may mount one."""
    where = tmp_path / "disk"
    where.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", where], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("may not mount a file system here")
    yield where
    subprocess.run(["umount", "--lazy", where], check=True)


def remount(disk: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", disk], check=True)


def told_in_one_line(process: subprocess.Popen[str]) -> str:
    printed, told = process.communicate(timeout=60)
    assert (process.returncode, printed) == (1, ""), told
    assert "Traceback" not in told
    (error,) = [line for line in told.splitlines() if line.startswith("error: ")]
    return error


def test_a_disk_that_fills_up(start: Start, words: tuple[str, ...], disk: Path, drawn: Path, tmp_path: Path) -> None:
    run = disk / "run"
    error = told_in_one_line(start(*words, *FOREVER, "--out", run))
    assert "No space left on device; choose a folder that can be written and has room" in error
    assert list(run.rglob("step-*"))
    assert not list(run.rglob(".step-*")), "what did not fit was cleared away"
    remount(disk, "size=200m")
    goes_on_as_if_nothing_had_been(run, drawn, tmp_path / "untouched")


def test_a_folder_that_becomes_read_only(words: tuple[str, ...], drawn: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    # Root may write whatever the mode says, unless this one privilege is taken from it.
    obeying = ["setpriv", "--bounding-set=-dac_override"] if os.geteuid() == 0 else []
    process = subprocess.Popen([*obeying, *ZOO, *words, *FOREVER, "--out", str(run)], **PIPED)
    wait_for_step(run, 4, process)
    (run / "checkpoints").chmod(0o555)
    error = told_in_one_line(process)
    assert f"cannot write {run}/checkpoints/step-" in error
    assert "Permission denied; choose a folder that can be written" in error
    (run / "checkpoints").chmod(0o755)
    goes_on_as_if_nothing_had_been(run, drawn, tmp_path / "untouched")


def test_checkpoints_that_may_not_be_read(words: tuple[str, ...], drawn: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    subprocess.run([*ZOO, *words, "--steps", "4", "--save-every", "2", *FOREVER[4:], "--out", str(run)], check=True)
    state = run / "checkpoints" / "step-00000004" / "state.json"
    state.chmod(0o000)
    before = (run / "metrics.jsonl").read_bytes()
    obeying = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    resumed = subprocess.Popen([*obeying, *ZOO, *words, "--steps", "6", "--resume", "--out", str(run)], **PIPED)
    assert told_in_one_line(resumed) == f"error: cannot read {state}: no permission; give it to this user"
    assert ((run / "metrics.jsonl").read_bytes(), RunDirectory(run).steps()) == (before, [2, 4])
    state.chmod(0o644)
    goes_on_as_if_nothing_had_been(run, drawn, tmp_path / "untouched")


def test_a_folder_that_vanishes(start: Start, words: tuple[str, ...], drawn: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = start(*words, *FOREVER, "--out", run)
    wait_for_step(run, 4, process)
    run.rename(tmp_path / "elsewhere")
    error = told_in_one_line(process)
    assert f"cannot write {run}/" in error and "No such file or directory" in error
    assert not run.exists(), "nothing is begun anew where the run was"
    goes_on_as_if_nothing_had_been(tmp_path / "elsewhere", drawn, tmp_path / "untouched")


def test_a_terminal_that_closes(words: tuple[str, ...], drawn: Path, tmp_path: Path) -> None:
    """A closed window or a lost connection: SIGHUP comes, and there is nothing left to show progress on."""
    run, (ours, theirs) = tmp_path / "run", pty.openpty()
    program = [*ZOO, *words, *FOREVER, "--out", str(run)]
    process = subprocess.Popen(
        program, **PIPED | dict.fromkeys(("stdin", "stdout", "stderr"), theirs), start_new_session=True
    )
    os.close(theirs)
    wait_for_step(run, 4, process)
    os.close(ours)
    process.send_signal(signal.SIGHUP)
    assert process.wait(timeout=30) == 128 + signal.SIGHUP
    goes_on_as_if_nothing_had_been(run, drawn, tmp_path / "untouched")


def test_under_nohup_a_run_goes_on(words: tuple[str, ...], start: Start, tmp_path: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        process = start(*words, *FOREVER, "--out", tmp_path / "run")
    finally:
        signal.signal(signal.SIGHUP, before)
    wait_for_step(tmp_path / "run", 2, process)
    process.send_signal(signal.SIGHUP)
    wait_for_step(tmp_path / "run", max(RunDirectory(tmp_path / "run").steps()) + 4, process)
    assert process.poll() is None


def test_an_evaluation_that_a_kill_left_out_is_made_up_for(drawn: Path, tmp_path: Path, one_thread: None) -> None:
    """Killed between a checkpoint and its evaluation, a run evaluates when it is resumed, even at its last step."""
    options = {"batch_size": 8, "device": "cpu", "mi_bounds.num": 50, "log_every": 1}
    options |= NARROW | {"eval_every": 2, "eval_metrics": "mi_bounds", "save_every": 1}
    run = zoo.train("ibgan", "dsprites", out=tmp_path / "run", steps=4, settings=options, data_root=drawn)
    path = run.path / "evaluations.jsonl"

    def found() -> list[dict[str, Any]]:
        return [{key: record[key] for key in record if key != "seconds"} for record in run.records(path.name)]

    whole = found()
    assert [record["step"] for record in whole] == [2, 4]
    path.write_text(path.read_text().splitlines(keepends=True)[0])
    zoo.train("ibgan", "dsprites", out=run.path, resume=True, data_root=drawn)
    assert found() == whole
    zoo.train("ibgan", "dsprites", out=run.path, resume=True, data_root=drawn)
    assert found() == whole
