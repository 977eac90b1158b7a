"""The runs of a sweep as the jobs of one Slurm array, submitted, found again and cancelled by way of submitit."""

from __future__ import annotations

import re
import shutil
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from zoo import terminal
from zoo.errors import UsageError, ZooError
from zoo.files import write_json
from zoo.sweep.executors import SESSION, Executor, HandedOut
from zoo.sweep.job import Ended, Job, train_one
from zoo.sweep.progress import Asked
from zoo.sweep.row import Row
from zoo.sweep.spec import Slurm
from zoo.untrusted import read_json

_RESULT_MAY_LAG = 15.0  # seconds, on a file system that a cluster shares
_JOB_ID = re.compile(r"\d{1,18}(_\d{1,9})?")


class SlurmRun(HandedOut):
    """A run that is one of Slurm's jobs; `session` is the folder that submitit has for it.

    `ours` is whether this process submitted it: only then is what its files hold what this user's job wrote.
    """

    def __init__(self, row: Row, job: Any, session: str, *, ours: bool) -> None:
        super().__init__(row, job)
        self.session, self._ours = session, ours
        self._ended: float | None = None

    def look(self, asked: Asked) -> None:
        super().look(asked)
        pending = str(self.job.state).upper() in ("PENDING", "REQUEUED", "UNKNOWN")
        if self.row.state == "starting" and pending:
            self.row.state = "queued"
        elif self.row.state == "queued" and not pending:
            self.row.state = "starting"

    def has_ended(self, stopped: bool) -> bool:
        if not self.job.done():
            return False
        if stopped or self.job.paths.result_pickle.exists():
            return True
        self._ended = self._ended or time.monotonic()
        return time.monotonic() - self._ended > _RESULT_MAY_LAG

    def ask_to_end(self) -> None:
        self.job.cancel(check=False)  # scancel: SIGTERM, and half a minute later SIGKILL

    def result(self) -> Ended:
        return super().result() if self._ours else {"state": "ended"}


class SlurmExecutor(Executor[SlurmRun]):
    """All runs as one array at once: the cluster has its own queue."""

    name = "slurm"
    look_every = 2.0  # Slurm itself is asked by submitit, less and less often

    def __init__(self, session: Path, jobs: int, asked: Slurm) -> None:
        super().__init__(session, jobs)
        self.asked = asked
        if not (shutil.which("sbatch") and shutil.which("srun")):
            raise UsageError("there is no Slurm here (no sbatch and srun on the PATH); use --executor local")

    def still_at_work(self, waiting: deque[Row]) -> list[SlurmRun]:
        """The jobs of an earlier start that Slurm still has; their runs are not handed out again."""
        import submitit

        known = self._remembered()
        found = []
        for row in list(waiting):
            session, job_id = known.get(row.run.name, ("", ""))
            # Nothing in the file is taken for more than it is: a job's number, and where its log lies.
            if not (SESSION.fullmatch(session) and _JOB_ID.fullmatch(job_id)):
                continue
            job: Any = submitit.SlurmJob(folder=self.session.parent / session / "%j", job_id=job_id)
            state = job.watcher.get_state(job_id, mode="force")
            if state != "UNKNOWN" and not job.watcher.is_done(job_id, mode="cache"):
                row.state = "starting"
                waiting.remove(row)
                found.append(SlurmRun(row, job, session, ours=False))
        if found:
            terminal.note(f"{len(found)} of the runs are with Slurm already, from an earlier start; watching them")
        return found

    def hand_out(self, waiting: deque[Row], given: Sequence[SlurmRun], job: Callable[[Row], Job]) -> list[SlurmRun]:
        rows = list(waiting)
        waiting.clear()
        jobs = self._submitted([job(row) for row in rows])
        handed = [SlurmRun(row, one, self.session.name, ours=True) for row, one in zip(rows, jobs, strict=True)]
        self._remember([*given, *handed])
        return handed

    def _submitted(self, jobs: Sequence[Job]) -> list[Any]:
        """Give Slurm all jobs as one array."""
        import submitit
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        try:
            executor = submitit.AutoExecutor(
                folder=self.session / "%j", cluster="slurm", slurm_max_num_timeout=self.asked.max_num_timeout
            )
            executor.update_parameters(**slurm_parameters(self.asked, self.jobs))
        except (ValueError, NameError, RuntimeError, AssertionError) as error:
            raise ZooError(f"submitit refuses the settings for Slurm: {' '.join(str(error).split())}") from None
        try:
            handed: list[Any] = executor.map_array(train_one, jobs)
        except (FailedJobError, FailedSubmissionError, OSError) as error:
            raise ZooError(f"Slurm refused the jobs: {' '.join(str(error).split())}") from None
        return handed

    def _remember(self, given: Sequence[SlurmRun]) -> None:
        """Write which job has which run, so that a sweep that is started again finds those still at work."""
        write_json(self._file, {one.row.run.name: [one.session, one.job.job_id] for one in given})

    def _remembered(self) -> dict[str, tuple[str, str]]:
        try:
            jobs = read_json(self._file, ZooError, links=False)
            return {name: (str(session), str(job_id)) for name, (session, job_id) in jobs.items()}
        except (ZooError, ValueError, AttributeError, TypeError):
            return {}

    @property
    def _file(self) -> Path:
        return self.session.parent / "slurm.json"


def slurm_parameters(asked: Slurm, jobs: int) -> dict[str, Any]:
    """What submitit is given: its own names for what every cluster has, `slurm_` before those of Slurm alone."""
    shared = ("name", "timeout_min", "cpus_per_task", "gpus_per_node", "mem_gb")
    parameters: dict[str, Any] = {"slurm_array_parallelism": jobs, "nodes": 1, "tasks_per_node": 1}
    for key, value in asked.model_dump(exclude={"max_num_timeout"}).items():
        if value is not None and value != () and value != {}:
            plain = list(value) if isinstance(value, tuple) else value
            parameters[key if key in shared else f"slurm_{key}"] = plain
    return parameters
