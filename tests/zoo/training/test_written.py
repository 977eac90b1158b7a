"""What a run logs, saves, evaluates and keeps on its way, and that one which cannot begin leaves nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch

from ibgan_plugin.model import IBGAN
from tests.processes import content
from tests.zoo.training.small_runs import IMAGES, log
from zoo.errors import DataError, UsageError, ZooError
from zoo.run import RunDirectory

# When what is written.


def test_when_it_logs_and_saves(train: Callable[..., RunDirectory], tmp_path: Path) -> None:
    run = train(tmp_path / "run", IMAGES, steps=7, log_every=3, save_every=4)
    assert [line["step"] for line in log(run.path)] == [3, 6, 7]
    assert run.steps() == [4, 7]
    only = train(tmp_path / "only", IMAGES, steps=3, save_every=0)
    assert only.steps() == [3]


def test_the_rate_is_of_the_training_since_the_last_line(
    train: Callable[..., RunDirectory], misbehaving: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """By a clock of the test's own: two steps of half a second each, then of an eighth, evaluations of a minute."""
    monkeypatch.setattr("zoo.training.time", import_module("misbehaving").CLOCK)
    options = {"log_every": 2, "trainer": "misbehaving:Paced"}
    options |= {"eval_every": 2, "eval_metrics": ["misbehaving:takes_a_minute"]}
    train(tmp_path / "run", IMAGES, steps=6, **options)
    run = train(tmp_path / "run", IMAGES, resume=True, steps=9, **options)
    rates = {line["step"]: line["steps_per_second"] for line in run.records("metrics.jsonl")}
    assert rates == {2: 2.0, 4: 8.0, 6: 8.0, 8: 8.0, 9: 8.0}


def test_evaluations_on_the_way_have_a_seed_that_every_metric_takes(
    train: Callable[..., RunDirectory], tmp_path: Path
) -> None:
    """NumPy's older generator, which the published metrics draw from, takes 32 bits; a run's seed may have 63."""
    few = {"factorvae.votes": 5, "factorvae.samples_per_vote": 2}
    seed, kept = 2**32 + 2**31 + 5, 2**31 + 5
    run = train(tmp_path / "run", IMAGES, seed=seed, steps=1, eval_every=1, eval_metrics=["factorvae"], **few)
    (record,) = run.records("evaluations.jsonl")
    assert record["errors"] == {}
    assert (record["seed"], record["metrics"]["factorvae"]["protocol"]["seed"]) == (kept, kept)
    assert run.config.seed == seed


