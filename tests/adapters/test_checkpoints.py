"""What stands for CHECKPOINT in `zoo convert checkpoint`, without the name of its model: here as `--to weights`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import zoo
import zoo.cli
from ibgan_plugin.adapters import checkpoints
from ibgan_plugin.adapters.weights import Weights
from ibgan_plugin.pretrained import DSPRITES
from zoo.errors import AmbiguousNameError, CheckpointError, UnknownNameError
from zoo.registry import default_registry
from zoo.specs import ModelSpec
from zoo.weights import write_weights


@pytest.mark.parametrize("given", ["pretrained:dsprites", str(DSPRITES)])
def test_weights_that_are_passed_on_are_written_as_they_are(
    given: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "mine.safetensors"
    assert zoo.cli.run(["convert", "checkpoint", given, "--to", "weights", "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"{out}\n"
    assert out.read_bytes() == Path(DSPRITES).read_bytes()


def test_the_model_is_the_one_that_the_host_loads() -> None:
    loaded = checkpoints.load(Path("pretrained:dsprites"))
    expected = zoo.load("ibgan", pretrained="dsprites", device="cpu").state_dict()
    found = {name: tensor for name, tensor in loaded.model.state_dict().items() if not name.startswith("discrim")}
    assert all(torch.equal(tensor, expected[name]) for name, tensor in found.items())
    assert (loaded.name, loaded.run) == ("pretrained:dsprites", None)


def test_what_no_model_or_more_than_one_ships_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UnknownNameError, match="unknown pretrained weights 'dsprite'; did you mean 'dsprites'"):
        Weights().checkpoint_to(Path("pretrained:dsprite"), tmp_path / "out")
    registry = default_registry()
    (plugin, spec), *_ = [entry for entry in registry.entries("models") if entry[1].name == "ibgan"]
    assert isinstance(spec, ModelSpec)
    monkeypatch.setattr(registry, "entries", lambda _: [(plugin, spec), (plugin, replace(spec, name="another"))])
    with pytest.raises(AmbiguousNameError, match="ibgan and another each ship weights named 'dsprites'; switch one"):
        Weights().checkpoint_to(Path("pretrained:dsprites"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("format", ["weights", "disentanglement_lib"])
def test_a_model_given_by_its_import_path_is_typed_again(
    format: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name, run, out = "ibgan_plugin.model:IBGAN", tmp_path / "run", tmp_path / "out"
    parts = {"loss": "ibgan", "trainer": "adversarial", "model.ngf": 4, "model.ndf": 4, "batch_size": 4}
    zoo.train(name, "zoo.testing:tiny_images", out=run, steps=1, settings=parts, device="cpu")
    words = ["convert", "checkpoint", str(run), "--to", format, "--out", str(out)]
    assert zoo.cli.run(words) == 2
    assert "a converted model's as --set model=NAME" in capsys.readouterr().err
    assert zoo.cli.run([*words, "--set", f"model={name}"]) == 0
    assert capsys.readouterr().out == f"{out}\n"
    assert out.exists()


def test_a_file_that_is_none_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"not weights at all")
    with pytest.raises(CheckpointError, match="is no weights file"):
        Weights().checkpoint_to(tmp_path / "file", tmp_path / "out")
    with pytest.raises(CheckpointError, match="does not exist; name a run directory"):
        Weights().checkpoint_to(tmp_path / "absent", tmp_path / "out")


def test_a_weights_file_names_no_code_to_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "evil_model.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    model: Any = zoo.load("ibgan", pretrained="dsprites", device="cpu")
    config = model.config.model_copy(update={"model": "evil_model:Model"})
    write_weights(tmp_path / "evil.safetensors", model, config, 1)
    with pytest.raises(UnknownNameError, match="a file may only name what a plugin registered"):
        Weights().checkpoint_to(tmp_path / "evil.safetensors", tmp_path / "out")
