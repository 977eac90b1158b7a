"""`import zoo`: what it offers, and that a file's contents never name code to import."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import zoo
from zoo.errors import CheckpointError, SettingError, UnknownNameError, UsageError
from zoo.run import RunDirectory

SETTINGS = {"factorvae": {"votes": 20, "variance_images": 256}, "mi_bounds": {"num": 100}}


def test_importing_and_listing_is_light() -> None:
    program = (
        "import sys, json, zoo\n"
        "names = [zoo.list_models(), zoo.list_datasets(), zoo.list_metrics()]\n"
        "heavy = sorted({'torch', 'numpy', 'scipy', 'pydantic', 'rich'} & set(sys.modules))\n"
        "print(json.dumps([names, heavy]))"
    )
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    (models, datasets, metrics), heavy = json.loads(printed)
    assert heavy == []
    assert {"gan", "ibgan", "infogan"} <= set(models)
    assert {"color_dsprites", "color_dsprites_dlib", "dsprites", "noisy_dsprites"} <= set(datasets)
    assert {"factorvae", "mi_bounds"} <= set(metrics)
    assert all(names == sorted(names) for names in (models, datasets, metrics))


def assert_answers(model: Any, channels: int, code_dim: int) -> None:
    images = model.generate(16, seed=0)
    assert (images.dtype, images.shape) == (torch.float32, (16, channels, 64, 64))
    assert 0 <= images.min() <= images.max() <= 1
    codes = model.encode(images)
    assert (codes.dtype, codes.shape) == (torch.float32, (16, code_dim))
    again = model.decode(codes)
    assert (again.dtype, again.shape) == (torch.float32, (16, channels, 64, 64))
    assert 0 <= again.min() <= again.max() <= 1
    assert torch.equal(model.generate(16, seed=0), images)
    assert not torch.equal(model.generate(16, seed=1), images)
    assert not model.training


def test_a_model_with_fresh_weights(drawn: Path) -> None:
    model = zoo.load("ibgan", dataset="dsprites", data_root=drawn)
    assert_answers(model, 1, 10)
    assert (model.config.preset, model.config.image_shape) == ("dsprites", (64, 64, 1))
    assert model.load_dataset().name == "dsprites"
    again, other = (zoo.load("ibgan", dataset="dsprites", seed=seed, data_root=drawn) for seed in (0, 1))
    weights = model.state_dict()
    assert all(torch.equal(weights[name], value) for name, value in again.state_dict().items())
    assert not all(torch.equal(weights[name], value) for name, value in other.state_dict().items())


def test_a_preset_by_name(drawn: Path) -> None:
    model = zoo.load("ibgan", dataset="color_dsprites", preset="demo", data_root=drawn)
    assert (model.config.preset, model.config.settings["model"]["variant"]) == ("demo", "table5")
    assert_answers(model, 3, 10)


def test_a_model_of_a_run_brings_its_dataset(trained: Path, drawn: Path) -> None:
    model = zoo.load("ibgan", trained)
    assert_answers(model, 1, 10)
    assert (model.config.seed, model.config.settings["model"]["ngf"]) == (3, 4)
    assert model.load_dataset().name == "dsprites"
    earlier = zoo.load("ibgan", trained / "checkpoints" / "step-00000002")
    assert not torch.equal(earlier.generate(2), model.generate(2))
    assert torch.equal(zoo.load("ibgan", str(trained)).generate(2), model.generate(2))


def test_loading_leaves_the_callers_random_state(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "manual_seed_all", lambda seed: pytest.fail("the GPUs' generators were seeded"))
    monkeypatch.setattr(torch.mps, "manual_seed", lambda seed: pytest.fail("the GPU's generator was seeded"))
    torch.default_generator.manual_seed(5)
    expected = torch.rand(3)
    torch.default_generator.manual_seed(5)
    zoo.load("ibgan", trained)
    zoo.load("ibgan", dataset="dsprites").generate(2)
    assert torch.equal(torch.rand(3), expected)


def test_what_load_refuses(trained: Path) -> None:
    for arguments, error, told in (
        ({}, UsageError, r"zoo.load\('ibgan'\) needs a checkpoint, or dataset= for fresh weights"),
        ({"checkpoint": trained, "dataset": "celeba"}, UsageError, "was trained on 'dsprites', not 'celeba'"),
        ({"checkpoint": trained, "preset": "dsprites"}, UsageError, "brings its preset with it"),
        ({"dataset": "dsprites", "preset": "big"}, UnknownNameError, "unknown preset 'big'"),
        ({"pretrained": "best"}, UnknownNameError, "unknown pretrained ibgan 'best'"),
        ({"checkpoint": "pretrained:best"}, UnknownNameError, "unknown pretrained ibgan 'best'"),
        ({"checkpoint": "nowhere"}, CheckpointError, "nowhere does not exist"),
        (
            {"checkpoint": "nowhere", "pretrained": "dsprites"},
            UsageError,
            "both a checkpoint, nowhere, and ",
        ),
        ({"checkpoint": trained, "device": "tpu"}, UsageError, "unknown device 'tpu'"),
    ):
        with pytest.raises(error, match=told):
            zoo.load("ibgan", **arguments)
    with pytest.raises(UsageError, match="holds a model 'ibgan', not 'gan'"):
        zoo.load("gan", trained)


def test_a_dataset(drawn: Path) -> None:
    data = zoo.load_dataset("color_dsprites", data_root=drawn)
    assert data.image_shape == (64, 64, 3)
    assert (len(data.factor_names), len(data.factor_sizes)) == (6, 6)
    indices = np.array([0, 5, len(data) - 1])
    images = data.images(indices)
    assert (images.dtype, images.shape) == (np.uint8, (3, 64, 64, 3))
    np.testing.assert_array_equal(data.index_of(data.factors_of(indices)), indices)
    with pytest.raises(SettingError, match="unknown setting 'size'; there are none"):
        zoo.load_dataset("color_dsprites", size=3)


def test_a_metric_and_an_evaluation_agree(run_copy: Path, drawn: Path) -> None:
    document = zoo.evaluate("ibgan", run_copy, ["factorvae", "mi_bounds"], seed=2, settings=SETTINGS)
    model, data = zoo.load("ibgan", run_copy), zoo.load_dataset("dsprites")
    for name, settings in SETTINGS.items():
        assert zoo.load_metric(name)(model, data, seed=2, **settings) == document["metrics"][name]
    record = json.loads((run_copy / "evaluations.jsonl").read_text())
    assert (record.pop("settings"), record.pop("seconds") > 0) == (SETTINGS, True)
    assert record == document


def test_an_evaluation_is_the_same_document_as_on_the_command_line(cli: Callable[..., Any], run_copy: Path) -> None:
    document = zoo.evaluate("ibgan", run_copy, ["mi_bounds"], settings={"mi_bounds": {"num": 100}})
    outcome = cli("eval", "ibgan", run_copy, "--metrics", "mi_bounds", "--set", "mi_bounds.num=100", "--json")
    assert json.loads(outcome.out) == document


def test_metrics_in_one_word(run_copy: Path) -> None:
    settings = {"mi_bounds": {"num": 100}, "unsupervised": {"num_train": 200}}
    document = zoo.evaluate("ibgan", run_copy, "mi_bounds, unsupervised,, mi_bounds", settings=settings)
    assert list(document["metrics"]) == ["mi_bounds", "unsupervised"]
    for nothing in ("", ",", []):
        with pytest.raises(UsageError, match="no metric named"):
            zoo.evaluate("ibgan", run_copy, nothing)


def test_training_takes_nested_settings_and_a_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small: dict[str, Any]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    nested = {"loss": {"beta": 0.5}, "batch_size": 8, "device": "cpu"} | small
    run = zoo.train("ibgan", "dsprites", out="~/run", steps=1, settings=nested)
    assert (run.path, run.config.settings["loss"]["beta"]) == (tmp_path / "run", 0.5)
    assert zoo.load("ibgan", "~/run").config == run.config
    assert zoo.evaluate("ibgan", "~/run", "mi_bounds", settings={"mi_bounds": {"num": 8}})["errors"] == {}


def test_a_module_can_be_named_in_a_folder_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    (tmp_path / "gone").rmdir()
    assert zoo.load_metric("math:sqrt")(4.0) == 2.0


def test_a_module_of_the_current_folder_can_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "of_this_folder.py").write_text("def metric(model, data, seed=0): return {'score': 1, 'protocol': {}}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    assert zoo.load_metric("of_this_folder:metric")(None, None)["score"] == 1


def test_an_evaluation_that_cannot_be_recorded_is_still_returned(
    run_copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (run_copy / "evaluations.jsonl").mkdir()
    document = zoo.evaluate("ibgan", run_copy, ["mi_bounds"], settings={"mi_bounds": {"num": 100}})
    assert document["errors"] == {}
    assert "warning: the result is not recorded: cannot write" in capsys.readouterr().err


def test_training_refuses_what_it_does_not_know(tmp_path: Path) -> None:
    for options, told in (
        ({"epochs": 3}, "unknown setting 'epochs'"),
        ({"steps": 0}, "steps=0: input should be greater than 0"),
        ({"settings": {"loss.bta": 3}}, "unknown setting 'loss.bta'"),
        ({"preset": "big"}, "unknown preset 'big'"),
    ):
        with pytest.raises(UsageError, match=told):
            zoo.train("ibgan", "dsprites", out=tmp_path / "run", **options)
    assert list(tmp_path.iterdir()) == []


# What a file may name.

TRAP = "open({!r}, 'w').close()\nthing = object\n"


@pytest.fixture
def trap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module that leaves a trace when it is imported; the trace's path."""
    folder = tmp_path / "trap"
    folder.mkdir()
    trace = tmp_path / "imported"
    (folder / "trap_module.py").write_text(TRAP.format(str(trace)))
    monkeypatch.syspath_prepend(folder)
    return trace


