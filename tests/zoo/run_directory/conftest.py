"""A run with small checkpoints."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.zoo.run_directory.small_checkpoints import some
from zoo.run import RunDirectory


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    """A run with checkpoints at 1, 2 and 3."""
    made = RunDirectory(tmp_path / "run")
    for step in (1, 2, 3):
        made.save(step, *some(step), {"steps_done": step, "rate": 0.1})
    return made
