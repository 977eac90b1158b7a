"""Scoring a model with metrics; one failing metric does not cost the others."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from zoo import settings, terminal
from zoo.conformance import check_result
from zoo.errors import DataError, MetricError, PluginError, UsageError, ZooError, described, shown
from zoo.loading import Loaded, load_checkpoint
from zoo.provenance import images_used, starts
from zoo.registry import Registry, resolve
from zoo.specs import MetricSpec


def evaluate(
    registry: Registry,
    model_name: str,
    checkpoint: Path | str,
    metrics: Sequence[str],
    *,
    seed: int = 0,
    metric_settings: Mapping[str, Mapping[str, Any]] | None = None,
    device: str = "auto",
    dataset_name: str | None = None,
    data_root: Path | None = None,
    record: bool = True,
) -> dict[str, Any]:
    """Score a checkpoint; return the document that `zoo eval --json` prints, and append it to evaluations.jsonl.

    Where Ctrl-C ends it, the metrics that had finished are appended all the same.

    The dataset is the one it was trained on. `dataset_name` is its name where a person typed it, as an import path
    must be; under "dataset" the settings may say where its files are now.
    """
    given = dict(metric_settings or {})
    places = given.pop("dataset", {})
    wanted = check_metrics(registry, metrics, given)
    loaded = load_checkpoint(registry, model_name, checkpoint, device=device)
    dataset: Any
    try:
        dataset = loaded.open_dataset(registry, data_root, dataset_name, **places)
    except DataError as error:  # some metrics do without: mi_bounds, or fid with a file of statistics
        dataset = _NotHere(error)
    else:
        _warn_of_other_images(loaded, dataset)
    began = time.monotonic()
    results: dict[str, dict[str, Any]] = {}
    errors: dict[str, str] = {}
    document = {
        "model": model_name,
        "checkpoint": loaded.name,
        "step": loaded.step,
        "dataset": loaded.config.dataset,
        "seed": seed,
        "metrics": results,
        "errors": errors,
    }

    def append() -> None:
        if record and loaded.run is not None:
            # What was asked for stands in the log, too, and what it took: a sweep tells by that what is left to do.
            more = {"settings": _json(wanted), "seconds": round(time.monotonic() - began, 3)}
            try:
                loaded.run.append("evaluations.jsonl", document | more)
            except ZooError as error:
                terminal.warn(f"the result is not recorded: {error}")

    try:
        for name, result in each_score(registry, loaded.model, dataset, metrics, seed, wanted, data_root):
            if isinstance(result, str):
                errors[name] = result
            else:
                results[name] = result
    except KeyboardInterrupt:
        if results:
            append()
            scores = ", ".join(f"{name} {result['score']}" for name, result in results.items())
            terminal.note(f"finished before that: {scores}")
        raise
    if isinstance(dataset, _NotHere) and not results:
        raise dataset.why
    append()
    return document


class _NotHere:
    """In the place of a dataset that cannot be opened; whatever is asked of it is answered by the reason why."""

    def __init__(self, why: DataError) -> None:
        self.why = why

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise self.why

    def __len__(self) -> int:
        raise self.why


def _warn_of_other_images(loaded: Loaded, dataset: Any) -> None:
    """Say so where the images are not those that the model was last trained on: the scores are of these."""
    last = list(starts(loaded.config.made_by).values())[-1:]
    before = last[0].get("images") if last else None
    if not isinstance(before, str):
        return
    try:
        now = images_used(dataset)
    except Exception as error:  # whatever a dataset raises, it will cost the metrics that ask it, and these only
        now = f"which cannot be read ({described(error)})"
    if before != now:
        terminal.warn(
            f"{loaded.name} was trained on other images of {loaded.config.dataset}, {shown(before)}; the scores are "
            f"of those here, {shown(now)}"
        )


def _json(metric_settings: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Settings as JSON values; a metric without any is left out."""
    plain = {name: json.loads(json.dumps(dict(values), default=str)) for name, values in metric_settings.items()}
    return {name: values for name, values in plain.items() if values}


def check_metrics(
    registry: Registry, metrics: Sequence[str], metric_settings: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Look every metric and setting up before anything is computed; return the settings of each, checked."""
    if not metrics:
        raise UsageError("no metric named; try --metrics factorvae, or see zoo list metrics")
    foreign = [name for name in metric_settings if name not in metrics]
    if foreign:
        asked = ", ".join(metrics)
        name, _, key = foreign[0].rpartition(".")
        meant = f'; write {{"{name}": {{"{key}": ...}}}}' if name in metrics else ""
        raise UsageError(f"settings for {foreign[0]!r}, which is not among the metrics asked for ({asked}){meant}")
    specs = {name: registry.spec(MetricSpec, name) for name in metrics}
    checked: dict[str, dict[str, Any]] = {}
    for name, spec in specs.items():
        given = metric_settings.get(name, {})
        try:
            target = resolve(spec.target)
        except PluginError:  # costs this metric only: `score` meets it again, and tells
            checked[name] = dict(given)
        else:
            checked[name] = settings.validated(target, given, name)
    return checked


def score(
    registry: Registry,
    model: Any,
    dataset: Any,
    metrics: Sequence[str],
    seed: int,
    metric_settings: Mapping[str, Mapping[str, Any]],
    data_root: Path | None = None,
) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """Compute metrics one after the other; return the results and, for those that failed, the reasons."""
    found = dict(each_score(registry, model, dataset, metrics, seed, metric_settings, data_root))
    results = {name: result for name, result in found.items() if not isinstance(result, str)}
    return results, {name: error for name, error in found.items() if isinstance(error, str)}


def each_score(
    registry: Registry,
    model: Any,
    dataset: Any,
    metrics: Sequence[str],
    seed: int,
    metric_settings: Mapping[str, Mapping[str, Any]],
    data_root: Path | None = None,
) -> Iterator[tuple[str, dict[str, Any] | str]]:
    """Yield each metric's name with its result or, where it failed, the reason.

    A metric with a setting `data_root` has files of its own there, and is given this one unless it was given another.
    What it prints goes to stderr: stdout is for the scores.
    """
    for name in metrics:
        try:
            spec = registry.spec(MetricSpec, name)
            if spec.needs_factors and dataset.factor_sizes is None:
                raise MetricError(f"needs ground-truth factors, which {dataset.name} does not have")
            metric = resolve(spec.target)
            values = settings.validated(metric, metric_settings.get(name, {}), name)
            if "data_root" in settings.settings_of(metric) and values.get("data_root") is None:
                values["data_root"] = data_root
            with redirect_stdout(sys.stderr):
                result = metric(model, dataset, seed, **values)
            found: dict[str, Any] | str = check_result(result)
        except (Exception, SystemExit) as error:  # a metric may be another plugin's: its failure costs its score only
            found = described(error)
            terminal.trace(error)
        yield name, found