def test_a_dataset_given_by_its_import_path_is_typed_again(cli: Callable[..., Any], tmp_path: Path) -> None:
    dataset, run = "zoo.testing:tiny_images", tmp_path / "run"
    words = ("--set", "model.ngf=4", "--set", "model.ndf=4", "--set", "batch_size=4", "--precision", "fp32")
    assert cli("train", "ibgan", "--dataset", dataset, "--steps", 1, "--out", run, *words).code == 0
    mi_bounds = ("--metrics", "mi_bounds", "--set", "mi_bounds.num=50")
    refused = cli("eval", "ibgan", run, *mi_bounds)
    assert (refused.code, "type the name yourself, a dataset's as --dataset" in refused.error) == (2, True)
    assert cli("eval", "ibgan", run, *mi_bounds, "--dataset", dataset).code == 0
    picture = ("--images", "0", "--steps", 2, "--out", tmp_path / "t.png")
    assert cli("traverse", "ibgan", run, *picture, "--dataset", dataset).code == 0
    other = cli("eval", "ibgan", run, *mi_bounds, "--dataset", "dsprites")
    assert (other.code, "was trained on 'zoo.testing:tiny_images', not 'dsprites'" in other.error) == (2, True)
    assert len(zoo.load("ibgan", run, dataset=dataset).load_dataset()) > 0


