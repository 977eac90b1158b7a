"""The benchmarks run, and what they hold of the training loop is true of a short run, too."""

from __future__ import annotations

import pytest

from benchmarks import loop


@pytest.mark.slow
@pytest.mark.parametrize("model", sorted(loop.TRAINERS))
def test_the_loop_costs_little_beside_its_steps_and_does_not_grow(model: str) -> None:
    result = loop.measure(model, "dsprites", loop.FEWEST)

    assert 0 < result["share that is no step"] < 0.2  # a checkpoint after 90 steps, not after 5,000
    assert len(result["milliseconds"]) == len(result["memory MB"]) == loop.WINDOWS
    assert result["memory MB"][-1] < result["memory MB"][loop.WINDOWS // 2] * 1.05
