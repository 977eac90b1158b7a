"""The run that a checkpoint of the authors becomes: its settings, its dataset, its optimisers, and going on from it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import zoo
import zoo.cli
from ibgan_plugin.adapters.ibgan_authors import usual_dataset
from ibgan_plugin.adapters.ibgan_authors_format import Sizes
from tests.adapters.ibgan_authors_restated import SMALL, Theirs, imported, set_in, tensors_of
from zoo.building import build_loss, build_model, build_trainer
from zoo.device import Backend
from zoo.errors import SettingError, UsageError
from zoo.registry import default_registry
from zoo.run import RunDirectory, find_checkpoint


def test_the_run_says_where_each_value_is_from(tmp_path: Path) -> None:
    path = Theirs("model.py").trained().saved(tmp_path / "150000", iter=150_000)
    run = RunDirectory(imported(path, tmp_path / "run"))
    assert run.steps() == [150_000]
    config = run.config
    assert (config.model, config.dataset, config.preset) == ("ibgan", "dsprites", "dsprites")
    assert config.image_shape == (64, 64, 1)
    model, trainer = config.settings["model"], config.settings["trainer"]
    assert model == SMALL | {"variant": "authors", "share_front": False, "init": "normal"}
    assert (trainer["lr_discriminator"], trainer["lr_generator"]) == (2e-3, 3e-3)
    assert (trainer["alpha"], trainer["momentum"], trainer["noise_steps"]) == (0.98, 0.8, 100_000)
    assert trainer["reconstructor_statistics"] == "both"  # DR(noisy_x) passes the reals through Q in every step
    assert config.settings["loss"] == {"gamma": 1.0, "beta": 0.141, "guard": True}
    assert config.sources["model.ngf"] == config.sources["trainer.lr_generator"] == "the authors' checkpoint"
    assert config.sources["model.variant"] == "authors' code, model.py"
    assert config.sources["loss.beta"].startswith("Table 7")
    made = config.made_by["imported at step 150000"]
    assert made["file"] == "150000"
    assert made["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert {"torch", "ibgan-plugin"} <= made["versions"].keys()


def test_the_second_model_is_table_4(tmp_path: Path) -> None:
    path = Theirs("model2.py", nc=3, z_dim=64, r_dim=15).trained().saved(tmp_path / "20000")
    config = RunDirectory(imported(path, tmp_path / "run")).config
    assert config.dataset == config.preset == "celeba"
    assert (config.settings["model"]["variant"], config.settings["model"]["share_front"]) == ("table4", True)
    assert config.settings["trainer"]["noise_end"] == 0.01  # Table 7: solver2.py takes it from the command line
    assert config.settings["trainer"]["label_smoothing"] is True
    assert config.settings["loss"] == {"gamma": 2.0, "beta": 0.325, "guard": True}


@pytest.mark.parametrize(
    ("nc", "ngf", "ndf", "shares_front", "dataset"),
    [
        (1, 16, 16, False, "dsprites"),  # solver.py
        (3, 16, 16, False, "color_dsprites"),
        (3, 64, 64, False, "celeba"),
        (1, 32, 16, False, "chairs3d"),
        (1, 16, 16, True, "dsprites"),  # solver2.py
        (1, 32, 16, True, "chairs3d"),
        (3, 64, 64, True, "celeba"),
        (3, 16, 16, True, "celeba"),
    ],
)
def test_the_dataset_is_the_one_their_solvers_set_such_sizes_for(
    nc: int, ngf: int, ndf: int, shares_front: bool, dataset: str
) -> None:
    assert usual_dataset(Sizes(16, 10, nc, ngf, ndf, shares_front)) == dataset


def test_another_dataset_can_be_named(tmp_path: Path) -> None:
    path = Theirs("model.py", nc=3).saved(tmp_path / "0")
    config = RunDirectory(imported(path, tmp_path / "run", dataset="color_dsprites_dlib")).config
    assert config.dataset == "color_dsprites_dlib"
    assert config.preset == "color_dsprites"  # which serves that dataset too
    assert config.settings["model"]["ngf"] == 4
    with pytest.raises(UsageError, match="unknown dataset 'celebs'; did you mean 'celeba'"):
        imported(path, tmp_path / "other", dataset="celebs")
    assert not (tmp_path / "other").exists()


def test_the_weights_of_the_loss_can_be_given(tmp_path: Path) -> None:
    path = Theirs("model.py").saved(tmp_path / "0")
    words = ["convert", "checkpoint", str(path), "--from", "ibgan_authors", "--out", str(tmp_path / "run")]
    assert zoo.cli.run([*words, "--set", "beta=0.212", "--set", "gamma=2"]) == 0
    config = RunDirectory(tmp_path / "run").config
    assert (config.settings["loss"]["beta"], config.settings["loss"]["gamma"]) == (0.212, 2.0)
    assert (config.sources["loss.beta"], config.dataset) == ("command line", "dsprites")
    with pytest.raises(SettingError, match=r"loss.beta=-1.*greater than or equal to 0"):
        imported(path, tmp_path / "other", beta=-1)


def test_evaluation_sampling_and_training_go_on_from_it(
    tmp_path: Path, drawn: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, run = Theirs("model.py").trained().saved(tmp_path / "3"), tmp_path / "run"

    def command(*words: object) -> str:
        capsys.readouterr()
        assert zoo.cli.run([str(word) for word in words]) == 0
        return capsys.readouterr().out

    assert command("convert", "checkpoint", path, "--from", "ibgan_authors", "--out", run) == f"{run}\n"
    few = ("--set", "factorvae.votes=10", "--set", "factorvae.variance_images=64", "--data-root", drawn)
    scores = json.loads(command("eval", "ibgan", run, "--metrics", "factorvae", "--json", "--device", "cpu", *few))
    assert (scores["step"], scores["dataset"], scores["errors"]) == (3, "dsprites", {})
    assert 0 <= scores["metrics"]["factorvae"]["score"] <= 1
    command("sample", "ibgan", run, "--num", 4, "--out", tmp_path / "four.png")
    assert (tmp_path / "four.png").stat().st_size > 0
    command("train", "ibgan", "--dataset", "dsprites", "--resume", "--out", run, "--steps", 5, "--data-root", drawn)
    assert find_checkpoint(run).step == 5
    _, gathered = tensors_of(run)
    assert {value.item() for name, value in gathered.items() if name.endswith("/step")} == {5}
    log = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert log[-1]["instance_noise"] == pytest.approx(1 - 4 / 100_000)  # at step 5 of the authors' schedule
    zoo.train("ibgan", "dsprites", out=run, steps=6, resume=True, data_root=drawn)
    assert find_checkpoint(run).step == 6


def test_an_existing_folder_is_not_touched(tmp_path: Path) -> None:
    path = Theirs().saved(tmp_path / "0")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    for out in (tmp_path / "run", path):
        with pytest.raises(UsageError, match="exists already; choose another --out"):
            imported(path, out)
    assert [entry.name for entry in (tmp_path / "run").iterdir()] == ["notes.txt"]
    (tmp_path / "empty").mkdir()
    assert find_checkpoint(imported(path, tmp_path / "empty")).step == 0


# Optimisers that do not fit.


def adam(states: dict[str, Any]) -> None:
    optimiser = torch.optim.Adam([torch.zeros(2, requires_grad=True)], lr=1e-4)
    states["optim_states"]["D_optim"] = optimiser.state_dict()


OPTIMISERS = ("optim_states",)
FIRST = (*OPTIMISERS, "GR_optim", "state", 0)
GROUP = (*OPTIMISERS, "D_optim", "param_groups", 0)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda states: states.pop("optim_states"), "there are none in the file"),
        (set_in("optim_states", to=[1, 2]), "there are none in the file"),
        (adam, "'alpha' is missing in the file's"),
        (lambda states: states["optim_states"].pop("GR_optim"), "'GR_optim' is missing in the file's"),
        (set_in(*OPTIMISERS, "D_optim", "state", to={}), "they have no state of DR.disc.0.weight"),
        (set_in(*GROUP, "centered", to=True), "D_optim is no plain RMSprop"),
        (set_in(*GROUP, "weight_decay", to=0.1), "D_optim is no plain RMSprop"),
        (set_in(*GROUP, "momentum", to=0.5), "they have different hyperparameters"),
        (set_in(*GROUP, "lr", to=float("nan")), "D_optim has {'lr': nan"),
        (set_in(*GROUP, "params", to=[0]), "their groups have [1] parameters, expected [16]"),
        (set_in(*FIRST, "square_avg", to=torch.ones(3)), "square_avg of G.emb.0.weight is (3,)"),
        (set_in(*FIRST, "square_avg", to="x"), "square_avg of G.emb.0.weight is 'x', expected a tensor"),
        (set_in(*FIRST, "square_avg", to=-torch.ones(32, 6)), "square_avg of G.emb.0.weight is negative"),
        (set_in(*FIRST, "momentum_buffer", to=torch.full((32, 6), float("inf"))), "holds numbers that are not finite"),
        (set_in(*FIRST, "step", to=float("nan")), "step of G.emb.0.weight is nan"),
    ],
)
def test_training_begins_with_fresh_optimisers_where_theirs_do_not_fit(
    tmp_path: Path, change: Callable[[dict[str, Any]], Any], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    states = Theirs().trained(1).states()
    change(states)
    torch.save(states, tmp_path / "1")
    _, gathered = tensors_of(imported(tmp_path / "1", tmp_path / "run"))
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "with fresh optimisers (" in told
    assert why in told
    assert all((tensor == 0).all() for tensor in gathered.values())
    assert gathered
    made_by = RunDirectory(tmp_path / "run").config.made_by["imported at step 1"]
    assert why in made_by["optimisers"]


def test_fresh_optimisers_are_what_rmsprop_begins_with(tmp_path: Path) -> None:
    """A resumed step from the zeros equals the first step of optimisers that have no state yet."""
    states = Theirs().states()
    del states["optim_states"]
    torch.save(states, tmp_path / "0")
    checkpoint = find_checkpoint(imported(tmp_path / "0", tmp_path / "run"))
    registry, backend, config = default_registry(), Backend.choose("cpu", "fp32"), RunDirectory.of(checkpoint).config
    results = []
    for load in (True, False):
        model = build_model(registry, config, backend)
        model.load_state_dict(checkpoint.tensors("model.safetensors"))
        trainer = build_trainer(registry, config, model, build_loss(registry, config, backend), backend)
        if load:
            trainer.load(checkpoint.tensors("trainer.safetensors"), checkpoint.state["trainer"])
        trainer.step(torch.linspace(0, 1, 4 * 64 * 64).view(4, 1, 64, 64))
        results.append(model.state_dict())
    for name, tensor in results[0].items():
        assert torch.equal(tensor, results[1][name]), name
