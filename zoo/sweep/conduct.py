"""Handing the runs of a sweep to submitit, and watching them; who runs where and when is submitit's and Slurm's part.

What a run has done is read from its directory, so a sweep that was stopped or killed in any way is started again and
goes on: finished runs are left alone, the others resume.
"""

from __future__ import annotations

import json
import signal
import time
from collections import deque
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

from zoo import terminal
from zoo.building import build_dataset
from zoo.errors import ZooError, described
from zoo.files import remove_folder
from zoo.registry import Registry
from zoo.signals import handling
from zoo.sweep.cost import MEASURED_EVERY, MEASURED_STEPS
from zoo.sweep.executors import DebugExecutor, Executor, ExecutorName, HandedOut, LocalExecutor, new_session
from zoo.sweep.job import Job
from zoo.sweep.plan import Plan, PlannedRun, SweepFolder, replanned
from zoo.sweep.progress import missing, saved_step
from zoo.sweep.row import Row
from zoo.sweep.slurm import SlurmExecutor
from zoo.untrusted import user_path

_HEADERS = ("run", "state", "step", "steps/s", "left", "scores")
_ORDER = ("failed", "evaluating", "training", "starting", "stopped", "queued", "waiting", "finished")


class Conductor:
    """The runs of one sweep, from what is left of them to what came of them."""

    def __init__(
        self,
        registry: Registry,
        plan: Plan,
        folder: SweepFolder,
        *,
        executor: ExecutorName = "local",
        jobs: int = 1,
        data_root: Path | None = None,
    ) -> None:
        self.registry, self.plan, self.folder, self.data_root = registry, plan, folder, data_root
        self.executor = _executor(executor, plan, folder, jobs)
        self.asked = plan.asked
        self.rows = [Row(run, folder.run(run)) for run in plan.runs]
        self._stopped_by: list[int] = []

    def run(self) -> None:
        """Do all that is left; the rows and `stopped_by` say what came of it."""
        self.folder.stop_file.unlink(missing_ok=True)
        waiting = deque(self._left())
        given = self.executor.still_at_work(waiting)
        with terminal.live_table(_HEADERS) as table, self._stoppable(table):
            self._open_datasets(waiting, table)
            asked_to_end = False
            while waiting or given:
                if self._stopped_by:
                    if not asked_to_end:
                        self._ask_to_end(given)
                        asked_to_end = True
                    waiting.clear()
                    if len(self._stopped_by) > 1:  # Ctrl-C again: do not wait for their checkpoints
                        break
                elif waiting:
                    given += self._hand_out(waiting, given)
                for one in [one for one in given if one.has_ended(bool(self._stopped_by))]:
                    given.remove(one)
                    self._settle(one, table)
                for one in given:
                    one.look(self.asked)
                self._show(table)
                if given:
                    time.sleep(self.executor.look_every)
            self._show(table)

    @property
    def stopped_by(self) -> int:
        """The signal that stopped the sweep, or 0."""
        return self._stopped_by[0] if self._stopped_by else 0

    @property
    def failed(self) -> list[Row]:
        """The rows of the runs that failed."""
        return [row for row in self.rows if row.state == "failed"]

    def _left(self) -> list[Row]:
        """The rows with something to do; the others are finished."""
        for row in self.rows:
            row.look(self.asked)
            if row.finished(self.asked):
                row.state = "finished"
        return [row for row in self.rows if row.state != "finished"]

    def _open_datasets(self, waiting: deque[Row], table: terminal.LiveTable) -> None:
        """Open each dataset once, here: what has to be made for it is made once, and what is missing costs its runs."""
        problems: dict[str, str] = {}
        for row in list(waiting):
            config = row.run.config
            values = config.settings.get("dataset", {})
            key = json.dumps([config.dataset, values], default=str)
            if key not in problems:
                try:
                    build_dataset(self.registry, config.dataset, self.data_root, values, typed=False)
                    problems[key] = ""
                except ZooError as error:
                    problems[key] = described(error)
            if problems[key]:
                waiting.remove(row)
                self._fail(row, problems[key], table)

    def _hand_out(self, waiting: deque[Row], given: Sequence[HandedOut]) -> list[HandedOut]:
        handed = self.executor.hand_out(waiting, given, self._job)
        for one in handed:
            one.row.state = "starting"
        return handed

    def _job(self, row: Row) -> Job:
        """What `train_one` needs, as plain JSON values."""
        run = row.run
        job = {
            "executor": self.executor.name,
            "out": str(row.directory.path.resolve()),
            "model": run.model,
            "dataset": run.dataset,
            "preset": run.preset,
            "seed": run.seed,
            "steps": run.steps,
            "eval_every": run.config.eval_every,
            "settings": dict(run.settings),
            "metrics": list(self.asked.metrics),
            "metric_settings": dict(self.asked.settings),
            "eval_seed": self.asked.seed,
            "data_root": str(user_path(self.data_root).resolve()) if self.data_root else None,
            "stop_file": str(self.folder.stop_file.resolve()),
            "environment": {},
        }
        plain: Job = json.loads(json.dumps(job))
        return plain

    def _settle(self, one: HandedOut, table: terminal.LiveTable) -> None:
        """Say what came of a run. Its directory has the last word: a run that is finished did not fail."""
        row = one.row
        row.look(self.asked)
        if row.finished(self.asked):
            row.state = "finished"
            scores = f": {row.cells()[-1]}" if row.scores else ""
            table.tell(f"{row.run.name} is finished{scores}")
            return
        ended = one.result()
        if ended["state"] == "stopped" or (self._stopped_by and "error" not in ended):
            row.state = "stopped"
            if self.executor.in_this_process and not self._stopped_by:
                self._stopped_by.append(signal.SIGINT)  # the run took the signal that was meant for the sweep
            return
        lacking = missing(row.directory, saved_step(row.directory), self.asked)
        unsaid = f"ended without {', '.join(lacking)}" if row.step >= row.run.steps else "ended before its last step"
        self._fail(row, ended.get("error") or f"{unsaid} (killed? out of memory?); see {one.job.paths.stderr}", table)

    def _fail(self, row: Row, error: str, table: terminal.LiveTable) -> None:
        row.state, row.error = "failed", error
        table.tell(f"{row.run.name} failed: {error}")

    def _ask_to_end(self, given: Sequence[HandedOut]) -> None:
        """Ask every job to end: each finishes its step and writes a checkpoint."""
        self.folder.jobs.mkdir(parents=True, exist_ok=True)
        self.folder.stop_file.touch()  # for those that are only beginning, and would miss the signal
        for one in given:
            if not one.job.done():
                one.ask_to_end()

    def _stoppable(self, table: terminal.LiveTable) -> AbstractContextManager[None]:
        """Collect SIGINT and SIGTERM instead of dying of them."""

        def handle(number: int, _: object) -> None:
            self._stopped_by.append(number)
            table.tell("stopping: every run writes a checkpoint; again to leave at once")

        return handling({signal.SIGINT: handle, signal.SIGTERM: handle})

    def _show(self, table: terminal.LiveTable) -> None:
        if not self.executor.in_this_process:  # there the run itself shows how far it is
            rows = sorted(self.rows, key=lambda row: _ORDER.index(row.state))
            table.show([row.cells() for row in rows], self.summary())

    def summary(self) -> str:
        """One line about all runs."""
        counts = {state: sum(row.state == state for row in self.rows) for state in _ORDER}
        done = counts.pop("finished")
        others = "".join(f", {count} {state}" for state, count in counts.items() if count)
        at_work = [row for row in self.rows if row.state in ("training", "evaluating")]
        first = f"; {at_work[0].run.name} at {at_work[0].step:,}/{at_work[0].run.steps:,}" if at_work else ""
        return f"sweep: {done}/{len(self.rows)} finished{others}{first}"


