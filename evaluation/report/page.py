"""Runs -> one HTML page that holds everything: pictures as data URIs, one style sheet, one script, no address at all.

Every name and value that a run's files hold is escaped by the template engine, and a content security policy in the
page lets nothing run or load but what is in it.
"""

from __future__ import annotations

import base64
import hashlib
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import metadata, resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from ibgan_plugin.evaluation.report import curves, pictures, reading
from ibgan_plugin.evaluation.report.reading import Run
from ibgan_plugin.evaluation.report.views import ModelPictures, Real, View
from zoo import terminal
from zoo.config import dataset_paths
from zoo.errors import UsageError, ZooError, shown
from zoo.files import writing
from zoo.registry import Registry, default_registry
from zoo.scores import departures, lower_is_better, published


def write_report(
    runs: Sequence[Path | str],
    out: Path | str | None = None,
    *,
    seed: int = 0,
    images: int = 64,
    steps: int = 21,
    device: str = "auto",
    dataset: str | None = None,
    data_root: Path | None = None,
    places: Mapping[str, Path | str] | None = None,
) -> Path:
    """Write one page of one or several runs and return its path.

    Args:
        runs: run directories, or checkpoints in them.
        out: the page; default: report.html in the only run's figures/, or here for several runs.
        seed: of the samples and of the choice of real images, the same for every run.
        images: how many samples and how many real images.
        steps: how many positions each slider has, from -3 to 3.
        device: where the models run.
        dataset: the runs' own, needed where that is one given by its import path: no file may name code to import.
        data_root: where datasets live.
        places: those of the runs' dataset settings that are paths, such as `source`, where the files lie elsewhere now.

    Raises:
        CheckpointError: something named is no run, or no checkpoint of one.
        UsageError: none of the runs was trained on `dataset`, or has what `places` says anew.
        ZooError: the page cannot be written.
    """
    registry = default_registry()
    opened = reading.open_runs(runs)
    _refuse_other_dataset(opened, dataset)
    path = Path(out) if out is not None else _default_path(opened)
    places = dict(places or {})
    _refuse_other_places(registry, opened, dataset, places)
    views = [View(run, number) for number, run in enumerate(opened)]
    asked = ModelPictures(registry, seed, images, steps, device, dataset, data_root, places)
    with terminal.progress("drawing the report", len(views)) as progress:
        for view in views:
            _read_scores(registry, view)
            asked.draw(view)
            progress.advance()
    page = _render(views, list(asked.real.values()), seed)
    with writing(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


def _refuse_other_dataset(runs: Sequence[Run], typed: str | None) -> None:
    trained_on = dict.fromkeys(run.config.dataset for run in runs)
    if typed is not None and typed not in trained_on:
        names = " or ".join(map(shown, trained_on))
        raise UsageError(f"no run here was trained on {shown(typed)}, but on {names}; leave the dataset out")


def _refuse_other_places(registry: Registry, runs: Sequence[Run], typed: str | None, places: Mapping[str, Any]) -> None:
    paths: set[str] = set()
    for name in {run.config.dataset for run in runs} if places else ():
        with suppress(ZooError):  # a dataset that is not there is said where its images would be
            paths |= dataset_paths(registry, name, typed=name == typed)
    for stray in places.keys() - paths:
        others = ", ".join(f"dataset.{name}" for name in sorted(paths)) or "none of the runs has such a one"
        raise UsageError(f"dataset.{stray} is no path that may be said anew: {others}")


def _default_path(runs: Sequence[Run]) -> Path:
    return runs[0].directory.figures_path / "report.html" if len(runs) == 1 else Path("report.html")


def _read_scores(registry: Registry, view: View) -> None:
    view.scores = reading.run_scores(view.run)
    for metric in dict.fromkeys(score.metric for score in view.scores):
        best = reading.best_of(view.scores, metric, lower=lower_is_better(registry, metric))
        if best is not None:
            view.best[metric] = best
            view.departures[metric] = ", ".join(departures(registry, metric, best.settings))
        paper = published(registry, metric, view.run.config.model, view.run.config.dataset)
        if paper is not None:
            view.paper[metric] = paper


def _render(views: Sequence[View], real: Sequence[Real], seed: int) -> str:
    """The page's text."""
    package = resources.files("ibgan_plugin.evaluation.report")
    style, script, template = ((package / f"page.{kind}").read_text("utf-8") for kind in ("css", "js", "html.jinja"))
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"score": _score_shown}
    runs = [view.run for view in views]
    groups = curves.charts_of(views)
    settings = reading.setting_rows(runs)
    return environment.from_string(template).render(
        views=views,
        title=" · ".join(run.name for run in runs),
        real=real,
        metrics=list(dict.fromkeys(metric for view in views for metric in view.best)),
        varying=_varying_protocol(views),
        settings=settings,
        shared_differences=[row for row in settings if row.differs and None not in row.cells],
        lone_settings=[row for row in settings if None in row.cells],
        provenance=[reading.provenance(run.config) for run in runs],
        groups=groups,
        data={"charts": [chart.data for group in groups for chart in group[1]]},
        made={
            "by": f"zoo report of ibgan-plugin {metadata.version('ibgan-plugin')}",
            "at": time.strftime("%Y-%m-%d %H:%M %z"),
            "command": shlex.join(["zoo", *sys.argv[1:]]) if Path(sys.argv[0]).name == "zoo" else "",
            "seed": seed,
        },
        span=pictures.SPAN,
        most_dimensions=pictures.MOST_DIMENSIONS,
        policy=_policy(style, script),
        style=style,
        script=script,
    )


def _policy(style: str, script: str) -> str:
    """A content security policy by which the page's own style and script work, and nothing else loads or runs."""

    def hashed(text: str) -> str:
        return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii") + "'"

    return (
        f"default-src 'none'; img-src data:; style-src {hashed(style)}; script-src {hashed(script)}; "
        "base-uri 'none'; form-action 'none'"
    )


def _varying_protocol(views: Sequence[View]) -> dict[str, set[str]]:
    """metric -> the protocol's settings in which its evaluations on this page differ."""
    found: dict[str, set[str]] = {}
    values: dict[tuple[str, str], set[str]] = {}
    for score in (score for view in views for score in view.scores if score.value is not None):
        for key, value in score.protocol:
            values.setdefault((score.metric, key), set()).add(value)
    for (metric, key), different in values.items():
        if len(different) > 1:
            found.setdefault(metric, set()).add(key)
    return found


def _score_shown(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"
