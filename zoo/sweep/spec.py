"""The specification of a sweep: a TOML file of models, datasets, seeds and settings, checked before anything starts."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PositiveInt, ValidationError, model_validator

from zoo.config import Seed
from zoo.errors import SettingError, unknown
from zoo.registry import Registry
from zoo.settings import assignment, flat, listed
from zoo.specs import DatasetSpec, LossSpec, MetricSpec, ModelSpec, TrainerSpec
from zoo.untrusted import exists, read_bytes, said

_LARGEST_FILE = 2**20  # bytes

# Settings that the specification has keys for, which these would contradict.
_OWN_KEYS = {"model": "models", "dataset": "datasets", "seed": "seeds", "steps": "steps", "preset": "preset"}

# Settings, and groups of them, that a score depends on.
_OF_TRAINING = {"batch_size", "dataset", "loss", "model", "trainer"}

# pydantic's kinds of error that speak of Python's types, in TOML's words.
_IN_TOML = {"tuple_type": "expected a list", "dict_type": "expected a table", "model_type": "expected a table"}


def _flat(values: Any) -> Any:
    """Settings by their dotted names."""
    if not isinstance(values, Mapping):
        return values
    found = flat(values)
    for key in found.keys() & _OWN_KEYS.keys():
        raise ValueError(f"{key} is no setting of a sweep; write {_OWN_KEYS[key]} = ... at the top")
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return tuple(_plain(item) for item in value)
    if not isinstance(value, bool | int | float | str):
        raise ValueError(f"expected a number, a word, true or false, not {type(value).__name__}")
    return value


def _different(values: tuple[Any, ...]) -> tuple[Any, ...]:
    twice = next((value for i, value in enumerate(values) if value in values[:i]), None)
    if twice is not None:
        raise ValueError(f"{twice} stands there twice")
    return values


def _named(values: Any) -> Any:
    """Refuse one word where a list of names belongs: it would be taken letter by letter."""
    if not isinstance(values, list | tuple):
        example = (listed(values) if isinstance(values, str) else []) or ["A", "B"]
        raise ValueError(f"expected a list of names, such as {json.dumps(example, ensure_ascii=False)}")
    return _different(tuple(values))


def _integers(values: Any) -> Any:
    if not isinstance(values, list | tuple) or not all(type(value) is int for value in values):
        raise ValueError("expected a list of integers, such as [0, 1, 2, 3, 4]")
    return _different(tuple(values))


def _tables(values: Any) -> Any:
    if not isinstance(values, list | tuple):
        raise ValueError("expected a list of tables; write [[overrides]], in double brackets")
    return values


def _grid(values: Any) -> Any:
    flat = _flat(values)
    if isinstance(flat, Mapping):
        for key, found in flat.items():
            if not isinstance(found, list | tuple) or not found:
                raise ValueError(f"{key}: expected a list of the values to try")
            _different(tuple(found))
    return flat


Value = Annotated[Any, BeforeValidator(_plain)]
Names = Annotated[tuple[str, ...], BeforeValidator(_named)]
Settings = Annotated[dict[str, Value], BeforeValidator(_flat)]
Grid = Annotated[dict[str, tuple[Value, ...]], BeforeValidator(_grid)]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), allow_inf_nan=False)


class Override(_Table):
    """What is otherwise for some of the models and datasets; empty names mean all."""

    models: Names = ()
    datasets: Names = ()
    preset: str | None = None
    steps: PositiveInt | None = None
    settings: Settings = {}
    grid: Grid = {}

    def applies(self, model: str, dataset: str) -> bool:
        """Whether it speaks of this pair."""
        return (not self.models or model in self.models) and (not self.datasets or dataset in self.datasets)


class Slurm(_Table):
    """What is asked of Slurm for each run; the names are submitit's."""

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    gres: str | None = None
    nodelist: str | None = None
    exclude: str | None = None
    comment: str | None = None
    name: str = "zoo-sweep"
    timeout_min: PositiveInt = Field(
        default=1_440, description="minutes; a run that needs more is requeued, and goes on"
    )
    cpus_per_task: PositiveInt | None = None
    gpus_per_node: Annotated[int, Field(ge=0)] | None = None
    mem_gb: Annotated[float, Field(gt=0)] | None = None
    signal_delay_s: PositiveInt = Field(default=120, description="seconds before the end to write a checkpoint in")
    max_num_timeout: Annotated[int, Field(ge=0)] = Field(default=100, description="how often a run may be requeued")
    setup: tuple[str, ...] = Field(default=(), description="shell lines before the run, such as module load")
    srun_args: tuple[str, ...] = ()
    use_srun: bool = True
    additional_parameters: dict[str, str | int | float | bool] = Field(default={}, description="more lines of #SBATCH")


