"""The benchmarks run, and what they hold of the training loop is true of a short run, too."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import benchmarks.__main__ as everything
from benchmarks import loop

PUBLISHED = Path(__file__).parents[1] / "docs" / "benchmarks.json"


@pytest.mark.slow
def test_everything_that_is_published_can_be_measured() -> None:
    """The numbers of so short a run say nothing; that there is one for each published row does."""
    found = json.loads(json.dumps(everything.measure(briefly=True), allow_nan=False))
    published = json.loads(PUBLISHED.read_text(encoding="utf-8"))

    def named(result):  # which precisions there are depends on the processor
        return {row[0].partition(":")[0].partition(",")[0] for row in everything.rows(result)}

    assert named(found) == named(published)
    assert all(float(row[3]) >= 0 for row in everything.rows(found))  # 0.0 where a neighbour was in the way
    assert all(case["relative difference"] < 1e-6 for case in found["frechet"])


@pytest.mark.slow
@pytest.mark.parametrize("model", sorted(loop.TRAINERS))
def test_the_loop_costs_little_beside_its_steps_and_does_not_grow(model: str) -> None:
    result = loop.measure(model, "dsprites", loop.FEWEST)

    assert 0 < result["share that is no step"] < 0.2  # a checkpoint after 90 steps, not after 5,000
    assert len(result["milliseconds"]) == len(result["memory MB"]) == loop.WINDOWS
    assert result["memory MB"][-1] < result["memory MB"][loop.WINDOWS // 2] * 1.05
