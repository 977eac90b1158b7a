"""A run's logs as figures need them: finite numbers by step. A line that is no record is left out, and counted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.errors import ZooError
from zoo.evaluations import is_own, protocol
from zoo.log import LARGEST_KEPT, lines, record_of
from zoo.untrusted import exists

_LARGEST = 1e300


@dataclass(frozen=True)
class Log:
    """The records of a jsonl log, ordered by step (equal steps as written), and how many lines were no record."""

    records: tuple[dict[str, Any], ...]
    left_out: int = 0


@dataclass(frozen=True)
class Series:
    """One quantity over the steps at which it was logged."""

    steps: tuple[float, ...]
    values: tuple[float, ...]

    def __bool__(self) -> bool:
        return bool(self.steps)


def read_log(path: Path) -> Log:
    """Read metrics.jsonl or evaluations.jsonl, no record where there is none.

    ZooError, one line, for what is no file or cannot be read.
    """
    terms: list[tuple[int, dict[str, Any]]] = []  # with the sizes of their lines
    evaluations: list[dict[str, Any]] = []
    size = evaluated = count = left_out = 0
    every = 1  # of a long log, only every so many records are kept
    for line in lines(path) if exists(path) else ():
        record = record_of(line)
        if record is None:
            left_out += bool(line.strip())
        elif isinstance(record.get("metrics"), dict):
            evaluations.append(record)
            evaluated += len(line)
            if evaluated > LARGEST_KEPT:
                raise ZooError(f"{path} holds more than {LARGEST_KEPT:,} bytes of evaluations, more than any run's")
        else:
            count += 1
            if count % every == 0:
                terms.append((len(line), record))
                size += len(line)
            if size > LARGEST_KEPT:
                terms, every = terms[1::2], 2 * every
                size = sum(length for length, _ in terms)
    records = [*(record for _, record in terms), *evaluations]
    return Log(tuple(sorted(records, key=lambda record: record["step"])), left_out)


def number(value: Any) -> float | None:
    """Return a JSON value as a finite float, or None if it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < _LARGEST:
        return None
    return float(value)


def series(log: Log, name: str) -> Series:
    """Return a logged quantity over the steps; the records that lack it are left out."""
    return _series((record["step"], number(record.get(name))) for record in log.records)


def kl_series(log: Log) -> list[Series]:
    """Return the KL of each r_i over the steps, by i; none where the run logs none.

    Records of another number of dimensions than the last one are left out.
    """
    logged = [(record["step"], record["kl"]) for record in log.records if isinstance(record.get("kl"), list)]
    if not logged:
        return []
    dimensions = len(logged[-1][1])
    logged = [(step, values) for step, values in logged if len(values) == dimensions]
    return [_series((step, number(values[i])) for step, values in logged) for i in range(dimensions)]


def last_kl(log: Log, step: float) -> list[float] | None:
    """Return the KL of each code dimension as logged last up to a step; None where none was logged."""
    for record in reversed(log.records):
        if record["step"] <= step and isinstance(record.get("kl"), list):
            values = [number(value) for value in record["kl"]]
            if values and None not in values:
                return [value for value in values if value is not None]
    return None


def scores(log: Log) -> dict[str, Series]:
    """Return the scores of each metric over the steps, the metrics in the order they first came.

    They are of one protocol (`compared_by`): a score of few votes is not the best of a run because it was lucky.
    """
    points: dict[str, list[tuple[float, float | None]]] = {}
    protocols = compared_by(log)
    for record in log.records:
        for name, result in results(record):
            if protocol(result) == protocols.get(name):
                points.setdefault(name, []).append((record["step"], number(result.get("score"))))
    found = {name: _series(of_metric) for name, of_metric in points.items()}
    return {name: of_metric for name, of_metric in found.items() if of_metric}


def compared_by(log: Log) -> dict[str, str]:
    """Return the protocol by which a run's scores of each metric are compared with each other.

    It is the last one in the run's own evaluations; where a metric has none, the last one that `zoo eval` added.
    """
    own: dict[str, str] = {}
    added: dict[str, str] = {}
    for record in log.records:
        for name, result in results(record):
            if number(result.get("score")) is not None:
                (own if is_own(record) else added)[name] = protocol(result)
    return added | own


def results(record: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each metric of an evaluation with its result."""
    metrics = record.get("metrics")
    for name, result in metrics.items() if isinstance(metrics, dict) else ():
        if isinstance(result, dict):
            yield name, result


def best(points: Series, *, lower_is_better: bool = False) -> tuple[float, float]:
    """Return the (step, score) of the best score, the first of equals."""
    pairs = zip(points.steps, points.values, strict=True)
    return (min if lower_is_better else max)(pairs, key=lambda pair: pair[1])


def _series(points: Iterable[tuple[float, float | None]]) -> Series:
    kept = [(step, value) for step, value in points if value is not None]
    return Series(tuple(step for step, _ in kept), tuple(value for _, value in kept))
