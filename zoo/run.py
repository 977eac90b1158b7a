"""The run directory: config.json, metrics.jsonl, evaluations.jsonl, whole checkpoints, figures, and the lock."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo import evaluations, log, terminal
from zoo.checkpoint import Checkpoint
from zoo.config import RunConfig
from zoo.errors import CheckpointError, UnreadableCheckpointError, UsageError, ZooError, shown
from zoo.evaluations import is_own
from zoo.files import cannot_write, remove_folder, write_json
from zoo.untrusted import exists, read_json, refuse_link

if TYPE_CHECKING:
    from torch import Tensor

_STEP = re.compile(r"step-(\d{8,})")
_LOOKED_AT = 1000  # entries of a folder that is no run, for runs and checkpoints to name
_ASIDE = "damaged-evaluations.jsonl"  # of checkpoints that are damaged
# What `locked` guards: all that is written here.
_NAMES = (
    "config.json", "metrics.jsonl", "evaluations.jsonl", _ASIDE, "owner.json", "run.lock", "checkpoints", "figures"
)  # fmt: skip


@dataclass(frozen=True)
class RunDirectory:
    """A run directory, made or to be made."""

    path: Path

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> RunDirectory:
        """The run that a checkpoint belongs to. Raises CheckpointError where that is not there."""
        run = cls(checkpoint.path.resolve().parent.parent)
        if not run.exists():
            raise CheckpointError(
                f"{checkpoint.path} is a checkpoint without its run; put it back into the checkpoints/ of the run, or "
                "make a file of it there, to pass on: zoo convert checkpoint RUN --to weights --out FILE"
            )
        return run

    def __fspath__(self) -> str:
        return str(self.path)

    @property
    def config(self) -> RunConfig:
        """The configuration that made it."""
        return RunConfig.from_file(self.path / "config.json", links=False)

    @property
    def checkpoints_path(self) -> Path:
        """Where its checkpoints are. Raises CheckpointError where that is a link."""
        refuse_link(self.path / "checkpoints", CheckpointError)
        return self.path / "checkpoints"

    @property
    def figures_path(self) -> Path:
        """Where its figures are. Raises CheckpointError where that is a link."""
        refuse_link(self.path / "figures", CheckpointError)
        return self.path / "figures"

    def checkpoint_path(self, step: int) -> Path:
        """Where the checkpoint of a step is, or will be."""
        return self.checkpoints_path / f"step-{step:08d}"

    def exists(self) -> bool:
        """Whether a run was begun here."""
        return exists(self.path / "config.json")

    def refuse_checkpoint(self) -> None:
        """Raise UsageError where this is one checkpoint of a run."""
        if exists(self.path / "state.json"):
            run = shlex.quote(str(self.path.absolute().parent.parent))
            raise UsageError(f"{self.path} is a checkpoint, not a run; go on with the run: --resume --out {run}")

    def write_config(self, config: RunConfig) -> None:
        """Write its configuration; with it, the directory is a run. Raises ZooError where it cannot be written."""
        write_json(self.path / "config.json", config.model_dump(mode="json"))

    def save(self, step: int, model: Mapping[str, Tensor], trainer: Mapping[str, Tensor], values: Any) -> Checkpoint:
        """Write one checkpoint, whole or not at all. Raises ZooError where the folder cannot be written."""
        return Checkpoint.write(self.checkpoint_path(step), step, model, trainer, values)

    def steps(self) -> list[int]:
        """The steps that have a checkpoint folder, ascending; whether each is whole shows when it is opened.

        A link is none: it could lead anywhere.
        """
        if not self.checkpoints_path.is_dir():
            return []
        found = (_STEP.fullmatch(entry.name) for entry in self.checkpoints_path.iterdir() if not entry.is_symlink())
        return sorted(int(match[1]) for match in found if match)

    def newest(self) -> Checkpoint | None:
        """The newest whole checkpoint, every byte of it checked, or None; damaged ones cost a warning each.

        Raises UnreadableCheckpointError for one that comes before it and may be whole.
        """
        for step in reversed(self.steps()):
            try:
                found = Checkpoint.open(self.checkpoint_path(step))
                found.verify()
            except UnreadableCheckpointError:
                raise
            except CheckpointError as error:
                terminal.warn(f"passed over: {error}")
            else:
                return found
        return None

    def refuse_to_begin_anew(self) -> None:
        """Raise CheckpointError where there was a checkpoint once, and there is no whole one left to go on from:
        beginning again would drop the logs of what was done. Of less than `save_every` steps that is no loss.
        """
        damaged = bool(self.steps())
        saved_every = self.config.save_every
        logged = max((int(record["step"]) for record in self.each_record("metrics.jsonl")), default=0)
        scored = any(not is_own(record) for record in self.each_record("evaluations.jsonl"))
        if scored or 0 < saved_every < logged + damaged:
            lost = "has no whole checkpoint" if damaged else "has no checkpoint any more"
            raise CheckpointError(
                f"{self.path} was at step {logged:,} and {lost}; put its checkpoints/ back, or begin a new run with "
                "another --out"
            )

    def best_step(self, metric: str, *, lower_is_better: bool = False) -> int | None:
        """The step of the checkpoint with the best score by the run's own evaluations, the first of equals, or None.

        A better one that was never saved, or is gone, is no reason to let this one go.
        """
        records = self.each_record("evaluations.jsonl")
        return evaluations.best_step(records, metric, set(self.steps()), lower_is_better=lower_is_better)

    def evaluated(self, step: int) -> bool:
        """Whether the run evaluated this step itself."""
        return any(record["step"] == step for record in self.each_record("evaluations.jsonl") if is_own(record))

    def prune(self, keep: int, *also: int | None) -> None:
        """Remove all checkpoints but the newest `keep` and those of the steps `also`.

        Each goes whole: killed anywhere, this leaves no half checkpoint under a checkpoint's name.
        """
        steps = self.steps()
        for step in steps[: max(0, len(steps) - keep)]:
            if step not in also:
                try:
                    remove_folder(self.checkpoint_path(step))
                except OSError as error:
                    terminal.warn(f"cannot remove {self.checkpoint_path(step)}: {error.strerror}")

    def append(self, file: str, record: Mapping[str, Any]) -> None:
        """Append one line to metrics.jsonl or evaluations.jsonl."""
        log.append(self.path / file, record)

    def records(self, file: str) -> list[dict[str, Any]]:
        """Return the whole lines of metrics.jsonl or evaluations.jsonl, oldest first; none where there is no such file.

        Raises ZooError where they are more than memory should hold; `each_record` goes through any number.
        """
        return log.records(self.path / file)

    def each_record(self, file: str) -> Iterator[dict[str, Any]]:
        """Yield what `records` returns, one by one."""
        return log.each_record(self.path / file)

    def forget_after(self, step: int) -> None:
        """Drop what came after a step, for a resumed run does it again, and what a killed run left half written."""
        for left in self.checkpoints_path.glob(".step-*"):
            shutil.rmtree(left, ignore_errors=True)
        self._set_damaged_aside(step)
        # What the run scored itself it scores again; what was asked of a checkpoint that is damaged now, nobody would.
        asked = [r for r in self.each_record("evaluations.jsonl") if r["step"] > step and not is_own(r)]
        for record in asked:
            self.append(_ASIDE, record)
        if asked:
            terminal.warn(f"{len(asked)} evaluations of steps after {step:,} are in {self.path / _ASIDE} now")
        for file in ("metrics.jsonl", "evaluations.jsonl"):
            log.drop_after(self.path / file, step)

    def _set_damaged_aside(self, step: int) -> None:
        """Rename the checkpoints after the step that the run goes on from: they are damaged, or it would be another.

        They are kept as `damaged-step-...`, so that `prune` does not count them among the newest.
        """
        for later in (found for found in self.steps() if found > step):
            path = self.checkpoint_path(later)
            aside = path.with_name(f"damaged-{path.name}")
            try:
                remove_folder(aside)
                path.replace(aside)
            except OSError as error:
                raise ZooError(cannot_write(aside, error)) from error

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run for this process. Raises ZooError naming the owner's host and pid if another one has it.

        The lock is the system's: it goes with its process, however that ends.
        """
        from filelock import FileLock, Timeout

        for name in _NAMES:  # all that is written here; a link would have it written somewhere else
            refuse_link(self.path / name, CheckpointError)
        owner = self.path / "owner.json"
        made_here = not self.path.exists()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.path / "run.lock", timeout=0)
            lock.acquire()
        except Timeout:
            raise ZooError(
                f"{self.path} is being written by {_owner(owner)}; wait for it, stop it, or choose another --out"
            ) from None
        except OSError as error:
            raise ZooError(cannot_write(self.path, error)) from error
        try:
            write_json(owner, {"host": socket.gethostname(), "pid": os.getpid()})
            yield
        finally:
            with suppress(OSError):  # what went wrong with the folder is told by what was done in it
                owner.unlink(missing_ok=True)
            lock.release()
            if made_here and not self.exists():  # the run never began: leave nothing behind
                with suppress(OSError):
                    (self.path / "run.lock").unlink()
                    self.path.rmdir()


