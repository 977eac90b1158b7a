"""A specification -> the runs it asks for, each resolved and checked; and the folder they live in."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from zoo import settings as settings_of_targets
from zoo.config import RESUMABLE, RUN_LEVEL, RunConfig, resolve_config
from zoo.errors import SettingError, UsageError, ZooError, unknown
from zoo.evaluating import check_metrics
from zoo.files import cannot_write, write_json
from zoo.registry import Registry, resolve
from zoo.run import RunDirectory
from zoo.specs import DatasetSpec, LossSpec, MetricSpec, ModelSpec, TrainerSpec
from zoo.sweep.progress import Asked
from zoo.sweep.spec import SweepSpec
from zoo.untrusted import read_json, said

FORMAT = 1
MOST_RUNS = 10_000
_LARGEST_JSON = 64 * 2**20


@dataclass(frozen=True)
class PlannedRun:
    """One run: what is typed over its preset, and the configuration that this makes."""

    name: str
    model: str
    dataset: str
    seed: int
    preset: str | None
    settings: Mapping[str, Any]
    point: Mapping[str, Any]  # the grid's part of the settings
    config: RunConfig

    @property
    def steps(self) -> int:
        """How many steps it is to have."""
        return self.config.steps

    @property
    def what(self) -> str:
        """What it shares with the runs of other seeds, for tables."""
        point = ", ".join(f"{key}={value}" for key, value in self.point.items())
        return f"{self.model} on {self.dataset}" + (f", {point}" if point else "")


@dataclass(frozen=True)
class Plan:
    """All runs of a sweep, in the order they are done: every combination with the first seed, then with the next."""

    spec: SweepSpec
    runs: tuple[PlannedRun, ...]
    metric_settings: Mapping[str, Mapping[str, Any]]
    left_out: tuple[str, ...] = field(default=())  # what some models and datasets do not have, a line each

    @classmethod
    def of(cls, registry: Registry, spec: SweepSpec) -> Plan:
        """Resolve every run; raises before anything is begun, one line, for whatever does not fit."""
        given = {name: spec.metric_settings.get(name, {}) for name in spec.metrics}
        checked = check_metrics(registry, spec.metrics, given) if spec.metrics else {}
        hopeless = _without_factors(registry, spec)
        metric_settings = {name: {k: _json(v) for k, v in values.items()} for name, values in checked.items()}
        combinations, left_out = _combinations(registry, spec)
        if len(combinations) * len(spec.seeds) > MOST_RUNS:
            raise UsageError(
                f"the sweep has {len(combinations) * len(spec.seeds):,} runs; {MOST_RUNS:,} are the most: split it"
            )
        runs = [_run(registry, seed, *combination) for seed in spec.seeds for combination in combinations]
        names = [run.name for run in runs]
        if len(set(names)) < len(names):
            twice = next(name for i, name in enumerate(names) if name in names[:i])
            raise UsageError(f"two runs would both be called {twice}; write their values differently")
        return cls(spec, tuple(runs), metric_settings, (*left_out, *hopeless))

    @property
    def asked(self) -> Asked:
        """The evaluations that are asked of each run."""
        return Asked(self.spec.metrics, self.metric_settings, self.spec.eval_seed)

    def document(self) -> dict[str, Any]:
        """What sweep.json holds: the specification, and every run of it as it was resolved."""
        return {
            "format": FORMAT,
            "spec": self.spec.model_dump(mode="json", exclude_defaults=True),
            "metric_settings": {name: dict(values) for name, values in self.metric_settings.items()},
            "eval_seed": self.spec.eval_seed,
            "runs": {
                run.name: {
                    "model": run.model,
                    "dataset": run.dataset,
                    "seed": run.seed,
                    "preset": run.config.preset,
                    "steps": run.steps,
                    "settings": {key: _json(_resolved(run.config, key)) for key in run.settings},
                }
                for run in self.runs
            },
        }


@dataclass(frozen=True)
class SweepFolder:
    """Where a sweep lives: sweep.json, `runs/NAME` for each run, submitit's files in `jobs`, the results."""

    path: Path

    def run(self, run: PlannedRun) -> RunDirectory:
        """The directory of a run, which `zoo eval`, `zoo plot` and all others take."""
        return RunDirectory(self.path / "runs" / run.name)

    @property
    def jobs(self) -> Path:
        """submitit's folder: pickled jobs, their output, their logs."""
        return self.path / "jobs"

    @property
    def stop_file(self) -> Path:
        """While it is there, a job that begins ends at once."""
        return self.jobs / "stop"

    @property
    def measured(self) -> SweepFolder:
        """Where the short runs of `--measure` are: a sweep of their own."""
        return SweepFolder(self.path / "measured")

    def check(self, plan: Plan) -> None:
        """Refuse a plan that is not the one here, or the one here grown. Raises UsageError, one line."""
        file = self.path / "sweep.json"
        if not file.exists():
            if (self.path / "config.json").exists():
                raise UsageError(f"{self.path} is a run directory; choose another --out for the sweep")
            return
        difference = _difference(_read(file), plan.document())
        if difference:
            raise UsageError(
                f"{self.path} holds another sweep: {difference}; choose another --out "
                "(seeds, models, datasets, values, metrics and steps may be added)"
            )

    def write_plan(self, plan: Plan) -> None:
        """Write sweep.json."""
        self.check(plan)
        write_json(self.path / "sweep.json", plan.document())

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the sweep for this process; two that hand out the same runs would get in each other's way."""
        from filelock import FileLock, Timeout

        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.path / "sweep.lock", timeout=0)
            lock.acquire()
        except Timeout:
            raise ZooError(f"another process is at work on {self.path}; wait for it, or stop it") from None
        except OSError as error:
            raise ZooError(cannot_write(self.path, error)) from error
        try:
            yield
        finally:
            lock.release()


