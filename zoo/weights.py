"""A weights file: all that a trained model needs to generate, encode and decode, in one small safetensors file.

It holds the model's weights in half precision, without those that only training needs (a discriminator's, an
optimiser's state), and in its header the configuration of the run and the step. A plugin ships such files as its
models' `pretrained` ones; anybody else passes them on, and opens them by their path.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.config import RunConfig
from zoo.errors import CheckpointError, PluginError, ZooError, shown
from zoo.files import writing
from zoo.untrusted import LARGEST_STEP, open_file, parse_json, read_bytes, said

if TYPE_CHECKING:
    import torch
    from torch import Tensor

WEIGHTS_FORMAT = 1
_KEY = "zoo.weights"  # in the header's metadata
LARGEST_HEADER = 8 * 2**20  # bytes, of a safetensors file


@dataclass(frozen=True)
class WeightsFile:
    """A weights file on the disk whose header was read; the tensors are read when they are asked for."""

    path: Path
    config: RunConfig
    step: int
    size: int  # of the file, in bytes

    @classmethod
    def open(cls, path: Path) -> WeightsFile:
        """Read the header. Raises CheckpointError, one line, if it is no weights file."""
        with open_file(path, CheckpointError) as file:
            size = os.fstat(file.fileno()).st_size
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= min(LARGEST_HEADER, size - 8):
                raise CheckpointError(f"{path} is no weights file: it does not begin as a safetensors file does")
            header = file.read(length)
        try:
            document = parse_json(parse_json(header)["__metadata__"][_KEY].encode())
            stored, config, step = (document[key] for key in ("format", "config", "step"))
        except (ValueError, KeyError, TypeError, AttributeError):  # any JSON at all may stand there
            raise CheckpointError(f"{path} is no weights file: its header has no {_KEY}, which zoo writes") from None
        if stored != WEIGHTS_FORMAT:
            raise CheckpointError(f"{path} has weights format {shown(stored)}, this version reads {WEIGHTS_FORMAT}")
        if type(step) is not int or not 0 <= step <= LARGEST_STEP:
            raise CheckpointError(f"{path} is no weights file: its step is {shown(step)}")
        return cls(path, RunConfig.from_document(config, path), step, size)

    @property
    def weights_sha256(self) -> str:
        """The SHA-256 of the file, in hexadecimal digits."""
        with open_file(self.path, CheckpointError) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    @property
    def weights_size(self) -> int:
        """The bytes that its weights take as float32, at most."""
        return 2 * self.size

    def weights(self) -> dict[str, Tensor]:
        """Read the weights, as float32. Raises CheckpointError, one line, if they cannot be read."""
        from safetensors.torch import load

        try:
            tensors = load(read_bytes(self.path, self.size, CheckpointError))
        except ZooError:
            raise
        except Exception as error:  # of its parser, of a type that torch lacks, of a shape that is none
            raise CheckpointError(f"{self.path} is no safetensors file: {said(error)}") from None
        return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}


def write_weights(out: Path, model: torch.nn.Module, config: RunConfig, step: int) -> Path:
    """Write the weights of a trained model; return the file. How and where the run was made is not passed on.

    Raises CheckpointError if a weight is too large for half precision.
    """
    from safetensors.torch import save

    left_out = unneeded(model)
    tensors = {name: _half(name, tensor) for name, tensor in model.state_dict().items() if name not in left_out}
    about = {"format": WEIGHTS_FORMAT, "config": _portable(config), "step": step}
    content = save(tensors, metadata={_KEY: json.dumps(about, sort_keys=True, allow_nan=False)})
    with writing(out) as temporary:
        temporary.write_bytes(content)
    return out


def unneeded(model: torch.nn.Module) -> set[str]:
    """The names of the weights that only training needs: those of the submodules that `training_only` names.

    Raises PluginError where it names anything else, since the file would lack weights, or have too many.
    """
    from torch.nn import Module

    def is_part(name: Any) -> bool:
        return isinstance(name, str) and isinstance(getattr(model, name, ""), Module | None)  # None: left out this time

    names = getattr(model, "training_only", ())
    if not isinstance(names, tuple | list) or not all(map(is_part, names)):
        parts = ", ".join(name for name, _ in model.named_children())
        raise PluginError(
            f"{type(model).__name__}.training_only is {names!r}, expected a tuple of names of its submodules: {parts}"
        )
    return {name for name in model.state_dict() if name.partition(".")[0] in names}


def broken_weights(model: torch.nn.Module, weights: Mapping[str, Tensor]) -> list[str]:
    """The names of weights that are not finite. Buffers may hold infinities, as masks do, but nothing undefined."""
    parameters = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    return [
        name
        for name, tensor in weights.items()
        if bool((~tensor.isfinite() if name in parameters else tensor.isnan()).any())
    ]


def _half(name: str, tensor: Tensor) -> Tensor:
    if not tensor.is_floating_point():
        return tensor.contiguous().clone()  # a second name of it has memory of its own, as safetensors asks
    half = tensor.half().contiguous()
    if not bool((half.isfinite() == tensor.isfinite()).all()):
        raise CheckpointError(f"{name} has values that half precision cannot hold; pass the run on as it is")
    return half


def _portable(config: RunConfig) -> dict[str, Any]:
    """The configuration; of what made the run, the versions, the commit and a hash of the images alone; of a path, only
    its last part.
    """
    made_by = {
        start: {key: made[key] for key in ("versions", "commit", "images") if key in made}
        for start, made in config.made_by.items()
        if isinstance(made, dict)
    }
    settings = {
        part: {name: _without_folders(value) for name, value in values.items()}
        for part, values in config.settings.items()
    }
    return config.model_copy(update={"made_by": made_by, "settings": settings}).model_dump(mode="json")


def _without_folders(value: Any) -> Any:
    return Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value
