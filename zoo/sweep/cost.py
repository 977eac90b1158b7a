"""What the rest of a sweep will cost, from rates that were measured; where none was, the answer is "unknown".

A rate is taken from the metrics.jsonl of a run of the same model, dataset, batch size and network, by the same loss and
trainer, in the same precision, and, unless the sweep is for a cluster, on this machine.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo import terminal
from zoo.config import RunConfig
from zoo.device import Backend
from zoo.errors import ZooError
from zoo.evaluations import is_own
from zoo.provenance import machine, starts
from zoo.run import RunDirectory
from zoo.sweep.plan import Plan, PlannedRun, SweepFolder
from zoo.sweep.progress import Asked, finished, missing, saved_step

# The steps of a measurement, and after how many each rate is noted; the first one, which warms up, does not count.
MEASURED_STEPS, MEASURED_EVERY = 30, 5


@dataclass(frozen=True)
class Rate:
    """Steps a second, and the run and the circumstances that say so."""

    steps_per_second: float
    source: str


@dataclass(frozen=True)
class Cost:
    """What is left of one run. None: unknown."""

    run: PlannedRun
    steps_left: int
    training_seconds: float | None
    evaluation_seconds: float | None  # on the way and at the end
    source: str
    done: bool = False

    @property
    def seconds(self) -> float | None:
        """All that is left, where all of it is known."""
        if self.training_seconds is None or self.evaluation_seconds is None:
            return None
        return self.training_seconds + self.evaluation_seconds

    def cells(self) -> list[str]:
        """The row of a table: run, steps left, training, scores, what measured the rate."""
        if self.done:
            return [self.run.name, "0", "finished", "", ""]
        return [
            self.run.name,
            f"{self.steps_left:,}",
            "unknown" if self.training_seconds is None else terminal.clock(self.training_seconds),
            "unknown" if self.evaluation_seconds is None else terminal.clock(self.evaluation_seconds),
            self.source,
        ]

    def document(self) -> dict[str, Any]:
        """The same as JSON values, and what run it is."""
        settings = self.run.settings.items()
        return {
            "name": self.run.name,
            "model": self.run.model,
            "dataset": self.run.dataset,
            "seed": self.run.seed,
            "steps": self.run.steps,
            "settings": {key: list(value) if isinstance(value, tuple) else value for key, value in settings},
            "steps_left": self.steps_left,
            "training_seconds": self.training_seconds,
            "evaluation_seconds": self.evaluation_seconds,
            "measured_by": self.source,
        }


@dataclass(frozen=True)
class Measured:
    """A run that was trained somewhere: what was computed, where, and how fast."""

    name: str
    key: tuple[Any, ...]
    backend: str
    node: str
    threads: int | None
    rates: tuple[float, ...]
    evaluations: tuple[tuple[str, Mapping[str, Any], float], ...]  # (metric, the settings given, seconds)
    on_the_way: tuple[float, ...]  # seconds of the run's own evaluations
    evaluates: Mapping[str, Any]  # what it computes in those: the metrics with all their settings


def costs(plan: Plan, folder: SweepFolder, runs: Iterable[RunDirectory], *, threads: int, cluster: bool) -> list[Cost]:
    """What each run of a plan has left, by what `runs` have measured; `threads` are those each run will have."""
    known = [measured for run in runs if (measured := read(run)) is not None]
    return [_cost(folder.run(run), run, known, plan.asked, threads, cluster) for run in plan.runs]


def _cost(
    directory: RunDirectory, run: PlannedRun, known: Sequence[Measured], asked: Asked, threads: int, cluster: bool
) -> Cost:
    if finished(directory, run.steps, asked, run.config.eval_every):
        return Cost(run, 0, 0.0, 0.0, "finished", done=True)
    saved = saved_step(directory)
    left = max(run.steps - saved, 0)
    here = known if cluster else [measured for measured in known if measured.node in (machine(), "")]
    rate = rate_for(run.config, here, threads, cluster=cluster)
    seconds = 0.0 if left == 0 else left / rate.steps_per_second if rate else None
    metrics = missing(directory, saved, asked) if left == 0 else list(asked.metrics)
    parts = [_evaluation_seconds(run.config, here, metrics, asked), _seconds_on_the_way(directory, run, saved, here)]
    known_parts = [part for part in parts if part is not None]
    evaluation = sum(known_parts) if len(known_parts) == len(parts) else None
    return Cost(run, left, seconds, evaluation, rate.source if rate else "")


def rate_for(config: RunConfig, known: Sequence[Measured], threads: int, *, cluster: bool) -> Rate | None:
    """The rate of the first run that computed the same; one with as many threads before one with others."""
    same = [measured for measured in known if measured.rates and measured.key == _key(config)]
    if cluster:
        same = [measured for measured in same if _is_as_asked(measured.backend, config)]
    else:
        same = [measured for measured in same if measured.backend == str(_backend(config))]
    same.sort(key=lambda measured: measured.threads != threads)
    if not same:
        return None
    first = same[0]
    with_threads = "" if first.threads is None else f"{first.threads} thread{'s' * (first.threads != 1)}"
    where = ", ".join(filter(None, [first.node if cluster else "", first.backend, with_threads]))
    return Rate(statistics.median(first.rates), f"{first.name} ({where})")


def read(run: RunDirectory) -> Measured | None:
    """What a run directory tells of its speed; None where it is none."""
    try:
        config = run.config
        records = run.records("metrics.jsonl")
        evaluations = run.records("evaluations.jsonl")
    except ZooError:
        return None
    # Only the last start counts, since a run may go on on another machine.
    made_by = starts(config.made_by)
    first = max(made_by, default=0)
    made: Mapping[str, Any] = made_by.get(first, {})
    rates = [_positive(record.get("steps_per_second")) for record in records if record["step"] >= first]
    threads = made.get("threads")
    timed, on_the_way = [], []
    for record in evaluations:
        metrics, seconds = record.get("metrics"), _positive(record.get("seconds"))
        if seconds is None or not isinstance(metrics, dict) or record.get("errors"):
            continue
        if is_own(record):
            if record["step"] >= first and set(metrics) == set(config.eval_metrics):  # before, it may have been others
                on_the_way.append(seconds)
        elif len(metrics) == 1:
            (metric,) = metrics
            given = record.get("settings")
            timed.append((metric, given.get(metric, {}) if isinstance(given, dict) else {}, seconds))
    return Measured(
        str(run.path),
        _key(config),
        str(made.get("backend", "")),
        str(made.get("machine", "")),
        threads if isinstance(threads, int) else None,
        tuple(rate for rate in rates[1:] if rate is not None),  # the first one has the start in it
        tuple(timed),
        tuple(on_the_way),
        _evaluates(config),
    )


def _key(config: RunConfig) -> tuple[Any, ...]:
    """What two runs have in common that take equally long for a step."""
    parts = {part: config.settings.get(part, {}) for part in ("model", "dataset")}
    return (config.model, config.dataset, config.loss, config.trainer, config.batch_size, parts)


def _evaluation_seconds(
    config: RunConfig, known: Sequence[Measured], metrics: Sequence[str], asked: Asked
) -> float | None:
    total = 0.0
    for metric in metrics:
        seconds = [
            took
            for measured in known
            if measured.key == _key(config)
            for name, settings, took in measured.evaluations
            if name == metric and settings == asked.settings.get(metric, {})
        ]
        if not seconds:
            return None
        total += statistics.median(seconds)
    return total


def _seconds_on_the_way(
    directory: RunDirectory, run: PlannedRun, saved: int, known: Sequence[Measured]
) -> float | None:
    """What the run's own evaluations will take, those still due; None where no run has made such ones."""
    every = run.config.eval_every
    if not every:
        return 0.0
    points = run.steps // every - saved // every
    if saved and saved % every == 0 and not directory.evaluated(saved):
        points += 1
    if points <= 0:
        return 0.0
    same = [one for one in known if one.key == _key(run.config) and one.evaluates == _evaluates(run.config)]
    took = [seconds for measured in same for seconds in measured.on_the_way]
    return points * statistics.median(took) if took else None


