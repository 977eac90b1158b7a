"""Means and deviations, worked out by hand, and what stands beside them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from zoo.registry import default_registry
from zoo.run import RunDirectory
from zoo.sweep.plan import Plan, SweepFolder
from zoo.sweep.results import collect, markdown, number, rows


@pytest.fixture
def swept(
    plan: Callable[..., Plan],
    hand_made: Callable[..., RunDirectory],
    evaluation: Callable[..., dict[str, Any]],
    tmp_path: Path,
) -> Callable[..., tuple[Plan, SweepFolder]]:
    """A sweep with the scores given by (model, seed)."""

    def make(scores: dict[tuple[str, int], float | None], step: int = 3, **document: Any) -> tuple[Plan, SweepFolder]:
        found = plan(metrics=["factorvae"], **document)
        folder = SweepFolder(tmp_path / "sweep")
        for run in found.runs:
            if (run.model, run.seed) in scores:
                record = evaluation(step, "factorvae", scores[run.model, run.seed])
                hand_made(folder.run(run).path, run.config, step=step, evaluations=[record])
        return found, folder

    return make


def test_mean_and_deviation(swept: Callable[..., tuple[Plan, SweepFolder]]) -> None:
    scores = {("ibgan", 0): 0.5, ("ibgan", 1): 0.6, ("ibgan", 2): 1.0, ("gan", 0): 0.25, ("vae", 1): None}
    plan, folder = swept(scores, models=["ibgan", "gan", "vae"], seeds=[0, 1, 2])
    results = collect(default_registry(), plan, folder)
    ours = results.group("ibgan", "dsprites", "factorvae")
    assert ours is not None
    assert ours.mean == pytest.approx(0.7)
    # deviations -0.2, -0.1, 0.3: squares 0.04 + 0.01 + 0.09 = 0.14, halved 0.07
    assert ours.deviation == pytest.approx(0.07**0.5)
    assert (ours.shown(), ours.paper, ours.steps) == ("0.700 ± 0.265 (3)", 0.80, (3,))
    one, none = results.group("gan", "dsprites", "factorvae"), results.group("vae", "dsprites", "factorvae")
    assert one is not None
    assert (one.mean, one.deviation, one.shown()) == (0.25, None, "0.250 (1 of 3)")
    assert none is not None
    assert (none.mean, none.deviation, none.shown(), none.paper) == (None, None, "–", 0.61)
    assert results.group("ibgan", "dsprites", "mig") is None
    json.dumps(results.document(), allow_nan=False)
    assert rows(results) == (
        ["model", "dataset", "metric", "mean ± sd (seeds)", "paper"],
        [
            ["ibgan", "dsprites", "factorvae", "0.700 ± 0.265 (3)", "0.8"],
            ["gan", "dsprites", "factorvae", "0.250 (1 of 3)", "0.4"],
            ["vae", "dsprites", "factorvae", "–", "0.61"],
        ],
    )


def test_a_run_on_its_way_has_no_score_yet(swept: Callable[..., tuple[Plan, SweepFolder]]) -> None:
    plan, folder = swept({("ibgan", 0): 0.5}, step=2)
    (group,) = collect(default_registry(), plan, folder).groups
    assert group.mean is None


def test_a_point_of_a_grid_is_not_what_the_paper_did(swept: Callable[..., tuple[Plan, SweepFolder]]) -> None:
    plan, folder = swept({("ibgan", 0): 0.5}, grid={"loss.beta": [0.0, 0.5]})
    results = collect(default_registry(), plan, folder)
    assert [(dict(group.point), group.paper) for group in results.groups] == [
        ({"loss.beta": 0.0}, None),
        ({"loss.beta": 0.5}, None),
    ]
    assert rows(results)[0] == ["model", "dataset", "loss.beta", "metric", "mean ± sd (seeds)", "paper"]


def test_a_page(tmp_path: Path) -> None:
    text = markdown("title", ["a", "b"], [["1", "x|y"], ["2", ""]], ["a note"])
    assert text == "# title\n\n| a | b |\n| --- | --- |\n| 1 | x\\|y |\n| 2 |  |\n\n- a note\n"
    assert markdown("title", ["a"], []) == "# title\n"


@pytest.mark.parametrize(("value", "shown"), [(None, "–"), (0.12345, "0.123"), (7.4, "7.400"), (109.66, "109.7")])
def test_numbers(value: float | None, shown: str) -> None:
    assert number(value) == shown
