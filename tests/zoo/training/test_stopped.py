"""Stopped by signals a run goes on bit for bit, and it never goes past a number that is not finite."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.processes import content, wait_for
from tests.zoo.training.small_runs import IMAGES, log
from zoo.errors import UnknownNameError, UsageError, ZooError
from zoo.run import RunDirectory, find_checkpoint
from zoo.signals import Interrupted

# Stopped by signals, in a process of its own.


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_stopped_anywhere_a_run_goes_on_bit_for_bit(
    start: Callable[..., subprocess.Popen[str]],
    train: Callable[..., RunDirectory],
    small_words: tuple[str, ...],
    drawn: Path,
    tmp_path: Path,
    number: signal.Signals,
    code: int,
) -> None:
    out = tmp_path / "run"
    words = ["--steps", 100_000, "--save-every", "2", "--precision", "fp32", "--set", "log_every=1", "--out", out]
    process = start("train", "ibgan", "--dataset", "dsprites", *small_words, *words, "--data-root", drawn)
    wait_for((out / "checkpoints" / "step-00000004").exists, process)
    process.send_signal(number)
    printed, told = process.communicate(timeout=30)
    assert (process.returncode, printed) == (code, "")

    newest = RunDirectory(out).newest()
    assert newest is not None
    stopped = newest.step
    assert 4 <= stopped < 100_000
    if number != signal.SIGKILL:
        note, error = told.splitlines()[-2:]
        assert note == f"{number.name}: finishing this step and writing a checkpoint; again to stop at once"
        assert error == f"error: stopped by {number.name} after step {stopped:,}; go on with --resume --out {out}"
        assert log(out)[-1]["step"] == stopped

    more = {"steps": stopped + 3, "log_every": 1}
    train(out, resume=True, **more)
    straight = train(tmp_path / "straight", **more)
    assert content(out, stopped + 3) == content(straight.path, stopped + 3)
    assert log(out) == log(straight.path)


def test_a_second_signal_stops_at_once(
    start: Callable[..., subprocess.Popen[str]], misbehaving: Path, small_words: tuple[str, ...], tmp_path: Path
) -> None:
    words = ["train", "ibgan", "--dataset", IMAGES, "--set", "loss=misbehaving:Loss", "--out", "run", *small_words]
    process = start(*words, "--save-every", "1", path=[misbehaving], env={"SLEEP_AT": "3"})
    assert process.stdout is not None
    assert process.stdout.readline() == "sleeping\n"
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    assert any(line.startswith("SIGINT: finishing this step") for line in process.stderr)
    assert process.poll() is None
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    process.wait(10)
    assert time.monotonic() - began < 5
    assert process.returncode == -signal.SIGINT
    assert find_checkpoint(tmp_path / "run").step == 2
    with RunDirectory(tmp_path / "run").locked():
        pass


def test_a_signal_before_the_first_step_ends_it_there(
    start: Callable[..., subprocess.Popen[str]], misbehaving: Path, tmp_path: Path
) -> None:
    """Making a dataset ready can take hours; nobody waits for that, nor for a step after it."""
    process = start("train", "ibgan", "--dataset", "misbehaving:slow_images", "--out", "run", path=[misbehaving])
    assert process.stdout is not None
    assert process.stdout.readline() == "sleeping\n"
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=10)
    assert (process.returncode, told) == (130, "\ninterrupted\n")
    assert not (tmp_path / "run").exists()


def test_a_signal_ends_an_evaluation_and_the_resumed_run_makes_up_for_it(
    start: Callable[..., subprocess.Popen[str]],
    train: Callable[..., RunDirectory],
    misbehaving: Path,
    small_words: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    metric = "misbehaving:sleeps"
    words = ["train", "ibgan", "--dataset", IMAGES, "--out", "run", *small_words, "--precision", "fp32"]
    process = start(*words, "--eval-every", "2", "--set", f"eval_metrics={metric}", path=[misbehaving])
    assert process.stdout is not None
    assert process.stdout.readline() == "sleeping\n"
    process.send_signal(signal.SIGTERM)
    _, told = process.communicate(timeout=10)
    assert process.returncode == 143
    assert "SIGTERM: leaving the evaluation and writing a checkpoint" in told
    assert "stopped by SIGTERM after step 2; go on with --resume --out run" in told
    assert RunDirectory(tmp_path / "run").steps() == [2]
    monkeypatch.setenv("AWAKE", "1")
    run = train(tmp_path / "run", IMAGES, resume=True, steps=5, eval_metrics=[metric])
    assert [record["step"] for record in run.records("evaluations.jsonl")] == [2, 4]


def test_a_signal_while_a_checkpoint_is_written_leaves_the_evaluation_to_the_resumed_run(
    train: Callable[..., RunDirectory], misbehaving: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = RunDirectory.save

    def interrupted(*words: Any) -> Any:
        signal.raise_signal(signal.SIGINT)
        return save(*words)

    out = tmp_path / "run"
    more = {"eval_every": 2, "eval_metrics": ["misbehaving:scores"], "save_every": 2}
    with monkeypatch.context() as patched:
        patched.setattr(RunDirectory, "save", interrupted)
        # No failure, which a program's loop over seeds may catch and go on from.
        with pytest.raises(KeyboardInterrupt, match="stopped by SIGINT after step 2"):
            train(out, IMAGES, steps=4, **more)
    run = RunDirectory(out)
    assert (run.steps(), run.records("evaluations.jsonl")) == ([2], [])
    with pytest.raises(UnknownNameError, match="type the name yourself"):  # a file names no code to import
        train(out, IMAGES, resume=True, steps=2)
    train(out, IMAGES, resume=True, steps=2, eval_metrics=["misbehaving:scores"])
    assert [record["step"] for record in run.records("evaluations.jsonl")] == [2]


def test_a_scheduler_that_stops_a_program_is_told_as_an_error(
    train: Callable[..., RunDirectory], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = RunDirectory.save

    def terminated(*words: Any) -> Any:
        signal.raise_signal(signal.SIGTERM)
        return save(*words)

    monkeypatch.setattr(RunDirectory, "save", terminated)
    with pytest.raises(Interrupted, match="stopped by SIGTERM after step 2") as caught:
        train(tmp_path / "run", IMAGES, steps=4, save_every=2)
    assert caught.value.exit_code == 143


def test_in_another_thread_signals_are_left_alone(train: Callable[..., RunDirectory], tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT)
    finished: list[RunDirectory] = []
    thread = threading.Thread(target=lambda: finished.append(train(tmp_path / "run", IMAGES, steps=2)))
    thread.start()
    thread.join(60)
    assert [run.steps() for run in finished] == [[2]]
    assert signal.getsignal(signal.SIGINT) is before


def test_the_handlers_of_the_program_come_back(train: Callable[..., RunDirectory], tmp_path: Path) -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    train(tmp_path / "run", IMAGES, steps=1)
    with pytest.raises(UsageError):
        train(tmp_path / "run", IMAGES, steps=1)
    assert {number: signal.getsignal(number) for number in before} == before


# Numbers that are not finite.


def test_an_absurd_learning_rate_stops_with_the_step_and_the_terms(
    train: Callable[..., RunDirectory], tmp_path: Path
) -> None:
    with pytest.raises(ZooError, match=r"^step 2: .*mi_lower.* became non-finite; the last good checkpoint is ") as e:
        train(tmp_path / "run", IMAGES, steps=9, save_every=1, log_every=1, **{"trainer.lr_generator": 1.0})
    assert f"{tmp_path / 'run' / 'checkpoints' / 'step-00000001'}; try --precision fp32 or smaller" in str(e.value)
    assert RunDirectory(tmp_path / "run").steps() == [1]
    assert [line["step"] for line in log(tmp_path / "run")] == [1]


@pytest.mark.parametrize(
    ("environment", "settings", "told", "kept"),
    [
        ({"NAN_AT": "5"}, {"log_every": 1, "save_every": 2}, "step 5: kl became non-finite", [2, 4]),
        ({"NAN_AT": "4"}, {"log_every": 100, "save_every": 2}, "step 4: kl became non-finite", [2]),
        ({"NAN_AT": "6"}, {"log_every": 100, "save_every": 0}, "step 6: kl became non-finite", []),
        (
            {"INFINITE_FROM": "3"},
            {"log_every": 1, "save_every": 2, "trainer": "misbehaving:Trainer"},
            "step 4: the trainer's state generator/0.0.weight/square_avg became non-finite",
            [2],
        ),
    ],
    ids=["logged", "saved, not logged", "at the end", "trainer"],
)
def test_nothing_good_is_followed_by_something_broken(
    train: Callable[..., RunDirectory],
    misbehaving: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    environment: dict[str, str],
    settings: dict[str, Any],
    told: str,
    kept: list[int],
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ZooError) as raised:
        train(tmp_path / "run", IMAGES, steps=6, loss="misbehaving:Loss", **settings)
    good = f"the last good checkpoint is {tmp_path / 'run' / 'checkpoints'}/step-{kept[-1]:08d}" if kept else ""
    assert str(raised.value).startswith(f"{told}; {good or 'there is no checkpoint yet'}; try ")
    assert RunDirectory(tmp_path / "run").steps() == kept
