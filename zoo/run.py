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
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo import terminal
from zoo.config import RunConfig
from zoo.errors import CheckpointError, ZooError
from zoo.files import cannot_write, write_json, writing, writing_folder

if TYPE_CHECKING:
    from torch import Tensor

CHECKPOINT_FORMAT = 1
_STEP = re.compile(r"step-(\d{8,})")
_TENSOR_FILES = ("model.safetensors", "trainer.safetensors")
_LARGEST_JSON = 16 * 2**20


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
        from safetensors import SafetensorError
        from safetensors.torch import load

        try:
            return load(self._content(file))
        except SafetensorError as error:
            raise CheckpointError(f"{self.path / file} is no safetensors file: {error}") from None

    def verify(self) -> None:
        """Read every byte. Raises CheckpointError, one line, if one has changed since it was written."""
        for file in _TENSOR_FILES:
            self._content(file)

    def _content(self, file: str) -> bytes:
        try:
            content = (self.path / file).read_bytes()
        except OSError as error:
            raise CheckpointError(f"cannot read {self.path / file}: {error.strerror}") from None
        if hashlib.sha256(content).hexdigest() != self.state["files"][file]["sha256"]:
            raise CheckpointError(f"{self.path / file} is damaged: its SHA-256 is not the one in state.json")
        return content

    @classmethod
    def open(cls, path: Path) -> Checkpoint:
        """Read state.json and hold the files against it. Raises CheckpointError, one line, if it is not whole."""
        state = _read_json(path / "state.json")
        try:
            if state["format"] != CHECKPOINT_FORMAT:
                raise CheckpointError(f"{path} has checkpoint format {state['format']!r}, this version reads 1")
            sizes = {file: int(state["files"][file]["size"]) for file in _TENSOR_FILES}
            int(state["step"]), dict(state["trainer"]), [str(state["files"][f]["sha256"]) for f in _TENSOR_FILES]
            whole = state["sha256"] == _sha256_of(state)
        except (KeyError, TypeError, ValueError):
            raise CheckpointError(f"{path / 'state.json'} is not the state of a checkpoint") from None
        if not whole:
            raise CheckpointError(f"{path / 'state.json'} is damaged: its SHA-256 is not the one it holds")
        for file, size in sizes.items():
            found = (path / file).stat().st_size if (path / file).is_file() else None
            if found != size:
                raise CheckpointError(
                    f"{path / file} is {found or 'no'} bytes, expected {size}; the checkpoint is damaged"
                )
        return cls(path, state)


@dataclass(frozen=True)
class RunDirectory:
    """A run directory, made or to be made."""

    path: Path

    @property
    def config(self) -> RunConfig:
        """The configuration that made it."""
        return RunConfig.from_file(self.path / "config.json")

    @property
    def checkpoints_path(self) -> Path:
        """Where its checkpoints are."""
        return self.path / "checkpoints"

    @property
    def figures_path(self) -> Path:
        """Where its figures are."""
        return self.path / "figures"

    def exists(self) -> bool:
        """Whether a run was begun here."""
        return (self.path / "config.json").is_file()

    def begin(self, config: RunConfig) -> None:
        """Make the directory and write its configuration."""
        write_json(self.path / "config.json", config.model_dump(mode="json"))

    def save(self, step: int, model: Mapping[str, Tensor], trainer: Mapping[str, Tensor], values: Any) -> Checkpoint:
        """Write one checkpoint, whole or not at all."""
        from safetensors.torch import save

        path = self.checkpoints_path / f"step-{step:08d}"
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
        """The steps that have a checkpoint folder, ascending; whether each is whole shows when it is opened."""
        if not self.checkpoints_path.is_dir():
            return []
        found = (_STEP.fullmatch(entry.name) for entry in self.checkpoints_path.iterdir())
        return sorted(int(match[1]) for match in found if match)

    def newest(self) -> Checkpoint | None:
        """The newest whole checkpoint, every byte of it checked, or None; damaged ones cost a warning each."""
        for step in reversed(self.steps()):
            try:
                found = Checkpoint.open(self.checkpoints_path / f"step-{step:08d}")
                found.verify()
            except CheckpointError as error:
                terminal.warn(f"passed over: {error}")
            else:
                return found
        return None

    def append(self, file: str, record: Mapping[str, Any]) -> None:
        """Append one line to metrics.jsonl or evaluations.jsonl."""
        line = json.dumps(record, allow_nan=False) + "\n"
        try:
            with (self.path / file).open("a", encoding="utf-8") as handle:
                handle.write(line)
        except OSError as error:
            raise ZooError(cannot_write(self.path / file, error)) from error

    def records(self, file: str) -> list[dict[str, Any]]:
        """Return the lines of metrics.jsonl or evaluations.jsonl, oldest first; none where there is no such file.

        A line that is not whole (the last one of a killed run) is left out.
        """
        try:
            lines = (self.path / file).read_text(encoding="utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise ZooError(f"cannot read {self.path / file}: {error.strerror}") from None
        return [json.loads(line) for line in lines if _step_of(line) < float("inf")]

    def forget_after(self, step: int) -> None:
        """Drop what was logged after a step (a resumed run logs it again), and what a killed run left half written."""
        for left in self.checkpoints_path.glob(".step-*"):
            shutil.rmtree(left, ignore_errors=True)
        for file in ("metrics.jsonl", "evaluations.jsonl"):
            path = self.path / file
            if not path.is_file():
                continue
            lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
            kept = [line for line in lines if _step_of(line) <= step]
            if kept != lines:
                with writing(path) as temporary:
                    temporary.write_text("".join(kept), encoding="utf-8")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run for this process. Raises ZooError naming the owner's host and pid if another one has it.

        The lock is the system's: it goes with its process, however that ends.
        """
        from filelock import FileLock, Timeout

        owner = self.path / "owner.json"
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


def find_checkpoint(path: Path) -> Checkpoint:
    """Return the newest whole checkpoint of a run directory, or the checkpoint that `path` is.

    Raises CheckpointError, one line, where there is none.
    """
    path = Path(path)
    if not path.exists():
        raise CheckpointError(f"{path} does not exist; name a run directory or a checkpoint in one")
    if (path / "state.json").is_file():
        return Checkpoint.open(path)
    run = RunDirectory(path)
    if not run.exists():
        raise CheckpointError(f"{path} is neither a run directory (config.json) nor a checkpoint (state.json)")
    newest = run.newest()
    if newest is None:
        raise CheckpointError(f"{path} has no whole checkpoint yet; train on with --resume")
    return newest


def _read_json(path: Path) -> Any:
    try:
        if path.stat().st_size > _LARGEST_JSON:
            raise CheckpointError(f"{path} is larger than any file of its kind")
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not JSON: {error}") from None


def _owner(path: Path) -> str:
    try:
        found = _read_json(path)
        return f"process {found['pid']} on {found['host']}"
    except (CheckpointError, KeyError, TypeError):  # it has the lock, and has not yet said who it is
        return "another process"


def _sha256_of(state: Mapping[str, Any]) -> str:
    """The SHA-256 of a state.json's content but for the hash itself."""
    content = {key: value for key, value in state.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _step_of(line: str) -> float:
    """The step of a log line; a half-written last line counts as later than everything."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")