def replanned(registry: Registry, run: PlannedRun, steps: int, settings: Mapping[str, Any]) -> PlannedRun:
    """The same run with other steps and some other settings, under the same name."""
    typed = {**run.settings, **settings}
    config = resolve_config(
        registry, run.model, run.dataset, preset=run.preset, typed={"seed": run.seed, "steps": steps} | typed
    )
    return replace(run, settings=typed, config=config)


Combination = tuple[str, str, str | None, int | None, dict[str, Any], dict[str, Any]]


def _without_factors(registry: Registry, spec: SweepSpec) -> list[str]:
    """A line for each metric that will fail on some datasets. UsageError for one that would fail on all of them."""
    lacking = [name for name in spec.datasets if not registry.spec(DatasetSpec, name, typed=False).has_factors]
    needing = [name for name in spec.metrics if registry.spec(MetricSpec, name, typed=False).needs_factors]
    told = [f"{metric} needs ground-truth factors, which {', '.join(lacking)} does not have" for metric in needing]
    if told and set(lacking) == set(spec.datasets):
        raise UsageError(f"{told[0]}; leave it out of metrics")
    return [f"{line}: it will fail there" for line in told] if lacking else []


def _combinations(registry: Registry, spec: SweepSpec) -> tuple[list[Combination], list[str]]:
    """(model, dataset, preset, steps, settings, point) of everything but the seeds, and what was left out of some."""
    found: list[Combination] = []
    used: set[tuple[int, str]] = set()  # (table, key): table -1 is the top's, the others are the overrides'
    lacking: dict[str, list[tuple[str, str]]] = {}
    known: set[str] = set()
    for model, dataset in itertools.product(spec.models, spec.datasets):
        preset, steps, settings, grid, tables = _tables_of(spec, model, dataset)
        points: list[dict[str, Any]] = []
        had: set[str] = set()
        for values in itertools.product(*grid.values()):
            every = settings | dict(zip(grid, values, strict=True))
            names = _names(registry, model, dataset, preset, every)
            had |= names
            point = {key: every[key] for key in grid if key in names}
            if point not in points:  # two values of what it has no setting for make no two runs
                points.append(point)
                mine = {key: value for key, value in settings.items() if key in names}
                found.append((model, dataset, preset, steps, mine | point, point))
        known |= had
        for key, table in tables.items():
            if key in had:
                used.add((table, key))
            else:
                lacking.setdefault(key, []).append((model, dataset))
    _all_used(spec, used, known)
    return found, [f"{_named(pairs, spec)}: no setting {key}, left out there" for key, pairs in lacking.items()]


def _named(pairs: Sequence[tuple[str, str]], spec: SweepSpec) -> str:
    """Some pairs of models and datasets in few words: what stands there with all of the others by its name alone."""
    models = [model for model in spec.models if all((model, dataset) in pairs for dataset in spec.datasets)]
    datasets = [dataset for dataset in spec.datasets if all((model, dataset) in pairs for model in spec.models)]
    others = [f"{m} on {d}" for m, d in pairs if m not in models and d not in datasets]
    return ", ".join([*models, *datasets, *others])


def _tables_of(
    spec: SweepSpec, model: str, dataset: str
) -> tuple[str | None, int | None, dict[str, Any], dict[str, tuple[Any, ...]], dict[str, int]]:
    """The preset, steps, settings and grid of a pair, and the table (-1: the top) that each key stands in."""
    preset, steps = spec.preset, spec.steps
    settings, grid = dict(spec.settings), dict(spec.grid)
    tables = dict.fromkeys([*settings, *grid], -1)
    for index, override in enumerate(spec.overrides):
        if override.applies(model, dataset):
            preset, steps = override.preset or preset, override.steps or steps
            # A fixed value takes the place of a list of them, and the other way round.
            grid = {key: values for key, values in grid.items() if key not in override.settings} | override.grid
            settings = {key: value for key, value in settings.items() if key not in override.grid} | override.settings
            tables |= dict.fromkeys([*override.settings, *override.grid], index)
    return preset, steps, settings, grid, tables


