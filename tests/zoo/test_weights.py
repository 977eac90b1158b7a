"""Weights files: what is in them, that they score as what they were made from, and what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import zoo
from zoo.building import load_weights
from zoo.errors import CheckpointError, PluginError, UsageError
from zoo.run import RunDirectory
from zoo.weights import WeightsFile, broken_weights, write_weights

SHIPPING = """
from pathlib import Path
from zoo import hookimpl
from zoo.specs import ModelSpec

TINY = Path(__file__).with_name("tiny.safetensors")

@hookimpl
def zoo_models():
    return [ModelSpec("mini", "ibgan_plugin.model:IBGAN", loss="ibgan", trainer="adversarial", default_preset="mini",
                      pretrained={"tiny": "shipping:TINY"})]
"""


@pytest.fixture(scope="module")
def weights(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trained run's weights file."""
    out = tmp_path_factory.mktemp("weights") / "small.safetensors"
    config = RunDirectory(trained).config
    return write_weights(out, zoo.load("ibgan", trained), config, 6)


def test_it_is_the_model_in_half_precision_without_the_discriminator(weights: Path, trained: Path) -> None:
    rounded = zoo.load("ibgan", trained)
    with torch.no_grad():
        for tensor in rounded.state_dict().values():
            tensor.copy_(tensor.half() if tensor.is_floating_point() else tensor)
    model = zoo.load("ibgan", weights)
    images = rounded.generate(5, seed=1)
    assert torch.equal(model.generate(5, seed=1), images)
    assert torch.equal(model.encode(images), rounded.encode(images))
    assert model.config.settings == rounded.config.settings
    assert model.load_dataset().name == "dsprites"
    tensors = load_file(weights)
    assert {name.partition(".")[0] for name in tensors} == {"encoder", "generator", "front", "reconstructor"}
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float16, torch.int64}


def test_it_says_the_settings_and_versions_and_not_who_ran_it_where(weights: Path, trained: Path) -> None:
    made = next(iter(RunDirectory(trained).config.made_by.values()))
    kept = next(iter(zoo.load("ibgan", weights).config.made_by.values()))
    assert kept == {key: made[key] for key in ("versions", "commit", "images")}
    assert made["machine"].encode() not in weights.read_bytes()


def test_of_a_folder_it_says_the_name_only(trained: Path, tmp_path: Path) -> None:
    config = RunDirectory(trained).config
    settings = config.settings | {"dataset": {"source": "/home/somebody/my faces", "size": 64, "grayscale": None}}
    config = config.model_copy(update={"settings": settings})
    out = write_weights(tmp_path / "small.safetensors", zoo.load("ibgan", trained), config, 6)
    assert WeightsFile.open(out).config.settings["dataset"] == {"source": "my faces", "size": 64, "grayscale": None}
    assert b"somebody" not in out.read_bytes()