@pytest.mark.parametrize(
    "change",
    [
        {"model": "trap_module:thing"},
        {"dataset": "trap_module:thing"},
        {"loss": "trap_module:thing"},
        {"trainer": "trap_module:thing"},
        {"eval_metrics": ["trap_module:thing"], "eval_every": 1},
        {"eval_metrics": ["trap_module:thing"], "keep": 1, "sources": {}},  # asked only what to keep by
        {"preset": "trap_module:thing"},
        {"device": "trap_module:thing"},
    ],
    ids=lambda change: "+".join(change),
)
def test_a_file_never_names_code_to_import(
    cli: Callable[..., Any], run_copy: Path, trap: Path, change: dict[str, Any]
) -> None:
    file = run_copy / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    mi_bounds = ("--metrics", "mi_bounds", "--set", "mi_bounds.num=50", "--json")
    resumed = cli("train", "ibgan", "--dataset", "dsprites", "--out", run_copy, "--resume", "--steps", "7")
    repeated = cli("train", "ibgan", "--dataset", "dsprites", "--out", "new", "--config", file)
    of_file = cli("train", "ibgan", "--out", "newer", "--config", file, "--dry-run")
    evaluated = cli("eval", "ibgan", run_copy, *mi_bounds)
    drawn = cli("sample", "ibgan", run_copy, "--num", "1", "--out", "x.png")
    assert not trap.exists()
    assert "trap_module" not in sys.modules
    (key, *_) = change
    if key in ("loss", "trainer") or "eval_every" in change:
        assert resumed.code == repeated.code == 2
        assert "a file may only name what a plugin registered" in resumed.error
        assert "a file may only name what a plugin registered" in repeated.error
        assert evaluated.code == drawn.code == 0  # which need none of these
    if "keep" in change:
        assert (resumed.code, resumed.err.count("warning")) == (0, 0), resumed.err
    if key == "dataset":
        assert resumed.code == of_file.code == 2
        assert "unknown dataset 'trap_module:thing'" in of_file.error
        assert evaluated.code == 2
        assert "unknown dataset 'trap_module:thing'" in evaluated.error
        with pytest.raises(UnknownNameError):
            zoo.load("ibgan", run_copy).load_dataset()
    if key == "model":
        assert resumed.code == evaluated.code == drawn.code == 2
    assert not trap.exists()


