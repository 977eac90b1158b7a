"""What came of a sweep: every run's scores, and their mean and deviation over the seeds, beside what was published."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from zoo.errors import one_line
from zoo.files import write_json, writing
from zoo.registry import Registry
from zoo.scores import published
from zoo.sweep.plan import Plan, PlannedRun, SweepFolder
from zoo.sweep.progress import evaluations, saved_step


@dataclass(frozen=True)
class Group:
    """One model on one dataset at one point of the grid, by one metric, over the seeds."""

    model: str
    dataset: str
    point: Mapping[str, Any]
    metric: str
    scores: Mapping[int, float]  # by seed; only the runs that have one
    seeds: int  # how many there are to be
    steps: tuple[int, ...]  # the different steps at which the scores were taken
    paper: float | None

    @property
    def mean(self) -> float | None:
        """The mean of the scores; None where there is none."""
        return statistics.fmean(self.scores.values()) if self.scores else None

    @property
    def deviation(self) -> float | None:
        """Their standard deviation, with n - 1; None for fewer than two."""
        return statistics.stdev(self.scores.values()) if len(self.scores) > 1 else None

    def shown(self) -> str:
        """`0.612 ± 0.030 (3)`: mean, deviation, number of seeds; what is missing is said."""
        if self.mean is None:
            return "–"
        deviation = "" if self.deviation is None else f" ± {number(self.deviation)}"
        count = str(len(self.scores)) if len(self.scores) == self.seeds else f"{len(self.scores)} of {self.seeds}"
        return f"{number(self.mean)}{deviation} ({count})"

    def document(self) -> dict[str, Any]:
        """The group as JSON values."""
        return {
            "model": self.model,
            "dataset": self.dataset,
            "point": dict(self.point),
            "metric": self.metric,
            "mean": self.mean,
            "deviation": self.deviation,
            "num_seeds": len(self.scores),
            "seeds_asked": self.seeds,
            "scores": {str(seed): score for seed, score in self.scores.items()},
            "steps": list(self.steps),
            "paper": self.paper,
        }


@dataclass(frozen=True)
class Results:
    """All groups of a sweep, in the plan's order, and every run with its scores."""

    groups: tuple[Group, ...]
    runs: tuple[dict[str, Any], ...]
    notes: tuple[str, ...] = field(default=())
    caveats: tuple[str, ...] = field(default=())  # what the metrics say about their scores; to be said below a table

    def group(self, model: str, dataset: str, metric: str, point: Mapping[str, Any] | None = None) -> Group | None:
        """The group of that name, or None."""
        wanted = (model, dataset, metric, dict(point or {}))
        found = (g for g in self.groups if (g.model, g.dataset, g.metric, dict(g.point)) == wanted)
        return next(found, None)

    def document(self) -> dict[str, Any]:
        """What results.json holds."""
        return {
            "groups": [group.document() for group in self.groups],
            "runs": list(self.runs),
            "notes": list(self.notes),
        }


def collect(registry: Registry, plan: Plan, folder: SweepFolder, notes: Sequence[str] = ()) -> Results:
    """Read all runs' evaluations and sum them up."""
    runs = []
    scores: dict[str, dict[str, float | None]] = {}
    at: dict[str, int] = {}
    results: dict[str, Mapping[str, Any]] = {}
    for run in plan.runs:
        directory = folder.run(run)
        at[run.name] = saved_step(directory)
        found = evaluations(directory, at[run.name], plan.asked) if at[run.name] >= run.steps else {}
        results[run.name] = found
        scores[run.name] = {metric: result.get("score") for metric, result in found.items()}
        runs.append(
            {
                "name": run.name,
                "model": run.model,
                "dataset": run.dataset,
                "point": dict(run.point),
                "seed": run.seed,
                "step": at[run.name],
                "steps": run.steps,
                "scores": scores[run.name],
            }
        )
    groups = [
        _group(registry, members, metric, scores, at) for members in _by_seed(plan.runs) for metric in plan.spec.metrics
    ]
    return Results(tuple(groups), tuple(runs), tuple(notes), _caveats(results))


def _caveats(results: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    """What a metric's results say beside their scores under `caveats` and `reason`, each once: of all runs that it
    scored, or of those that are named.
    """
    scored: dict[str, list[str]] = {}
    said: dict[tuple[str, str], list[str]] = {}
    for name, found in results.items():
        for metric, result in found.items():
            scored.setdefault(metric, []).append(name)
            listed = result.get("caveats")
            texts = [*(listed if isinstance(listed, list) else ()), result.get("reason")]
            for text in dict.fromkeys(one_line(text) for text in texts if isinstance(text, str)):
                said.setdefault((metric, text), []).append(name)
    return tuple(
        f"{metric}: {text}" + ("" if names == scored[metric] else f" ({', '.join(names)})")
        for (metric, text), names in said.items()
    )


def _by_seed(runs: Iterable[PlannedRun]) -> list[list[PlannedRun]]:
    """The runs that differ in their seed alone, together."""
    found: dict[str, list[PlannedRun]] = {}
    for run in runs:
        found.setdefault(run.what, []).append(run)
    return list(found.values())


def _group(
    registry: Registry,
    runs: Sequence[PlannedRun],
    metric: str,
    scores: Mapping[str, Mapping[str, float | None]],
    at: Mapping[str, int],
) -> Group:
    first = runs[0]
    there = {run.seed: score for run in runs if (score := scores[run.name].get(metric)) is not None}
    steps = sorted({at[run.name] for run in runs if run.seed in there})
    # What was published is for the settings of the preset, not for the points of somebody's grid.
    paper = None if first.point else published(registry, metric, first.model, first.dataset)
    return Group(first.model, first.dataset, first.point, metric, there, len(runs), tuple(steps), paper)


def rows(results: Results) -> tuple[list[str], list[list[str]]]:
    """The headers and rows of a table with a group a row."""
    points = list(dict.fromkeys(key for group in results.groups for key in group.point))
    headers = ["model", "dataset", *points, "metric", "mean ± sd (seeds)", "paper"]
    body = [
        [
            group.model,
            group.dataset,
            *(str(group.point.get(key, "–")) for key in points),
            group.metric,
            group.shown(),
            as_published(group.paper),
        ]
        for group in results.groups
    ]
    return headers, body


def write_results(
    folder: SweepFolder,
    document: Mapping[str, Any],
    headers: Sequence[str],
    body: Sequence[Sequence[str]],
    notes: Sequence[str],
    title: str = "",
) -> None:
    """Write results.json and results.md into a sweep's folder. Raises ZooError where it cannot be written."""
    write_json(folder.path / "results.json", document)
    with writing(folder.path / "results.md") as temporary:
        temporary.write_text(markdown(title or folder.path.resolve().name, headers, body, notes), encoding="utf-8")


def markdown(title: str, headers: Sequence[str], body: Sequence[Sequence[str]], notes: Sequence[str] = ()) -> str:
    """A page with one table, and the notes below it."""
    lines = [f"# {title}", ""]
    if body:
        lines += [_line(headers), _line(["---"] * len(headers)), *map(_line, body), ""]
    lines += [f"- {note}" for note in notes]
    return "\n".join(lines).rstrip() + "\n"


def number(value: float | None) -> str:
    """A score as it stands in tables: three decimals below ten, one above."""
    if value is None:
        return "–"
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def as_published(value: float | None) -> str:
    """A score as the paper prints it."""
    return "–" if value is None else f"{value:g}"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"
