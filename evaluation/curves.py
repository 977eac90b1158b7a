"""Curves of a run: the MI bounds, the KL of each r_i and the scores over the steps (the paper's Figures 4 and 7)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ibgan_plugin.evaluation.legibility import COLOURS, DASHES, colour, dash, spread
from ibgan_plugin.evaluation.logs import Log, Series, best, kl_series, read_log, scores, series
from zoo.errors import UnknownNameError, UsageError
from zoo.registry import default_registry
from zoo.specs import MetricSpec

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_BOUNDS = {"mi_upper": "$I^U$", "mi_lower": "$I^L$"}
# Scores of [0, 1] share an axis; these have units of their own.
_OTHER_UNITS = ("fid", "mi_bounds", "unsupervised")
_LABEL_POINTS = 8.5
_PANEL_INCHES = 2.6


def plot_run(run: Path | str) -> Figure:
    """Draw a run's terms, the KL of each r_i, and the scores, with the step of the best score across all panels.

    Returns a matplotlib Figure; `figure.savefig("curves.pdf")` writes it. Every line has its name at its right end, and
    differs from its neighbours in colour and in dashes. The best step is that of the run's first metric.

    Raises UsageError where there is nothing logged.
    """
    from matplotlib.figure import Figure

    run = Path(run)
    log = read_log(run / "metrics.jsonl")
    if not log.records:
        raise UsageError(f"{run} has no metrics.jsonl with steps in it; name a run directory that has trained")
    evaluated = {
        name: points for name, points in scores(read_log(run / "evaluations.jsonl")).items() if name not in _OTHER_UNITS
    }
    each = kl_series(log)
    panels = 1 + bool(each) + bool(evaluated)
    figure = Figure(figsize=(7, _PANEL_INCHES * panels), layout="constrained")
    axes = list(figure.subplots(panels, 1, sharex=True, squeeze=False)[:, 0])

    _draw(axes[0], _terms(log))
    axes[0].set_ylabel("nats" if series(log, "mi_lower") else "terms")
    if each:
        # The largest first: it gets the first colour, and the line of a code that carries nothing a late one.
        order = sorted(range(len(each)), key=lambda i: -(each[i].values[-1] if each[i] else 0.0))
        _draw(axes[1], {f"$r_{{{i}}}$": each[i] for i in order})
        axes[1].set_ylabel("KL of each $r_i$, nats")
    if evaluated:
        _draw(axes[-1], evaluated, marker="o", markersize=3)
        axes[-1].margins(y=0.15)
        axes[-1].set_ylabel("score")
        _mark_the_best(axes, evaluated)
    axes[-1].set_xlabel("steps")
    figure.suptitle(run.resolve().name, fontsize="medium", parse_math=False)
    return figure


def _terms(log: Log) -> dict[str, Series]:
    """The bounds where the model has them, else all that was logged but the speed."""
    bounds = {label: series(log, name) for name, label in _BOUNDS.items()}
    found = {label: points for label, points in bounds.items() if points}
    if found:
        return found
    names = dict.fromkeys(name for record in log.records for name in record)
    terms = {name: series(log, name) for name in names if name not in ("step", "steps_per_second")}
    return {name: points for name, points in terms.items() if points}


def _draw(axes: Axes, lines: dict[str, Series], **more: Any) -> None:
    """Draw lines, each with its name at its right end, and the names clear of each other."""
    for index, (label, points) in enumerate(lines.items()):
        axes.plot(points.steps, points.values, label=label, **_look(index), **more)
    axes.margins(x=0.01)
    axes.spines[["top", "right"]].set_visible(False)
    drawn = [(index, label, points) for index, (label, points) in enumerate(lines.items()) if points]
    low, high = axes.get_ylim()
    gap = _LABEL_POINTS * 1.15 * (high - low) / (_PANEL_INCHES * 72 * 0.8)  # a panel has about 4/5 of its place
    places = spread([points.values[-1] for _, _, points in drawn], gap, low, high)
    for (index, label, points), place in zip(drawn, places, strict=True):
        axes.annotate(
            label,
            xy=(points.steps[-1], points.values[-1]),
            xytext=(1.03, place),
            textcoords=axes.get_yaxis_transform(),  # x as a share of the panel's width, y as a value
            annotation_clip=False,
            color=COLOURS[colour(index)],
            fontsize=_LABEL_POINTS,
            va="center",
            arrowprops={
                "arrowstyle": "-",
                "color": COLOURS[colour(index)],
                "linewidth": 0.5,
                "shrinkA": 0,
                "shrinkB": 1,
            },
        )
    axes.set_ylim(low, high)


def _mark_the_best(axes: list[Axes], evaluated: dict[str, Series]) -> None:
    """Write the best score of each metric beside its point; the first metric's step stands in all panels."""
    for index, (name, points) in enumerate(evaluated.items()):
        step, score = best(points, lower_is_better=_lower_is_better(name))
        axes[-1].annotate(
            f"{score:.2f} at {step:,.0f}",
            (step, score),
            textcoords="offset points",
            xytext=(-4, 5),
            ha="right" if step > points.steps[-1] / 2 else "left",
            fontsize=_LABEL_POINTS,
            color=COLOURS[colour(index)],
        )
        if index == 0:
            for panel in axes:
                panel.axvline(step, color="0.6", linewidth=0.8, linestyle=(0, (1, 2)), zorder=0)


def _lower_is_better(metric: str) -> bool:
    try:
        return bool(default_registry().spec(MetricSpec, metric, typed=False).lower_is_better)
    except UnknownNameError:  # the plugin that scored this run is not installed here
        return False


def _look(index: int) -> dict[str, Any]:
    dashes = DASHES[dash(index)]
    return {"color": COLOURS[colour(index)], "linestyle": (0, dashes) if dashes else "-", "linewidth": 1.3}
