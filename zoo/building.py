"""Specs and a configuration -> the objects of a run: dataset, model, loss, trainer."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from zoo import settings
from zoo.checkpoint import Checkpoint
from zoo.config import RunConfig
from zoo.conformance import check_dataset, check_model, check_trainer
from zoo.device import Backend
from zoo.errors import CheckpointError, UsageError, ZooError, shown
from zoo.randomness import derived_seed
from zoo.registry import Registry, resolve
from zoo.specs import DatasetSpec, LossSpec, ModelSpec, TrainerSpec
from zoo.untrusted import said
from zoo.weights import LARGEST_HEADER, WeightsFile, broken_weights, unneeded

if TYPE_CHECKING:
    from zoo.interfaces import Dataset

_SMALL_MODEL = 128 * 2**20  # bytes; one of this size does no harm, whatever the checkpoint then holds


def build_dataset(
    registry: Registry, name: str, data_root: Path | None, values: Mapping[str, Any], *, typed: bool = True
) -> Dataset:
    """Open a dataset."""
    target = resolve(registry.spec(DatasetSpec, name, typed=typed).target)
    values = settings.validated(target, values, "")
    with _blaming_settings(f"dataset {name!r}"):
        dataset: Dataset = target(data_root, **values)
        check_dataset(name, dataset)
    return dataset


def refuse_before_preparing(registry: Registry, config: RunConfig, data_root: Path | None) -> None:
    """Raise UsageError if the model refuses the images of a dataset that is yet to be prepared, which may take an hour.

    What the dataset's `info` tells is all there is to go by; without it, the model tells so when the images are there.
    """
    image_shape = _shape_before_preparing(registry, config, data_root)
    if image_shape is None:
        return
    target = resolve(registry.spec(ModelSpec, config.model).target)
    values = settings.validated(target, config.settings.get("model", {}), "model")
    try:
        with _without_content():
            target(image_shape, **values)
    except UsageError:
        raise
    except Exception:  # what else is wrong shows when it is made for real
        return


def _shape_before_preparing(registry: Registry, config: RunConfig, data_root: Path | None) -> tuple[int, ...] | None:
    """What `info` says of the images of a dataset that is not ready; None where it says nothing, or fails."""
    spec, given = registry.spec(DatasetSpec, config.dataset), config.settings.get("dataset", {})
    try:
        info = resolve(spec.info)
        known = {name: given[name] for name in settings.settings_of(info) if name in given}
        told = info(data_root, **settings.validated(info, known, ""))
        return None if told["ready"] else tuple(told["image_shape"])
    except Exception:  # it is asked as a help only; opening the dataset tells what is wrong
        return None


def build_model(
    registry: Registry, config: RunConfig, backend: Backend, *, checkpoint: Checkpoint | WeightsFile | None = None
) -> Any:
    """Make a model with fresh weights, which depend on the run's seed alone; the caller's random state is untouched.

    Raises UsageError for settings that make no model, or one larger than the machine's memory, and CheckpointError for
    one much larger than the weights of `checkpoint`, both before it is made.
    """
    if config.image_shape is None:
        raise CheckpointError("the configuration has no image_shape; it was never trained with")
    target = resolve(registry.spec(ModelSpec, config.model).target)
    values = settings.validated(target, config.settings.get("model", {}), "model")
    _check_size(config.model, partial(target, config.image_shape, **values), checkpoint)
    with _blaming_settings(f"model {config.model!r}"):
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(derived_seed(config.seed, "initial weights"))
            model = target(config.image_shape, **values)
        check_model(config.model, model)
        return backend.place(model)


def build_loss(registry: Registry, config: RunConfig, backend: Backend) -> Any:
    """Make the loss; networks of its own are seeded and placed like the model's."""
    target = resolve(registry.spec(LossSpec, config.loss).target)
    values = settings.validated(target, config.settings.get("loss", {}), "loss")
    with _blaming_settings(f"loss {config.loss!r}"):
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(derived_seed(config.seed, "initial weights of the loss"))
            loss = target(**values)
        return backend.place(loss) if isinstance(loss, torch.nn.Module) else loss


