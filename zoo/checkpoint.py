"""One checkpoint on the disk: a folder with two safetensors files and a state.json, written whole or not at all.

`state.json`, written last, holds the size and SHA-256 of the other files, and a SHA-256 of itself, so that a damaged
checkpoint is told apart from a good one before any of it is used. No pickle is written or read.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.errors import CheckpointError, UnreadableCheckpointError, shown
from zoo.files import writing_folder
from zoo.untrusted import LARGEST_STEP, open_file, read_bytes, read_json, said

if TYPE_CHECKING:
    from torch import Tensor

CHECKPOINT_FORMAT = 1
_TENSOR_FILES = ("model.safetensors", "trainer.safetensors")

# What a file from elsewhere may claim.
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
    def weights_sha256(self) -> str:
        """The SHA-256 of their file, in hexadecimal digits."""
        return str(self.state["files"]["model.safetensors"]["sha256"])

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
    def write(
        cls, path: Path, step: int, model: Mapping[str, Tensor], trainer: Mapping[str, Tensor], values: Any
    ) -> Checkpoint:
        """Write a checkpoint as the folder `path`, whole or not at all; `values` is the trainer's JSON state.

        Raises ZooError where the folder cannot be written.
        """
        from safetensors.torch import save

        with writing_folder(path) as folder:
            files = {}
            for file, tensors in zip(_TENSOR_FILES, (model, trainer), strict=True):
                content = save(_apart(tensors))
                (folder / file).write_bytes(content)
                files[file] = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            state = {"format": CHECKPOINT_FORMAT, "step": step, "trainer": values, "files": files}
            state = json.loads(json.dumps(state, allow_nan=False))  # as it will be read back
            state["sha256"] = sha256_of(state)
            (folder / "state.json").write_text(json.dumps(state, indent=2, allow_nan=False) + "\n", encoding="utf-8")
        return cls(path, state)

    @classmethod
    def open(cls, path: Path) -> Checkpoint:
        """Read state.json and hold the files against it. Raises CheckpointError, one line, if it is not whole, and
        UnreadableCheckpointError if there is no telling.
        """
        for part in (path, path / "state.json", *(path / file for file in _TENSOR_FILES)):
            if os.access(part, os.F_OK) and not os.access(part, os.R_OK):
                raise UnreadableCheckpointError(f"cannot read {part}: no permission; give it to this user")
        state = read_json(path / "state.json", CheckpointError, links=False)
        if isinstance(state, dict) and state.get("format", CHECKPOINT_FORMAT) != CHECKPOINT_FORMAT:
            sound = state.get("sha256") == sha256_of(state)
            raise (UnreadableCheckpointError if sound else CheckpointError)(
                f"{path} has checkpoint format {shown(state['format'])}, this version reads {CHECKPOINT_FORMAT}"
            )
        if not _is_state(state):
            raise CheckpointError(f"{path / 'state.json'} is not the state of a checkpoint")
        if state["sha256"] != sha256_of(state):
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


def _apart(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors on the CPU, each in memory of its own: safetensors refuses those of tied weights."""
    apart: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in tensors.items():
        plain = tensor.detach().cpu().contiguous()
        address = plain.untyped_storage().data_ptr()
        apart[name] = plain.clone() if address in seen else plain
        seen.add(address)
    return apart


def _is_state(state: Any) -> bool:
    """Whether a document is what `write` writes as state.json; its hash apart."""
    match state:
        case {"format": _, "step": int(step), "trainer": dict(), "files": dict(files), "sha256": _}:
            sound = type(step) is int and 0 <= step <= LARGEST_STEP
            return sound and all(_is_entry(files.get(file)) for file in _TENSOR_FILES)
    return False


def _is_entry(entry: Any) -> bool:
    match entry:
        case {"size": int(size), "sha256": str()}:
            return 0 <= size < 2**63
    return False


def sha256_of(state: Mapping[str, Any]) -> str:
    """The SHA-256 of a state.json's content but for the hash itself."""
    content = {key: value for key, value in state.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
