"""Logs fit the checkpoint and hold whole lines only, and the evaluations in them tell the best step."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.zoo.run_directory.small_checkpoints import names_in, some
from zoo.errors import CheckpointError
from zoo.run import RunDirectory


def test_what_was_logged_after_a_step_is_forgotten(run: RunDirectory) -> None:
    for step in range(1, 6):
        run.append("metrics.jsonl", {"step": step, "loss": 1 / step})
        run.append("evaluations.jsonl", {"step": step, "metrics": {}})
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 3, "los')  # what a killed process leaves
    (run.checkpoints_path / ".step-00000004.xyz").mkdir()
    run.forget_after(3)
    for file in ("metrics.jsonl", "evaluations.jsonl"):
        lines = (run.path / file).read_text().splitlines()
        assert [json.loads(line)["step"] for line in lines] == [1, 2, 3]
    assert names_in(run) == ["step-00000001", "step-00000002", "step-00000003"]
    run.append("metrics.jsonl", {"step": 4})
    assert (run.path / "metrics.jsonl").read_text().endswith('\n{"step": 4}\n')


def test_logs_are_read_back_without_what_is_not_whole(run: RunDirectory) -> None:
    assert run.records("evaluations.jsonl") == []
    written = [{"step": 3, "metrics": {"mig": {"score": 0.1}}}, {"step": 1, "metrics": {}}]
    for record in written:
        run.append("evaluations.jsonl", record)
    with (run.path / "evaluations.jsonl").open("ab") as file:
        file.write(b'[]\n{"metrics": {}}\n\xff\n{"step": 4, "met')
    assert run.records("evaluations.jsonl") == written


def test_a_log_that_fits_is_not_touched(run: RunDirectory) -> None:
    run.append("metrics.jsonl", {"step": 1})
    before = (run.path / "metrics.jsonl").stat()
    run.forget_after(1)
    assert (run.path / "metrics.jsonl").stat() == before
    run.forget_after(0)
    assert (run.path / "metrics.jsonl").read_text() == ""


def test_a_record_that_is_not_json_is_refused(run: RunDirectory) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        run.append("metrics.jsonl", {"step": 1, "loss": float("nan")})
    assert not (run.path / "metrics.jsonl").exists()


def test_nothing_is_appended_by_way_of_a_link(run: RunDirectory, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    (run.path / "evaluations.jsonl").symlink_to(tmp_path / "mine")
    with pytest.raises(CheckpointError, match="is a link, which is not followed there"):
        run.append("evaluations.jsonl", {"step": 1})
    assert (tmp_path / "mine").read_text() == "mine"


def test_a_line_after_one_that_was_cut_short_is_a_line_of_its_own(run: RunDirectory) -> None:
    (run.path / "evaluations.jsonl").write_text('{"step": 1}\n{"step": 2, "met')
    run.append("evaluations.jsonl", {"step": 3})
    run.append("evaluations.jsonl", {"step": 4})
    assert run.records("evaluations.jsonl") == [{"step": 1}, {"step": 3}, {"step": 4}]


# The evaluations.


def test_the_best_step_is_of_the_runs_own_evaluations(run: RunDirectory) -> None:
    assert run.best_step("sap") is None
    scores = [(1, 0.3), (2, 0.5), (3, None), (4, 0.5), (5, 0.1)]
    for step in (4, 5):
        run.save(step, *some(step), {"steps_done": step})
    for step, score in scores:
        run.append("evaluations.jsonl", {"step": step, "metrics": {"sap": {"score": score, "protocol": {}}}})
    run.append("evaluations.jsonl", {"step": 6, "metrics": {}, "errors": {"sap": "failed"}})
    run.append("evaluations.jsonl", {"step": 1, "checkpoint": "by hand", "metrics": {"sap": {"score": 0.9}}})
    assert run.best_step("sap") == 2
    assert run.best_step("sap", lower_is_better=True) == 5
    assert run.best_step("mig") is None
    assert [step for step in range(8) if run.evaluated(step)] == [1, 2, 3, 4, 5, 6]


def test_the_best_step_is_one_that_has_a_checkpoint(run: RunDirectory) -> None:
    """Or pruning would spare a checkpoint that is not there, and remove the best of those that are."""
    for step, score in ((0, 0.9), (1, 0.2), (2, 0.7), (3, 0.3), (4, 0.8)):
        run.append("evaluations.jsonl", {"step": step, "metrics": {"sap": {"score": score, "protocol": {}}}})
    assert run.best_step("sap") == 2
    run.prune(1, run.best_step("sap"))
    assert run.steps() == [2, 3]


def test_scores_of_another_protocol_are_not_compared(run: RunDirectory) -> None:
    """Few votes may score high by luck, and a resumed run may ask for more of them."""
    for step, score, votes, seed in ((1, 0.9, 10, 0), (2, 0.3, 800, 0), (3, 0.4, 800, 1), (4, 0.2, 800, 2)):
        result = {"score": score, "protocol": {"votes": votes, "seed": seed}}
        run.append("evaluations.jsonl", {"step": step, "metrics": {"factorvae": result}})
    assert run.best_step("factorvae") == 3