def build_trainer(registry: Registry, config: RunConfig, model: Any, loss: Any, backend: Backend) -> Any:
    """Make the trainer."""
    target = resolve(registry.spec(TrainerSpec, config.trainer).target)
    values = settings.validated(target, config.settings.get("trainer", {}), "trainer")
    with _blaming_settings(f"trainer {config.trainer!r} for model {config.model!r} with loss {config.loss!r}"):
        trainer = target(model, loss, seed=config.seed, backend=backend, **values)
        check_trainer(config.trainer, trainer)
    return trainer


def load_weights(model: Any, checkpoint: Checkpoint | WeightsFile) -> None:
    """Give a model a checkpoint's or a weights file's weights; a weights file leaves what only training needs as it is.

    Raises CheckpointError, one line, if they are another model's.
    """
    expected = model.state_dict()
    if isinstance(checkpoint, WeightsFile):
        left_out = unneeded(model)
        expected = {name: tensor for name, tensor in expected.items() if name not in left_out}
    size = _bytes_of(expected.values())
    if checkpoint.weights_size > size + LARGEST_HEADER:
        raise CheckpointError(
            f"{checkpoint.path} holds another model's weights: {checkpoint.weights_size:,} bytes, expected {size:,}"
        )
    tensors = checkpoint.weights()

    def same_type(found: torch.Tensor, value: torch.Tensor) -> bool:
        rounded = isinstance(checkpoint, WeightsFile) and found.is_floating_point()  # float32, whatever it was
        return found.dtype == value.dtype or (rounded and value.is_floating_point())

    problems = [
        *(f"{name} is missing" for name in expected.keys() - tensors.keys()),
        *(f"{shown(name)} is unknown" for name in tensors.keys() - expected.keys()),
        *(
            f"{name} is {tuple(tensors[name].shape)} {tensors[name].dtype}, expected {tuple(value.shape)} {value.dtype}"
            for name, value in expected.items()
            if name in tensors and (tensors[name].shape != value.shape or not same_type(tensors[name], value))
        ),
    ]
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise CheckpointError(f"{checkpoint.path} holds another model's weights: {sorted(problems)[0]}{more}")
    broken = broken_weights(model, tensors)
    if broken:
        raise CheckpointError(f"{checkpoint.path} holds weights that are not finite: {broken[0]}")
    model.load_state_dict(tensors, strict=not isinstance(checkpoint, WeightsFile))


def load_trainer(trainer: Any, checkpoint: Checkpoint) -> None:
    """Give a trainer a checkpoint's state. Raises CheckpointError, one line, if it is another trainer's."""
    tensors = checkpoint.tensors("trainer.safetensors")
    try:
        trainer.load(tensors, checkpoint.state["trainer"])
    except ZooError:
        raise
    except Exception as error:  # a trainer may come from another plugin, and the state from anywhere
        raise CheckpointError(
            f"{checkpoint.path} holds a state that {type(trainer).__name__} cannot go on from: "
            f"{type(error).__name__}: {said(error)}"
        ) from error


def _check_size(name: str, make: Callable[[], Any], checkpoint: Checkpoint | WeightsFile | None) -> None:
    """Refuse a model that is too large, before any memory is taken for it."""
    try:
        with _without_content():
            size = _bytes_of(make().state_dict().values())
    except Exception:  # some models cannot be made so; they are made for real then, and show what is wrong with them
        return
    if checkpoint is not None and size > 2 * checkpoint.weights_size + _SMALL_MODEL:
        raise CheckpointError(
            f"{checkpoint.path} holds another model's weights: {checkpoint.weights_size:,} bytes, "
            f"where its configuration makes a model of {size:,}"
        )
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if size > memory:
        raise UsageError(
            f"model {name!r} would have {size:,} bytes of weights, and this machine has {memory:,} of memory; choose "
            "smaller settings"
        )


@contextmanager
def _without_content() -> Iterator[None]:
    """Make tensors that have a shape and take no memory, and leave torch's random state as it was."""
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        yield


@contextmanager
def _blaming_settings(what: str) -> Iterator[None]:
    """Turn what a target raises for settings that are each allowed, and together impossible, into one line."""
    try:
        yield
    except ZooError:
        raise
    except OSError as error:  # a file that is not there, or cannot be read
        raise ZooError(f"{what} cannot be made: {type(error).__name__}: {said(error)}") from error
    except Exception as error:  # a target may come from another plugin
        raise UsageError(
            f"{what} cannot be made with these settings: {type(error).__name__}: {said(error)} (ZOO_DEBUG=1 shows more)"
        ) from error


def _bytes_of(tensors: Iterable[torch.Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
