"""The hooks of the zoo: all that a plugin can add to it.

A plugin is a module (or object) whose functions are marked with `zoo.hookimpl` and which an entry point of group
`zoo` names:

    from zoo import hookimpl
    from zoo.specs import MetricSpec

    @hookimpl
    def zoo_metrics():
        return [MetricSpec("mine", "my_package.metric:mine", "what it measures")]

Hooks are called when names are listed or looked up, so a plugin module should import nothing heavy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    import click

    from zoo.specs import ConverterSpec, DatasetSpec, LossSpec, MetricSpec, ModelSpec, TrainerSpec

PROJECT = "zoo"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def zoo_models() -> list[ModelSpec]:  # type: ignore[empty-body]  # a hook specification has no body
    """Return the models: each with its default loss, its default trainer and its presets."""


@hookspec
def zoo_losses() -> list[LossSpec]:  # type: ignore[empty-body]  # a hook specification has no body
    """Return the losses; any trainer that hands them what they need can use them (`--set loss=NAME`)."""


@hookspec
def zoo_trainers() -> list[TrainerSpec]:  # type: ignore[empty-body]  # a hook specification has no body
    """Return the trainers: who updates which parameters, in which order (`--set trainer=NAME`)."""


@hookspec
def zoo_datasets() -> list[DatasetSpec]:  # type: ignore[empty-body]  # a hook specification has no body
    """Return the datasets (`--dataset NAME`, `zoo.load_dataset(NAME)`, `zoo data info NAME`)."""


@hookspec
def zoo_metrics() -> list[MetricSpec]:  # type: ignore[empty-body]  # a hook specification has no body
    """Return the metrics (`zoo eval --metrics NAME`, `zoo.load_metric(NAME)`)."""


@hookspec
def zoo_converters() -> list[ConverterSpec]:  # type: ignore[empty-body]  # a hook specification has no body
    """Return the converters of datasets and checkpoints (`zoo convert`)."""


@hookspec
def zoo_commands(cli: click.Group) -> None:
    """Add commands to the command line with `cli.add_command`. Import what they need inside them."""
