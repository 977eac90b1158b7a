"""A few of the kills that the driver in `kills.py` makes by the hundred."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path


def test_killed_at_random_moments_runs_end_as_if_nobody_had_touched_them(drawn: Path) -> None:
    command = [sys.executable, "-m", "tests.faults.kills", "--kills", "6", "--models", "ibgan,beta_tcvae", "--json"]
    environment = os.environ | {"ZOO_DATA": str(drawn)}
    ended = subprocess.run(
        command, cwd=Path(__file__).parents[2], env=environment, capture_output=True, text=True, timeout=300
    )
    assert ended.returncode == 0, ended.stderr
    tallies = json.loads(ended.stdout)
    assert [(tally["model"], tally["kills"], tally["faults"]) for tally in tallies] == [
        ("ibgan", 3, 0),
        ("beta_tcvae", 3, 0),
    ]
    assert all(sum(tally["met"].values()) == 3 and tally["runs"] >= 1 for tally in tallies)
