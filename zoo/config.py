"""Words -> one frozen `RunConfig`: defaults < preset < configuration file < typed settings.

Every value remembers where it came from, so that `--dry-run` and config.json can say so.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError

from zoo import settings
from zoo.absent_plugins import naming_absent_plugins
from zoo.errors import (
    CheckpointError,
    PluginError,
    SettingError,
    UnknownNameError,
    UsageError,
    ZooError,
    shown,
    unknown,
)
from zoo.registry import Registry, resolve
from zoo.specs import DatasetSpec, LossSpec, MetricSpec, ModelSpec, Preset, TrainerSpec
from zoo.untrusted import exists, read_json, user_path

Seed = Annotated[int, Field(ge=0, lt=2**63)]
Every = Annotated[int, Field(ge=0)]

# The settings that belong to the run rather than to one of its parts.
RUN_KEYS = ("steps", "batch_size", "log_every", "save_every", "eval_every", "eval_metrics", "keep", "keep_best")
PARTS = ("model", "loss", "trainer", "dataset")
RUN_LEVEL = ("loss", "trainer", "seed", *RUN_KEYS, "device", "precision")  # all that a person may set of it

_CHOSEN = {"model": "zoo train MODEL", "dataset": "--dataset NAME", "preset": "--preset NAME"}  # not by --set

_LARGEST_FILE = 2**20  # bytes; a config.json has a few thousand, and some more for every time it was resumed


class RunConfig(BaseModel):
    """Everything needed to repeat a run."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), allow_inf_nan=False)

    format: Literal[1] = 1
    model: str
    dataset: str
    loss: str
    trainer: str
    preset: str
    seed: Seed = 0
    steps: PositiveInt
    batch_size: Annotated[int, Field(ge=2, le=65_536)] = 64
    log_every: PositiveInt = 100
    save_every: Every = Field(default=5_000, description="0: only at the end")
    eval_every: Every = Field(default=0, description="0: never")
    eval_metrics: tuple[str, ...] = ()
    keep: Every = Field(default=0, description="how many of the newest checkpoints stay; 0: all")
    keep_best: str = Field(default="", description="the metric whose best checkpoint stays too; empty: the first")
    device: str = "auto"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    image_shape: tuple[PositiveInt, PositiveInt, PositiveInt] | None = None
    settings: dict[str, dict[str, Any]] = Field(default_factory=dict)
    sources: dict[str, str] = Field(default_factory=dict)
    made_by: dict[str, Any] = Field(default_factory=dict)

    def rows(self) -> list[tuple[str, str, str]]:
        """(setting, value, source) for everything that decides what the run computes."""
        run = ("model", "dataset", "loss", "trainer", "preset", "seed", *RUN_KEYS, "device", "precision")
        rows = [(key, _shown(getattr(self, key)), self.sources.get(key, "default")) for key in run]
        for part, values in self.settings.items():
            for name, value in values.items():
                key = f"{part}.{name}"
                rows.append((key, _shown(value), self.sources.get(key, "default")))
        return rows

    @classmethod
    def from_file(cls, path: Path, *, links: bool = True) -> RunConfig:
        """Read a run's config.json. Raises CheckpointError for anything else, and for a link where `links` is False."""
        if not exists(path):
            raise CheckpointError(f"{path} is missing; a run directory holds a config.json")
        return cls.from_document(read_json(path, CheckpointError, limit=_LARGEST_FILE, links=links), path)

    @classmethod
    def from_document(cls, document: Any, path: Path) -> RunConfig:
        """Check what was read from the file `path`. Raises CheckpointError, one line that names it."""
        try:
            return cls.model_validate(document)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = shown(".".join(map(str, first["loc"])))[1:-1] or "the document"
            raise CheckpointError(f"{path} is no run configuration: {where}: {settings.reason(error)}") from None


