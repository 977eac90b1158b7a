"""Figure 3 from numbers that are known."""

from __future__ import annotations

from typing import Any

import pytest

from ibgan_plugin.evaluation.paper.drawing import draw_over_beta


def entry(beta: float, upper: list[float], score: list[float]) -> dict[str, Any]:
    kl = [[0.75 * value, 0.25 * value] for value in upper]
    lower = [value / 2 for value in upper]
    seeds = list(range(len(upper)))
    return {"beta": beta, "seeds": seeds, "mi_upper": upper, "mi_lower": lower, "kl": kl, "score": score}


def test_means_and_deviations() -> None:
    figure = draw_over_beta([entry(0.0, [8.0, 10.0], [0.5, 0.7]), entry(1.0, [2.0, 2.0], [])])
    assert figure is not None
    bounds, each, score = figure.axes
    upper, lower = (container.lines[0].get_ydata().tolist() for container in bounds.containers)
    assert (upper, lower) == ([9.0, 2.0], [4.5, 1.0])
    (bars,) = bounds.containers[0].lines[2]
    low, high = bars.get_segments()[0][:, 1]
    assert (high - low) / 2 == pytest.approx(2**0.5)  # of 8 and 10
    assert [container.lines[0].get_ydata().tolist() for container in each.containers] == [[6.75, 1.5], [2.25, 0.5]]
    assert score.containers[0].lines[0].get_xdata().tolist() == [0.0]
    assert score.containers[0].lines[0].get_ydata().tolist() == pytest.approx([0.6])
    assert figure.axes[-1].get_xlabel() == r"$\beta$"


def test_nothing_to_draw() -> None:
    assert draw_over_beta([entry(0.0, [], [])]) is None
