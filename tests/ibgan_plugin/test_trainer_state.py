"""A trainer's state: what goes on from it bit for bit, what a loss may keep, and which states are refused."""

import math

import pytest
import torch
from torch import nn

from ibgan_plugin.losses import IBGANLoss
from ibgan_plugin.vae.losses import VAELoss
from tests.systems import SYSTEMS
from zoo.config import RunConfig
from zoo.errors import CheckpointError
from zoo.run import RunDirectory


def settled(system):
    """Everything a continuation depends on, copied."""
    tensors, values = system.trainer.state()
    return {n: t.clone() for n, t in system.model.state_dict().items()} | {
        n: t.clone() for n, t in tensors.items()
    }, values


@pytest.mark.parametrize(
    ("system_name", "precision"),
    [(name, "fp32") for name in SYSTEMS] + [("ibgan", "bf16"), ("factor_vae", "bf16")],
)
def test_six_steps_are_three_a_checkpoint_and_three(build, squares, system_name, precision, tmp_path):
    """Bit for bit, through the files of a real checkpoint, into a system with other initial weights."""
    batches = [squares(4, channels=3, seed=step) for step in range(6)]

    def make(seed_of_weights):
        system = build(system_name, channels=3, seed=seed_of_weights, precision=precision)
        system.trainer.seed = 11
        return system

    straight, first, second = make(0), make(0), make(1)
    for images in batches:
        straight.trainer.step(images)
    for images in batches[:3]:
        first.trainer.step(images)
    run = RunDirectory(tmp_path / "run")
    run.write_config(RunConfig(model=system_name, dataset="none", loss="x", trainer="x", preset="none", steps=6))
    checkpoint = run.save(3, first.model.state_dict(), *first.trainer.state())
    second.model.load_state_dict(checkpoint.tensors("model.safetensors"))
    second.trainer.load(checkpoint.tensors("trainer.safetensors"), checkpoint.state["trainer"])
    for images in batches[3:]:
        second.trainer.step(images)
    (expected, values), (found, found_values) = settled(straight), settled(second)
    assert values == found_values == {"steps_done": 6}
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        assert torch.equal(value, found[name]), name
    assert not torch.equal(settled(first)[0][next(iter(expected))], expected[next(iter(expected))]), (
        "the last three steps did something"
    )


class AnnealedIBGAN(IBGANLoss):
    """IB-GAN whose beta rises over six steps; it keeps nothing but what it was given, to look at."""

    def __init__(self):
        super().__init__(beta=0.5)
        self.steps = []

    def weights(self):
        weights = super().weights()
        weights["generator"]["annealed"] = weights["generator"].pop("mi_upper")
        return weights

    def terms(self, judged):
        self.steps.append(judged.step)
        terms = super().terms(judged)
        return terms | {"annealed": judged.step / 6 * terms["mi_upper"]}


class AnnealedVAE(VAELoss):
    """A VAE whose KL comes in over six steps."""

    def __init__(self):
        self.steps = []

    def weights(self):
        return {"vae": {"reconstruction": 1.0, "annealed": 1.0}}

    def terms(self, coded):
        self.steps.append(coded.step)
        terms = super().terms(coded)
        return terms | {"annealed": coded.step / 6 * terms["kl_total"]}


@pytest.mark.parametrize(("system_name", "loss"), [("ibgan", AnnealedIBGAN), ("vae", AnnealedVAE)])
def test_a_loss_that_anneals_goes_on_where_it_stopped(build, squares, system_name, loss):
    """Bit for bit, with a fresh loss: what it needs to know of the past is the step that it is given, from 1."""
    batches = [squares(4, seed=step) for step in range(6)]
    straight, first, second = (build(system_name, loss=loss(), trainer={}) for _ in range(3))
    logged = [straight.trainer.step(images) for images in batches]
    for images in batches[:3]:
        first.trainer.step(images)
    second.model.load_state_dict(first.model.state_dict())
    second.trainer.load(*first.trainer.state())
    again = [second.trainer.step(images) for images in batches[3:]]
    assert straight.loss.steps == [1, 2, 3, 4, 5, 6]
    assert (first.loss.steps, second.loss.steps) == ([1, 2, 3], [4, 5, 6])
    upper = "kl_total" if system_name == "vae" else "mi_upper"
    for step, terms in enumerate(logged, start=1):
        assert terms["annealed"].item() == pytest.approx(step / 6 * terms[upper].item(), rel=1e-5)
    assert [terms["annealed"].item() for terms in again] == [terms["annealed"].item() for terms in logged[3:]]
    (expected, _), (found, _) = settled(straight), settled(second)
    assert all(torch.equal(value, found[name]) for name, value in expected.items())
    assert expected.keys() == found.keys()


