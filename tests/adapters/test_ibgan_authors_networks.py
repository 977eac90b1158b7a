"""Networks and optimisers of the authors' checkpoints, imported: they compute and step as a plain restatement."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

import zoo
from ibgan_plugin.adapters import ibgan_authors_format
from ibgan_plugin.adapters.ibgan_authors_format import Sizes
from tests.adapters.ibgan_authors_restated import BOTH, SMALL, Theirs, imported, tensors_of, written_by_old_torch
from zoo.building import build_loss, build_model, build_trainer
from zoo.device import Backend
from zoo.registry import default_registry
from zoo.run import RunDirectory, find_checkpoint


@BOTH
@pytest.mark.parametrize("nc", [1, 3])
def test_codes_images_and_judgements_are_those_of_a_plain_forward(tmp_path: Path, file: str, nc: int) -> None:
    theirs = Theirs(file, nc=nc).trained()
    model = zoo.load("ibgan", imported(theirs.saved(tmp_path / "3"), tmp_path / "run"), device="cpu")
    theirs.G.eval(), theirs.DR.eval()
    images, r = torch.rand(7, nc, 64, 64), torch.randn(7, 3)
    with torch.no_grad():
        z_hat, logits = theirs.DR(images * 2 - 1)
        torch.testing.assert_close(model.encode(images), theirs.G.code(z_hat)[0], rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(model.decode(r), theirs.G.draw(r) / 2 + 0.5, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(model.discriminator(model.front(images * 2 - 1)), logits, rtol=1e-5, atol=1e-5)
        for ours, plain in zip(model.encoder(z_hat), theirs.G.code(z_hat), strict=True):
            torch.testing.assert_close(ours, plain, rtol=1e-5, atol=1e-5)
    assert model.encode(images).std(0).min() > 1e-4  # so the comparison had something to compare


def numbered(states: dict[str, Any]) -> dict[str, Any]:
    """The same checkpoint with every tensor of the networks filled with a number of its own: biases with thousands."""
    number = 0
    for net in ("G", "DR"):
        for name, tensor in states["model_states"][net].items():
            number += 1
            tensor.fill_(number * 1000 if name.endswith("bias") else number)
    assert number < 200
    return states


def numbers_in(constant: float) -> set[int]:
    """Which numbered tensors a tensor was made of: one, or a running mean and the bias that was taken from it."""
    if constant < 0:
        thousands = -(constant // 1000)
        return {int(thousands), int(constant + 1000 * thousands)}
    return {int(constant / 1000 if constant >= 1000 else constant)}


@BOTH
def test_every_tensor_is_used_exactly_once(tmp_path: Path, file: str) -> None:
    theirs = Theirs(file)
    states = numbered(theirs.states())
    torch.save(states, tmp_path / "3")
    weights, _ = tensors_of(imported(tmp_path / "3", tmp_path / "run"))
    used: list[int] = []
    for tensor in weights.values():
        assert (tensor == tensor.flatten()[0]).all()
        used += numbers_in(tensor.flatten()[0].item())
    count = sum(len(states["model_states"][net]) for net in ("G", "DR"))
    assert sorted(used) == list(range(1, count + 1))
    # Biases before a BatchNorm, counted by hand: G.fe.0, G.fe.3 and DR.encoder.14; in
    # model2.py G.emb.0, .3, .6 and G.fe.0, .3.
    assert count - len(weights) == {"model.py": 3, "model2.py": 5}[file]


@BOTH
def test_what_the_optimisers_gathered_goes_to_the_same_parameters(tmp_path: Path, file: str) -> None:
    """Weights and states both carry the number of the parameter they are of; both have to come out together."""
    theirs = Theirs(file).trained(1)
    numbers = {}
    for net in (theirs.G, theirs.DR):
        for parameter in net.parameters():
            numbers[parameter] = len(numbers) + 1
            parameter.data.fill_(numbers[parameter])
    for optimiser in (theirs.D_optim, theirs.GR_optim):
        for parameter, state in optimiser.state.items():
            state["square_avg"].fill_(numbers[parameter])
            state["momentum_buffer"].fill_(-numbers[parameter])
    weights, gathered = tensors_of(imported(theirs.saved(tmp_path / "1"), tmp_path / "run"))

    registry, config = default_registry(), RunDirectory(tmp_path / "run").config
    model = build_model(registry, config, Backend.choose("cpu", "fp32"))
    trainer = build_trainer(registry, config, model, build_loss(registry, config, Backend.choose("cpu", "fp32")), None)
    names = {parameter: name for name, parameter in model.named_parameters()}
    seen = set()
    for player, parameters in trainer.parameters.items():
        for own_name, parameter in parameters.items():
            number = weights[names[parameter]].flatten()[0].item()
            assert (gathered[f"{player}/{own_name}/square_avg"] == number).all()
            assert (gathered[f"{player}/{own_name}/momentum_buffer"] == -number).all()
            assert gathered[f"{player}/{own_name}/step"] == 1
            seen.add(number)
    assert len(gathered) == 3 * len(seen) == 3 * len(names)


@BOTH
@pytest.mark.parametrize("old", [False, True], ids=["as torch writes", "as torch 1.4 wrote"])
def test_the_next_step_is_the_same(tmp_path: Path, file: str, old: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """One step of theirs, and one of ours from the same images and noise, lead to the same networks."""
    theirs = Theirs(file).trained(3)
    for group in (*theirs.D_optim.param_groups, *theirs.GR_optim.param_groups):
        group["eps"] = 1e-3  # with 1e-8, gradients that are zero but for their rounding move weights by whole steps
    path = written_by_old_torch(theirs, tmp_path / "3") if old else theirs.saved(tmp_path / "3")
    checkpoint = find_checkpoint(imported(path, tmp_path / "run"))
    registry, backend = default_registry(), Backend.choose("cpu", "fp32")
    settings = copy.deepcopy(RunDirectory.of(checkpoint).config.settings)
    settings["trainer"] |= {"noise_start": 0.0, "noise_end": 0.0, "label_smoothing": False}
    settings["loss"] |= {"gamma": 1.0, "beta": 0.141}
    config = RunDirectory.of(checkpoint).config.model_copy(update={"settings": settings})
    model = build_model(registry, config, backend)
    model.load_state_dict(checkpoint.tensors("model.safetensors"))
    trainer = build_trainer(registry, config, model, build_loss(registry, config, backend), backend)
    trainer.load(checkpoint.tensors("trainer.safetensors"), checkpoint.state["trainer"])

    stream = torch.Generator().manual_seed(2)
    images = torch.rand(8, 1, 64, 64, generator=stream)
    z, eps = torch.randn(8, 6, generator=stream), torch.randn(8, 3, generator=stream)
    draws = iter([z, eps])
    monkeypatch.setattr(torch, "randn", lambda *_, **__: next(draws))
    trainer.step(images)
    theirs.step(images, z, eps)

    before, ours = checkpoint.tensors("model.safetensors"), model.state_dict()
    after = find_checkpoint(imported(theirs.saved(tmp_path / "4"), tmp_path / "next")).tensors("model.safetensors")
    for player, parameters in trainer.parameters.items():
        names = {name for name, tensor in model.named_parameters() if any(tensor is p for p in parameters.values())}
        moved = sum(float((after[name] - before[name]).square().sum()) for name in names)
        apart = sum(float((after[name] - ours[name]).square().sum()) for name in names)
        assert apart < 1e-8 * moved, player


# The description of the format.


@BOTH
@pytest.mark.parametrize("sizes", [SMALL, {"z_dim": 64, "r_dim": 10, "ngf": 6, "ndf": 5}])
def test_the_layout_is_that_of_their_networks(file: str, sizes: Mapping[str, int]) -> None:
    theirs = Theirs(file, nc=3, **sizes)
    plain = {
        f"{net}.{name}": tuple(tensor.shape)
        for net, module in (("G", theirs.G), ("DR", theirs.DR))
        for name, tensor in module.state_dict().items()
    }
    assert ibgan_authors_format.shapes(Sizes(nc=3, shares_front=file == "model2.py", **sizes)) == plain