def test_images_that_only_have_a_name_are_named_anew(
    cli: Callable[..., Any], trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder of the same name in the current one may be of other images; only a person can say that it is it."""
    (tmp_path / "faces").mkdir()
    for number in range(3):
        Image.fromarray(np.full((64, 64), 80 * number, np.uint8)).save(tmp_path / "faces" / f"{number}.png")
    monkeypatch.chdir(tmp_path)
    config = RunDirectory(trained).config
    settings = config.settings | {"dataset": {"source": "/home/somebody/faces", "size": 64, "grayscale": True}}
    config = config.model_copy(update={"dataset": "image_folder", "settings": settings})
    out = write_weights(tmp_path / "small.safetensors", zoo.load("ibgan", trained), config, 6)
    words = [
        "eval",
        "ibgan",
        out,
        "--metrics",
        "mi_bounds",
        "--set",
        "mi_bounds.num=8",
        "--data-root",
        tmp_path,
        "--json",
    ]
    refused = cli(*words)
    told = f"{out} was trained on images of 'faces' and does not say where that was; name it: --set dataset.source=PATH"
    assert (refused.code, refused.error) == (2, f"{told} on the command line, load_dataset(source=PATH) from Python")
    assert json.loads(cli(*words, "--set", "dataset.source=faces").out)["dataset"] == "image_folder"
    drawing = ["traverse", "ibgan", out, "--images", "1,2", "--out", "t.png", "--data-root", tmp_path]
    assert cli(*drawing, "--set", "dataset.source=faces").code == 0
    assert "no setting of fid; only dataset.KEY=PATH" in cli(*drawing, "--set", "fid.num_images=2").error
    model = zoo.load("ibgan", out, data_root=tmp_path)
    assert len(model.load_dataset(source=tmp_path / "faces")) == 3
    for name in ("size", "typed"):
        with pytest.raises(
            UsageError, match=rf"^dataset\.{name} is that of {out}; only where its files are .*\(source\)$"
        ):
            model.load_dataset(**{name: 32})
    found = zoo.evaluate(
        "ibgan",
        out,
        "mi_bounds",
        settings={"dataset": {"source": "faces"}, "mi_bounds": {"num": 8}},
        data_root=tmp_path,
    )
    assert found["errors"] == {}


def test_the_commands(cli: Callable[..., Any], trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "mine.safetensors"
    assert cli("convert", "checkpoint", trained, "--to", "weights", "--out", out).out == f"{out}\n"
    assert "exists already" in cli("convert", "checkpoint", trained, "--to", "weights", "--out", out).error
    found = cli("eval", "ibgan", out, "--metrics", "mi_bounds", "--set", "mi_bounds.num=64", "--json")
    document = json.loads(found.out)
    assert (document["checkpoint"], document["step"], document["dataset"]) == (str(out), 6, "dsprites")
    assert cli("sample", "ibgan", out, "--num", 4, "--out", tmp_path / "samples.png").code == 0
    assert cli("traverse", "ibgan", out, "--out", tmp_path / "traversal.png").code == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.safetensors", "samples.png", "traversal.png"]
    assert "not 'gan'" in cli("eval", "gan", out, "--metrics", "mi_bounds").error


def test_a_plugin_ships_one(
    run: Callable[..., Any], distribution: Callable[..., Path], trained: Path, weights: Path
) -> None:
    root = distribution("shipping", SHIPPING)
    config = RunDirectory(trained).config.model_copy(update={"model": "mini"})
    write_weights(root / "tiny.safetensors", zoo.load("ibgan", trained), config, 6)
    words = ("--metrics", "mi_bounds", "--set", "mi_bounds.num=64", "--json")
    shipped = json.loads(run("eval", "mini", "pretrained:tiny", *words, path=[root]).out)
    assert shipped["checkpoint"] == "pretrained:tiny"
    passed_on = json.loads(run("eval", "ibgan", weights, *words).out)
    assert shipped["metrics"] == passed_on["metrics"]
    listed = json.loads(run("list", "models", "--json", path=[root]).out)["models"]
    assert {entry["name"]: entry["pretrained"] for entry in listed}["mini"] == ["tiny"]
    assert "pretrained: tiny" in run("list", "models", path=[root]).out
    missing = run("eval", "mini", "pretrained:tinny", *words, path=[root])
    assert "tiny" in missing.error
    assert missing.code == 2


def test_what_is_refused(weights: Path, tmp_path: Path) -> None:
    for content, told in (
        (b"", "does not begin as a safetensors file does"),
        (b"\xff" * 40, "does not begin as a safetensors file does"),
        (weights.read_bytes()[:-1], "is no safetensors file"),
        (weights.read_bytes()[:500], "does not begin|has no zoo.weights"),
    ):
        (tmp_path / "file").write_bytes(content)
        with pytest.raises(CheckpointError, match=told):
            zoo.load("ibgan", tmp_path / "file")
    save_file({"a": torch.zeros(2)}, tmp_path / "foreign")
    with pytest.raises(CheckpointError, match=r"its header has no zoo\.weights"):
        zoo.load("ibgan", tmp_path / "foreign")


def test_another_models_weights_are_refused(weights: Path, trained: Path, tmp_path: Path) -> None:
    from safetensors import safe_open

    with safe_open(weights, framework="pt") as opened:
        metadata = opened.metadata()
    tensors = load_file(weights)
    less = {name: tensor for name, tensor in tensors.items() if name != "encoder.layers.0.weight"}
    other = tensors | {"encoder.layers.0.weight": torch.zeros(3, 3, dtype=torch.float16)}
    for changed, told in (
        (less, "is missing"),
        (other, r"is \(3, 3\)"),
        (tensors | {"discriminator.0.0.weight": torch.zeros(1)}, "is unknown"),
    ):
        save_file(changed, tmp_path / "changed", metadata=metadata)
        with pytest.raises(CheckpointError, match=told):
            zoo.load("ibgan", tmp_path / "changed")
    for about, told in (
        ({"format": 2}, "has weights format 2, this version reads 1"),
        ({"step": -1}, "its step is -1"),
        ({"config": {"model": "ibgan"}}, "is no run configuration"),
    ):
        document = json.loads(metadata["zoo.weights"]) | about
        save_file(tensors, tmp_path / "changed", metadata={"zoo.weights": json.dumps(document)})
        with pytest.raises(CheckpointError, match=told):
            zoo.load("ibgan", tmp_path / "changed")


def test_what_half_precision_cannot_hold_is_not_written(trained: Path, tmp_path: Path) -> None:
    model = zoo.load("ibgan", trained)
    with torch.no_grad():
        model.reconstructor[0].weight[0, 0, 0, 0] = 1e6
    with pytest.raises(CheckpointError, match=r"reconstructor\.0\.weight has values that half precision cannot hold"):
        write_weights(tmp_path / "big.safetensors", model, RunDirectory(trained).config, 6)
    assert not (tmp_path / "big.safetensors").exists()


@pytest.mark.parametrize("names", ["discriminator", ("dicriminator",), ("discriminator", "front.0"), 3])
def test_what_only_training_needs_is_named_by_its_submodules(names: Any, trained: Path, tmp_path: Path) -> None:
    """A letter wrong, and the file would hold too much; a string is as many names as it has letters."""
    model = zoo.load("ibgan", trained)
    model.training_only = names
    with pytest.raises(
        PluginError, match=r"^IBGAN\.training_only is .*, expected a tuple of names of its submodules: "
    ):
        write_weights(tmp_path / "w.safetensors", model, RunDirectory(trained).config, 6)
    assert not (tmp_path / "w.safetensors").exists()


def test_a_submodule_that_is_left_out_this_time_may_be_named(trained: Path, tmp_path: Path) -> None:
    model = zoo.load("ibgan", trained)
    model.critic, model.training_only = None, ("discriminator", "critic")
    assert write_weights(tmp_path / "w.safetensors", model, RunDirectory(trained).config, 6).exists()


def test_what_is_no_float32_comes_back_as_it_was(trained: Path, tmp_path: Path) -> None:
    """A sum in float64, a number that has two names."""
    saved, fresh = (zoo.load("ibgan", trained) for _ in range(2))
    for model, value in ((saved, 1.5), (fresh, 0.0)):
        model.register_buffer("total", torch.tensor([value], dtype=torch.float64))
        model.register_buffer("count", torch.tensor([7]))
        model.generator.register_buffer("count", model.count)
    file = WeightsFile.open(write_weights(tmp_path / "w.safetensors", saved, RunDirectory(trained).config, 6))
    load_weights(fresh, file)
    assert torch.equal(fresh.total, saved.total)
    assert fresh.generator.count == 7


def test_a_mask_may_be_infinite_and_a_parameter_not() -> None:
    model = torch.nn.BatchNorm1d(2)
    model.register_buffer("mask", torch.tensor([0.0, -torch.inf]))
    assert broken_weights(model, model.state_dict()) == []
    for name in ("mask", "running_mean", "weight"):
        broken = {key: tensor.clone() for key, tensor in model.state_dict().items()}
        broken[name][0] = torch.nan
        assert broken_weights(model, broken) == [name]
    infinite = model.state_dict() | {"bias": torch.tensor([torch.inf, 0.0])}
    assert broken_weights(model, infinite) == ["bias"]


def test_a_run_whose_folder_is_named_like_a_file_is_still_a_run(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained, tmp_path / "x.safetensors")  # a folder may have any name
    assert zoo.load("ibgan", tmp_path / "x.safetensors").config.seed == 3
