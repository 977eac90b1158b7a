"""Ours beside the paper's: the rows of a table or figure, from the runs that a sweep has."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ibgan_plugin.evaluation.logs import best, read_log
from ibgan_plugin.evaluation.logs import scores as scores_over_steps
from ibgan_plugin.evaluation.paper.shipped import Reproduction
from zoo.registry import Registry
from zoo.scores import lower_is_better, published
from zoo.sweep.plan import Plan, SweepFolder
from zoo.sweep.progress import evaluations, saved_step
from zoo.sweep.results import Results, as_published, number


@dataclass(frozen=True)
class Table:
    """Text for people, the same as JSON values for programs, and what is to be said below it on a terminal."""

    headers: list[str]
    body: list[list[str]]
    entries: list[dict[str, Any]]
    notes: list[str]


def table_of_scores(registry: Registry, wanted: Reproduction, metric: str, results: Results) -> Table:
    """Tables 1 and 2: a row a model; two columns a dataset, ours (mean ± deviation (seeds)) and the paper's."""
    spec = wanted.spec
    headers = ["model", *(header for dataset in spec.datasets for header in (dataset, "paper"))]
    body, entries = [], []
    for model in spec.models:
        row = [model]
        for dataset in spec.datasets:
            paper = published(registry, metric, model, dataset)
            group = results.group(model, dataset, metric)
            entry: dict[str, Any] = {"model": model, "dataset": dataset, "metric": metric, "paper": paper}
            why = wanted.missing.get(dataset) or wanted.missing.get(metric)
            if group is None or group.mean is None:
                entry |= {"mean": None, "deviation": None, "num_seeds": 0, "missing": why or "no run has finished"}
                shown = "missing" if why else "–"
            else:
                entry |= {"mean": group.mean, "deviation": group.deviation, "num_seeds": len(group.scores)}
                entry |= {"steps": list(group.steps)}
                shown = group.shown()
            entries.append(entry)
            row += [shown, as_published(paper)]
        body.append(row)
    return Table(headers, body, entries, [*_protocol(wanted), *results.caveats])


def table_over_beta(wanted: Reproduction, plan: Plan, folder: SweepFolder, results: Results) -> Table:
    """Figure 3: a row a beta, with the mean over the seeds of I^U, I^L, the score, and the number of seeds."""
    entries = over_beta(plan, folder)
    columns = {"mi_upper": "I^U, nats", "mi_lower": "I^L, nats", "score": "factorvae"}
    body = [
        [f"{entry['beta']:g}", *(number(_mean(entry[key])) for key in columns), str(len(entry["seeds"]))]
        for entry in entries
    ]
    return Table(["beta", *columns.values(), "seeds"], body, entries, [*_protocol(wanted), *results.caveats])


def over_beta(plan: Plan, folder: SweepFolder) -> list[dict[str, Any]]:
    """For each beta in ascending order what its finished runs were measured to have: lists with a value a seed.

    `kl` holds lists too: the KL of each r_i of one run, the largest first, since which r_i carries what differs.
    """
    found: dict[float, dict[str, Any]] = {}
    for run in plan.runs:
        beta = float(run.config.settings["loss"]["beta"])
        entry = found.setdefault(
            beta, {"beta": beta, "seeds": [], "mi_upper": [], "mi_lower": [], "kl": [], "score": []}
        )
        step = saved_step(folder.run(run))
        there = evaluations(folder.run(run), step, plan.asked) if step >= run.steps else {}
        bounds = there.get("mi_bounds")
        if bounds is None:
            continue
        entry["seeds"].append(run.seed)
        entry["mi_upper"].append(bounds["mi_upper"])
        entry["mi_lower"].append(bounds["mi_lower"])
        entry["kl"].append(sorted(bounds["kl"], reverse=True))
        score = there.get("factorvae", {}).get("score")
        if score is not None:
            entry["score"].append(score)
    return [found[beta] for beta in sorted(found)]


def table_over_steps(
    registry: Registry, wanted: Reproduction, plan: Plan, folder: SweepFolder, results: Results
) -> Table:
    """Figure 4: a row a run, with the last and the best score during training."""
    body, entries = [], []
    for run in plan.runs:
        scored = scores_over_steps(read_log(folder.run(run).path / "evaluations.jsonl"))
        for metric in run.config.eval_metrics:
            points = scored.get(metric)
            if not points:
                body.append([run.name, metric, "–", "–", "–"])
                continue
            step, score = best(points, lower_is_better=lower_is_better(registry, metric))
            entry = {"run": run.name, "metric": metric, "last": points.values[-1], "last_step": int(points.steps[-1])}
            entries.append(entry | {"best": score, "best_step": int(step)})
            last = f"{number(points.values[-1])} at {points.steps[-1]:,.0f}"
            body.append([run.name, metric, last, number(score), f"{step:,.0f}"])
    headers = ["run", "metric", "last score", "best score", "at step"]
    return Table(headers, body, entries, [*_protocol(wanted), *results.caveats])


def _protocol(wanted: Reproduction) -> list[str]:
    """In what ours differ from the paper's by what the person asked for."""
    notes = []
    if wanted.spec.steps is not None:
        notes.append(f"trained for {wanted.spec.steps:,} steps each, not for those of the presets")
    if wanted.changed:
        notes.append(f"with other settings than the presets and the paper's protocol: {', '.join(wanted.changed)}")
    return notes


def _mean(values: Sequence[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return statistics.fmean(there) if there else None


def document(wanted: Reproduction, table: Table, results: Results) -> dict[str, Any]:
    """What results.json holds."""
    missing: Mapping[str, str] = wanted.missing
    return {
        "name": wanted.name,
        "title": wanted.title,
        "entries": table.entries,
        "missing": dict(missing),
        "notes": [*table.notes, *results.notes],
        "runs": list(results.runs),
    }
