"""docs/sweeps.md names every key, and its example is a sweep."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from zoo.registry import default_registry
from zoo.sweep.plan import Plan
from zoo.sweep.spec import Override, Slurm, SweepSpec

TEXT = (Path(__file__).parents[3] / "docs" / "sweeps.md").read_text("utf-8")


@pytest.mark.parametrize("table", [SweepSpec, Override, Slurm])
def test_every_key_is_told(table: type[BaseModel]) -> None:
    rows = "\n".join(line for line in TEXT.splitlines() if line.startswith("|"))
    assert [key for key in table.model_fields if not re.search(rf"`{key}(\.METRIC)?`", rows)] == []


def test_the_example_is_a_sweep(tmp_path: Path) -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)
    (tmp_path / "example.toml").write_text(example)
    spec = SweepSpec.read(default_registry(), tmp_path / "example.toml")
    plan = Plan.of(default_registry(), spec)
    assert len(plan.runs) == 3 * (3 + 2)
    assert {run.steps for run in plan.runs if run.model == "beta_vae"} == {40_000}


def test_the_defaults_are_as_told() -> None:
    assert f"| {Slurm().timeout_min} |" in TEXT
    assert f"| {Slurm().signal_delay_s} |" in TEXT
    assert f"| {Slurm().max_num_timeout} |" in TEXT
    assert f"| `{Slurm().name}` |" in TEXT
