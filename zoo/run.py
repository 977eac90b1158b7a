"""The run directory: config.json, metrics.jsonl, evaluations.jsonl, whole checkpoints, figures, and the lock.

A checkpoint is written whole or not at all. Its `state.json`, written last, holds the size and SHA-256 of the other
files, and a SHA-256 of itself, so that a damaged one is told apart from a good one before any of it is used. No pickle
is written or read.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from zoo import terminal
from zoo.config import RunConfig
from zoo.errors import CheckpointError, ZooError, shown
from zoo.files import cannot_write, remove_folder, write_json, writing, writing_folder
from zoo.untrusted import exists, open_file, parse_json, read_bytes, read_json, refuse_link, said

if TYPE_CHECKING:
    from torch import Tensor

CHECKPOINT_FORMAT = 1
_STEP = re.compile(r"step-(\d{8,})")
_TENSOR_FILES = ("model.safetensors", "trainer.safetensors")
# What `locked` guards: all that is written here.
_NAMES = ("config.json", "metrics.jsonl", "evaluations.jsonl", "owner.json", "run.lock", "checkpoints", "figures")

# What a file from elsewhere may claim.
_LARGEST_STEP = 2**53
_LONGEST_LINE = 8 * 2**20  # bytes; an evaluation has a few thousand
_LARGEST_KEPT = 32 * 2**20  # bytes of lines, which take up to thirty times as much memory
_LARGEST_LOG = 2**30  # bytes; a million steps that log each have a quarter of that
# Optimisers gather two tensors a weight, and averages of weights are one more; losses may bring networks of their own.
_LARGEST_TRAINER, _LARGEST_RATIO = 384 * 2**20, 64


@dataclass(frozen=True)
class Checkpoint:
    """One checkpoint on the disk, whole as far as its sizes tell; the hash of a file is checked when it is read."""

    path: Path
    state: Mapping[str, Any]

    @property
    def step(self) -> int:
        """The number of steps done."""
        return int(self.state["step"])

    @property
    def run(self) -> RunDirectory:
        """The run it belongs to."""
        return RunDirectory(self.path.resolve().parent.parent)

    def tensors(self, file: str) -> dict[str, Tensor]:
        """Read `model.safetensors` or `trainer.safetensors`. Raises CheckpointError if it is damaged."""
        from safetensors.torch import load

        content = read_bytes(self.path / file, self.size(file), CheckpointError, links=False)
        self._check(file, hashlib.sha256(content).hexdigest())
        try:
            return load(content)
        except Exception as error:  # of its parser, of a type that torch lacks, of a shape that is none
            raise CheckpointError(f"{self.path / file} is no safetensors file: {said(error)}") from None

    def weights(self) -> dict[str, Tensor]:
        """Read the model's weights. Raises CheckpointError if they are damaged."""
        return self.tensors("model.safetensors")

    @property
    def weights_size(self) -> int:
        """The bytes of their file."""
        return self.size("model.safetensors")

    def size(self, file: str) -> int:
        """The size of one of its files, in bytes."""
        return int(self.state["files"][file]["size"])

    def verify(self) -> None:
        """Read every byte. Raises CheckpointError, one line, if one has changed since it was written."""
        for file in _TENSOR_FILES:
            with open_file(self.path / file, CheckpointError, links=False) as opened:
                self._check(file, hashlib.file_digest(opened, "sha256").hexdigest())

    def _check(self, file: str, sha256: str) -> None:
        if sha256 != self.state["files"][file]["sha256"]:
            raise CheckpointError(f"{self.path / file} is damaged: its SHA-256 is not the one in state.json")

    @classmethod
    def open(cls, path: Path) -> Checkpoint:
        """Read state.json and hold the files against it. Raises CheckpointError, one line, if it is not whole."""
        state = read_json(path / "state.json", CheckpointError, links=False)
        if isinstance(state, dict) and state.get("format", CHECKPOINT_FORMAT) != CHECKPOINT_FORMAT:
            raise CheckpointError(f"{path} has checkpoint format {shown(state['format'])}, this version reads 1")
        if not _is_state(state):
            raise CheckpointError(f"{path / 'state.json'} is not the state of a checkpoint")
        if state["sha256"] != _sha256_of(state):
            raise CheckpointError(f"{path / 'state.json'} is damaged: its SHA-256 is not the one it holds")
        checkpoint = cls(path, state)
        for file in _TENSOR_FILES:
            found, size = (path / file).stat().st_size if (path / file).is_file() else None, checkpoint.size(file)
            if found != size:
                raise CheckpointError(
                    f"{path / file} is {found or 'no'} bytes, expected {size}; the checkpoint is damaged"
                )
        model, trainer = map(checkpoint.size, _TENSOR_FILES)
        if trainer > _LARGEST_TRAINER + _LARGEST_RATIO * model:
            raise CheckpointError(f"{path / 'trainer.safetensors'} is {trainer:,} bytes, too many for such a model")
        return checkpoint