def test_a_metric_that_needs_no_images_does_without_them(cli: Callable[..., Any], tmp_path: Path) -> None:
    """A run that came from another machine, say; what needs the images says what is missing, and costs only itself."""
    dataset, run = "image_folder", tmp_path / "run"
    faces = tmp_path / "faces"
    faces.mkdir()
    for number in range(8):
        Image.fromarray(np.full((64, 64, 3), 30 * number, np.uint8)).save(faces / f"{number}.png")
    words = ("--set", "model.ngf=4", "--set", "model.ndf=4", "--set", "batch_size=4", "--precision", "fp32")
    source = ("--set", f"dataset.source={faces}", "--data-root", tmp_path / "data")
    trained = cli("train", "ibgan", "--dataset", dataset, "--steps", 1, "--out", run, *words, *source)
    assert trained.code == 0, trained.err
    faces.rename(tmp_path / "gone")
    asked = ("--set", "mi_bounds.num=50", "--data-root", tmp_path / "empty", "--json")
    both = cli("eval", "ibgan", run, "--metrics", "mi_bounds,fid", *asked)
    document = json.loads(both.out)
    assert both.code == 1
    assert document["metrics"]["mi_bounds"]["score"] is not None
    assert list(document["errors"]) == ["fid"]
    assert (cli("eval", "ibgan", run, "--metrics", "mi_bounds", *asked)).code == 0
    records = len(RunDirectory(run).records("evaluations.jsonl"))
    alone = cli("eval", "ibgan", run, "--metrics", "fid", "--data-root", tmp_path / "empty")
    assert (alone.code, str(faces) in alone.error) == (1, True)
    assert len(RunDirectory(run).records("evaluations.jsonl")) == records  # nothing was computed


def test_scores_on_other_images_are_said_to_be(cli: Callable[..., Any], tmp_path: Path) -> None:
    run, words = tmp_path / "run", ("--set", "model.ngf=4", "--set", "model.ndf=4", "--set", "batch_size=4")
    for folder, shade in (("these", 30), ("those", 20)):
        (tmp_path / folder).mkdir()
        for number in range(8):
            Image.fromarray(np.full((64, 64, 3), shade * number, np.uint8)).save(tmp_path / folder / f"{number}.png")
    root = ("--data-root", tmp_path / "data")
    source = ("--set", f"dataset.source={tmp_path / 'these'}", *root)
    out = ("--out", run, "--precision", "fp32")
    assert cli("train", "ibgan", "--dataset", "image_folder", "--steps", 1, *out, *words, *source).code == 0
    mi_bounds = ("eval", "ibgan", run, "--metrics", "mi_bounds", "--set", "mi_bounds.num=50", *root)
    assert "warning" not in cli(*mi_bounds).err
    other = cli(*mi_bounds, "--set", f"dataset.source={tmp_path / 'those'}")
    assert other.code == 0
    assert "was trained on other images of image_folder, '8 with hash " in other.err


def test_images_that_cannot_be_read_cost_the_metrics_that_ask_for_them(
    run_copy: Path, drawn: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(self: Any, indices: Any) -> Any:
        raise OSError("the disk is gone")

    monkeypatch.setattr("ibgan_plugin.adapters.dsprites.DSprites.images", broken)
    found = zoo.evaluate("ibgan", run_copy, "mi_bounds,factorvae", settings=SETTINGS, data_root=drawn)
    assert list(found["metrics"]) == ["mi_bounds"]
    assert "the disk is gone" in found["errors"]["factorvae"]
    assert "which cannot be read (OSError: the disk is gone)" in capsys.readouterr().err


def test_a_run_directory_is_a_path(trained: Path) -> None:
    assert zoo.load("ibgan", RunDirectory(trained)).config.steps == 6
