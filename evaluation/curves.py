"""Curves of a run: the MI bounds, the KL of each r_i and the scores over the steps (the paper's Figures 4 and 7)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ibgan_plugin.evaluation.legibility import COLOURS, DASHES, colour, dash, spread
from ibgan_plugin.evaluation.logs import Log, Series, best, kl_series, read_log, scores, series
from zoo import terminal
from zoo.errors import CheckpointError, UsageError
from zoo.registry import default_registry
from zoo.scores import lower_is_better
from zoo.untrusted import exists

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_BOUNDS = {"mi_upper": "$I^U$", "mi_lower": "$I^L$"}
# Scores in [0, 1] share a panel; these have one each, with their unit, and so has whatever leaves [0, 1].
_OTHER_UNITS = {"fid": "", "mi_bounds": "nats", "unsupervised": "nats"}
_MOST_ALONE = 16  # a taller picture is none
_DOT: dict[str, Any] = {"marker": "o", "markersize": 3}
_LABEL_POINTS = 8.5
_PANEL_INCHES = 2.6


def plot_run(run: Path | str) -> Figure:
    """Draw a run's terms, the KL of each r_i, and the scores, with the step of the best score across all panels.

    Returns a matplotlib Figure; `figure.savefig("curves.pdf")` writes it. Every line has its name at its right end, and
    differs from its neighbours in colour and in dashes. Scores that are not in [0, 1] have a panel each. The best step
    is that of the run's first metric.

    Raises CheckpointError where there is no run, UsageError where it has nothing logged.
    """
    from matplotlib.figure import Figure

    run = Path(run)
    if not exists(run):
        raise CheckpointError(f"{run} does not exist; name a run directory")
    log = read_log(run / "metrics.jsonl")
    if not log.records:
        raise UsageError(f"{run} has no metrics.jsonl with steps in it; name a run directory that has trained")
    evaluated = scores(read_log(run / "evaluations.jsonl"))
    scored = _score_panels(evaluated)
    each = kl_series(log)
    panels = 1 + bool(each) + len(scored)
    figure = Figure(figsize=(7, _PANEL_INCHES * panels), layout="constrained")
    axes = list(figure.subplots(panels, 1, sharex=True, squeeze=False)[:, 0])

    bounds = _bounds(log)
    _draw(axes[0], bounds or _terms(log), math=bool(bounds))
    axes[0].set_ylabel("nats" if bounds else "terms")
    if each:
        # The largest first: it gets the first colour, and the line of a code that carries nothing a late one.
        order = sorted(range(len(each)), key=lambda i: -(each[i].values[-1] if each[i] else 0.0))
        _draw(axes[1], {f"$r_{{{i}}}$": each[i] for i in order}, math=True)
        axes[1].set_ylabel("KL of each $r_i$, nats")
    for panel, (label, lines) in zip(axes[panels - len(scored) :], scored, strict=True):
        _draw(panel, lines, room=0.15, **_DOT)
        panel.set_ylabel(label, parse_math=False)
        _write_the_best(panel, lines)
    if evaluated:
        step, _ = _best(*next(iter(evaluated.items())))
        for panel in axes:
            panel.axvline(step, color="0.6", linewidth=0.8, linestyle=(0, (1, 2)), zorder=0)
    axes[-1].set_xlabel("steps")
    axes[-1].locator_params(axis="x", integer=True, min_n_ticks=1)
    figure.suptitle(run.resolve().name, fontsize="medium", parse_math=False)
    return figure


def _score_panels(evaluated: dict[str, Series]) -> list[tuple[str, dict[str, Series]]]:
    """Each panel's label and lines: first the scores in [0, 1] together, then each of the others."""
    alone = [name for name, points in evaluated.items() if name in _OTHER_UNITS or not _in_unit_range(points)]
    if len(alone) > _MOST_ALONE:
        terminal.warn(f"the curves leave out {', '.join(alone[_MOST_ALONE:])}: no room for more panels")
    together = {name: points for name, points in evaluated.items() if name not in alone}
    panels = [("score", together)] if together else []
    return panels + [(_axis_label(name), {name: evaluated[name]}) for name in alone[:_MOST_ALONE]]


def _in_unit_range(points: Series) -> bool:
    return all(0 <= value <= 1 for value in points.values)


def _axis_label(metric: str) -> str:
    named = ", ".join(filter(None, [metric, _OTHER_UNITS.get(metric)]))
    return f"{named}\nlower is better" if _lower_is_better(metric) else named


def _bounds(log: Log) -> dict[str, Series]:
    """The bounds on the mutual information, where the model has them."""
    bounds = {label: series(log, name) for name, label in _BOUNDS.items()}
    return {label: points for label, points in bounds.items() if points}


def _terms(log: Log) -> dict[str, Series]:
    """All that was logged but the speed."""
    names = dict.fromkeys(name for record in log.records for name in record)
    terms = {name: series(log, name) for name in names if name not in ("step", "steps_per_second")}
    return {name: points for name, points in terms.items() if points}


def _draw(axes: Axes, lines: dict[str, Series], *, room: float = 0.05, math: bool = False, **more: Any) -> None:
    """Draw lines, each with its name at its right end, and the names clear of each other.

    `room` is what stays free above and below, as a share of the values' range; `math` is whether the names are TeX.
    """
    for index, (label, points) in enumerate(lines.items()):
        dot = _DOT if len(points.steps) == 1 else {}  # a line of one point shows nothing
        axes.plot(points.steps, points.values, label=label, **(_look(index) | dot | more))
    axes.margins(x=0.01, y=room)
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
            parse_math=math,
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


def _write_the_best(axes: Axes, lines: dict[str, Series]) -> None:
    """Write the best score of each metric above its point, or below it where lower is better: the line is not there."""
    for index, (name, points) in enumerate(lines.items()):
        step, score = _best(name, points)
        below = _lower_is_better(name)
        axes.annotate(
            f"{score:.2f} at {step:,.0f}",
            (step, score),
            textcoords="offset points",
            xytext=(-4, -5 if below else 5),
            va="top" if below else "bottom",
            ha="right" if step > points.steps[-1] / 2 else "left",
            fontsize=_LABEL_POINTS,
            color=COLOURS[colour(index)],
        )


def _best(metric: str, points: Series) -> tuple[float, float]:
    return best(points, lower_is_better=_lower_is_better(metric))


def _lower_is_better(metric: str) -> bool:
    return lower_is_better(default_registry(), metric)


def _look(index: int) -> dict[str, Any]:
    dashes = DASHES[dash(index)]
    return {"color": COLOURS[colour(index)], "linestyle": (0, dashes) if dashes else "-", "linewidth": 1.3}
