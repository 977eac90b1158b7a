"""The checkpoint that a converter is given, loaded as the model that it is of, whose name nobody types."""

from __future__ import annotations

from pathlib import Path

from zoo.errors import AmbiguousNameError, UnknownNameError, shown, unknown
from zoo.loading import PRETRAINED, Loaded, load_checkpoint
from zoo.registry import Registry, default_registry
from zoo.specs import ModelSpec


def load(checkpoint: Path, model: str | None = None) -> Loaded:
    """Load a run directory (its newest checkpoint), one checkpoint, a weights file, or `pretrained:NAME`, on the CPU.

    `model` is its name, as a person typed it; it need not be said of a registered one.

    Raises CheckpointError, one line, for what is none of these; UnknownNameError where its model is not registered, or
    no model ships weights of that NAME; AmbiguousNameError where several do.
    """
    registry, text = default_registry(), str(checkpoint)
    if model is None and text.startswith(PRETRAINED):
        model = _shipping(registry, text.removeprefix(PRETRAINED))
    return load_checkpoint(registry, model, checkpoint, device="cpu")


def _shipping(registry: Registry, name: str) -> str:
    """The model that weights of this name ship with."""
    shipped = {spec.name: spec.pretrained for _, spec in registry.entries("models") if isinstance(spec, ModelSpec)}
    models = [model for model, names in shipped.items() if name in names]
    if not models:
        raise UnknownNameError(unknown("pretrained weights", name, set().union(*shipped.values())))
    if len(models) > 1:
        raise AmbiguousNameError(
            f"{' and '.join(models)} each ship weights named {shown(name)}; switch one off with ZOO_DISABLE_PLUGINS"
        )
    return models[0]