def resolve_config(
    registry: Registry,
    model: str,
    dataset: str,
    *,
    preset: str | None = None,
    base: RunConfig | None = None,
    typed: Mapping[str, Any] | None = None,
    words: Sequence[str] = (),
    untrained: bool = False,
) -> RunConfig:
    """Make a run's configuration.

    `base` is a configuration to start from (`--config`), `typed` holds options by their `RunConfig` name, `words` the
    `key=value` of `--set`. With `untrained` nothing needs to say how many steps to train. Everything is checked here:
    names, types and ranges.
    """
    spec = registry.spec(ModelSpec, model)
    registry.spec(DatasetSpec, dataset)
    if base is not None:
        if preset is not None:
            raise UsageError("a configuration holds every setting, its preset's included; leave the preset out")
        if base.model != model:  # its loss and trainer would make the model into that one under another name
            raise UsageError(
                f"the configuration is of {shown(base.model)}, not of {model!r}; begin with a preset instead"
            )
        layers = _layers_of(base)
        if dataset != base.dataset:  # what was said of one dataset is nothing to another
            layers = {key: value for key, value in layers.items() if not key.startswith("dataset.")}
        preset_name, preset_source = base.preset, base.sources.get("preset", "default")
    else:
        chosen = choose_preset(spec, dataset, preset)
        layers = {key: (found.value, found.source) for key, found in chosen.settings.items()} if chosen else {}
        preset_name, preset_source = chosen.name if chosen else "none", "command line" if preset else "default"
    for key, value in (typed or {}).items():
        layers[key] = (value, "command line")
    assigned = dict(settings.assignment(word, "loss.beta=0.2") for word in words)
    layers |= {key: (value, "--set") for key, value in assigned.items()}
    if untrained:
        layers.setdefault("steps", (1, "default"))
    typed_now = {*(typed or {}), *assigned}
    try:
        return _checked(registry, spec, model, dataset, (preset_name, preset_source), layers, typed_now)
    except (SettingError, UnknownNameError) as error:
        if base is None and _is_of_the_defaults(registry, spec, model, dataset, chosen, str(error)):
            whose = f"preset {chosen.name!r} of model {model!r}" if chosen else f"model {model!r}"
            raise PluginError(f"{whose}: {error}") from error
        raise


# What may differ when a run is resumed, beside where files lie: how long it goes on, where, and what it writes.
RESUMABLE = frozenset({"steps", "log_every", "save_every", "eval_every", "eval_metrics", "keep", "keep_best", "device"})


def resumed_config(
    registry: Registry,
    stored: RunConfig,
    model: str,
    dataset: str | None = None,
    *,
    preset: str | None = None,
    typed: Mapping[str, Any] | None = None,
    words: Sequence[str] = (),
) -> RunConfig:
    """Return the configuration to resume a run with: the stored one, with what was typed if that may change.

    `dataset` is the run's own, needed where that is one given by its import path: a file names no code to import.
    Raises UsageError for a typed value that would make it another run.
    """
    if dataset is None:
        with naming_absent_plugins(stored):
            dataset = registry.spec(DatasetSpec, stored.dataset, typed=False).name
    for what, ours, theirs in (("model", stored.model, model), ("dataset", stored.dataset, dataset)):
        if ours != theirs:
            raise UsageError(f"the run to resume has {what} {ours!r}, not {theirs!r}; leave --resume out for a new run")
    if preset is not None and preset != stored.preset:
        raise UsageError(f"the run to resume has preset {stored.preset!r}, not {preset!r}; leave --preset out")
    # "auto" was chosen for when the run began, and what was chosen is stored.
    typed = {key: value for key, value in (typed or {}).items() if (key, value) != ("precision", "auto")}
    words = [word for word in words if word != "precision=auto"]
    with naming_absent_plugins(stored):
        config = resolve_config(registry, model, dataset, base=stored, typed=typed, words=words)
    before = {key: value for key, value, _ in stored.rows()}
    places = {f"dataset.{name}" for name in dataset_paths(registry, dataset)}
    for key, value, source in config.rows():
        if key in RESUMABLE or key in places or key.rpartition(".")[0] in config.eval_metrics:
            continue
        if key not in before and source not in ("command line", "--set"):
            continue  # a setting that there was not when the run began; its default is what was done then
        if not _alike(value, before.get(key)):
            raise UsageError(
                f"the run to resume has {key}={before.get(key)}, not {value}; leave it out, or begin a new run"
            )
    return config


def dataset_paths(registry: Registry, dataset: str, *, typed: bool = True) -> set[str]:
    """The dataset's settings that are paths: files may be moved, and whether they are still the same images is seen
    when they are opened.
    """
    declared = settings.settings_of(resolve(registry.spec(DatasetSpec, dataset, typed=typed).target))
    kinds = {name: {setting.annotation, *get_args(setting.annotation)} for name, setting in declared.items()}
    return {name for name, kind in kinds.items() if Path in kind}