def test_evaluating_on_the_way_changes_nothing_and_a_failing_metric_costs_a_warning(
    train: Callable[..., RunDirectory], misbehaving: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    metrics = ("mi_bounds", "misbehaving:fails", "misbehaving:says_nothing")
    more = {"eval_every": 2, "eval_metrics": metrics, "mi_bounds.num": 50}
    run = train(tmp_path / "run", IMAGES, steps=5, **more)
    told = capsys.readouterr().err
    plain = train(tmp_path / "plain", IMAGES, steps=5)
    assert content(run.path, 5) == content(plain.path, 5)
    records = [json.loads(line) for line in (run.path / "evaluations.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records] == [2, 4]
    for record in records:
        assert record["metrics"].keys() == {"mi_bounds"}
        assert record["metrics"]["mi_bounds"]["protocol"]["num"] == 50
        assert record["errors"]["misbehaving:fails"] == "KeyError: 'lost'"
        assert "expected a dict with score and protocol" in record["errors"]["misbehaving:says_nothing"]
    assert told.count("warning: step 2: misbehaving:fails: KeyError: 'lost'") == 1
    assert "step 4: mi_bounds " in told


def test_the_newest_and_the_best_checkpoints_are_kept(
    train: Callable[..., RunDirectory], misbehaving: Path, tmp_path: Path
) -> None:
    """The scores are 0.1, 0.9, 0.4, ... at the steps 2, 4, 6, ...; what is evaluated is saved: it may be the best."""
    path = "misbehaving:scores"
    more = {"eval_every": 2, "eval_metrics": [path], "save_every": 5}
    train(tmp_path / "run", IMAGES, keep=2, steps=9, **more)
    assert RunDirectory(tmp_path / "run").steps() == [4, 8, 9]
    train(tmp_path / "run", IMAGES, resume=True, keep=1, steps=10, eval_metrics=[path])
    assert RunDirectory(tmp_path / "run").steps() == [4, 10], (
        "how many are kept may change; the first of equals is the best"
    )


@pytest.mark.parametrize(("keep_best", "best"), [("", 6), ("mig", 6), ("fid", 4)])
def test_the_best_is_by_the_metric_asked_for_in_its_direction(
    train: Callable[..., RunDirectory], run_copy: Path, keep_best: str, best: int
) -> None:
    """Of an FID the lowest is the best; without a choice, it is the first metric that counts."""
    for step, fid, mig in ((2, 90, 0.1), (4, 80, 0.2), (6, 95, 0.9)):
        scores = {name: {"score": score, "protocol": {}} for name, score in (("fid", fid), ("mig", mig))}
        RunDirectory(run_copy).append("evaluations.jsonl", {"step": step, "metrics": scores})
    options = {"keep": 1, "keep_best": keep_best, "eval_metrics": ["mig", "fid"]}
    assert train(run_copy, resume=True, seed=3, steps=7, **options).steps() == [best, 7]


# Refusals.


def test_a_metric_that_needs_what_the_dataset_lacks_is_refused_at_the_start(
    train: Callable[..., RunDirectory], misbehaving: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=r"^factorvae needs ground-truth factors, which misbehaving:no_factors does "):
        train(tmp_path / "run", "misbehaving:no_factors", steps=1, eval_every=1)
    run = train(tmp_path / "run", "misbehaving:no_factors", steps=1, eval_every=1, eval_metrics=["mi_bounds"])
    assert [record["step"] for record in run.records("evaluations.jsonl")] == [1]


def test_the_metric_to_keep_the_best_by_is_one_of_those_evaluated(
    train: Callable[..., RunDirectory], tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=r"^unknown metric to keep the best by 'mgi'; did you mean 'mig'\?$"):
        train(tmp_path / "run", IMAGES, keep=1, keep_best="mgi", eval_metrics=["factorvae", "mig"])


def test_a_start_that_failed_leaves_nothing_behind(cli: Callable[..., Any], tmp_path: Path) -> None:
    outcome = cli("train", "ibgan", "--dataset", "celeba", "--out", tmp_path / "run", "--data-root", tmp_path / "data")
    assert outcome.code == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("dataset", ["floats", "channels_first"])
def test_images_that_are_no_pixels_are_refused(
    train: Callable[..., RunDirectory], misbehaving: Path, tmp_path: Path, dataset: str
) -> None:
    """As floats in [0, 1] they would be divided by 255, and metrics would see other images than the model did."""
    with pytest.raises(DataError, match=r"^floats gives images of type .* expected uint8 \(8, 64, 64, 1\): "):
        train(tmp_path / "run", f"misbehaving:{dataset}", steps=1)
    assert not (tmp_path / "run").exists()


def test_a_first_step_that_fails_names_the_images(
    train: Callable[..., RunDirectory], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The usual case: a network for one channel meets three."""
    monkeypatch.setattr(IBGAN, "bottleneck", lambda self, z, stream: (torch.ones(8, 3), None, None))
    told = rf"^the first step of ibgan failed on images \(64, 64, 3\) of {IMAGES}: RuntimeError: .*mat1 and mat2 shapes"
    with pytest.raises(ZooError, match=told):
        train(tmp_path / "run", IMAGES, steps=1)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("settings", [{"trainer": "vae"}, {"loss": "vae"}])
def test_what_does_not_go_together_leaves_nothing_behind(
    train: Callable[..., RunDirectory], tmp_path: Path, settings: dict[str, str]
) -> None:
    with pytest.raises(
        UsageError, match=r"^trainer '\w+' with loss '\w+' does not go with model 'ibgan' on images \(64, "
    ) as raised:
        train(tmp_path / "run", IMAGES, steps=1, **settings)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "run").exists()
    assert train(tmp_path / "run", IMAGES, steps=1).steps() == [1]


def test_nothing_is_written_before_all_of_it_stands(train: Callable[..., RunDirectory], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"this model needs 64x64 images, the dataset has 32x32"):
        train(tmp_path / "run", IMAGES, steps=1, **{"dataset.height": 32, "dataset.width": 32})
    assert not RunDirectory(tmp_path / "run").exists()
    assert train(tmp_path / "run", IMAGES, steps=1).steps() == [1]