def find_checkpoint(path: Path) -> Checkpoint:
    """Return the newest whole checkpoint of a run directory, or the checkpoint that `path` is.

    Raises CheckpointError, one line, where there is none.
    """
    path = Path(path)
    if not exists(path):
        raise CheckpointError(f"{path} does not exist; name a run directory or a checkpoint in one")
    if exists(path / "state.json"):
        return Checkpoint.open(path)
    run = RunDirectory(path)
    if not run.exists():
        raise CheckpointError(
            f"{path} is neither a run directory (config.json) nor a checkpoint (state.json){_below(path)}"
        )
    newest = run.newest()
    if newest is None:
        raise CheckpointError(f"{path} has no whole checkpoint yet; train on with --resume")
    return newest


def _below(path: Path) -> str:
    """Where a folder holds runs or checkpoints: "; name one of those in it: A, B"."""
    try:
        children = sorted(islice(path.iterdir(), _LOOKED_AT))
    except OSError:  # a file, or a folder that may not be read
        return ""
    found = [child for child in children if exists(child / "config.json") or exists(child / "state.json")]
    names = ", ".join(child.name for child in found[:3]) + (", ..." if len(found) > 3 else "")
    return f"; name one of those in it: {names}" if found else ""


def _owner(path: Path) -> str:
    try:
        match read_json(path, CheckpointError, links=False):
            case {"pid": int(pid), "host": str(host)}:
                return f"process {shown(pid)} on {shown(host)[1:-1]}"
    except CheckpointError:
        pass
    return "another process"  # it has the lock, and has not yet said who it is