def choose_preset(spec: ModelSpec, dataset: str, name: str | None) -> Preset | None:
    """Return the preset of that name, else the dataset's, else the model's default. None: the model has none."""
    found = resolve(spec.presets) if spec.presets else ()
    if not (isinstance(found, tuple | list) and all(isinstance(preset, Preset) for preset in found)):
        raise PluginError(f"the presets of model {spec.name!r}, {spec.presets}, are no tuple of Preset")
    presets = {preset.name: preset for preset in found}
    if name is not None:
        if name not in presets:
            raise UnknownNameError(unknown("preset", name, presets))
        return presets[name]
    named_like_it = presets.get(dataset) or next((p for p in presets.values() if dataset in p.also_for), None)
    return named_like_it or presets.get(spec.default_preset)


def _is_of_the_defaults(
    registry: Registry, spec: ModelSpec, model: str, dataset: str, preset: Preset | None, mistake: str
) -> bool:
    """Whether the model's own defaults are refused for the same reason, with nothing typed and but for the dataset."""
    settings_of_preset = preset.settings.items() if preset else ()
    own = {key: (found.value, found.source) for key, found in settings_of_preset if not key.startswith("dataset.")}
    try:
        _checked(registry, spec, model, dataset, ("none", "default"), {"steps": (1, "default")} | own, set())
    except ZooError as error:
        return str(error) == mistake and not mistake.startswith("dataset.")
    return False


Layers = dict[str, tuple[Any, str]]  # key -> (value, where it is from)
Targets = dict[str, Any]  # part of a run, or name of a metric -> what takes its settings


def _layers_of(config: RunConfig) -> Layers:
    layers: Layers = {}
    for key in RUN_LEVEL:
        layers[key] = (getattr(config, key), config.sources.get(key, "default"))
    for part, values in config.settings.items():
        for name, value in values.items():
            layers[f"{part}.{name}"] = (value, config.sources.get(f"{part}.{name}", "default"))
    return layers


def _checked(
    registry: Registry,
    spec: ModelSpec,
    model: str,
    dataset: str,
    preset: tuple[str, str],
    layers: Layers,
    typed_now: set[str],
) -> RunConfig:
    """Make the configuration of all layers; everything in them has to be a setting of something in it."""
    run = {key: found for key, found in layers.items() if "." not in key}
    of_parts = {key: found for key, found in layers.items() if "." in key}
    for key in ("loss", "trainer"):
        name, _ = run.setdefault(key, (getattr(spec, key), "default"))
        if key in typed_now and not (isinstance(name, str) and name):
            raise SettingError(f"{key}={_brief(name)}: expected the name of a {key}")
        if not name:
            raise UsageError(f"model {model!r} names no default {key}; add --set {key}=NAME")
    metrics, source = run.setdefault("eval_metrics", (spec.eval_metrics, "default"))
    if isinstance(metrics, str):
        run["eval_metrics"] = (tuple(settings.listed(metrics)), source)
    elif not (isinstance(metrics, tuple | list) and all(isinstance(name, str) for name in metrics)):
        raise SettingError(f"eval_metrics={_brief(metrics)}: expected names of metrics")
    targets = _parts(registry, spec, dataset, run, typed_now)
    _refuse_strays([key for key in run if key not in RUN_LEVEL], targets)
    run |= {"model": (model, "command line"), "dataset": (dataset, "command line"), "preset": preset}
    targets |= _metrics(registry, run, of_parts, typed_now)
    replaced = {key for key in ("loss", "trainer") if key in typed_now or run[key][0] != getattr(spec, key)}
    kept = _of_targets(registry, of_parts, targets, replaced, typed_now)
    full = {
        part: _full(target, {key.rpartition(".")[2]: v for key, (v, _) in kept.items() if _part(key) == part}, part)
        for part, target in targets.items()
    }
    sources = {key: source for key, (_, source) in (run | kept).items()}
    try:
        return RunConfig(**{key: value for key, (value, _) in run.items()}, settings=full, sources=sources)
    except ValidationError as error:
        problem = error.errors()[0]
        key = str(problem["loc"][0])
        if problem["type"] == "missing":
            raise SettingError(f"{key}: no preset of {model!r} for {dataset!r} says it; add --{key} N") from None
        raise SettingError(f"{key}={_brief(problem['input'])}: {settings.reason(error)}") from None


