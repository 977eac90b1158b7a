"""Where the runs of a sweep are trained, by way of submitit: processes on this machine, or the sweep's own process.

`slurm` has the third place, the jobs of a cluster.
"""

from __future__ import annotations

import os
import re
import secrets
import signal
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, TypeVar

from zoo.errors import UsageError
from zoo.sweep.here import deaf_to_ctrl_c, environment, gpu, threads_each
from zoo.sweep.job import Ended, Job, train_one
from zoo.sweep.progress import Asked
from zoo.sweep.row import Row

ExecutorName = Literal["local", "slurm", "debug"]

SESSION = re.compile(r"\d{8}-\d{6}-[0-9a-f]{16}")

_WITHOUT_TIME_LIMIT = 60 * 24 * 365  # minutes; submitit's local executor kills what has no limit after two


def new_session(jobs: Path) -> Path:
    """A folder that nobody else can have filled: submitit unpickles what it finds there."""
    return jobs / f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(8)}"


class HandedOut(ABC):
    """A run that was handed out, and submitit's job for it."""

    def __init__(self, row: Row, job: Any) -> None:
        self.row, self.job = row, job

    def look(self, asked: Asked) -> None:
        """Bring the row up to date."""
        self.row.look(asked)

    @abstractmethod
    def has_ended(self, stopped: bool) -> bool:
        """Whether the job is over; `stopped` is whether the sweep was asked to end."""

    @abstractmethod
    def ask_to_end(self) -> None:
        """Ask the job to finish its step, write a checkpoint and end."""

    def result(self) -> Ended:
        """What `train_one` returned; {"state": "ended"} where its process ended in another way."""
        if not self.job.paths.result_pickle.exists():
            return {"state": "ended"}
        error = self.job.exception()
        if error is None:
            ended: Ended = self.job.result()
            return ended
        trace = [line for line in str(error).splitlines() if line.strip() and not line.startswith("-")]
        raised = [line for line in trace if line[0] not in " \t" and "Error" in line]
        return {"state": "failed", "error": f"{raised[-1] if raised else trace[0]} (see {self.job.paths.stderr})"}


Handed = TypeVar("Handed", bound=HandedOut)


class Executor(ABC, Generic[Handed]):
    """Hands the runs of a sweep to submitit."""

    name: ClassVar[ExecutorName]
    look_every: ClassVar[float]  # seconds between two looks at the runs
    in_this_process: ClassVar[bool] = False  # its runs then show themselves how far they are, and take its signals

    def __init__(self, session: Path, jobs: int) -> None:
        """Take a `new_session` and the number of runs at a time. Raises UsageError where it cannot work here."""
        try:
            import submitit  # noqa: F401  # whether it is there
        except ImportError:
            raise UsageError(
                "sweeps run on submitit, which is not installed: pip install 'ibgan-plugin[cluster]'"
            ) from None
        self.session, self.jobs = session, jobs

    def still_at_work(self, waiting: deque[Row]) -> list[Handed]:
        """Take from `waiting` the runs that jobs of an earlier start are at, and return those jobs."""
        return []

    @abstractmethod
    def hand_out(self, waiting: deque[Row], given: Sequence[Handed], job: Callable[[Row], Job]) -> list[Handed]:
        """Take runs from `waiting` and hand them out, as many as there is room for beside those `given` already."""

    def _submitit(self, row: Row) -> Any:
        """submitit's executor for one run on this machine."""
        import submitit

        executor = submitit.AutoExecutor(folder=self.session / row.run.name / "%j", cluster=self.name)
        executor.update_parameters(timeout_min=_WITHOUT_TIME_LIMIT)
        return executor


class LocalRun(HandedOut):
    """A run in a process of its own on this machine, at one of its places."""

    def __init__(self, row: Row, job: Any, place: int) -> None:
        super().__init__(row, job)
        self.place = place

    def has_ended(self, stopped: bool) -> bool:
        return bool(self.job.done())

    def ask_to_end(self) -> None:
        # Not `cancel`, which kills after a second. The controller hands SIGTERM on; its pid is the job's id.
        os.kill(int(self.job.job_id), signal.SIGTERM)


class LocalExecutor(Executor[LocalRun]):
    """As many processes at a time as asked for, each with its share of the threads and one GPU."""

    name = "local"
    look_every = 0.5

    def hand_out(self, waiting: deque[Row], given: Sequence[LocalRun], job: Callable[[Row], Job]) -> list[LocalRun]:
        free = [place for place in range(self.jobs) if place not in {one.place for one in given}]
        handed = []
        for place in free[: len(waiting)]:
            row = waiting.popleft()
            variables = {"OMP_NUM_THREADS": str(threads_each(self.jobs)), "CUDA_VISIBLE_DEVICES": gpu(place)}
            # A controller that outlives Ctrl-C in the terminal: its run has a checkpoint to write first.
            with deaf_to_ctrl_c(), environment(variables):
                submitted = self._submitit(row).submit(train_one, job(row) | {"environment": variables})
            handed.append(LocalRun(row, submitted, place))
        return handed


class DebugRun(HandedOut):
    """A run in the sweep's own process: it is trained when it is asked whether it has ended."""

    def has_ended(self, stopped: bool) -> bool:
        self.job.exception()  # `train_one` returns its failures
        return True

    def ask_to_end(self) -> None:
        """Nothing to do: between two looks it has not begun, or is over."""

    def result(self) -> Ended:
        error = self.job.exception()
        return {"state": "failed", "error": f"{type(error).__name__}: {error}"} if error else self.job.result()


class DebugExecutor(Executor[DebugRun]):
    """One run after the other, in this process, where a debugger can follow it."""

    name = "debug"
    look_every = 0.0
    in_this_process = True

    def hand_out(self, waiting: deque[Row], given: Sequence[DebugRun], job: Callable[[Row], Job]) -> list[DebugRun]:
        row = waiting.popleft()
        return [DebugRun(row, self._submitit(row).submit(train_one, job(row)))]
