"""The geometry of a chart, against what a ruler would say."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibgan_plugin.evaluation.logs import Series
from ibgan_plugin.evaluation.report.charts import LARGE, SMALL, Chart, Level, Line, Mark, draw


def points_of(path: str) -> list[tuple[float, float]]:
    return [tuple(map(float, pair.split(","))) for pair in path.removeprefix("M").split("L")]


def test_points_lie_on_the_scale_that_the_ticks_give():
    chart = draw(Chart("t", [Line("a", Series((0.0, 500.0, 1000.0), (0.0, 0.5, 1.0)), 0)]))

    assert chart is not None
    x = {label: float(place) for place, label in chart.x_ticks}
    y = {label: float(place) for place, label in chart.y_ticks}
    assert points_of(chart.lines[0].path) == [(x["0"], y["0"]), (x["500"], (y["0"] + y["1"]) / 2), (x["1,000"], y["1"])]
    assert (x["0"], x["1,000"]) == (LARGE.left, LARGE.right)
    assert (y["0"], y["1"]) == (LARGE.bottom, LARGE.top)


def test_marks_and_levels_lie_where_they_say():
    line = Line("a", Series((0.0, 1000.0), (0.0, 1.0)), 0)

    chart = draw(Chart("t", [line], levels=[Level("paper", 0.5)], marks=[Mark("best", 250), Mark("late", 2000)]))

    assert chart is not None
    assert [float(y) for y, *_ in chart.levels] == [(LARGE.top + LARGE.bottom) / 2]
    assert [(float(x), label, anchor) for x, label, anchor in chart.marks] == [
        (LARGE.left + (LARGE.right - LARGE.left) / 4, "best", "start")
    ]
    assert chart.summary == "t over 1,000 steps: a ends at 1; paper 0.5"


@given(
    st.lists(
        st.tuples(st.floats(0, 1e7), st.floats(-1e12, 1e12)).filter(lambda p: abs(p[1]) > 1e-12 or p[1] == 0),
        min_size=1,
        max_size=30,
    )
)
def test_everything_lies_within_the_picture(points):
    points.sort()
    chart = draw(Chart("t", [Line("a", Series(*zip(*points, strict=True)), 0)], frame=SMALL))

    assert chart is not None
    drawn = points_of(chart.lines[0].path)
    assert all(SMALL.left - 0.1 <= x <= SMALL.right + 0.1 for x, _ in drawn)
    assert all(SMALL.top - 0.1 <= y <= SMALL.bottom + 0.1 for _, y in drawn)
    assert all(SMALL.top - 0.1 <= float(y) <= SMALL.bottom + 0.1 for y, _ in chart.y_ticks)
    assert len(chart.y_ticks) >= 2


def test_a_long_log_is_thinned_and_keeps_its_spikes():
    values = [0.0] * 10_000
    values[1234], values[7777], values[-1] = 5.0, -7.0, 1.0

    chart = draw(Chart("t", [Line("a", Series(tuple(map(float, range(10_000))), tuple(values)), 0)]))

    assert chart is not None
    line = chart.data["lines"][0]
    assert len(line["steps"]) <= 402
    assert {(1234.0, 5.0), (7777.0, -7.0), (9999.0, 1.0)} <= set(zip(line["steps"], line["values"], strict=True))
    assert len(points_of(chart.lines[0].path)) == len(line["steps"])


def test_names_are_apart_and_the_least_of_very_many_go_without():
    lines = [Line(f"r{i}", Series((0.0, 10.0), (0.0, 1 / (i + 1))), i) for i in range(30)]

    chart = draw(Chart("t", lines))

    assert chart is not None
    places = sorted(float(line.label_y) for line in chart.lines if line.labelled)
    assert [line.labelled for line in chart.lines] == [True] * 14 + [False] * 16
    assert all(b - a >= 11.8 for a, b in itertools.pairwise(places))
    looks = {(line.colour, line.dashes) for line in chart.lines[:28]}
    assert len(looks) == 28


@pytest.mark.parametrize("lines", [[], [Line("a", Series((), ()), 0)]])
def test_nothing_to_draw_is_no_chart(lines):
    assert draw(Chart("t", lines)) is None


def test_a_single_point_is_a_dot():
    chart = draw(Chart("t", [Line("a", Series((5.0,), (3.0,)), 0)]))

    assert chart is not None
    assert len(chart.lines[0].dots) == 1
