"""Handing the runs of a sweep to submitit, and watching them; who runs where and when is submitit's and Slurm's part.

What a run has done is read from its directory, so a sweep that was stopped or killed in any way is started again and
goes on: finished runs are left alone, the others resume.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import signal
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from zoo import terminal
from zoo.building import build_dataset
from zoo.errors import UsageError, ZooError
from zoo.files import remove_folder, write_json
from zoo.registry import Registry
from zoo.run import RunDirectory
from zoo.sweep.cost import MEASURED_EVERY, MEASURED_STEPS
from zoo.sweep.here import deaf_to_ctrl_c, environment, gpu, threads_each
from zoo.sweep.job import Job, train_one
from zoo.sweep.plan import Plan, PlannedRun, SweepFolder, replanned
from zoo.sweep.progress import Asked, missing, saved_step
from zoo.sweep.row import Row
from zoo.sweep.spec import Slurm
from zoo.untrusted import read_json, user_path

Executor = Literal["local", "slurm", "debug"]

# Seconds between two looks at the runs; Slurm itself is asked by submitit, less and less often.
_LOOK = {"local": 0.5, "slurm": 2.0, "debug": 0.0}
_RESULT_MAY_LAG = 15.0  # seconds, on a file system that a cluster shares
_WITHOUT_TIME_LIMIT = 60 * 24 * 365  # minutes; submitit's local executor kills what has no limit after two

_SESSION = re.compile(r"\d{8}-\d{6}-[0-9a-f]{16}")
_JOB_ID = re.compile(r"\d{1,18}(_\d{1,9})?")

_HEADERS = ("run", "state", "step", "steps/s", "left", "scores")
_ORDER = ("failed", "evaluating", "training", "starting", "stopped", "queued", "waiting", "finished")


@dataclass
class _Given:
    """A run that was handed out: submitit's job, its place on this machine, and when it was seen to have ended."""

    row: Row
    job: Any
    place: int = 0
    ended: float | None = None
    # Submitted by this process, so that what its files hold is what this user's job wrote.
    ours: bool = True
    session: str = ""  # the folder in `jobs` that submitit has for it