def _names(registry: Registry, model: str, dataset: str, preset: str | None, values: Mapping[str, Any]) -> set[str]:
    """The settings that a model has on a dataset, with the loss and the trainer that `values` give it."""
    chosen = {key: str(values[key]) for key in ("loss", "trainer") if key in values}
    base = resolve_config(registry, model, dataset, preset=preset, typed=chosen, untrained=True)
    targets = {
        "model": registry.spec(ModelSpec, model).target,
        "dataset": registry.spec(DatasetSpec, dataset).target,
        "loss": registry.spec(LossSpec, base.loss).target,
        "trainer": registry.spec(TrainerSpec, base.trainer).target,
    }
    names = {*RUN_LEVEL} - {"steps", "seed"}
    for part, target in targets.items():
        names |= {f"{part}.{name}" for name in settings_of_targets.settings_of(resolve(target))}
    metrics = set(registry.names("metrics"))
    return names | {key for key in values if key.rpartition(".")[0] in metrics}


def _all_used(spec: SweepSpec, used: set[tuple[int, str]], known: set[str]) -> None:
    """A setting that no model has is a mistake, not something to leave out."""
    tables = [(-1, "", {**spec.settings, **spec.grid})]
    for i, o in enumerate(spec.overrides):
        where = f"overrides[{i}]: " if o.models or o.datasets else ""
        tables.append((i, where, {**o.settings, **o.grid}))
    for table, where, keys in tables:
        for key in keys:
            if (table, key) in used:
                continue
            if key in known and table == -1 and any(key in {**o.settings, **o.grid} for o in spec.overrides):
                continue  # overrides say otherwise for every model that has it
            raise SettingError(f"{where}{unknown('setting', key, known)}")


def _run(
    registry: Registry,
    seed: int,
    model: str,
    dataset: str,
    preset: str | None,
    steps: int | None,
    settings: dict[str, Any],
    point: dict[str, Any],
) -> PlannedRun:
    typed = {"seed": seed} | ({} if steps is None else {"steps": steps}) | settings
    try:
        config = resolve_config(registry, model, dataset, preset=preset, typed=typed)
    except SettingError as error:
        raise SettingError(f"{model} on {dataset}: {error}") from None
    parts = [model, dataset, *(f"{key}={_word(value)}" for key, value in point.items()), f"seed={seed}"]
    name = re.sub(r"[^\w.=+,-]+", "_", "-".join(parts))
    return PlannedRun(name, model, dataset, seed, preset, settings, point, config)


def _resolved(config: RunConfig, key: str) -> Any:
    """The value of a setting as it was checked and converted, however it was written."""
    part, dot, name = key.rpartition(".")
    return config.settings.get(part, {}).get(name) if dot else getattr(config, key)


def _word(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple | list) else str(value)


def _json(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    return [_json(item) for item in value] if isinstance(value, tuple | list) else value


def _read(file: Path) -> dict[str, Any]:
    """Read a sweep.json; ZooError, one line, for anything else."""
    document = read_json(file, ZooError, limit=_LARGEST_JSON, links=False)
    try:
        if document["format"] != FORMAT:
            raise ValueError(f"format {document['format']!r}, this version reads {FORMAT}")
        for run in document["runs"].values():
            run["steps"] + 0, run["settings"].items(), run["model"], run["dataset"], run["seed"], run["preset"]
        document["metric_settings"].items(), document["eval_seed"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ZooError(f"{file} is no sweep's record ({said(error)}); choose another --out") from None
    found: dict[str, Any] = document
    return found


def _difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """What makes `after` another sweep than `before` or `before` grown, or nothing."""
    for name, old in before["runs"].items():
        new = after["runs"].get(name)
        if new is None:
            return f"it has the run {name}, which the specification has not"
        for key in ("model", "dataset", "seed", "preset"):
            if old[key] != new[key]:
                return f"{name} has {key} {old[key]} there and {new[key]} here"
        for key in sorted({*old["settings"], *new["settings"]}):
            there, here = old["settings"].get(key, "its default"), new["settings"].get(key, "its default")
            if there != here and key not in RESUMABLE:
                return f"{name} has {key} {there} there and {here} here"
        if old["steps"] > new["steps"]:
            return f"{name} has {old['steps']:,} steps there and {new['steps']:,} here"
    for metric, old in before["metric_settings"].items():
        if metric not in after["metric_settings"]:
            return f"it has the metric {metric}, which the specification has not"
        if old != after["metric_settings"][metric]:
            return f"{metric} has the settings {old} there and {after['metric_settings'][metric]} here"
    if before["eval_seed"] != after["eval_seed"]:
        return f"it has eval_seed {before['eval_seed']}, the specification {after['eval_seed']}"
    return ""
