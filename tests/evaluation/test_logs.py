"""Logs as a run writes them, and as a killed run, another program or a stranger may leave them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from ibgan_plugin.evaluation.logs import Series, best, kl_series, last_kl, number, read_log, scores, series
from zoo.errors import ZooError

LINES = [
    json.dumps({"step": 20, "mi_lower": 1.0, "kl": [0.1, 0.2]}),
    json.dumps({"step": 10, "mi_lower": 0.5, "kl": [0.3, 0.4], "late": None}),
    "",
    '{"step": 30, "mi_lo',
    "[1, 2]",
    '{"step": "40"}',
    '{"step": true}',
    '{"step": NaN}',
    '{"step": -1}',
    '{"step": 1e999}',
    "[" * 100_000,
    json.dumps({"step": 50, "mi_lower": "high", "kl": [0.5, "x"]}),
]


@pytest.fixture
def log(tmp_path):
    (tmp_path / "log.jsonl").write_text("\n".join(LINES))
    return read_log(tmp_path / "log.jsonl")


def test_records_come_by_step_and_what_is_none_is_counted(log):
    assert [record["step"] for record in log.records] == [10, 20, 50]
    assert log.left_out == 8


def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "log.jsonl").write_text('{"step": 1}')
    (tmp_path / "link").symlink_to(tmp_path / "log.jsonl")
    for name in ("folder", "pipe", "link"):
        with pytest.raises(ZooError, match=name):
            read_log(tmp_path / name)


def test_no_file_is_no_record(tmp_path):
    assert read_log(tmp_path / "absent.jsonl").records == ()


def test_series_hold_finite_numbers_only(log):
    assert series(log, "mi_lower") == Series((10.0, 20.0), (0.5, 1.0))
    assert not series(log, "late")
    assert kl_series(log) == [Series((10.0, 20.0, 50.0), (0.3, 0.1, 0.5)), Series((10.0, 20.0), (0.4, 0.2))]


@pytest.mark.parametrize(("step", "kl"), [(9, None), (10, [0.3, 0.4]), (25, [0.1, 0.2]), (99, [0.1, 0.2])])
def test_the_last_kl_up_to_a_step(log, step, kl):
    assert last_kl(log, step) == kl


def test_records_of_another_number_of_codes_are_left_out(tmp_path):
    lines = [{"step": 1, "kl": [1.0]}, {"step": 2, "kl": [2.0, 3.0]}]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))

    assert kl_series(read_log(tmp_path / "log.jsonl")) == [Series((2.0,), (2.0,)), Series((2.0,), (3.0,))]


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1, 1.0), (0.5, 0.5), (True, None), ("1", None), (None, None), (float("nan"), None), (10**400, None), ([], None)],
)
def test_a_number_is_finite(value, expected):
    assert number(value) == expected


def test_scores_by_metric(tmp_path):
    lines = [
        {"step": 2, "metrics": {"fid": {"score": 9.0}, "mig": {"score": None}, "sap": "broken"}},
        {"step": 1, "metrics": {"fid": {"score": 7.0}}},
        {"step": 3, "metrics": {"fid": {"score": 7.0}}},
        {"step": 4, "metrics": ["fid"]},
        {"step": 5},
    ]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))

    found = scores(read_log(tmp_path / "log.jsonl"))

    assert found == {"fid": Series((1.0, 2.0, 3.0), (7.0, 9.0, 7.0))}
    assert best(found["fid"]) == (2.0, 9.0)
    assert best(found["fid"], lower_is_better=True) == (1.0, 7.0)


def evaluation(step: int, score: float, votes: int, *, added: bool, seed: int = 0) -> dict[str, Any]:
    found = {"score": score, "protocol": {"votes": votes, "seed": seed}}
    return {"step": step, "metrics": {"factorvae": found}} | ({"checkpoint": "run"} if added else {})


@pytest.mark.parametrize(
    ("records", "points"),
    [
        (  # a lucky score of one vote is none of the run's curve
            [evaluation(10, 0.3, 800, added=False), evaluation(20, 0.6, 800, added=False),
             evaluation(10, 1.0, 1, added=True)],
            [(10, 0.3), (20, 0.6)],
        ),
        (  # what was added by the same protocol is, whatever its seed
            [evaluation(10, 0.3, 800, added=False), evaluation(20, 0.7, 800, added=True, seed=1)],
            [(10, 0.3), (20, 0.7)],
        ),
        (  # without evaluations of its own, the last protocol holds
            [evaluation(10, 0.9, 1, added=True), evaluation(20, 0.4, 800, added=True)],
            [(20, 0.4)],
        ),
    ],
)  # fmt: skip
def test_scores_of_a_curve_have_one_protocol(
    tmp_path: Path, records: list[dict[str, Any]], points: list[tuple[int, float]]
) -> None:
    (tmp_path / "log").write_text("".join(json.dumps(record) + "\n" for record in records))
    found = scores(read_log(tmp_path / "log"))["factorvae"]
    assert list(zip(found.steps, found.values, strict=True)) == points