@dataclass(frozen=True)
class RunDirectory:
    """A run directory, made or to be made."""

    path: Path

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

    def _checkpoint_path(self, step: int) -> Path:
        return self.checkpoints_path / f"step-{step:08d}"

    def exists(self) -> bool:
        """Whether a run was begun here."""
        return exists(self.path / "config.json")

    def begin(self, config: RunConfig) -> None:
        """Make the directory and write its configuration."""
        write_json(self.path / "config.json", config.model_dump(mode="json"))

    def save(self, step: int, model: Mapping[str, Tensor], trainer: Mapping[str, Tensor], values: Any) -> Checkpoint:
        """Write one checkpoint, whole or not at all."""
        from safetensors.torch import save

        path = self._checkpoint_path(step)
        with writing_folder(path) as folder:
            files = {}
            for file, tensors in zip(_TENSOR_FILES, (model, trainer), strict=True):
                content = save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})
                (folder / file).write_bytes(content)
                files[file] = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            state = {"format": CHECKPOINT_FORMAT, "step": step, "trainer": values, "files": files}
            state = json.loads(json.dumps(state, allow_nan=False))  # as it will be read back
            state["sha256"] = _sha256_of(state)
            (folder / "state.json").write_text(json.dumps(state, indent=2, allow_nan=False) + "\n", encoding="utf-8")
        return Checkpoint(path, state)

    def steps(self) -> list[int]:
        """The steps that have a checkpoint folder, ascending; whether each is whole shows when it is opened.

        A link is none: it could lead anywhere.
        """
        if not self.checkpoints_path.is_dir():
            return []
        found = (_STEP.fullmatch(entry.name) for entry in self.checkpoints_path.iterdir() if not entry.is_symlink())
        return sorted(int(match[1]) for match in found if match)

    def newest(self) -> Checkpoint | None:
        """The newest whole checkpoint, every byte of it checked, or None; damaged ones cost a warning each."""
        for step in reversed(self.steps()):
            try:
                found = Checkpoint.open(self._checkpoint_path(step))
                found.verify()
            except CheckpointError as error:
                terminal.warn(f"passed over: {error}")
            else:
                return found
        return None

    def best_step(self, metric: str, *, lower_is_better: bool = False) -> int | None:
        """The step of the best score among the run's own evaluations, the first of equals; None where there is none.

        Only scores of the latest one's protocol count, for a resumed run may evaluate in another way. What `zoo eval`
        added does not count: its settings, and so its scores, may be others.
        """
        by_protocol: dict[str, dict[int, float]] = {}
        latest = ""
        for record in self._own_evaluations():
            result = record["metrics"].get(metric)
            score = result.get("score") if isinstance(result, dict) else None
            if isinstance(score, int | float) and not isinstance(score, bool):
                latest = protocol(result)
                by_protocol.setdefault(latest, {})[int(record["step"])] = score
        scores = by_protocol.get(latest)
        if not scores:
            return None
        return (min if lower_is_better else max)(scores, key=lambda step: scores[step])

    def evaluated(self, step: int) -> bool:
        """Whether the run evaluated this step itself."""
        return any(record["step"] == step for record in self._own_evaluations())

    def _own_evaluations(self) -> Iterator[dict[str, Any]]:
        found = self.each_record("evaluations.jsonl")
        return (record for record in found if "checkpoint" not in record and isinstance(record.get("metrics"), dict))

    def prune(self, keep: int, *also: int | None) -> None:
        """Remove all checkpoints but the newest `keep` and those of the steps `also`.

        Each goes whole: killed anywhere, this leaves no half checkpoint under a checkpoint's name.
        """
        steps = self.steps()
        for step in steps[: max(0, len(steps) - keep)]:
            if step not in also:
                try:
                    remove_folder(self._checkpoint_path(step))
                except OSError as error:
                    terminal.warn(f"cannot remove {self._checkpoint_path(step)}: {error.strerror}")

    def append(self, file: str, record: Mapping[str, Any]) -> None:
        """Append one line to metrics.jsonl or evaluations.jsonl."""
        line = json.dumps(record, allow_nan=False) + "\n"
        refuse_link(self.path / file, CheckpointError)
        try:
            with (self.path / file).open("a+b") as handle:
                if handle.tell() and not _ends_a_line(handle):  # what stands there was cut short
                    line = "\n" + line
                handle.write(line.encode())
        except OSError as error:
            raise ZooError(cannot_write(self.path / file, error)) from error

    def records(self, file: str) -> list[dict[str, Any]]:
        """Return the lines of metrics.jsonl or evaluations.jsonl, oldest first; none where there is no such file.

        A line that is not whole (the last one of a killed run) is left out. Raises ZooError where they are more than
        memory should hold; `each_record` goes through any number.
        """
        path, size, found = self.path / file, 0, []
        for line in log_lines(path) if exists(path) else ():
            record = log_record(line)
            if record is not None:
                found.append(record)
                size += len(line)
            if size > _LARGEST_KEPT:
                raise ZooError(
                    f"{path} holds more than {_LARGEST_KEPT:,} bytes of records, too many to look at at once"
                )
        return found

    def each_record(self, file: str) -> Iterator[dict[str, Any]]:
        """Yield what `records` returns, one by one."""
        path = self.path / file
        found = map(log_record, log_lines(path)) if exists(path) else ()
        return (record for record in found if record is not None)

    def forget_after(self, step: int) -> None:
        """Drop what was logged after a step (a resumed run logs it again), and what a killed run left half written.

        Checkpoints after that step are damaged ones, or the run would go on from there. They are kept as
        `damaged-step-...`, so that `prune` does not count them among the newest.
        """
        for left in self.checkpoints_path.glob(".step-*"):
            shutil.rmtree(left, ignore_errors=True)
        for later in (found for found in self.steps() if found > step):
            path = self._checkpoint_path(later)
            aside = path.with_name(f"damaged-{path.name}")
            try:
                remove_folder(aside)
                path.replace(aside)
            except OSError as error:
                raise ZooError(cannot_write(aside, error)) from error
        for file in ("metrics.jsonl", "evaluations.jsonl"):
            path = self.path / file
            if not exists(path) or all(_step_of(line) <= step for line in log_lines(path)):
                continue
            with writing(path) as temporary, temporary.open("wb") as kept:
                kept.writelines(line for line in log_lines(path) if _step_of(line) <= step)

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
        raise CheckpointError(f"{path} is neither a run directory (config.json) nor a checkpoint (state.json)")
    newest = run.newest()
    if newest is None:
        raise CheckpointError(f"{path} has no whole checkpoint yet; train on with --resume")
    return newest