class Smoothed(nn.Module):
    """IB-GAN's loss, and a running mean of I^U that weighs in it."""

    def __init__(self):
        super().__init__()
        self.loss = IBGANLoss()
        self.register_buffer("mean", torch.zeros(()))

    def terms(self, judged):
        terms = self.loss.terms(judged)
        self.mean.mul_(0.9).add_(0.1 * terms["mi_upper"].detach())
        return terms | {"smoothed": self.mean.clone()}

    def objectives(self, terms):
        objectives = self.loss.objectives(terms)
        return objectives | {"generator": objectives["generator"] * (1 + terms["smoothed"])}


def test_what_a_loss_keeps_in_a_buffer_goes_on_where_it_stopped(build, squares):
    straight, first, second = (build("ibgan", loss=Smoothed()) for _ in range(3))
    logged = straight.train(squares(4), 4)
    first.train(squares(4), 2)
    second.model.load_state_dict(first.model.state_dict())
    second.trainer.load(*first.trainer.state())
    again = second.train(squares(4), 2)
    assert len({terms["smoothed"].item() for terms in logged}) == 4
    assert [terms["smoothed"].item() for terms in again] == [terms["smoothed"].item() for terms in logged[2:]]
    for name, value in straight.model.named_parameters():
        assert torch.equal(value, second.model.get_parameter(name)), name


def test_a_state_of_another_kind_is_refused_in_one_line(build, squares):
    images = squares(4)
    systems = {name: build(name) for name in ("ibgan", "gan", "vae", "factor_vae")}
    for system in systems.values():
        system.train(images, 1)
    state = {name: system.trainer.state() for name, system in systems.items()}
    for into, of in [
        ("ibgan", "gan"),
        ("gan", "ibgan"),
        ("vae", "factor_vae"),
        ("factor_vae", "vae"),
        ("ibgan", "vae"),
    ]:
        with pytest.raises(CheckpointError, match="trainer state"):
            build(into).trainer.load(*state[of])
    wide = build("ibgan", model={"ngf": 8, "ndf": 8})
    with pytest.raises(CheckpointError, match="another model"):
        wide.trainer.load(*state["ibgan"])
    tensors, values = state["ibgan"]
    lost = next(iter(tensors)).rsplit("/", 1)[0]
    with pytest.raises(CheckpointError, match=f"no .*square_avg.* of {lost}"):
        build("ibgan").trainer.load({n: t for n, t in tensors.items() if not n.startswith(lost)}, values)
    with pytest.raises(CheckpointError, match="steps_done"):
        build("ibgan").trainer.load(tensors, {})


@pytest.mark.parametrize(
    ("quantity", "value"), [("square_avg", math.nan), ("momentum_buffer", math.inf), ("step", math.nan), ("step", -1.0)]
)
def test_a_state_that_no_training_leaves_is_refused_in_one_line(build, squares, quantity, value):
    system = build("ibgan")
    system.train(squares(4), 1)
    tensors, values = system.trainer.state()
    name = f"{next(iter(tensors)).rpartition('/')[0]}/{quantity}"
    tensors[name] = tensors[name].clone()
    tensors[name].view(-1)[-1] = value
    with pytest.raises(CheckpointError, match=f"^trainer state {name} holds numbers that no training leaves$"):
        build("ibgan").trainer.load(tensors, values)
