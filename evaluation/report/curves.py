"""The curves of the page: scores, the bounds of the mutual information, KLs, and every other term that was logged."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from ibgan_plugin.evaluation.logs import kl_series, scores, series
from ibgan_plugin.evaluation.report import charts
from ibgan_plugin.evaluation.report.charts import Chart, DrawnChart, Level, Line, Mark
from ibgan_plugin.evaluation.report.views import View

_BOUNDS = {"mi_upper": "I^U", "mi_lower": "I^L"}
_NO_TERMS = ("step", "kl", *_BOUNDS)
# Of each kind: a page stays readable, and a browser alive, whatever a log holds.
_MOST_CURVES = 64


def charts_of(views: Sequence[View]) -> list[tuple[str, list[DrawnChart]]]:
    """The curves, grouped: scores of all runs together, each run's bounds and KL, every other term of all runs."""
    groups = [
        ("Scores", _score_charts(views)),
        ("Information", [chart for view in views for chart in _information_charts(view, len(views) > 1)]),
        ("What was logged", _term_charts(views)),
    ]
    drawn = [(name, list(islice(filter(None, map(charts.draw, group)), _MOST_CURVES))) for name, group in groups]
    return [(name, found) for name, found in drawn if found]


def _score_charts(views: Sequence[View]) -> list[Chart]:
    found = []
    of_view = [scores(view.run.evaluations) for view in views]
    for metric in dict.fromkeys(metric for of_one in of_view for metric in of_one):
        with_it = [(view, of_one[metric]) for view, of_one in zip(views, of_view, strict=True) if metric in of_one]
        if all(len(points.steps) < 2 for _, points in with_it):
            continue  # single points: the table says it better
        paper: dict[float, dict[str, None]] = {}  # score -> the models it is reported of
        for view in (view for view, _ in with_it if metric in view.paper):
            paper.setdefault(view.paper[metric], {})[view.run.config.model] = None
        found.append(
            Chart(
                metric,
                [Line(_label(view, views), points, view.number, dots=True) for view, points in with_it],
                levels=[
                    Level("paper" if len(paper) == 1 else f"paper {', '.join(models)}", value)
                    for value, models in paper.items()
                ],
                marks=[
                    Mark(f"best{' ' + view.run.letter if len(views) > 1 else ''}", view.best[metric].step)
                    for view, _ in with_it
                ],
            )
        )
    return found


def _information_charts(view: View, named: bool) -> list[Chart]:
    """The MI bounds and the KL of each r_i of one run, with the step of its best score (Figures 4 and 7)."""
    log, suffix = view.run.metrics, f", {view.run.letter}" if named else ""
    marks = [Mark(f"best {score.metric}", score.step) for score in list(view.best.values())[:1]]
    bounds = [Line(label, series(log, name), i) for i, (name, label) in enumerate(_BOUNDS.items())]
    each = kl_series(log)
    order = sorted(range(len(each)), key=lambda i: -(each[i].values[-1] if each[i] else 0.0))
    codes = [Line(f"r{i}", each[i], rank) for rank, i in enumerate(order[:_MOST_CURVES])]
    cut = f", the largest {_MOST_CURVES} of {len(each)}" if len(each) > _MOST_CURVES else ""
    return [
        Chart(f"Bounds of the mutual information{suffix}", bounds, "nats", marks=marks),
        Chart(f"KL of each r{cut}{suffix}", codes, "nats", marks=marks),
    ]


def _term_charts(views: Sequence[View]) -> list[Chart]:
    names = dict.fromkeys(name for view in views for record in view.run.metrics.records for name in record)
    return [
        Chart(
            name.replace("_", " "),
            [Line(_label(view, views), series(view.run.metrics, name), view.number) for view in views],
            frame=charts.SMALL,
        )
        for name in names
        if name not in _NO_TERMS
    ]


def _label(view: View, views: Sequence[View]) -> str:
    return view.run.letter if len(views) > 1 else ""