def _evaluates(config: RunConfig) -> dict[str, Any]:
    return {metric: config.settings.get(metric, {}) for metric in config.eval_metrics}


def _backend(config: RunConfig) -> Backend:
    return Backend.choose(config.device, config.precision)


def _is_as_asked(backend: str, config: RunConfig) -> bool:
    """Whether what a run was computed on is what another asks for; what a cluster's `auto` will be is not known here.

    A run that does not tell is taken to be.
    """
    device, _, precision = backend.partition(", ")
    device_asked = config.device.partition(":")[0]
    same_device = device_asked == "auto" or device.partition(":")[0] == device_asked
    return not backend or (same_device and config.precision in ("auto", precision))


def _positive(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and 0 < value < float("inf") else None


def total_seconds(found: Sequence[Cost], jobs: int) -> float | None:
    """How long the sweep takes with `jobs` runs at a time: each run, in order, is begun when a place is free.

    None where anything is unknown. That runs side by side are as fast as they were measured is taken for granted.
    """
    places = [0.0] * jobs
    for cost in found:
        if cost.seconds is None:
            return None
        place = places.index(min(places))
        places[place] += cost.seconds
    return max(places)


def total(found: Sequence[Cost], jobs: int) -> str:
    """What all of it will cost, in a line."""
    left = [one for one in found if not one.done]
    known = [one.training_seconds for one in left if one.training_seconds is not None]
    steps = sum(one.steps_left for one in left)
    text = f"{len(found)} runs, {len(found) - len(left)} of them finished; {steps:,} steps left"
    if known:
        text += f", {terminal.clock(sum(known))} of training"
        text += "" if len(known) == len(left) else f" for {len(known)} runs, unknown for {len(left) - len(known)}"
    seconds = total_seconds(found, jobs)
    if left and seconds is not None:
        text += f"; {terminal.clock(seconds)} with {jobs} at a time, if they are then as fast as measured"
    return text


def to_measure(plan: Plan, found: Sequence[Cost]) -> list[PlannedRun]:
    """One run of each kind whose rate is unknown."""
    kinds: list[tuple[Any, ...]] = []
    runs = []
    for cost in found:
        config = cost.run.config
        kind = (*_key(config), config.device, config.precision)
        if cost.training_seconds is None and kind not in kinds:
            kinds.append(kind)
            runs.append(cost.run)
    return runs


def default_places(out: Path) -> tuple[Path, ...]:
    """Where measured runs are looked for: the sweep's own, its measurements, and `runs/` of the current folder."""
    return (out / "runs", out / "measured" / "runs", Path("runs"))