def _parts(registry: Registry, spec: ModelSpec, dataset: str, run: Layers, typed_now: set[str]) -> Targets:
    """What takes the settings of model, loss, trainer and dataset; a loss or trainer that only a file names must be a
    registered one.
    """
    loss, trainer = run["loss"][0], run["trainer"][0]
    return {
        "model": resolve(spec.target),
        "loss": resolve(registry.spec(LossSpec, loss, typed="loss" in typed_now).target),
        "trainer": resolve(registry.spec(TrainerSpec, trainer, typed="trainer" in typed_now).target),
        "dataset": resolve(registry.spec(DatasetSpec, dataset).target),
    }


def _refuse_strays(keys: Sequence[str], targets: Targets) -> None:
    """Refuse what is no setting of the run; where a part has such a setting, say how it is written."""
    for key in keys:
        if key in _CHOSEN:
            raise SettingError(f"{key} is no setting; choose it by {_CHOSEN[key]}")
        of_parts = [f"{part}.{name}" for part, target in targets.items() for name in settings.settings_of(target)]
        near = difflib.get_close_matches(key, [name.rpartition(".")[2] for name in of_parts])
        meant = (
            [name for name in of_parts if name.endswith(f".{key}")]
            or [name for name in of_parts if key in name]
            or [name for name in of_parts if name.rpartition(".")[2] in near]
        )
        raise SettingError(unknown("setting", key, meant or RUN_LEVEL))


def _metrics(registry: Registry, run: Layers, of_parts: Layers, typed_now: set[str]) -> Targets:
    """What takes the settings of the metrics that the run computes, or is given settings of."""
    metrics, _ = run["eval_metrics"]
    keep_best, _ = run.get("keep_best", ("", ""))
    eval_every, _ = run.get("eval_every", (0, ""))
    if keep_best and keep_best not in metrics:
        raise SettingError(unknown("metric to keep the best by", str(keep_best), metrics))
    if str(eval_every) != "0" and not metrics:
        raise SettingError(f"eval_every={_brief(eval_every)}: nothing to evaluate; add --set eval_metrics=NAME,NAME")
    evaluates = str(eval_every) != "0" or "eval_metrics" in typed_now
    wanted = [name for name in metrics if evaluates or any(_part(key) == name for key in of_parts)]
    typed = "eval_metrics" in typed_now
    return {name: resolve(registry.spec(MetricSpec, name, typed=typed).target) for name in wanted}


def _of_targets(
    registry: Registry, of_parts: Layers, targets: Targets, replaced: set[str], typed_now: set[str]
) -> Layers:
    """The settings that something here takes. What a preset or file says of a loss, trainer or metric that another one
    took the place of is left out; what was typed never is.
    """
    kept: Layers = {}
    for key, found in of_parts.items():
        part, typed = _part(key), key in typed_now
        is_metric = part in registry.names("metrics")
        if part not in targets and not typed and (":" in part or is_metric):
            continue
        if part not in targets and is_metric:
            raise SettingError(
                f"{key} is a setting of a metric that this run does not evaluate; add --eval-every N "
                f"--set eval_metrics={part}, or leave it out"
            )
        if part not in targets:
            all_settings = [f"{p}.{n}" for p, target in targets.items() for n in settings.settings_of(target)]
            raise SettingError(unknown("setting", key, all_settings))
        if part in replaced and not typed and key.rpartition(".")[2] not in settings.settings_of(targets[part]):
            continue
        kept[key] = found
    return kept


def _part(key: str) -> str:
    return key.rpartition(".")[0]


def _full(target: Any, values: Mapping[str, Any], part: str) -> dict[str, Any]:
    """The defaults with the given values over them, checked and converted alike, as JSON values."""
    full = settings.validated(target, settings.defaults_of(target) | dict(values), part)
    return {name: _plain(value) for name, value in full.items()}


def _plain(value: Any) -> Any:
    """A value as JSON has it; a path as it is from any folder, since a run may be resumed from another, and one name
    for one folder, however it was reached.
    """
    if not isinstance(value, Path):
        return value
    path = user_path(value)
    return str(path.resolve() if ".." in path.parts else path.absolute())


def _brief(value: Any) -> str:
    return shown(value)[1:-1] if isinstance(value, str) else shown(value)


def _alike(one: str, other: str | None) -> bool:
    """Whether two values are the same as they are shown; a whole number may be a float in one of them."""
    if other is not None and ("." in one) != ("." in other):
        with suppress(ValueError):
            return float(one) == float(other)
    return one == other


def _shown(value: Any) -> str:
    if isinstance(value, tuple | list):
        return ",".join(map(str, value))
    return "none" if value is None else str(value)
