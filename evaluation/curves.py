"""Curves of a run: the MI bounds, the KL of each r_i and the scores over the steps (the paper's Figures 4 and 7)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.errors import UsageError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which the colour-blind can tell apart, and line styles for print.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_STYLES = ("-", "--", ":")


def read_log(path: Path) -> list[dict[str, Any]]:
    """Read a jsonl log; a half-written last line is left out. An empty list where there is no file."""
    if not path.is_file():
        return []
    records = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict) and "step" in record:
            records.append(record)
    return sorted(records, key=lambda record: record["step"])


def plot_run(run: Path) -> Figure:
    """Draw a run's terms, the KL of each r_i, and the scores with the best step marked.

    Raises UsageError where there is nothing logged.
    """
    from matplotlib.figure import Figure

    log = read_log(run / "metrics.jsonl")
    if not log:
        raise UsageError(f"{run} has no metrics.jsonl with steps in it; name a run directory that has trained")
    steps = [record["step"] for record in log]
    scores = _scores(read_log(run / "evaluations.jsonl"))
    with_kl = any("kl" in record for record in log)
    panels = 1 + with_kl + bool(scores)
    figure = Figure(figsize=(7, 2.6 * panels), layout="constrained")
    axes = iter(figure.subplots(panels, 1, sharex=True, squeeze=False)[:, 0])

    bounds = next(axes)
    if "mi_upper" in log[0]:
        names = {"mi_upper": "$I^U$", "mi_lower": "$I^L$"}
    elif "mi_lower" in log[0]:
        names = {"mi_lower": "$I^L$"}
    else:
        names = {key: key for key, value in log[0].items() if isinstance(value, float) and key != "steps_per_second"}
    for index, (key, label) in enumerate(names.items()):
        bounds.plot(steps, [record.get(key) for record in log], label=label, **_look(index))
    bounds.set_ylabel("nats")
    bounds.legend(frameon=False)

    if with_kl:
        each = next(axes)
        dimensions = len(log[-1]["kl"])
        last = log[-1]["kl"]
        for index, dimension in enumerate(sorted(range(dimensions), key=lambda i: -last[i])):
            values = [record["kl"][dimension] if "kl" in record else None for record in log]
            each.plot(steps, values, label=f"$r_{{{dimension}}}$", **_look(index))
        each.set_ylabel("KL of each $r_i$, nats")
        each.legend(frameon=False, ncols=2, fontsize="small", loc="upper left", bbox_to_anchor=(1, 1))

    if scores:
        panel = next(axes)
        for index, (metric, points) in enumerate(scores.items()):
            at, score = zip(*points, strict=True)
            panel.plot(at, score, marker="o", markersize=3, label=metric, **_look(index))
            best = max(points, key=lambda point: point[1])
            panel.annotate(f"{best[1]:.2f} at {best[0]:,}", best, textcoords="offset points", xytext=(4, 4))
        panel.set_ylabel("score")
        panel.legend(frameon=False)

    figure.axes[-1].set_xlabel("steps")
    figure.suptitle(run.resolve().name, fontsize="medium")
    return figure


def _scores(evaluations: list[dict[str, Any]]) -> dict[str, list[tuple[int, float]]]:
    """metric -> (step, score), for the representation metrics: scores in [0, 1], larger is better."""
    found: dict[str, list[tuple[int, float]]] = {}
    for record in evaluations:
        for metric, result in record.get("metrics", {}).items():
            score = result.get("score")
            if score is not None and metric not in ("fid", "mi_bounds", "unsupervised"):
                found.setdefault(metric, []).append((record["step"], score))
    return found


def _look(index: int) -> dict[str, Any]:
    return {
        "color": _COLOURS[index % len(_COLOURS)],
        "linestyle": _STYLES[index // len(_COLOURS) % len(_STYLES)],
        "linewidth": 1.2,
    }
