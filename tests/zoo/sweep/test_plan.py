"""A specification's runs, worked out by hand; and what may change in a folder that has a sweep."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from zoo.errors import SettingError, UsageError, ZooError
from zoo.registry import default_registry
from zoo.sweep.plan import Plan, SweepFolder
from zoo.sweep.spec import SweepSpec


def plan(**document: Any) -> Plan:
    full = {"models": ["ibgan"], "datasets": ["dsprites"], "steps": 10} | document
    spec = SweepSpec.checked(full, "spec")
    spec.only_registered(default_registry())
    return Plan.of(default_registry(), spec)


def test_every_combination_with_the_first_seed_then_with_the_next() -> None:
    found = plan(models=["ibgan", "vae"], datasets=["dsprites", "color_dsprites"], seeds=[3, 1])
    assert [run.name for run in found.runs] == [
        "ibgan-dsprites-seed=3",
        "ibgan-color_dsprites-seed=3",
        "vae-dsprites-seed=3",
        "vae-color_dsprites-seed=3",
        "ibgan-dsprites-seed=1",
        "ibgan-color_dsprites-seed=1",
        "vae-dsprites-seed=1",
        "vae-color_dsprites-seed=1",
    ]
    assert {run.config.seed for run in found.runs} == {1, 3}
    assert {run.steps for run in found.runs} == {10}
    assert all(run.config.preset == run.dataset for run in found.runs)


def test_the_grid_is_crossed_where_a_model_has_the_setting() -> None:
    found = plan(
        models=["ibgan", "vae"],
        grid={"loss.beta": [0.0, 0.2], "batch_size": [4, 8]},
        settings={"model.ndf": 4, "model.ngf": 4},
    )
    assert [(run.model, dict(run.point)) for run in found.runs] == [
        ("ibgan", {"loss.beta": 0.0, "batch_size": 4}),
        ("ibgan", {"loss.beta": 0.0, "batch_size": 8}),
        ("ibgan", {"loss.beta": 0.2, "batch_size": 4}),
        ("ibgan", {"loss.beta": 0.2, "batch_size": 8}),
        ("vae", {"batch_size": 4}),
        ("vae", {"batch_size": 8}),
    ]
    assert found.runs[2].name == "ibgan-dsprites-loss.beta=0.2-batch_size=4-seed=0"
    assert found.runs[2].config.settings["loss"]["beta"] == 0.2
    assert (found.runs[2].config.batch_size, found.runs[2].config.settings["model"]["ndf"]) == (4, 4)
    assert found.runs[4].config.settings["model"]["ngf"] == 4
    assert sorted(found.left_out) == [
        "vae: no setting loss.beta, left out there",
        "vae: no setting model.ndf, left out there",
    ]


def test_a_setting_that_a_dataset_lacks_is_told_of_that_dataset() -> None:
    found = plan(
        models=["ibgan", "vae"],
        datasets=["image_folder", "dsprites"],
        steps=1,
        settings={"dataset.source": ".", "model.ndf": 4},
    )
    assert sorted(found.left_out) == [
        "dsprites: no setting dataset.source, left out there",
        "vae: no setting model.ndf, left out there",
    ]


def test_a_metric_that_cannot_work_is_told_before_anything_is_trained() -> None:
    settings = {"dataset.source": "."}
    with pytest.raises(UsageError, match=r"^mig needs ground-truth factors, which image_folder does not have; leave"):
        plan(datasets=["image_folder"], metrics=["fid", "mig"], settings=settings)
    found = plan(datasets=["image_folder", "dsprites"], metrics=["fid", "mig"], settings=settings)
    assert "mig needs ground-truth factors, which image_folder does not have: it will fail there" in found.left_out
    assert not any("fid" in line for line in found.left_out)


def test_overrides_in_their_order() -> None:
    found = plan(
        models=["ibgan", "beta_vae"],
        datasets=["dsprites", "color_dsprites"],
        grid={"loss.beta": [0.1, 0.2]},
        settings={"batch_size": 4},
        overrides=[
            {"models": ["beta_vae"], "settings": {"loss.beta": 4.0}, "steps": 20},
            {"datasets": ["color_dsprites"], "settings": {"batch_size": 8}},
            {"models": ["beta_vae"], "datasets": ["color_dsprites"], "grid": {"batch_size": [16, 32]}, "steps": 30},
        ],
    )
    told = [
        (run.model, run.dataset, run.config.settings["loss"]["beta"], run.config.batch_size, run.steps)
        for run in found.runs
    ]
    assert told == [
        ("ibgan", "dsprites", 0.1, 4, 10),
        ("ibgan", "dsprites", 0.2, 4, 10),
        ("ibgan", "color_dsprites", 0.1, 8, 10),
        ("ibgan", "color_dsprites", 0.2, 8, 10),
        ("beta_vae", "dsprites", 4.0, 4, 20),
        ("beta_vae", "color_dsprites", 4.0, 16, 30),
        ("beta_vae", "color_dsprites", 4.0, 32, 30),
    ]
    assert dict(found.runs[4].point) == {}


def test_the_presets_steps_where_none_are_given() -> None:
    found = plan(models=["ibgan", "vae"], datasets=["dsprites", "color_dsprites"], steps=None)
    assert [run.steps for run in found.runs] == [150_000, 500_000, 300_000, 300_000]


def test_a_loss_on_the_grid_brings_its_settings() -> None:
    found = plan(models=["vae"], grid={"loss": ["vae", "beta_vae"], "loss.beta": [2.0, 3.0]})
    told = [(run.config.loss, run.config.settings["loss"].get("beta"), dict(run.point)) for run in found.runs]
    assert told == [
        ("vae", None, {"loss": "vae"}),
        ("beta_vae", 2.0, {"loss": "beta_vae", "loss.beta": 2.0}),
        ("beta_vae", 3.0, {"loss": "beta_vae", "loss.beta": 3.0}),
    ]


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ({"settings": {"loss.bta": 1}}, "unknown setting 'loss.bta'; did you mean 'loss.beta'"),
        ({"grid": {"modle.ngf": [4]}}, "unknown setting 'modle.ngf'; did you mean 'model.ngf'"),
        ({"settings": {"batchsize": 4}}, "unknown setting 'batchsize'; did you mean 'batch_size'"),
        (
            {"models": ["ibgan", "vae"], "overrides": [{"models": ["vae"], "settings": {"loss.beta": 1}}]},
            "overrides[0]: unknown setting 'loss.beta'",
        ),
        ({"settings": {"model.ngf": 2}}, "ibgan on dsprites: model.ngf=2: input should be greater than or equal to 4"),
        ({"grid": {"loss.beta": [0.1, -1]}}, "ibgan on dsprites: loss.beta=-1: input should be greater than or equal"),
        ({"settings": {"batch_size": 1}}, "batch_size=1: input should be greater than or equal to 2"),
        ({"preset": "paper"}, "unknown preset 'paper'"),
        ({"metrics": ["mig"], "metric_settings": {"mig": {"num_train": 0}}}, "mig.num_train=0: input should be"),
        ({"metrics": ["mig"], "metric_settings": {"mig": {"x": 1}}}, "unknown setting 'mig.x'"),
        ({"seeds": list(range(5001)), "grid": {"loss.beta": [1, 2]}}, "the sweep has 10,002 runs; 10,000 are the most"),
        ({"grid": {"loss.beta": [0.1, "0.1"]}}, "two runs would both be called ibgan-dsprites-loss.beta=0.1-seed=0"),
    ],
)  # fmt: skip
def test_all_is_checked_before_anything_starts(document: dict[str, Any], told: str) -> None:
    with pytest.raises((UsageError, SettingError), match=re.escape(told)):
        plan(**document)


BASE: dict[str, Any] = {
    "seeds": [0],
    "settings": {"batch_size": 4},
    "metrics": ["factorvae"],
    "metric_settings": {"factorvae": {"votes": 20}},
}


@pytest.mark.parametrize(
    "grown",
    [
        {},
        {"seeds": [5, 0]},
        {"steps": 11},
        {"models": ["vae", "ibgan"]},
        {"datasets": ["color_dsprites", "dsprites"]},
        {"metrics": ["factorvae", "mig"]},
        {"settings": {"batch_size": 4, "save_every": 7, "device": "cpu"}},
        {"settings": {"batch_size": "4"}},
        {"slurm": {"partition": "other"}},
    ],
    ids=str,
)
def test_a_sweep_may_grow(tmp_path: Path, grown: dict[str, Any]) -> None:
    folder = SweepFolder(tmp_path / "sweep")
    folder.write_plan(plan(**BASE))
    later = plan(**BASE | grown)
    folder.write_plan(later)
    written = json.loads((tmp_path / "sweep" / "sweep.json").read_text())
    assert sorted(written["runs"]) == sorted(run.name for run in later.runs)
    assert written["runs"]["ibgan-dsprites-seed=0"]["settings"]["batch_size"] == 4


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"seeds": [1]}, "it has the run ibgan-dsprites-seed=0, which the specification has not"),
        ({"models": ["vae"]}, "it has the run ibgan-dsprites-seed=0, which the specification has not"),
        ({"grid": {"loss.beta": [0.1]}}, "it has the run ibgan-dsprites-seed=0, which the specification has not"),
        ({"steps": 9}, "ibgan-dsprites-seed=0 has 10 steps there and 9 here"),
        ({"settings": {"batch_size": 8}}, "ibgan-dsprites-seed=0 has batch_size 4 there and 8 here"),
        ({"settings": {}}, "ibgan-dsprites-seed=0 has batch_size 4 there and its default here"),
        ({"preset": "demo"}, "ibgan-dsprites-seed=0 has preset dsprites there and demo here"),
        ({"metrics": ["mig"], "metric_settings": {}}, "it has the metric factorvae, which the specification has not"),
        ({"metric_settings": {}}, "factorvae has the settings {'votes': 20} there and {} here"),
        ({"eval_seed": 1}, "it has eval_seed 0, the specification 1"),
    ],
    ids=str,
)
def test_another_sweep_in_the_folder_is_refused(tmp_path: Path, other: dict[str, Any], told: str) -> None:
    folder = SweepFolder(tmp_path / "sweep")
    folder.write_plan(plan(**BASE))
    before = (tmp_path / "sweep" / "sweep.json").read_bytes()
    with pytest.raises(UsageError, match=re.escape(f"holds another sweep: {told}; choose another --out")):
        folder.write_plan(plan(**BASE | other))
    assert (tmp_path / "sweep" / "sweep.json").read_bytes() == before


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": 2}', '{"format": 1, "runs": {"x": 3}}', "[" * 100_000])
def test_a_record_that_is_none_is_one_line(tmp_path: Path, content: str) -> None:
    (tmp_path / "sweep.json").write_text(content)
    with pytest.raises(ZooError, match=r"sweep\.json is (no sweep's record|not JSON)"):
        SweepFolder(tmp_path).check(plan())


def test_a_record_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    SweepFolder(tmp_path / "there").write_plan(plan())
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "sweep.json").symlink_to(tmp_path / "there" / "sweep.json")
    with pytest.raises(ZooError, match="link"):
        SweepFolder(tmp_path / "here").check(plan())


def test_a_run_directory_is_no_place_for_a_sweep(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UsageError, match="is a run directory; choose another --out for the sweep"):
        SweepFolder(tmp_path).check(plan())


def test_a_sweep_has_one_conductor(tmp_path: Path) -> None:
    folder, same = SweepFolder(tmp_path / "s"), SweepFolder(tmp_path / "s")
    told = pytest.raises(ZooError, match="another process is at work on")
    with folder.locked(), told, same.locked():
        pass
    with same.locked():
        pass
