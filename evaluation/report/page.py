"""Runs -> one HTML page that holds everything: pictures as data URIs, one style sheet, one script, no address at all.

Every name and value that a run's files hold is escaped by the template engine, and a content security policy in the
page lets nothing run or load but what is in it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import metadata, resources
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from jinja2 import Environment, StrictUndefined

from ibgan_plugin.evaluation import figures
from ibgan_plugin.evaluation.logs import kl_series, scores, series
from ibgan_plugin.evaluation.report import charts, pictures, reading
from ibgan_plugin.evaluation.report.charts import Chart, DrawnChart, Level, Line, Mark
from ibgan_plugin.evaluation.report.pictures import Picture, Sliders
from ibgan_plugin.evaluation.report.reading import Run, Score
from zoo import terminal
from zoo.building import build_dataset
from zoo.errors import UsageError, described, shown
from zoo.evaluating import lower_is_better, published
from zoo.files import writing
from zoo.loading import Loaded, load_checkpoint
from zoo.registry import Registry, default_registry
from zoo.specs import ModelSpec

if TYPE_CHECKING:
    from zoo.interfaces import Dataset

T = TypeVar("T")

_BOUNDS = {"mi_upper": "I^U", "mi_lower": "I^L"}
_NO_TERMS = ("step", "kl", *_BOUNDS)
# Of each kind: a page stays readable, and a browser alive, whatever a log holds.
_MOST_CURVES = 64


@dataclass
class View:
    """One run as the page shows it."""

    run: Run
    number: int
    step: int | None = None  # of the checkpoint that the pictures are of
    checkpoint_sha256: str = ""
    samples: Picture | None = None
    sliders: Sliders | None = None
    reconstructed: Picture | None = None
    problems: list[str] = field(default_factory=list)
    scores: list[Score] = field(default_factory=list)
    best: dict[str, Score] = field(default_factory=dict)
    paper: dict[str, float] = field(default_factory=dict)

    def attempt(self, what: str, make: Callable[[], T]) -> T | None:
        """Make one part of the page; a failure costs that part only, and the page says so."""
        try:
            return make()
        except Exception as error:  # the model may be another plugin's: any failure, and the rest still shows
            self.problems.append(f"{what}: {described(error)}")
            terminal.warn(f"{self.run.name}: {self.problems[-1]}")
            return None


@dataclass(frozen=True)
class Real:
    """Images of a dataset, for all runs that have it."""

    dataset: str
    picture: Picture


@dataclass
class Studio:
    """Asks models for all that they can show; datasets are opened once for all runs."""

    registry: Registry
    seed: int
    images: int
    steps: int
    device: str
    typed_dataset: str | None
    data_root: Path | None
    datasets: dict[str, Dataset] = field(default_factory=dict)
    real: dict[str, Real] = field(default_factory=dict)

    def draw(self, view: View) -> None:
        """Load the model of a run and fill in what it shows."""
        loaded = view.attempt("no pictures", lambda: self._load(view.run))
        if loaded is None:
            return
        model = loaded.model
        view.step, view.checkpoint_sha256 = loaded.step, loaded.weights_sha256
        view.samples = view.attempt("no samples", lambda: pictures.samples(model, self.images, self.seed))
        dataset = view.attempt("no real images", lambda: self._dataset(view.run))
        view.sliders = view.attempt("no traversal", lambda: self._sliders(loaded, dataset))
        if dataset is not None:
            view.reconstructed = view.attempt(
                "no reconstructions", lambda: pictures.reconstructed(model, dataset, self.seed)
            )

    def _load(self, run: Run) -> Loaded:
        # The name comes from a file, so it must be a registered one: nothing in a file may name code to import.
        self.registry.spec(ModelSpec, run.config.model, typed=False)
        return load_checkpoint(self.registry, run.config.model, run.given, device=self.device)

    def _dataset(self, run: Run) -> Dataset:
        """Open the run's dataset, and show some of it where no run before did."""
        values = run.config.settings.get("dataset", {})
        key = json.dumps([run.config.dataset, values], sort_keys=True)
        if key not in self.datasets:
            typed = run.config.dataset == self.typed_dataset
            dataset = build_dataset(self.registry, run.config.dataset, self.data_root, values, typed=typed)
            self.real[key] = Real(run.config.dataset, pictures.real_images(dataset, self.images, self.seed))
            self.datasets[key] = dataset
        return self.datasets[key]

    def _sliders(self, loaded: Loaded, dataset: Dataset | None) -> Sliders:
        codes, names = pictures.base_codes(loaded.model, dataset, self.seed)
        kl = figures.kl_of_loaded(loaded, codes.shape[1], self.seed)
        return pictures.sliders(loaded.model, codes, names, self.steps, kl)


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

    Raises:
        CheckpointError: something named is no run, or no checkpoint of one.
        UsageError: none of the runs was trained on `dataset`.
        ZooError: the page cannot be written.
    """
    registry = default_registry()
    opened = reading.open_runs(runs)
    _refuse_other_dataset(opened, dataset)
    path = Path(out) if out is not None else _default_path(opened)
    views = [View(run, number) for number, run in enumerate(opened)]
    studio = Studio(registry, seed, images, steps, device, dataset, data_root)
    with terminal.progress("drawing the report", len(views)) as progress:
        for view in views:
            _read_scores(registry, view)
            studio.draw(view)
            progress.advance()
    page = _render(views, list(studio.real.values()), seed)
    with writing(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


def _refuse_other_dataset(runs: Sequence[Run], typed: str | None) -> None:
    trained_on = dict.fromkeys(run.config.dataset for run in runs)
    if typed is not None and typed not in trained_on:
        names = " or ".join(map(shown, trained_on))
        raise UsageError(f"no run here was trained on {shown(typed)}, but on {names}; leave the dataset out")


def _default_path(runs: Sequence[Run]) -> Path:
    return runs[0].directory.figures_path / "report.html" if len(runs) == 1 else Path("report.html")


def _read_scores(registry: Registry, view: View) -> None:
    view.scores = reading.run_scores(view.run)
    for metric in dict.fromkeys(score.metric for score in view.scores):
        best = reading.best_of(view.scores, metric, lower=lower_is_better(registry, metric))
        if best is not None:
            view.best[metric] = best
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
    groups = _charts(views)
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


def _charts(views: Sequence[View]) -> list[tuple[str, list[DrawnChart]]]:
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
        paper = {view.paper[metric]: view.run.config.model for view, _ in with_it if metric in view.paper}
        found.append(
            Chart(
                metric,
                [Line(_label(view, views), points, view.number, dots=True) for view, points in with_it],
                levels=[
                    Level("paper" if len(paper) == 1 else f"paper {model}", value) for value, model in paper.items()
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
