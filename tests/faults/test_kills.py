"""A few of the kills that the driver in `kills.py` makes by the hundred."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import zoo


def tallies_of(drawn: Path, *words: str) -> list[dict[str, Any]]:
    ended = subprocess.run(
        [sys.executable, "-m", "tests.faults.kills", "--json", *words],
        cwd=Path(__file__).parents[2],
        env=os.environ | {"ZOO_DATA": str(drawn)},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    found: list[dict[str, Any]] = json.loads(ended.stdout)
    assert all(tally["faults"] == 0 and tally["runs"] >= 1 for tally in found)
    assert all(sum(tally["met"].values()) == tally["kills"] == tally["resumes"] for tally in found)
    return found


def test_killed_at_random_moments_a_run_ends_as_if_nobody_had_touched_it(drawn: Path) -> None:
    (tally,) = tallies_of(drawn, "--kills", "4", "--models", "ibgan")
    assert tally["kills"] == 4


@pytest.mark.slow
def test_so_do_runs_of_every_model(drawn: Path) -> None:
    found = tallies_of(drawn, "--kills", "21", "--seed", "1")
    assert {tally["model"]: tally["kills"] for tally in found} == dict.fromkeys(zoo.list_models(), 3)
