"""What a run directory says without its model: settings with their sources, provenance, curves and scores."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ibgan_plugin.evaluation.logs import Log, compared_by, number, read_log, results
from zoo.config import RunConfig
from zoo.evaluations import protocol as protocol_of
from zoo.run import RunDirectory, find_checkpoint

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True)
class Run:
    """A run as its files tell of it."""

    letter: str
    name: str
    given: Path  # as it was named: the run directory, or one checkpoint in it
    directory: RunDirectory
    config: RunConfig
    metrics: Log
    evaluations: Log

    @property
    def steps_done(self) -> float:
        """How far its log goes."""
        return self.metrics.records[-1]["step"] if self.metrics.records else 0

    def remarks(self) -> list[str]:
        """What a reader should know of its logs."""
        found = []
        for file, log in (("metrics.jsonl", self.metrics), ("evaluations.jsonl", self.evaluations)):
            if log.left_out:
                what = "1 line" if log.left_out == 1 else f"{log.left_out} lines"
                found.append(f"{what} of {file} could not be read, and left out")
        return found


@dataclass(frozen=True)
class Score:
    """One metric of one evaluation, or why there is none."""

    metric: str
    step: float
    value: float | None
    seed: str
    protocol: tuple[tuple[str, str], ...]
    more: tuple[tuple[str, str], ...] = ()
    problem: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)  # that the metric was called with, where they are known
    compared: bool = False  # whether it is of the protocol by which this run's scores are compared


@dataclass(frozen=True)
class SettingRow:
    """One setting of every run: (value, source) each, None where a run does not have it."""

    key: str
    cells: tuple[tuple[str, str] | None, ...]

    @property
    def differs(self) -> bool:
        """Whether the runs have different values; the same value from another source is no difference."""
        return len({cell and cell[0] for cell in self.cells}) > 1


def open_runs(paths: Sequence[Path | str]) -> list[Run]:
    """Open run directories, or checkpoints in them. Raises CheckpointError, one line, for anything else."""
    directories = [_directory(Path(path)) for path in paths]
    return [
        Run(
            LETTERS[i] if i < len(LETTERS) else str(i + 1),
            name,
            Path(path),
            directory,
            directory.config,
            read_log(directory.path / "metrics.jsonl"),
            read_log(directory.path / "evaluations.jsonl"),
        )
        for i, (path, directory, name) in enumerate(zip(paths, directories, _names(paths, directories), strict=True))
    ]


def setting_rows(runs: Sequence[Run]) -> list[SettingRow]:
    """Every setting of any of the runs: first those that differ, then those that only some have, then the rest."""
    of_run = [{key: (value, source) for key, value, source in run.config.rows()} for run in runs]
    keys = dict.fromkeys(key for values in of_run for key in values)
    rows = [SettingRow(key, tuple(values.get(key) for values in of_run)) for key in keys]
    return sorted(rows, key=lambda row: (not row.differs, None in row.cells))


def provenance(config: RunConfig) -> list[tuple[str, str]]:
    """What made a run, flattened: ("from step 1 · machine", "...") for everything its configuration records."""
    return list(_flattened(config.made_by, ()))


def run_scores(run: Run) -> list[Score]:
    """Every score of every evaluation, by metric and then by step; failures are among them."""
    found, protocols = [], compared_by(run.evaluations)
    for record in run.evaluations.records:
        errors, seed = record.get("errors"), _shown(record.get("seed", ""))
        for metric, result in results(record):
            compared = protocol_of(result) == protocols.get(metric)
            asked = record.get("settings", run.config.settings)  # while training, those of the run
            found.append(_score(metric, record["step"], seed, result, asked, compared=compared))
        for metric, problem in errors.items() if isinstance(errors, Mapping) else ():
            found.append(Score(metric, record["step"], None, seed, (), problem=str(problem)))
    order = {name: i for i, name in enumerate(dict.fromkeys(score.metric for score in found))}
    return sorted(found, key=lambda score: (order[score.metric], score.step))


def best_of(scores: Sequence[Score], metric: str, *, lower: bool) -> Score | None:
    """The best score of a metric among those that compare, the first of equals; None where there is none."""
    valued = [score for score in scores if score.metric == metric and score.compared and score.value is not None]
    return (min if lower else max)(valued, key=lambda score: score.value or 0.0, default=None)


def _directory(path: Path) -> RunDirectory:
    run = RunDirectory(path)
    return run if run.exists() else RunDirectory.of(find_checkpoint(path))


def _names(paths: Sequence[Path | str], directories: Sequence[RunDirectory]) -> list[str]:
    """The folders' names; where two are the same, the paths as they were given."""
    short = [directory.path.resolve().name for directory in directories]
    count = Counter(short)
    return [name if count[name] == 1 else str(path) for name, path in zip(short, paths, strict=True)]


def _score(metric: str, step: float, seed: str, result: Mapping[str, Any], asked: object, *, compared: bool) -> Score:
    protocol = result.get("protocol")
    settings = asked.get(metric) if isinstance(asked, Mapping) else None
    return Score(
        metric,
        step,
        number(result.get("score")),
        seed,
        tuple((key, _shown(value)) for key, value in protocol.items()) if isinstance(protocol, Mapping) else (),
        tuple(
            (key, _shown(value))
            for key, value in result.items()
            if key != "score" and (number(value) is not None or key == "reason")
        ),
        settings=settings if isinstance(settings, Mapping) else {},
        compared=compared,
    )


def _flattened(values: Any, path: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    if isinstance(values, Mapping):
        for key, value in values.items():
            yield from _flattened(value, (*path, str(key)))
    elif isinstance(values, list):
        yield " · ".join(path), shlex.join(map(str, values))
    else:
        yield " · ".join(path), _shown(values)


def _shown(value: Any) -> str:
    as_number = number(value)
    if as_number is None:
        return "–" if value is None else str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
