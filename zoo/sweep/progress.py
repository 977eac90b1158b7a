"""How far a run is, read from its directory alone: whoever wrote it, and wherever it is trained."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.checkpoint import Checkpoint
from zoo.errors import CheckpointError, ZooError
from zoo.evaluations import is_own
from zoo.run import RunDirectory
from zoo.untrusted import open_file, parse_json

_TAIL = 64 * 2**10


@dataclass(frozen=True)
class Asked:
    """The evaluations that a sweep asks of each run: metrics with the settings that are given, and the seed."""

    metrics: tuple[str, ...]
    settings: Mapping[str, Mapping[str, Any]]
    seed: int


def saved_step(run: RunDirectory) -> int:
    """The step of the newest checkpoint that is whole as far as its sizes tell; 0 where there is none."""
    for step in reversed(run.steps()):
        try:
            return Checkpoint.open(run.checkpoint_path(step)).step
        except CheckpointError:
            continue
    return 0


def logged(run: RunDirectory) -> tuple[int, float | None]:
    """The last step in metrics.jsonl and the steps per second there; only the end of the file is read."""
    for line in reversed(_last_lines(run.path / "metrics.jsonl")):
        try:
            record = parse_json(line)
            return int(record["step"]), float(record["steps_per_second"])
        except (ValueError, KeyError, TypeError, OverflowError):  # cut short, or not ours
            continue
    return 0, None


def evaluations(run: RunDirectory, step: int, asked: Asked) -> dict[str, dict[str, Any]]:
    """What `zoo eval` or a sweep found for that step with that seed and those settings, by metric; the newest of each.

    A record's `settings` are those that were given; what others were is the default of the metric.
    """
    found = {}
    for record in run.records("evaluations.jsonl"):
        if record["step"] != step or is_own(record) or record.get("seed") != asked.seed:
            continue
        given, results = record.get("settings", {}), record.get("metrics", {})
        if not isinstance(given, dict) or not isinstance(results, dict):
            continue
        for metric in asked.metrics:
            result = results.get(metric)
            if isinstance(result, dict) and given.get(metric, {}) == asked.settings.get(metric, {}):
                found[metric] = result
    return found


def missing(run: RunDirectory, step: int, asked: Asked) -> list[str]:
    """The metrics that are still to be computed at a step."""
    there = evaluations(run, step, asked)
    return [metric for metric in asked.metrics if metric not in there]


def trained(run: RunDirectory, steps: int, eval_every: int = 0) -> bool:
    """Whether the training loop has nothing left to do: it is at its steps, and scored the last one if that was due."""
    saved = saved_step(run)
    return saved >= steps and not (eval_every and saved % eval_every == 0 and not run.evaluated(saved))


def finished(run: RunDirectory, steps: int, asked: Asked, eval_every: int = 0) -> bool:
    """Whether nothing is left to do: the run is trained, and all evaluations of its newest checkpoint are there."""
    return trained(run, steps, eval_every) and not missing(run, saved_step(run), asked)


def folders_with_runs(*parents: Path) -> Iterable[RunDirectory]:
    """The run directories right below some folders, and those of the sweeps there."""
    for parent in parents:
        for config in [*sorted(parent.glob("*/config.json")), *sorted(parent.glob("*/runs/*/config.json"))]:
            yield RunDirectory(config.parent)


def _last_lines(path: Path) -> list[bytes]:
    try:
        with open_file(path, ZooError, links=False) as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(file.tell() - _TAIL, 0))
            return file.read(_TAIL).splitlines()
    except (OSError, ZooError):
        return []