def protocol(result: Mapping[str, Any]) -> str:
    """The protocol of a metric's result, in a form that can be compared; the seed is none of it."""
    found = result.get("protocol")
    return json.dumps({key: value for key, value in found.items() if key != "seed"} if isinstance(found, dict) else {})


def _ends_a_line(handle: BinaryIO) -> bool:
    handle.seek(-1, os.SEEK_END)
    return handle.read(1) == b"\n"


def _is_state(state: Any) -> bool:
    """Whether a document is what `save` writes as state.json; its hash apart."""
    match state:
        case {"format": _, "step": int(step), "trainer": dict(), "files": dict(files), "sha256": _}:
            sound = type(step) is int and 0 <= step <= _LARGEST_STEP
            return sound and all(_is_entry(files.get(file)) for file in _TENSOR_FILES)
    return False


def _is_entry(entry: Any) -> bool:
    match entry:
        case {"size": int(size), "sha256": str()}:
            return 0 <= size < 2**63
    return False


def _owner(path: Path) -> str:
    try:
        match read_json(path, CheckpointError, links=False):
            case {"pid": int(pid), "host": str(host)}:
                return f"process {shown(pid)} on {shown(host)[1:-1]}"
    except CheckpointError:
        pass
    return "another process"  # it has the lock, and has not yet said who it is


def _sha256_of(state: Mapping[str, Any]) -> str:
    """The SHA-256 of a state.json's content but for the hash itself."""
    content = {key: value for key, value in state.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def log_lines(path: Path) -> Iterator[bytes]:
    """Yield the lines of a log; one that is longer than any in parts, which are no records. ZooError where it fails."""
    with open_file(path, ZooError, links=False) as log:
        size = os.fstat(log.fileno()).st_size
        if size > _LARGEST_LOG:
            raise ZooError(f"{path} is {size:,} bytes, larger than any log; move it away")
        while line := log.readline(_LONGEST_LINE):
            yield line


def log_record(line: bytes) -> dict[str, Any] | None:
    """The record in a line of a log, with its `step`; None where it is not whole, or is none that a run would write."""
    try:
        record = parse_json(line)
    except ValueError:
        return None
    step = record.get("step") if isinstance(record, dict) else None
    sound = isinstance(step, int | float) and not isinstance(step, bool) and 0 <= step <= _LARGEST_STEP
    return record if sound else None


def _step_of(line: bytes) -> float:
    """The step of a log line; a half-written last line counts as later than everything."""
    record = log_record(line)
    return float("inf") if record is None else float(record["step"])
