"""A checkpoint on the disk -> a model in memory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.building import build_model, load_weights
from zoo.config import RunConfig
from zoo.device import Backend
from zoo.errors import CheckpointError, UnknownNameError, unknown
from zoo.registry import Registry
from zoo.run import RunDirectory, find_checkpoint
from zoo.specs import ModelSpec

PRETRAINED = "pretrained:"


@dataclass(frozen=True)
class Loaded:
    """A model with a checkpoint's weights, and where they came from."""

    model: Any
    config: RunConfig
    path: Path
    step: int
    run: RunDirectory | None


def load_checkpoint(registry: Registry, model_name: str, checkpoint: Path | str, *, device: str = "auto") -> Loaded:
    """Open a run directory (its newest whole checkpoint), one checkpoint, or `pretrained:NAME`.

    Raises CheckpointError, one line, if it is none of these, or another model's.
    """
    spec = registry.spec(ModelSpec, model_name)
    if str(checkpoint).startswith(PRETRAINED):
        name = str(checkpoint).removeprefix(PRETRAINED)
        raise UnknownNameError(unknown(f"pretrained {spec.name}", name, spec.pretrained))
    found = find_checkpoint(Path(checkpoint))
    config = found.run.config
    if config.model != model_name:
        raise CheckpointError(f"{checkpoint} holds a model {config.model!r}, not {model_name!r}; name it instead")
    model = build_model(registry, config, Backend.choose(device, "fp32"), checkpoint=found)
    load_weights(model, found)
    return Loaded(model.eval(), config, found.path, found.step, found.run)