def measure(
    registry: Registry,
    plan: Plan,
    runs: Sequence[PlannedRun],
    folder: SweepFolder,
    *,
    executor: ExecutorName,
    jobs: int,
    data_root: Path | None,
) -> Conductor:
    """Train some runs for a few steps, as the sweep will; what stays of them is their rates.

    They are a sweep of their own: a job of the real one, of the same name, may be waiting in a cluster's queue.
    """
    settings = {"log_every": MEASURED_EVERY, "save_every": 0, "eval_every": 0}
    short = tuple(replanned(registry, run, MEASURED_STEPS, settings) for run in runs)
    small = replace(plan, spec=plan.spec.model_copy(update={"metrics": ()}), runs=short, metric_settings={})
    for run in short:  # of a measurement that failed
        remove_folder(folder.measured.run(run).path)
    conductor = Conductor(registry, small, folder.measured, executor=executor, jobs=jobs, data_root=data_root)
    conductor.run()
    for row in conductor.rows:
        remove_folder(row.directory.checkpoints_path)
    return conductor


def _executor(name: ExecutorName, plan: Plan, folder: SweepFolder, jobs: int) -> Executor[Any]:
    session = new_session(folder.jobs)
    if name == "slurm":
        return SlurmExecutor(session, jobs, plan.spec.slurm)
    return LocalExecutor(session, jobs) if name == "local" else DebugExecutor(session, jobs)
