"""Curves as SVG: the geometry is worked out here, the template draws it, and the page's colours follow the theme.

Lines differ in colour and in dashes and carry their name at their right end. A script can read the values under the
pointer from `Chart.data`; the picture needs none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ibgan_plugin.evaluation.legibility import DASHES, colour, dash, spread
from ibgan_plugin.evaluation.logs import Series


@dataclass(frozen=True)
class Frame:
    """The size of a picture in its own units, and where in it the curves are."""

    width: int
    height: int
    left: int
    right: int
    top: int
    bottom: int


LARGE = Frame(480, 260, left=48, right=416, top=16, bottom=226)
SMALL = Frame(290, 170, left=48, right=262, top=10, bottom=136)
_LABEL_GAP = 12.0
_MOST_POINTS = 400
_MOST_LABELLED = 14


@dataclass(frozen=True)
class Line:
    """One quantity, drawn in the look of that number."""

    label: str
    points: Series
    look: int
    dots: bool = False


@dataclass(frozen=True)
class Level:
    """A value drawn across the whole chart: what the paper reports."""

    label: str
    value: float


@dataclass(frozen=True)
class Mark:
    """A step drawn over the whole height: that of the best score."""

    label: str
    step: float


@dataclass(frozen=True)
class Chart:
    """What to draw: lines over steps, with the values and steps to mark."""

    title: str
    lines: Sequence[Line]
    unit: str = ""
    levels: Sequence[Level] = ()
    marks: Sequence[Mark] = ()
    frame: Frame = LARGE


@dataclass(frozen=True)
class DrawnLine:
    """A line in the picture's own units."""

    path: str
    colour: int
    dashes: str
    dots: Sequence[tuple[str, str]]
    label: str
    label_y: str
    end: tuple[str, str]
    labelled: bool


@dataclass(frozen=True)
class DrawnChart:
    """A chart ready for the template; `data` is what a script needs to name the values at a step."""

    title: str
    unit: str
    summary: str
    frame: Frame
    lines: Sequence[DrawnLine]
    x_ticks: Sequence[tuple[str, str]]  # position, label
    y_ticks: Sequence[tuple[str, str]]
    levels: Sequence[tuple[str, str, str]]  # y, label, y of the label
    marks: Sequence[tuple[str, str, str]]  # position, label, which end of the label is there
    data: dict[str, Any] = field(default_factory=dict)


def draw(chart: Chart) -> DrawnChart | None:
    """Work a chart out; None where no line has a point."""
    lines = [line for line in chart.lines if line.points]
    if not lines:
        return None
    last = max(line.points.steps[-1] for line in lines)
    first = 0.0
    values = [v for line in lines for v in line.points.values] + [level.value for level in chart.levels]
    frame = chart.frame
    x_ticks, _ = _ticks(first, max(last, first + 1), most=4 if frame is LARGE else 2, inside=True)
    y_ticks, (low, high) = _ticks(min(values), max(values), most=5 if frame is LARGE else 3)

    def x(step: float) -> float:
        return frame.left + (frame.right - frame.left) * (step - first) / max(last - first, 1)

    def y(value: float) -> float:
        return frame.bottom - (frame.bottom - frame.top) * (value - low) / (high - low)

    ends = [y(line.points.values[-1]) for line in lines] + [y(level.value) for level in chart.levels]
    # More names than fit are left to the read-out under the pointer; the lines come the most important first.
    fitting = min(len(lines), _MOST_LABELLED)
    kept = [*range(fitting), *range(len(lines), len(ends))]
    places = dict(zip(kept, spread([ends[i] for i in kept], _LABEL_GAP, frame.top, frame.bottom), strict=True))
    thinned = [_thinned(line.points) for line in lines]
    return DrawnChart(
        title=chart.title,
        unit=chart.unit,
        summary=_summary(chart, lines),
        frame=frame,
        lines=[
            DrawnLine(
                path="M" + "L".join(f"{x(s):.1f},{y(v):.1f}" for s, v in zip(p.steps, p.values, strict=True)),
                colour=colour(line.look),
                dashes=" ".join(f"{length:g}" for length in DASHES[dash(line.look)]),
                dots=[(f"{x(s):.1f}", f"{y(v):.1f}") for s, v in zip(p.steps, p.values, strict=True)]
                if line.dots or len(p.steps) == 1
                else [],
                label=line.label,
                label_y=f"{places.get(i, ends[i]):.1f}",
                end=(f"{x(p.steps[-1]):.1f}", f"{y(p.values[-1]):.1f}"),
                labelled=i in places,
            )
            for i, (line, p) in enumerate(zip(lines, thinned, strict=True))
        ],
        x_ticks=[(f"{x(tick):.1f}", _step(tick)) for tick in x_ticks],
        y_ticks=[(f"{y(tick):.1f}", f"{tick:,.6g}") for tick in y_ticks],
        levels=[
            (f"{y(level.value):.1f}", level.label, f"{places[len(lines) + i]:.1f}")
            for i, level in enumerate(chart.levels)
        ],
        marks=[
            (f"{x(mark.step):.1f}", mark.label, "end" if x(mark.step) > frame.width / 2 else "start")
            for mark in chart.marks
            if first <= mark.step <= last
        ],
        data={
            "first": first,
            "last": max(last, 1.0),
            "frame": asdict(frame),
            "lines": [
                {"label": line.label, "colour": colour(line.look), "steps": p.steps, "values": _rounded(p.values)}
                for line, p in zip(lines, thinned, strict=True)
            ],
        },
    )


def _summary(chart: Chart, lines: Sequence[Line]) -> str:
    """The chart in words, for those who don't see it."""
    ends = ", ".join(f"{line.label or 'it'} ends at {line.points.values[-1]:.3g}" for line in lines[:_MOST_LABELLED])
    levels = "".join(f"; {level.label} {level.value:.3g}" for level in chart.levels)
    return f"{chart.title} over {_step(max(line.points.steps[-1] for line in lines))} steps: {ends}{levels}"


def _ticks(low: float, high: float, *, most: int, inside: bool = False) -> tuple[list[float], tuple[float, float]]:
    """Round values over [low, high], and the range they span; only those `inside` it if asked for."""
    from matplotlib.ticker import MaxNLocator

    if high - low <= 1e-9 * max(abs(low), abs(high)):  # one value: some room around it
        room = max(abs(high), 1.0) * 0.1
        low, high = low - room, high + room
    ticks = [float(tick) for tick in MaxNLocator(most, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)]
    spanned = (min(low, ticks[0]), max(high, ticks[-1]))
    return [tick for tick in ticks if not inside or low <= tick <= high], spanned


def _thinned(points: Series) -> Series:
    """At most about 400 points: of each stretch of steps the smallest and the largest value, so that no spike goes."""
    count = len(points.steps)
    if count <= _MOST_POINTS:
        return points
    kept = {0, count - 1}
    stretches = _MOST_POINTS // 2
    for k in range(stretches):
        stretch = range(k * count // stretches, (k + 1) * count // stretches)
        kept |= {min(stretch, key=points.values.__getitem__), max(stretch, key=points.values.__getitem__)}
    at = sorted(kept)
    return Series(tuple(points.steps[i] for i in at), tuple(points.values[i] for i in at))


def _rounded(values: Sequence[float]) -> list[float]:
    return [float(f"{value:.4g}") for value in values]


def _step(step: float) -> str:
    return f"{step:,.0f}"
