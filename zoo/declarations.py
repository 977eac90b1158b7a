"""What a plugin declares, held against what the host will do with it; `zoo.testing` adds what its models do.

Every function yields the defects it finds, a line each. Nothing here trains or opens data.
"""

from __future__ import annotations

import inspect
import json
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast, get_origin, get_type_hints

import click

from zoo import settings
from zoo.config import PARTS, resolve_config
from zoo.errors import ZooError, described
from zoo.plugins import HOOKS, Plugin, PluginManager
from zoo.registry import SINGULAR, Registry, resolve
from zoo.specs import (
    KINDS,
    ConverterSpec,
    DatasetSpec,
    LossSpec,
    MetricSpec,
    ModelSpec,
    Preset,
    Setting,
    Spec,
    TrainerSpec,
)
from zoo.weights import WeightsFile

CONVERTER_METHODS = ("dataset_to", "checkpoint_to", "checkpoint_from")

# What the host calls each kind's target with; every other parameter has to be a setting.
_PASSED: dict[type[Spec], tuple[tuple[str, ...], tuple[str, ...]]] = {
    ModelSpec: (("image_shape",), ()),
    LossSpec: ((), ()),
    TrainerSpec: (("model", "loss"), ("seed", "backend")),
    DatasetSpec: (("data_root",), ()),
    MetricSpec: (("model", "data", "seed"), ()),
    ConverterSpec: ((), ()),
}


def alone(plugin: Plugin) -> tuple[PluginManager, Plugin]:
    """A manager of this plugin only: what it does there is its own doing."""
    manager = PluginManager([])
    return manager, manager.register(plugin.module, plugin.name, plugin.distribution, plugin.version)


def own_specs(plugin: Plugin, kind: str) -> list[Spec]:
    """What this plugin registers of a kind."""
    return [spec for _, spec in Registry(alone(plugin)[0]).entries(kind)]


def problems_of(registry: Registry, plugin: Plugin, dataset: str) -> Iterator[str]:
    """Yield a line for each defect of a plugin in `registry`; presets that are no dataset's are tried on `dataset`."""
    of_hooks = list(_hook_problems(plugin))
    yield from of_hooks
    if of_hooks:  # what a hook failed to register would be told as unknown wherever it is named
        return
    yield from _command_problems(plugin)
    for kind in KINDS:
        for spec in own_specs(plugin, kind):
            yield from (
                f"{SINGULAR[kind]} {spec.name!r}: {problem}"
                for problem in _spec_problems(registry, kind, spec, dataset)
            )


def _hook_problems(plugin: Plugin) -> Iterator[str]:
    if plugin.error:
        yield plugin.error
        return
    for name in dir(plugin.module):
        if name in HOOKS and name not in plugin.hooks and callable(getattr(plugin.module, name)):
            yield f"{name} is not marked with @zoo.hookimpl, so it is never called"
    if not plugin.hooks:
        yield f"it implements no hook; there are: {', '.join(HOOKS)}"
    manager, itself = alone(plugin)
    registry = Registry(manager)
    for kind, spec_type in KINDS.items():
        if f"zoo_{kind}" in plugin.hooks and not registry.names(kind) and itself.status == "ok":
            yield f"zoo_{kind} returned nothing, expected a list of {spec_type.__name__}"
    if itself.status == "broken":
        yield itself.error


def _command_problems(plugin: Plugin) -> Iterator[str]:
    if "zoo_commands" not in plugin.hooks:
        return
    from zoo.cli import BUILT_IN

    manager, itself = alone(plugin)
    group = click.Group("zoo", commands=dict(BUILT_IN))
    manager.add_commands(group)
    if itself.error:
        yield itself.error
    for name, command in group.commands.items():
        if name not in BUILT_IN and not command.get_short_help_str():
            yield f"command {name!r} has no help"


