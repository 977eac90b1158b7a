"""How far a run is, from its directory: nothing that is finished is done again, nothing that is not is taken for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from zoo.run import RunDirectory
from zoo.sweep.plan import Plan
from zoo.sweep.progress import Asked, evaluations, finished, folders_with_runs, logged, missing, saved_step

ASKED = Asked(("factorvae", "mig"), {"factorvae": {"votes": 20}}, seed=7)


def test_nothing_is_there(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "none")
    assert (saved_step(run), logged(run), missing(run, 0, ASKED)) == (0, (0, None), ["factorvae", "mig"])
    assert not finished(run, 1, Asked((), {}, 0))


@pytest.mark.parametrize(
    ("record", "counts"),
    [
        ({}, True),
        ({"seed": 0}, False),
        ({"step": 2}, False),
        ({"settings": {"factorvae": {"votes": 21}}}, False),
        ({"settings": {}}, False),
        ({"settings": {"factorvae": {"votes": 20, "batch_size": 9}}}, False),
        ({"settings": {"factorvae": {"votes": 20}, "mig": {"num_train": 9}}}, True),
        ({"metrics": {}, "errors": {"factorvae": "failed"}}, False),
        ({"metrics": {"factorvae": "nonsense"}}, False),
    ],
    ids=str,
)
def test_which_evaluations_count(
    plan: Callable[..., Plan],
    hand_made: Callable[..., RunDirectory],
    evaluation: Callable[..., dict[str, Any]],
    tmp_path: Path,
    record: dict[str, Any],
    counts: bool,
) -> None:
    mine = evaluation(3, "factorvae", 0.5, seed=7, settings={"factorvae": {"votes": 20}}) | record
    run = hand_made(tmp_path / "run", plan().runs[0].config, step=3, evaluations=[mine])
    assert ("factorvae" in evaluations(run, 3, ASKED)) == counts
    assert missing(run, 3, ASKED) == (["mig"] if counts else ["factorvae", "mig"])


def test_the_newest_of_equals(
    plan: Callable[..., Plan],
    hand_made: Callable[..., RunDirectory],
    evaluation: Callable[..., dict[str, Any]],
    tmp_path: Path,
) -> None:
    records = [evaluation(3, "mig", score, seed=7) for score in (0.1, 0.2)]
    run = hand_made(tmp_path / "run", plan().runs[0].config, step=3, evaluations=records)
    assert evaluations(run, 3, ASKED)["mig"]["score"] == 0.2


def test_what_the_training_loop_scored_does_not_count(
    plan: Callable[..., Plan], hand_made: Callable[..., RunDirectory], tmp_path: Path
) -> None:
    """It does not say with which settings."""
    record = {"step": 3, "seed": 7, "metrics": {"mig": {"score": 0.1, "protocol": {}}}}
    run = hand_made(tmp_path / "run", plan().runs[0].config, step=3, evaluations=[record])
    assert evaluations(run, 3, ASKED) == {}


def test_finished(
    plan: Callable[..., Plan],
    hand_made: Callable[..., RunDirectory],
    evaluation: Callable[..., dict[str, Any]],
    tmp_path: Path,
) -> None:
    asked = Asked(("mig",), {}, 0)
    run = hand_made(tmp_path / "run", plan().runs[0].config, step=3, evaluations=[evaluation(3, "mig", None)])
    assert finished(run, 3, asked)
    assert not finished(run, 4, asked)
    assert finished(run, 2, asked)  # it went on beyond: nothing is left to do
    hand_made(tmp_path / "run", plan().runs[0].config, step=5)
    assert saved_step(run) == 5
    assert not finished(run, 3, asked)  # the newest checkpoint is what is scored
    (run.checkpoints_path / "step-00000005" / "model.safetensors").write_bytes(b"cut")
    assert saved_step(run) == 3
    assert finished(run, 3, asked)


def test_a_score_of_the_training_loop_that_a_kill_left_out(
    plan: Callable[..., Plan], hand_made: Callable[..., RunDirectory], tmp_path: Path
) -> None:
    run = hand_made(tmp_path / "run", plan().runs[0].config, step=4)
    nothing = Asked((), {}, 0)
    assert [finished(run, 4, nothing, every) for every in (0, 2, 3)] == [True, False, True]
    run.append("evaluations.jsonl", {"step": 4, "metrics": {"mig": {"score": 0.1, "protocol": {}}}})
    assert finished(run, 4, nothing, 2)


def test_the_end_of_a_log(plan: Callable[..., Plan], hand_made: Callable[..., RunDirectory], tmp_path: Path) -> None:
    run = hand_made(tmp_path / "run", plan().runs[0].config, log=[(step, step / 2) for step in range(1, 3_000)])
    assert logged(run) == (2_999, 1_499.5)
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 3000, "steps_per')
    assert logged(run) == (2_999, 1_499.5)


def test_where_runs_are_found(
    plan: Callable[..., Plan], hand_made: Callable[..., RunDirectory], tmp_path: Path
) -> None:
    config = plan().runs[0].config
    for place in ("a", "sweep/runs/b", "sweep/measured/c", "deep/er/d"):
        hand_made(tmp_path / place, config)
    assert [run.path for run in folders_with_runs(tmp_path)] == [tmp_path / "a", tmp_path / "sweep/runs/b"]
