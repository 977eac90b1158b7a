"""What docs/results.md says is what the runs' evaluations say."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[1] / "docs" / "results.md"
ROW = re.compile(r"^\| \[(.+?)\]\((.+?)\) \|.*\| ([\d,]+) \| \*\*([\d.]+)\*\* \| ([\d.]+) \| (\d+) \|", re.MULTILINE)
ROWS = ROW.findall(PAGE.read_text(encoding="utf-8"))


def test_there_are_results() -> None:
    files = {path.relative_to(PAGE.parent).as_posix() for path in (PAGE.parent / "results").glob("*.jsonl")}
    assert {file for _, file, *_ in ROWS} == files


@pytest.mark.parametrize(("name", "file", "steps", "score", "on_fresh_votes", "active"), ROWS)
def test_a_row_is_what_its_file_says(name, file, steps, score, on_fresh_votes, active):
    records = map(json.loads, (PAGE.parent / file).read_text(encoding="utf-8").splitlines())
    (found,) = [r["metrics"]["factorvae"] for r in records if r["step"] == int(steps.replace(",", ""))]
    assert (float(score), float(on_fresh_votes)) == (found["score"], found["eval_accuracy"])
    assert int(active) == found["num_active_dims"]
    assert found["protocol"]["votes"] == 800 and found["protocol"]["variance_images"] == 737_280