def _spec_problems(registry: Registry, kind: str, spec: Spec, dataset: str) -> Iterator[str]:
    of_fields = list(_field_problems(KINDS[kind], spec))
    yield from of_fields
    if of_fields:
        return
    if not re.fullmatch(r"\w[\w-]*", spec.name):
        yield "a name is made of letters, digits, _ and -; the command line gives other signs a meaning"
    if kind == "metrics" and spec.name in PARTS:
        yield f"a metric cannot have the name of a part of a run ({', '.join(PARTS)}), whose settings it would take"
    if not spec.summary.strip() or "\n" in spec.summary:
        yield "its summary is not one line of text"
    try:
        registry.spec(type(spec), spec.name)
    except ZooError as error:
        yield str(error)
    of_target = list(_target_problems(spec.target, *_PASSED[KINDS[kind]]))
    yield from of_target
    if isinstance(spec, ModelSpec):
        yield from _model_problems(registry, spec, dataset)
    if isinstance(spec, DatasetSpec):
        yield from _dataset_problems(spec)
    if isinstance(spec, MetricSpec):
        for key, score in spec.published.items():
            if not (isinstance(key, tuple) and len(key) == 2 and isinstance(score, int | float)):
                yield f"published[{key!r}] is {score!r}, expected (model, dataset) -> score"
    if isinstance(spec, ConverterSpec) and not of_target:
        yield from _converter_problems(spec.target)


def _field_problems(record_type: type[Spec] | type[Preset], record: Spec | Preset) -> Iterator[str]:
    """Hold the fields of a record against their annotations, as a dataclass does not."""
    for name, annotation in get_type_hints(record_type).items():
        value, expected = getattr(record, name), get_origin(annotation) or annotation
        if expected is not tuple:
            if not isinstance(value, expected):
                yield f"{name} is {value!r:.60}, expected {expected.__name__}"
        elif isinstance(value, str):
            yield f"{name} is a string; write a tuple: ({value!r},)"
        elif not isinstance(value, tuple | list) or not all(isinstance(item, str) for item in value):
            yield f"{name} is {value!r:.60}, expected a tuple of strings"


def _target_problems(target: str, positional: Sequence[str], keyword: Sequence[str]) -> Iterator[str]:
    """Import a target, hold its signature against how the host calls it, and its settings against their types."""
    try:
        function = resolve(target)
    except ZooError as error:
        yield str(error)
        return
    if callable(function):
        yield from _call_problems(function, target, positional, keyword)
    else:
        yield f"{target} is {type(function).__name__}, expected something to call"


def _call_problems(
    function: Callable[..., Any], target: str, positional: Sequence[str], keyword: Sequence[str]
) -> Iterator[str]:
    try:
        parameters = inspect.signature(function).parameters
        declared = settings.settings_of(function)
    except Exception as error:  # evaluating an annotation can raise anything
        yield f"{target}: its settings cannot be read: {error}; import what their annotations name"
        return
    required = [n for n, p in declared.items() if p.default is inspect.Parameter.empty]
    try:
        inspect.signature(function).bind(*positional, **dict.fromkeys([*keyword, *required]))
    except TypeError as error:
        yield f"{target} cannot be called with ({', '.join([*positional, *keyword])}): {error}"
    for number, (name, parameter) in enumerate(parameters.items()):
        in_the_way = parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
        if in_the_way and number >= len(positional) and name not in keyword:
            yield f"{target}: {name!r} is no setting, since it is not keyword-only; put it behind a *"
    for name in sorted(settings.RESERVED & parameters.keys() - {*positional, *keyword}):
        yield f"{target}: {name!r} is no setting, since trainers are passed it by that name; call it something else"
    for name, parameter in declared.items():
        if parameters[name].annotation is inspect.Parameter.empty:
            yield f"{target}: the setting {name!r} has no annotation, so nothing is checked or converted"
        elif parameter.default is not inspect.Parameter.empty:
            yield from _default_problems(function, target, name, parameter.default)


def _default_problems(function: Callable[..., Any], target: str, name: str, default: Any) -> Iterator[str]:
    try:
        settings.validated(function, {name: default}, target)
        json.dumps(str(default) if isinstance(default, Path) else default, allow_nan=False)
    except ZooError as error:
        yield f"the default of a setting does not fit its annotation: {error}"
    except (TypeError, ValueError) as error:
        yield f"{target}: the default of {name!r} cannot be written to config.json: {error}"


