"""Specs and a configuration -> the objects of a run: dataset, model, loss, trainer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from zoo import settings
from zoo.config import RunConfig
from zoo.device import Backend
from zoo.errors import CheckpointError
from zoo.randomness import derived_seed
from zoo.registry import Registry, resolve
from zoo.run import Checkpoint
from zoo.specs import DatasetSpec, LossSpec, ModelSpec, TrainerSpec

if TYPE_CHECKING:
    from zoo.interfaces import Dataset


def build_dataset(
    registry: Registry, name: str, data_root: Path | None, values: Mapping[str, Any], *, typed: bool = True
) -> Dataset:
    """Open a dataset."""
    target = resolve(registry.spec(DatasetSpec, name, typed=typed).target)
    dataset: Dataset = target(data_root, **settings.validated(target, values, "dataset"))
    return dataset


def build_model(registry: Registry, config: RunConfig, backend: Backend, *, typed: bool = True) -> Any:
    """Make a model with fresh weights, which depend on the run's seed alone; the caller's random state is untouched."""
    if config.image_shape is None:
        raise CheckpointError("the configuration has no image_shape; it was never trained with")
    target = resolve(registry.spec(ModelSpec, config.model, typed=typed).target)
    values = settings.validated(target, config.settings.get("model", {}), "model")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(config.seed, "initial weights"))
        model = target(config.image_shape, **values)
    return backend.place(model)


def build_loss(registry: Registry, config: RunConfig, backend: Backend, *, typed: bool = True) -> Any:
    """Make the loss; networks of its own are seeded and placed like the model's."""
    target = resolve(registry.spec(LossSpec, config.loss, typed=typed).target)
    values = settings.validated(target, config.settings.get("loss", {}), "loss")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(config.seed, "initial weights of the loss"))
        loss = target(**values)
    return backend.place(loss) if isinstance(loss, torch.nn.Module) else loss


def build_trainer(
    registry: Registry, config: RunConfig, model: Any, loss: Any, backend: Backend, *, typed: bool = True
) -> Any:
    """Make the trainer."""
    target = resolve(registry.spec(TrainerSpec, config.trainer, typed=typed).target)
    values = settings.validated(target, config.settings.get("trainer", {}), "trainer")
    return target(model, loss, seed=config.seed, backend=backend, **values)


def load_weights(model: Any, checkpoint: Checkpoint) -> None:
    """Give a model a checkpoint's weights. Raises CheckpointError, one line, if they are another model's."""
    tensors = checkpoint.tensors("model.safetensors")
    expected = model.state_dict()
    problems = [
        *(f"{name} is missing" for name in expected.keys() - tensors.keys()),
        *(f"{name} is unknown" for name in tensors.keys() - expected.keys()),
        *(
            f"{name} is {tuple(tensors[name].shape)} {tensors[name].dtype}, expected {tuple(value.shape)} {value.dtype}"
            for name, value in expected.items()
            if name in tensors and (tensors[name].shape != value.shape or tensors[name].dtype != value.dtype)
        ),
    ]
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise CheckpointError(f"{checkpoint.path} holds another model's weights: {sorted(problems)[0]}{more}")
    model.load_state_dict(tensors)