class SweepSpec(_Table):
    """A sweep: every model on every dataset with every point of the grid and every seed."""

    models: Annotated[Names, Field(min_length=1)]
    datasets: Annotated[Names, Field(min_length=1)]
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1), BeforeValidator(_integers)] = (0,)
    steps: PositiveInt | None = Field(default=None, description="None: the preset's")
    preset: str | None = None
    metrics: Names = ()
    eval_seed: Annotated[int, Field(ge=0, lt=2**32)] = Field(default=0, description="of the metrics, for all runs")
    grid: Grid = {}
    settings: Settings = {}
    metric_settings: dict[str, dict[str, Value]] = {}
    overrides: Annotated[tuple[Override, ...], BeforeValidator(_tables)] = ()
    slurm: Slurm = Slurm()

    @model_validator(mode="after")
    def _consistent(self) -> SweepSpec:
        for metric in self.metric_settings:
            if metric not in self.metrics:
                asked = ", ".join(self.metrics) or "none"
                raise ValueError(f"metric_settings.{metric}: {metric} is not among the metrics asked for ({asked})")
        _apart(self.settings, self.grid, "")
        for index, override in enumerate(self.overrides):
            where = f"overrides[{index}]"
            _apart(override.settings, override.grid, f"{where}: ")
            for name in override.models:
                if name not in self.models:
                    raise ValueError(f"{where}: {unknown('model of this sweep', name, self.models)}")
            for name in override.datasets:
                if name not in self.datasets:
                    raise ValueError(f"{where}: {unknown('dataset of this sweep', name, self.datasets)}")
        return self

    @classmethod
    def read(cls, registry: Registry, path: Path) -> SweepSpec:
        """Read a TOML file. Raises SettingError, one line, for anything that is not a sweep of what is registered."""
        if not exists(path):
            raise SettingError(f"there is no {path}; name a TOML file with models, datasets, seeds, steps")
        content = read_bytes(path, _LARGEST_FILE, SettingError)
        try:
            document = tomllib.loads(content.decode("utf-8"))
        except (ValueError, RecursionError) as error:  # tomllib's own error is a ValueError
            raise SettingError(f"{path} is not TOML: {said(error)}") from None
        spec = cls.checked(document, str(path))
        spec.only_registered(registry)
        return spec

    @classmethod
    def checked(cls, document: Any, where: str) -> SweepSpec:
        """Make a specification of a document; SettingError, one line that begins with `where`, if it is none."""
        try:
            return cls.model_validate(document)
        except ValidationError as error:
            raise SettingError(f"{where}: {_told(error)}") from None

    def with_words(self, words: Sequence[str]) -> SweepSpec:
        """The specification with the `key=value` of `--set` over all that it says itself.

        `factorvae.votes=100` is a setting of a metric where that metric is asked for.
        """
        typed: dict[str, Any] = {}
        metric_settings = {name: dict(values) for name, values in self.metric_settings.items()}
        for word in words:
            key, value = assignment(word, "loss.beta=0.2")
            part, _, name = key.rpartition(".")
            if part in self.metrics:
                metric_settings.setdefault(part, {})[name] = value
            else:
                typed[key] = value
        try:
            overrides = (*self.overrides, Override(settings=typed)) if typed else self.overrides
        except ValidationError as error:
            raise SettingError(f"--set: {_told(error)}") from None
        return self.model_copy(update={"overrides": overrides, "metric_settings": metric_settings})

    def departures(self) -> list[str]:
        """What it says of training and scoring in the place of the presets and the metrics' own, as `key=value`.

        How often is logged, saved and evaluated on the way is none of it; nor is the grid, which a table shows.
        """
        found = []
        parts: tuple[SweepSpec | Override, ...] = (self, *self.overrides)
        for part in parts:
            found += [f"{key}={value}" for key in ("preset", "steps") if (value := getattr(part, key)) is not None]
            found += [f"{key}={value}" for key, value in part.settings.items() if key.partition(".")[0] in _OF_TRAINING]
        for metric, values in self.metric_settings.items():
            found += [f"{metric}.{key}={value}" for key, value in values.items()]
        return list(dict.fromkeys(found))

    def only_registered(self, registry: Registry) -> None:
        """Refuse names that nothing is registered under: a file may not name code to import."""
        for name in self.models:
            registry.spec(ModelSpec, name, typed=False)
        for name in self.datasets:
            registry.spec(DatasetSpec, name, typed=False)
        for name in self.metrics:
            registry.spec(MetricSpec, name, typed=False)
        for values in (self.settings, *(override.settings for override in self.overrides)):
            _only_registered(registry, {key: (value,) for key, value in values.items()})
        for grid in (self.grid, *(override.grid for override in self.overrides)):
            _only_registered(registry, grid)


def _apart(settings: Mapping[str, Any], grid: Mapping[str, Any], where: str) -> None:
    for key in settings:
        if key in grid:
            raise ValueError(f"{where}{key} stands in settings and in grid; leave it out of one")


def _only_registered(registry: Registry, values: Mapping[str, tuple[Any, ...]]) -> None:
    for name in values.get("loss", ()):
        registry.spec(LossSpec, str(name), typed=False)
    for name in values.get("trainer", ()):
        registry.spec(TrainerSpec, str(name), typed=False)
    for names in values.get("eval_metrics", ()):
        for name in names.split(",") if isinstance(names, str) else names:
            registry.spec(MetricSpec, str(name), typed=False)


def _told(error: ValidationError) -> str:
    """The first thing that is wrong, in one line; an unknown key lists the near ones."""
    problem = error.errors()[0]
    places = [part for part in problem["loc"] if isinstance(part, str | int)]
    if problem["type"] == "extra_forbidden":
        table: Any = {"slurm": Slurm, "overrides": Override}.get(str(places[0]), SweepSpec)
        return unknown("key", ".".join(map(str, places)), _keys(table, places))
    if problem["type"] == "missing":
        return f"{places[-1]} is missing; expected a list of names"
    message = _IN_TOML.get(problem["type"]) or str(problem["msg"]).removeprefix("Value error, ")
    reason = message[:1].lower() + message[1:]
    return f"{'.'.join(map(str, places))}: {reason}" if places else reason


def _keys(table: type[BaseModel], places: list[str | int]) -> list[str]:
    """The keys that there are beside an unknown one, written as it is."""
    before = "".join(f"{place}." for place in places[:-1])
    return [f"{before}{key}" for key in table.model_fields]