class Conductor:
    """The runs of one sweep, from what is left of them to what came of them."""

    def __init__(
        self,
        registry: Registry,
        plan: Plan,
        folder: SweepFolder,
        *,
        executor: Executor = "local",
        jobs: int = 1,
        data_root: Path | None = None,
        where: Path | None = None,
    ) -> None:
        _check_executor(executor)
        self.registry, self.plan, self.folder, self.executor = registry, plan, folder, executor
        self.jobs, self.data_root = jobs, data_root
        self.asked = Asked(plan.spec.metrics, plan.metric_settings, plan.spec.eval_seed)
        place = where or folder.path / "runs"
        self.rows = [Row(run, RunDirectory(place / run.name)) for run in plan.runs]
        # A folder that nobody else can have filled: submitit unpickles what it finds there.
        self._session = folder.jobs / f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(8)}"
        self._stopped_by: list[int] = []

    def run(self) -> None:
        """Do all that is left; the rows and `stopped_by` say what came of it."""
        self.folder.stop_file.unlink(missing_ok=True)
        waiting = deque(self._left())
        given = self._still_at_work(waiting) if self.executor == "slurm" else []
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
                for one in [one for one in given if self._has_ended(one)]:
                    given.remove(one)
                    self._settle(one, table)
                for one in given:
                    one.row.look(self.asked)
                    if self.executor == "slurm" and one.row.state == "starting" and _pending(one.job):
                        one.row.state = "queued"
                    elif one.row.state == "queued" and not _pending(one.job):
                        one.row.state = "starting"
                if self.executor != "debug":  # there the run itself shows how far it is
                    table.show(*self._shown())
                if given:
                    time.sleep(_LOOK[self.executor])
            if self.executor != "debug":
                table.show(*self._shown())

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
                    problems[key] = " ".join(str(error).split())
            if problems[key]:
                waiting.remove(row)
                self._fail(row, problems[key], table)

    def _hand_out(self, waiting: deque[Row], given: Sequence[_Given]) -> list[_Given]:
        """Hand runs to submitit: all of them to a cluster, which has its queue; as many as `jobs` on this machine."""
        places = [place for place in range(self.jobs) if place not in {one.place for one in given}]
        if self.executor == "slurm":
            rows = list(waiting)
            waiting.clear()
            jobs = self._submitted([self._job(row, 0) for row in rows])
            handed = [_Given(row, job, session=self._session.name) for row, job in zip(rows, jobs, strict=True)]
            self._remember([*given, *handed])
        else:
            handed = []
            for place in places[: len(waiting)] if self.executor == "local" else [0]:
                row = waiting.popleft()
                job = self._job(row, place)
                # A controller that outlives Ctrl-C in the terminal: its run has a checkpoint to write first.
                with deaf_to_ctrl_c(), environment(job["environment"]):
                    handed.append(_Given(row, self._here(row).submit(train_one, job), place))
        for one in handed:
            one.row.state = "starting"
        return handed

    def _job(self, row: Row, place: int) -> Job:
        """What `train_one` needs, as plain JSON values."""
        run = row.run
        job = {
            "executor": self.executor,
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
            "environment": self._environment(place),
        }
        plain: Job = json.loads(json.dumps(job))
        return plain

    def _environment(self, place: int) -> dict[str, str]:
        if self.executor != "local":
            return {}
        return {"OMP_NUM_THREADS": str(threads_each(self.jobs)), "CUDA_VISIBLE_DEVICES": gpu(place)}

    def _here(self, row: Row) -> Any:
        import submitit

        executor = submitit.AutoExecutor(folder=self._session / row.run.name / "%j", cluster=self.executor)
        executor.update_parameters(timeout_min=_WITHOUT_TIME_LIMIT)
        return executor

    def _slurm(self) -> Any:
        import submitit

        asked = self.plan.spec.slurm
        try:
            executor = submitit.AutoExecutor(
                folder=self._session / "%j", cluster="slurm", slurm_max_num_timeout=asked.max_num_timeout
            )
            executor.update_parameters(**slurm_parameters(asked, self.jobs))
        except (ValueError, NameError, RuntimeError, AssertionError) as error:
            raise ZooError(f"submitit refuses the settings for Slurm: {' '.join(str(error).split())}") from None
        return executor

    def _submitted(self, jobs: Sequence[Job]) -> list[Any]:
        """Give Slurm all jobs as one array."""
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        executor = self._slurm()
        try:
            handed: list[Any] = executor.map_array(train_one, jobs)
        except (FailedJobError, FailedSubmissionError, OSError) as error:
            raise ZooError(f"Slurm refused the jobs: {' '.join(str(error).split())}") from None
        return handed

    def _remember(self, given: Sequence[_Given]) -> None:
        """Write which job has which run, so that a sweep that is started again finds those still at work."""
        jobs = {one.row.run.name: [one.session, one.job.job_id] for one in given}
        write_json(self.folder.jobs / "slurm.json", jobs)

    def _still_at_work(self, waiting: deque[Row]) -> list[_Given]:
        """The jobs of an earlier start that Slurm still has; their runs are not handed out again."""
        import submitit

        try:
            jobs = read_json(self.folder.jobs / "slurm.json", ZooError, links=False)
            known = {name: (str(session), str(job_id)) for name, (session, job_id) in jobs.items()}
        except (ZooError, ValueError, AttributeError, TypeError):
            return []
        found = []
        for row in list(waiting):
            session, job_id = known.get(row.run.name, ("", ""))
            # Nothing in the file is taken for more than it is: a job's number, and where its log lies.
            if not (_SESSION.fullmatch(session) and _JOB_ID.fullmatch(job_id)):
                continue
            job: Any = submitit.SlurmJob(folder=self.folder.jobs / session / "%j", job_id=job_id)
            state = job.watcher.get_state(job_id, mode="force")
            if state != "UNKNOWN" and not job.watcher.is_done(job_id, mode="cache"):
                row.state = "starting"
                waiting.remove(row)
                found.append(_Given(row, job, ours=False, session=session))
        if found:
            terminal.note(f"{len(found)} of the runs are with Slurm already, from an earlier start; watching them")
        return found

    def _has_ended(self, one: _Given) -> bool:
        if self.executor == "debug":
            one.job.exception()  # this is what runs it; `train_one` returns its failures
            return True
        if not one.job.done():
            return False
        if self.executor == "slurm" and not self._stopped_by and not one.job.paths.result_pickle.exists():
            one.ended = one.ended or time.monotonic()
            return time.monotonic() - one.ended > _RESULT_MAY_LAG
        return True

    def _settle(self, one: _Given, table: terminal.LiveTable) -> None:
        """Say what came of a run. Its directory has the last word: a run that is finished did not fail."""
        row = one.row
        row.look(self.asked)
        if row.finished(self.asked):
            row.state = "finished"
            scores = f": {row.cells()[-1]}" if row.scores else ""
            table.tell(f"{row.run.name} is finished{scores}")
            return
        ended = self._result(one)
        if ended["state"] == "stopped" or (self._stopped_by and "error" not in ended):
            row.state = "stopped"
            if self.executor == "debug" and not self._stopped_by:
                self._stopped_by.append(signal.SIGINT)  # the run took the signal that was meant for the sweep
            return
        lacking = missing(row.directory, saved_step(row.directory), self.asked)
        unsaid = f"ended without {', '.join(lacking)}" if row.step >= row.run.steps else "ended before its last step"
        self._fail(row, ended.get("error") or f"{unsaid} (killed? out of memory?); see {one.job.paths.stderr}", table)

    def _result(self, one: _Given) -> dict[str, str]:
        """What `train_one` returned; nothing where its process ended in another way."""
        if self.executor == "debug":
            error = one.job.exception()
            return {"state": "failed", "error": f"{type(error).__name__}: {error}"} if error else one.job.result()
        if not one.ours or not one.job.paths.result_pickle.exists():
            return {"state": "ended"}
        error = one.job.exception()
        if error is None:
            ended: dict[str, str] = one.job.result()
            return ended
        trace = [line for line in str(error).splitlines() if line.strip() and not line.startswith("-")]
        raised = [line for line in trace if line[0] not in " \t" and "Error" in line]
        return {"state": "failed", "error": f"{raised[-1] if raised else trace[0]} (see {one.job.paths.stderr})"}

    def _fail(self, row: Row, error: str, table: terminal.LiveTable) -> None:
        row.state, row.error = "failed", error
        table.tell(f"{row.run.name} failed: {error}")

    def _ask_to_end(self, given: Sequence[_Given]) -> None:
        """Ask every job to end: each finishes its step and writes a checkpoint."""
        self.folder.jobs.mkdir(parents=True, exist_ok=True)
        self.folder.stop_file.touch()  # for those that are only beginning, and would miss the signal
        for one in given:
            if one.job.done():
                continue
            if self.executor == "local":
                # Not `cancel`, which kills after a second. The controller hands SIGTERM on; its pid is the job's id.
                os.kill(int(one.job.job_id), signal.SIGTERM)
            elif self.executor == "slurm":
                one.job.cancel(check=False)  # scancel: SIGTERM, and half a minute later SIGKILL

    @contextmanager
    def _stoppable(self, table: terminal.LiveTable) -> Iterator[None]:
        """Collect SIGINT and SIGTERM instead of dying of them."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def handle(number: int, _: object) -> None:
            self._stopped_by.append(number)
            table.tell("stopping: every run writes a checkpoint; again to leave at once")

        before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _shown(self) -> tuple[list[list[str]], str]:
        rows = sorted(self.rows, key=lambda row: _ORDER.index(row.state))
        return [row.cells() for row in rows], self.summary()

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
    executor: Executor,
    jobs: int,
    data_root: Path | None,
) -> Conductor:
    """Train some runs for a few steps, as the sweep will; what stays of them is their rates."""
    settings = {"log_every": MEASURED_EVERY, "save_every": 0, "eval_every": 0}
    short = tuple(replanned(registry, run, MEASURED_STEPS, settings) for run in runs)
    small = replace(plan, spec=plan.spec.model_copy(update={"metrics": ()}), runs=short, metric_settings={})
    for run in short:  # of a measurement that failed
        remove_folder(folder.measured / run.name)
    conductor = Conductor(
        registry, small, folder, executor=executor, jobs=jobs, data_root=data_root, where=folder.measured
    )
    conductor.run()
    for row in conductor.rows:
        remove_folder(row.directory.checkpoints_path)
    return conductor


def slurm_parameters(asked: Slurm, jobs: int) -> dict[str, Any]:
    """What submitit is given: its own names for what every cluster has, `slurm_` before those of Slurm alone."""
    shared = ("name", "timeout_min", "cpus_per_task", "gpus_per_node", "mem_gb")
    parameters: dict[str, Any] = {"slurm_array_parallelism": jobs, "nodes": 1, "tasks_per_node": 1}
    for key, value in asked.model_dump(exclude={"max_num_timeout"}).items():
        if value is not None and value != () and value != {}:
            plain = list(value) if isinstance(value, tuple) else value
            parameters[key if key in shared else f"slurm_{key}"] = plain
    return parameters


def _check_executor(executor: str) -> None:
    try:
        import submitit  # noqa: F401  # whether it is there
    except ImportError:
        raise UsageError(
            "sweeps run on submitit, which is not installed: pip install 'ibgan-plugin[cluster]'"
        ) from None
    if executor == "slurm" and not (shutil.which("sbatch") and shutil.which("srun")):
        raise UsageError("there is no Slurm here (no sbatch and srun on the PATH); use --executor local")


def _pending(job: Any) -> bool:
    return str(job.state).upper() in ("PENDING", "REQUEUED", "UNKNOWN")
