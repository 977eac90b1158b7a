"""What one run of a sweep does in its own process: the function that submitit runs.

submitit pickles a reference to `train_one` and its one argument, a dict of plain JSON values, into the sweep's own
`jobs` folder, and the dict that it returns likewise; the same user writes and reads them, on this machine or the
cluster's. No tensor, no checkpoint and no file from elsewhere goes that way, so nothing foreign is ever unpickled:
what a run leaves behind is its run directory. This module imports nothing heavy, so that the environment can still
be set.
"""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from zoo.memory import keep_freed
from zoo.signals import handling

Job = dict[str, Any]
Ended = dict[str, str]

STOPPED: Ended = {"state": "stopped"}


def train_one(job: Job) -> Ended:
    """Train one run to its steps and compute the evaluations it lacks; whatever of it is done already is not repeated.

    Returns {"state": "finished"}, {"state": "stopped"} after SIGTERM (a checkpoint is written), or {"state": "failed",
    "error": one line}. On SIGUSR2 (submitit's signal before a job's time is over, or its machine taken) the step is
    finished, a checkpoint written, and the job requeued; it goes on from there.
    """
    if job["executor"] == "debug":  # in the process of the sweep itself, whose signals and environment are its own
        return _work(job)
    os.environ.update(job["environment"])
    keep_freed()
    if job["executor"] == "local":  # Slurm's tasks have a session of their own
        os.setsid()  # Ctrl-C in the terminal is for the sweep, which then asks every job to stop, once
    with _asked_to_stop() as asked:
        ended = STOPPED if Path(job["stop_file"]).exists() else _work(job)
    if ended is STOPPED and asked.requeue is not None:
        asked.requeue(signal.SIGUSR2, None)  # writes the job anew, asks for its requeueing, and exits
    if ended is STOPPED and job["executor"] == "slurm":
        sys.exit(128 + signal.SIGTERM)  # no result: Slurm may have preempted the job, and start it again by itself
    return ended


def _again(job: Job) -> Any:
    """What is to be done when a job is requeued: the same, since every run goes on where it was."""
    from submitit.helpers import DelayedSubmission

    return DelayedSubmission(train_one, job)


train_one.checkpoint = _again  # type: ignore[attr-defined]  # where submitit looks for it


def _work(job: Job) -> Ended:
    from zoo.errors import ZooError, described
    from zoo.signals import Interrupted

    try:
        _train_and_evaluate(job)
    except (Interrupted, KeyboardInterrupt):
        return STOPPED
    except Exception as error:  # of a plugin, say: it costs this run, and the traceback is in the job's log
        if not isinstance(error, ZooError):
            traceback.print_exc()
        return {"state": "failed", "error": described(error)}
    return {"state": "finished"}


def _train_and_evaluate(job: Job) -> None:
    from zoo import api
    from zoo.errors import MetricError
    from zoo.run import RunDirectory
    from zoo.sweep.progress import Asked, missing, saved_step, trained

    run = RunDirectory(Path(job["out"]))
    asked = Asked(tuple(job["metrics"]), job["metric_settings"], job["eval_seed"])
    _wait_for_others(run.path)
    newest = run.newest() if run.exists() else None
    whole = newest is not None and newest.step == saved_step(run)
    if not (whole and trained(run, job["steps"], job["eval_every"])):  # a damaged checkpoint is trained again
        api.train(
            job["model"],
            job["dataset"],
            out=run.path,
            preset=job["preset"],
            steps=job["steps"],
            seed=job["seed"],
            settings=job["settings"],
            resume=True,
            data_root=job["data_root"],
        )
    failed = []
    for metric in missing(run, saved_step(run), asked):  # one by one, so that each that is done is kept
        found = api.evaluate(
            job["model"],
            run.path,
            [metric],
            seed=asked.seed,
            settings={metric: asked.settings.get(metric, {})},
            device=job["settings"].get("device", "auto"),
            data_root=job["data_root"],
        )
        failed += [f"{name}: {error}" for name, error in found["errors"].items()]
    if failed:
        raise MetricError("; ".join(failed))


def _wait_for_others(run: Path) -> None:
    """Wait while another process has the run: a job of this sweep that outlived the process that watched it."""
    from filelock import FileLock, Timeout

    told = False
    while (run / "run.lock").exists():
        try:
            with FileLock(run / "run.lock", timeout=0):
                return
        except Timeout:
            if not told:
                _say_why(run)
                told = True
            time.sleep(1)


def _say_why(run: Path) -> None:
    """Say in the job's log why nothing happens."""
    from zoo import terminal

    terminal.note(f"{run} is being written by another process; waiting for it")


class _Asked:
    """What a job was asked for by signals: `requeue` is submitit's handler, where it was SIGUSR2."""

    requeue: Any = None


@contextmanager
def _asked_to_stop() -> Iterator[_Asked]:
    """Make SIGTERM and SIGUSR2 a request to stop.

    While the run is trained, the training loop takes SIGTERM and SIGINT itself: it finishes the step, writes a
    checkpoint and raises Interrupted. Before and after, KeyboardInterrupt ends the work at once: nothing is lost by
    that, and no metric takes it for a failure of its own. SIGUSR2 comes as SIGINT, because a preempted job may get
    SIGTERM as well.
    """
    asked = _Asked()
    submitits = signal.getsignal(signal.SIGUSR2)

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    def requeue(number: int, frame: FrameType | None) -> None:
        if asked.requeue is None and callable(submitits):
            asked.requeue = submitits
            signal.raise_signal(signal.SIGINT)

    with handling({signal.SIGTERM: stop, signal.SIGINT: stop, signal.SIGUSR2: requeue}):
        yield asked
