"""What the command line says of bad input: one line, the contract's exit code, and nothing lost."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

IMPORT = ["convert", "checkpoint", "FILE", "--from", "ibgan_authors", "--out", "x"]
TRAIN = ("train", "ibgan", "--dataset", "dsprites", "--steps", "1")


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        # names
        (["train", "ibgann", "--dataset", "dsprites"], 2, "unknown model 'ibgann'; did you mean 'ibgan'"),
        (["train", "ibgan", "--dataset", "dsprite"], 2, "unknown dataset 'dsprite'; did you mean 'dsprites'"),
        ([*TRAIN, "--preset", "paper"], 2, "unknown preset 'paper'; there are: celeba, chairs3d, color_dsprites, demo"),
        ([*TRAIN, "--set", "loss=ibgn"], 2, "unknown loss 'ibgn'; did you mean 'ibgan'"),
        ([*TRAIN, "--set", "trainer=x"], 2, "unknown trainer 'x'; there are: adversarial"),
        ([*TRAIN, "--set", "loss.bta=1"], 2, "unknown setting 'loss.bta'; did you mean 'loss.beta'"),
        (["eval", "ibgann", "RUN", "--metrics", "mig"], 2, "unknown model 'ibgann'; did you mean 'ibgan'"),
        (["eval", "ibgan", "RUN", "--metrics", "mgi"], 2, "unknown metric 'mgi'; did you mean 'mig'"),
        (["eval", "ibgan", "RUN", "--metrics", ","], 2, "no metric named; try --metrics factorvae"),
        (["eval", "ibgan", "pretrained:best", "--metrics", "mig"], 2, "unknown pretrained ibgan 'best'"),
        (["data", "info", "dsprite"], 2, "unknown dataset 'dsprite'; did you mean 'dsprites'"),
        (["data", "prepare", "dsprite"], 2, "unknown dataset 'dsprite'; did you mean 'dsprites'"),
        (["convert", "dataset", "dsprites", "--to", "npzz", "--out", "x"], 2, "unknown converter 'npzz'"),
        (["trian"], 2, "unknown command 'trian'; did you mean 'train'"),
        (["list", "model"], 2, "'model' is not one of 'models', "),
        ([*TRAIN, "--set", "loss=no_such_module:Loss"], 1, "cannot import no_such_module:Loss: No module named"),
        # values
        ([*TRAIN, "--set", "model.ngf=2"], 2, "model.ngf=2: input should be greater than or equal to 4"),
        ([*TRAIN, "--set", "loss.beta"], 2, "--set 'loss.beta': expected key=value"),
        ([*TRAIN, "--set", "loss.beta"], 2, "such as --set loss.beta=0.2"),
        ([*TRAIN, "--set", "zdim=3"], 2, "unknown setting 'zdim'; did you mean 'model.z_dim'?"),
        (["train", "vae", "--dataset", "dsprites", "--set", "loss.beta=3"], 2, "'loss.beta'; loss has no settings"),
        (["train", "ibgan", "--dataset", "dsprites", "--steps", "0"], 2, "0 is not in the range x>=1"),
        (["train", "ibgan", "--dataset", "dsprites", "--steps", "x"], 2, "'x' is not a valid integer"),
        ([*TRAIN, "--seed", "-1"], 2, "-1 is not in the range"),
        ([*TRAIN, "--precision", "fp8"], 2, "'fp8' is not one of 'auto', 'fp32', 'bf16'"),
        ([*TRAIN, "--device", "tpu"], 2, "unknown device 'tpu'; there are: auto, cpu, cuda, cuda:N, mps"),
        ([*TRAIN, "--device", "cpu:3"], 2, "unknown device 'cpu:3'; there are: auto, cpu, cuda, cuda:N, mps"),
        ([*TRAIN, "--set", "steps=4"], 2, "--steps and --set steps=... are both given; leave one out"),
        ([*TRAIN, "--save-every", "2", "--set", "save_every=2"], 2, "--save-every and --set save_every=... are both"),
        ([*TRAIN, "--device", "cuda:99"], 2, "device 'cuda:99' is not there: torch sees "),
        ([*TRAIN, "--epochs", "3"], 2, "No such option"),
        (["train", "ibgan"], 2, "Missing option '--dataset'; see zoo train --help"),
        (
            ["train", "ibgan", "--resume", "--out", "nowhere"],
            2,
            "nowhere is no run to go on with; see zoo train --help",
        ),
        (["train"], 2, "Missing argument 'MODEL'; see zoo train --help"),
        (["eval", "ibgan", "RUN"], 2, "Missing option '--metrics'"),
        (
            ["eval", "ibgan", "RUN", "--metrics", "mig", "--set", "mig.num_train=0"],
            2,
            "mig.num_train=0: input should be",
        ),
        (["eval", "ibgan", "RUN", "--metrics", "mig", "--set", "mig.x=0"], 2, "unknown setting 'mig.x'"),
        (["eval", "ibgan", "RUN", "--metrics", "mig", "--set", "num_train=9"], 2, "expected NAME.KEY=VALUE"),
        (
            ["eval", "ibgan", "RUN", "--metrics", "mig", "--set", "sap.num_train=9"],
            2,
            "settings for 'sap', which is not",
        ),
        (["sample", "ibgan", "RUN", "--num", "0", "--out", "x.png"], 2, "0 is not in the range"),
        (["convert", "checkpoint", "RUN", "--out", "x"], 2, "give either --to or --from"),
        ([*IMPORT, "--to", "disentanglement_lib"], 2, "give either --to or --from"),
        ([*IMPORT, "--set", "dataset"], 2, "--set 'dataset': expected key=value, such as --set dataset=celeba"),
        ([*IMPORT, "--set", "data=x"], 2, "unknown setting 'data'; did you mean 'dataset'"),
        # checkpoints
        (["eval", "ibgan", "nowhere", "--metrics", "mig"], 1, "nowhere does not exist; name a run directory or a"),
        (
            ["eval", "ibgan", "FOLDER", "--metrics", "mig"],
            1,
            "is neither a run directory (config.json) nor a checkpoint",
        ),
        (
            ["eval", "ibgan", "FILE", "--metrics", "mig"],
            1,
            "is no weights file: it does not begin as a safetensors file",
        ),
        (["eval", "gan", "RUN", "--metrics", "mig"], 2, "holds a model 'ibgan', not 'gan'; name it instead"),
        (["sample", "gan", "RUN", "--out", "x.png"], 2, "holds a model 'ibgan', not 'gan'; name it instead"),
        (["sample", "ibgan", "nowhere", "--out", "x.png"], 1, "nowhere does not exist"),
        (["traverse", "ibgan", "nowhere", "--out", "x.png"], 1, "nowhere does not exist"),
        ([*TRAIN, "--config", "nowhere.json"], 1, "nowhere.json is missing"),
        ([*TRAIN, "--config", "FILE"], 1, "is not JSON"),
        ([*TRAIN, "--out", "RUN"], 2, "holds a run already; go on with --resume, or choose another --out"),
        ([*TRAIN, "--resume"], 2, "--resume needs --out, the run to go on with"),
        ([*TRAIN, "--resume", "--out", "RUN", "--config", "x"], 2, "leave --config out"),
        ([*TRAIN, "--resume", "--out", "RUN", "--seed", "9"], 2, "the run to resume has seed=3, not 9; leave it out"),
        (["train", "gan", "--dataset", "dsprites", "--resume", "--out", "RUN"], 2, "has model 'ibgan', not 'gan'"),
        # folders that cannot be written
        ([*TRAIN, "--out", "FILE/run"], 1, "cannot write "),
        (
            [*TRAIN, "--data-root", "FILE/data", "--out", "new"],
            1,
            "name a folder that can be written and has room with",
        ),
        (["data", "prepare", "dsprites", "--data-root", "FILE/data"], 1, "cannot write "),
        (["sample", "ibgan", "RUN", "--num", "2", "--out", "FILE/x.png"], 1, "cannot write "),
    ],
    ids=lambda value: " ".join(value[-4:]) if isinstance(value, list) else None,
)
def test_bad_input_is_one_line(
    cli: Callable[..., Any], trained: Path, tmp_path: Path, words: list[str], code: int, told: str
) -> None:
    (tmp_path / "file").write_text("not a checkpoint")
    (tmp_path / "folder").mkdir()
    places = {"RUN": str(trained), "FILE": str(tmp_path / "file"), "FOLDER": str(tmp_path / "folder")}
    for name, place in places.items():
        words = [word.replace(name, place) for word in words]
    outcome = cli(*words)
    assert outcome.code == code, outcome.err
    assert told in outcome.error
    assert outcome.err.splitlines()[-1] == f"error: {outcome.error}"
    assert {entry.name for entry in tmp_path.iterdir()} <= {"file", "folder", "new", "runs"}
    assert not (tmp_path / "new" / "config.json").exists()


@pytest.mark.parametrize("file", ["model.safetensors", "state.json"])
def test_a_damaged_checkpoint_that_is_named_is_one_line(cli: Callable[..., Any], run_copy: Path, file: str) -> None:
    checkpoint = run_copy / "checkpoints" / "step-00000006"
    content = bytearray((checkpoint / file).read_bytes())
    content[-10] ^= 1
    (checkpoint / file).write_bytes(content)
    outcome = cli("eval", "ibgan", checkpoint, "--metrics", "mig")
    assert outcome.code == 1
    assert str(checkpoint / file) in outcome.error
    older = cli("eval", "ibgan", run_copy, "--metrics", "mi_bounds", "--set", "mi_bounds.num=50", "--json")
    assert json.loads(older.out)["step"] == 4
    assert older.err.startswith("warning: passed over: ")


def test_a_truncated_official_file_is_one_line(cli: Callable[..., Any], tmp_path: Path) -> None:
    folder = tmp_path / "data" / "dsprites"
    folder.mkdir(parents=True)
    file = folder / "dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz"
    np.savez_compressed(file, imgs=np.zeros((8, 64, 64), np.uint8))
    file.write_bytes(file.read_bytes()[:-200])
    for words in (["data", "prepare", "dsprites"], [*TRAIN, "--out", "run"]):
        outcome = cli(*words, "--data-root", tmp_path / "data")
        assert outcome.code == 1
        assert str(file) in outcome.error
    assert not (tmp_path / "run" / "config.json").exists()


@pytest.mark.parametrize("option", ["--out", "--data-root"])
def test_an_empty_path_is_not_the_current_folder(cli: Callable[..., Any], tmp_path: Path, option: str) -> None:
    outcome = cli("train", "ibgan", "--dataset", "dsprites", "--steps", "1", option, "")
    assert (outcome.code, list(tmp_path.iterdir())) == (2, [])
    assert f"Invalid value for '{option}': the path is empty; write it out, or leave the option away" in outcome.err


@pytest.mark.parametrize("debug", ["", "0", "1"])
def test_the_traceback_is_shown_when_asked_for(
    cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, debug: str
) -> None:
    monkeypatch.setenv("ZOO_DEBUG", debug)
    outcome = cli("eval", "ibgan", "nowhere", "--metrics", "mig")
    assert outcome.code == 1
    assert ("Traceback (most recent call last)" in outcome.err) == (debug == "1")
    assert outcome.err.splitlines()[-1].startswith("error: nowhere does not exist")


def test_a_bug_is_one_line_too(cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: object, kind: str) -> list[str]:
        raise LookupError("a bug\nin two lines")

    monkeypatch.setattr("zoo.registry.Registry.names", broken)
    outcome = cli("plugins")
    assert (outcome.code, outcome.error) == (1, "LookupError: a bug in two lines (ZOO_DEBUG=1 shows where)")


# What it prints.


def test_images_of_a_size_that_the_model_refuses_are_not_prepared_first(
    cli: Callable[..., Any], tmp_path: Path
) -> None:
    photographs = tmp_path / "photographs"
    photographs.mkdir()
    for number in range(3):
        Image.new("RGB", (70, 70), (number, 0, 0)).save(photographs / f"{number}.png")
    words = ("train", "ibgan", "--dataset", "image_folder", "--set", f"dataset.source={photographs}", "--steps", "1")
    root = ("--data-root", tmp_path / "data", "--out", tmp_path / "run")
    outcome = cli(*words, *root, "--set", "dataset.size=32")
    assert (outcome.code, outcome.error) == (
        2,
        "this model needs 64x64 images, the dataset has 32x32; prepare it at size 64",
    )
    assert not (tmp_path / "data").exists()
    assert not (tmp_path / "run").exists()
