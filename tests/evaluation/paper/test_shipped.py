"""The shipped specifications: what they ask for, shortened, narrowed, and without what a machine lacks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ibgan_plugin.evaluation.inception import FILE_NAME
from ibgan_plugin.evaluation.paper.shipped import TITLES, asked, reproduction, shipped
from tests.systems import SYSTEMS
from zoo.errors import UnknownNameError, ZooError
from zoo.registry import default_registry
from zoo.specs import MetricSpec
from zoo.sweep.plan import Plan


@pytest.mark.parametrize("name", TITLES)
def test_every_one_is_a_sweep(name: str) -> None:
    registry = default_registry()
    spec = shipped(name)
    spec.only_registered(registry)
    plan = Plan.of(registry, spec)
    assert plan.left_out == ()
    assert all(run.config.preset == run.dataset for run in plan.runs)
    assert all(
        run.config.sources["steps"].startswith(("Table 7", "Locatello", "the IB-GAN paper")) for run in plan.runs
    )


@pytest.mark.parametrize(("name", "metric"), [("table1", "factorvae"), ("table2", "fid")])
def test_a_table_has_every_entry_of_the_papers(name: str, metric: str) -> None:
    spec = shipped(name)
    published = default_registry().spec(MetricSpec, metric).published
    assert {(model, dataset) for model in spec.models for dataset in spec.datasets} == set(published)
    assert set(spec.models) == set(SYSTEMS)
    assert spec.metrics == (metric,)
    assert spec.metric_settings == {}  # the paper's protocol


def test_the_steps_are_the_papers() -> None:
    plan = Plan.of(default_registry(), shipped("table1"))
    steps = {(run.model, run.dataset): run.steps for run in plan.runs}
    assert steps["ibgan", "dsprites"] == 150_000
    assert steps["gan", "color_dsprites"] == 500_000


def test_figure_3_goes_over_beta_from_0_to_1() -> None:
    plan = Plan.of(default_registry(), shipped("fig3"))
    betas = [run.config.settings["loss"]["beta"] for run in plan.runs]
    assert (min(betas), max(betas), len(betas)) == (0.0, 1.0, 13)
    assert {0.141, 0.212} < set(betas)


def test_figure_4_scores_while_it_trains() -> None:
    (run,) = Plan.of(default_registry(), shipped("fig4")).runs
    assert (run.config.settings["loss"]["beta"], run.steps, run.config.eval_every) == (0.212, 150_000, 5_000)
    assert run.config.eval_metrics == ("factorvae",)
    assert run.config.settings["factorvae"]["variance_images"] == 10_000
    (short,) = Plan.of(default_registry(), asked("fig4", steps=300)).runs
    assert (short.steps, short.config.eval_every, short.config.log_every) == (300, 10, 10)
    (shortest,) = Plan.of(default_registry(), asked("fig4", steps=2)).runs
    assert (shortest.config.eval_every, shortest.config.log_every) == (1, 1)


def test_less_of_it() -> None:
    spec = asked("table1", steps=7, seeds=2, models=["vae", "gan"], datasets=["dsprites"])
    assert (spec.models, spec.datasets, spec.seeds, spec.steps) == (("gan", "vae"), ("dsprites",), (0, 1), 7)
    assert {run.steps for run in Plan.of(default_registry(), spec).runs} == {7}
    with pytest.raises(UnknownNameError, match="unknown model of table1 'vea'; did you mean 'vae'"):
        asked("table1", models=["vea"])
    with pytest.raises(UnknownNameError, match="unknown dataset of table1 'celeba'"):
        asked("table1", datasets=["celeba"])
    with pytest.raises(UnknownNameError, match="unknown table or figure 'tabel1'; did you mean 'table1'"):
        shipped("tabel1")


@pytest.fixture
def celeba_is_here(monkeypatch: pytest.MonkeyPatch) -> None:
    def info(data_root: Any) -> dict[str, Any]:
        return {"missing": []}

    monkeypatch.setattr("ibgan_plugin.adapters.celeba.info", info)


def test_what_is_missing(tmp_path: Path, celeba_is_here: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    registry, spec = default_registry(), shipped("table2")
    found = reproduction(registry, "table2", spec, [], tmp_path)
    assert found.possible is not None
    assert (found.possible.datasets, found.possible.metrics) == (("celeba",), ())
    assert found.missing["chairs3d"] == "it is not on this machine; zoo data info chairs3d says what to fetch"
    assert "the Inception weights are not on this machine" in found.missing["fid"]
    assert "the runs are trained; the same command scores them once it is there" in found.missing["fid"]
    assert all(note.startswith("missing: ") for note in found.notes)
    (tmp_path / FILE_NAME).touch()
    there = reproduction(registry, "table2", spec, [], tmp_path)
    assert there.possible is not None
    assert (list(there.missing), there.possible.metrics) == (["chairs3d"], ("fid",))
    with pytest.raises(ZooError, match=r"there is no Inception weights file .*nowhere\.pth"):
        reproduction(registry, "table2", spec, ["fid.inception_weights=nowhere.pth"], tmp_path)


def test_nothing_is_missing_of_what_is_drawn(tmp_path: Path) -> None:
    for name in ("table1", "fig3", "fig4"):
        found = reproduction(default_registry(), name, shipped(name), [], tmp_path)
        assert (found.possible, found.missing) == (found.spec, {})
