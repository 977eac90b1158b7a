"""A run directory has what it promises, and its seed and its configuration repeat it bit for bit."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ibgan_plugin.adapters.dsprites import dsprites
from ibgan_plugin.losses import IBGANLoss
from ibgan_plugin.model import IBGAN
from ibgan_plugin.trainer import AdversarialTrainer
from tests.processes import content
from tests.zoo.training.small_runs import IMAGES, log
from zoo.building import build_loss
from zoo.checkpoint import Checkpoint
from zoo.config import RunConfig
from zoo.device import Backend
from zoo.randomness import derived_seed
from zoo.registry import default_registry
from zoo.run import RunDirectory


def test_a_run_directory_has_what_it_promises(trained: Path) -> None:
    config = json.loads((trained / "config.json").read_text())
    assert config["image_shape"] == [64, 64, 1]
    assert (config["preset"], config["seed"], config["steps"], config["precision"]) == ("dsprites", 3, 6, "fp32")
    (made_by,) = config["made_by"].values()
    assert {"versions", "commit", "command", "machine", "backend", "started"} <= made_by.keys()
    assert {"ibgan-plugin", "numpy", "python"} <= made_by["versions"].keys()
    assert made_by["versions"]["torch"] == version("torch")
    assert [line["step"] for line in log(trained)] == [1, 2, 3, 4, 5, 6]
    for line in log(trained):
        assert {"real", "fake", "adversarial", "mi_lower", "mi_upper", "kl"} <= line.keys()
        assert sum(line["kl"]) == pytest.approx(line["mi_upper"], rel=1e-5)
        assert len(line["kl"]) == 10
    assert RunDirectory(trained).steps() == [2, 4, 6]
    assert {p.name for p in trained.iterdir()} <= {"config.json", "metrics.jsonl", "checkpoints", "run.lock"}


def test_a_seed_is_a_run(train: Callable[..., RunDirectory], trained: Path, tmp_path: Path) -> None:
    same = train(tmp_path / "same", seed=3, steps=2, log_every=1)
    other = train(tmp_path / "other", seed=4, steps=2, log_every=1)
    assert content(same.path, 2) == content(trained, 2)  # however often it is saved, however long it goes on
    assert log(same.path) == log(trained)[:2]
    assert content(other.path, 2) != content(trained, 2)


def test_which_draws_make_a_run(one_thread: None, drawn: Path, trained: Path) -> None:
    """Two steps by hand: initial weights from the seed, each batch from (seed, step), and the seed for the trainer."""
    run = RunDirectory(trained)
    settings, backend, data = run.config.settings, Backend.choose("cpu", "fp32"), dsprites(drawn)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(3, "initial weights"))
        model = IBGAN((64, 64, 1), **settings["model"])
    backend.place(model)
    trainer = AdversarialTrainer(model, IBGANLoss(**settings["loss"]), seed=3, backend=backend, **settings["trainer"])
    for step in (1, 2):
        stream = np.random.Generator(np.random.PCG64(derived_seed(3, "data", step)))
        trainer.step(backend.images(data.images(stream.integers(0, 737_280, 8))))
    checkpoint = Checkpoint.open(trained / "checkpoints" / "step-00000002")
    for by_hand, file in ((model.state_dict(), "model.safetensors"), (trainer.state()[0], "trainer.safetensors")):
        found = checkpoint.tensors(file)
        assert found.keys() == by_hand.keys()
        assert [name for name, tensor in by_hand.items() if not torch.equal(tensor, found[name])] == []


def test_which_draws_make_the_networks_of_a_loss(misbehaving: Path) -> None:
    """A stream of the seed's own, so that a loss with networks changes nothing in the model's first weights."""
    options = {"model": "ibgan", "dataset": "none", "trainer": "adversarial", "preset": "none", "steps": 1}
    config = RunConfig.model_validate(options | {"loss": "misbehaving:Network", "seed": 3})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(3, "initial weights of the loss"))
        expected = torch.nn.Linear(5, 5).weight
    before = torch.get_rng_state()
    loss = build_loss(default_registry(), config, Backend.choose("cpu", "fp32"))
    assert torch.equal(loss.weight, expected)
    assert torch.equal(torch.get_rng_state(), before)


def test_every_step_is_in_the_backends_exact_context(
    train: Callable[..., RunDirectory], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What keeps TF32 out of fp32 on CUDA; nothing here needs a GPU."""
    inside, seen, step = [], [], AdversarialTrainer.step

    @contextmanager
    def exact(backend: Backend) -> Iterator[None]:
        inside.append(backend.precision)
        yield
        inside.clear()

    def watched(trainer: AdversarialTrainer, images: torch.Tensor) -> dict[str, torch.Tensor]:
        seen.append(list(inside))
        return step(trainer, images)

    monkeypatch.setattr(Backend, "exact", exact)
    monkeypatch.setattr(AdversarialTrainer, "step", watched)
    train(tmp_path / "run", IMAGES, steps=2)
    assert (seen, inside) == ([["fp32"], ["fp32"]], [])


def test_what_comes_from_a_configuration_says_so(cli: Callable[..., Any], trained: Path) -> None:
    out = cli("train", "ibgan", "--config", trained / "config.json", "--set", "loss.beta=0.5", "--dry-run").out
    rows = {words[0]: words[1:] for line in out.splitlines() if (words := line.split())}
    assert rows["loss.beta"] == ["0.5", "--set"]
    assert rows["trainer.alpha"] == ["0.99", "--config", "(Table", "7,", "RMSProp)"]
    assert rows["precision"][:2] == ["fp32", "--config"]


def test_the_configuration_of_a_run_repeats_it(cli: Callable[..., Any], drawn: Path, trained: Path) -> None:
    words = ["train", "ibgan", "--config", trained / "config.json"]
    outcome = cli(*words, "--out", "again", "--save-every", "0", "--data-root", drawn)
    assert (outcome.code, outcome.out) == (0, "again\n")
    assert RunDirectory(Path("again")).steps() == [6]
    assert content(Path("again"), 6) == content(trained, 6)
    assert log(Path("again")) == log(trained)