def _model_problems(registry: Registry, spec: ModelSpec, dataset: str) -> Iterator[str]:
    of_defaults = []
    for kind, name in ((LossSpec, spec.loss), (TrainerSpec, spec.trainer)):
        problem = _name_problem(registry, cast(type[Spec], kind), name) if name else None
        if problem is not None:
            of_defaults.append(problem)
            yield f"its default: {problem}"
    for name in spec.eval_metrics:
        problem = _name_problem(registry, MetricSpec, name)
        if problem is not None:
            yield f"eval_metrics: {problem}"
    for name, target in spec.pretrained.items():
        try:
            held = WeightsFile.open(Path(resolve(target))).config.model
        except Exception as error:  # a target can be anything
            yield f"pretrained {name!r}: {described(error)}"
            continue
        if held != spec.name:
            yield f"pretrained {name!r}: its file holds a model {held!r}, not {spec.name!r}"
    if not spec.presets:
        if spec.default_preset:
            yield f"default_preset is {spec.default_preset!r}, and it has no presets"
        return
    try:
        presets = resolve(spec.presets)
    except ZooError as error:
        yield str(error)
        return
    if not isinstance(presets, tuple | list) or not all(isinstance(preset, Preset) for preset in presets):
        yield f"{spec.presets} is not a tuple of Preset"
        return
    names = [preset.name for preset in presets]
    for name in dict.fromkeys(name for name in names if names.count(name) > 1):
        yield f"{names.count(name)} presets are named {name!r}"
    if spec.default_preset and spec.default_preset not in names:
        yield f"default_preset {spec.default_preset!r} is not among its presets: {', '.join(map(str, names))}"
    for preset in presets:
        for problem in _preset_problems(registry, spec.name, preset, dataset):
            if problem not in of_defaults:  # every preset would say so again
                yield f"preset {preset.name!r}: {problem}"


def _name_problem(registry: Registry, kind: type[Spec], name: str) -> str | None:
    """What is wrong with a name that a spec gives."""
    try:
        registry.spec(kind, name, typed=False)
    except ZooError as error:
        return str(error)
    return None


def _preset_problems(registry: Registry, model: str, preset: Preset, dataset: str) -> Iterator[str]:
    of_fields = list(_field_problems(Preset, preset))
    yield from of_fields
    if of_fields:
        return
    for key, value in preset.settings.items():
        if not isinstance(value, Setting) or not value.source:
            yield f"{key} is {value!r}, expected a Setting with its source"
            return
    on = preset.name if preset.name in registry.names("datasets") else dataset
    try:
        resolve_config(registry, model, on, preset=preset.name, untrained=True)
    except Exception as error:  # a target can fail in any way when it is imported and read
        yield described(error).removeprefix(f"preset {preset.name!r} of model {model!r}: ")


def _dataset_problems(spec: DatasetSpec) -> Iterator[str]:
    if spec.prepare:
        yield from _target_problems(spec.prepare, ("data_root",), ())
    if not spec.info:
        return
    problems = list(_target_problems(spec.info, ("data_root",), ()))
    yield from problems
    if problems:
        return
    with tempfile.TemporaryDirectory() as folder:
        try:
            told = resolve(spec.info)(Path(folder))
            json.dumps(told, allow_nan=False)
        except Exception as error:  # whatever a plugin raises is a finding here
            yield f"{spec.info} on an empty folder: {type(error).__name__}: {error}"
            return
    if not isinstance(told, dict):
        yield f"{spec.info} returned {type(told).__name__}, expected a dict"


def _converter_problems(target: str) -> Iterator[str]:
    try:
        converter = resolve(target)()
    except Exception as error:  # whatever a plugin raises is a finding here
        yield f"{target}() fails: {type(error).__name__}: {error}"
        return
    methods = [method for method in CONVERTER_METHODS if hasattr(converter, method)]
    if not methods:
        yield f"{target} has none of the methods {', '.join(CONVERTER_METHODS)}"
    for method in methods:
        yield from _call_problems(getattr(converter, method), f"{target}.{method}", ("source", "out"), ())
