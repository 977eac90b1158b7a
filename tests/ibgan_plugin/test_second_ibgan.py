"""The plugin against IB-GAN written a second time: the same weights, images and draws, the same numbers."""

import pytest
import torch
from torch import nn

import zoo
from ibgan_plugin.networks import to_model_range
from tests.ibgan_plugin import second_ibgan as second
from zoo.config import resolve_config
from zoo.randomness import torch_stream
from zoo.registry import default_registry

PARTS = {"encoder": "e", "generator": "g", "front": "front", "discriminator": "d", "reconstructor": "q"}
SEED = 3
LAYERS = nn.Linear | nn.Conv2d | nn.ConvTranspose2d | nn.BatchNorm1d | nn.BatchNorm2d


def pairs(model, networks):
    """(name, the plugin's layer, the second one's), in the order of the tables."""
    for ours, theirs in PARTS.items():
        sides = [[m for m in side.modules() if isinstance(m, LAYERS)] for side in (model[ours], networks[theirs])]
        for index, (layer, other) in enumerate(zip(*sides, strict=True)):
            yield f"{ours}.{index}", layer, other


def named(module):
    return dict(module.named_children())


@torch.no_grad()
def give_weights(model, networks):
    for _, layer, other in pairs(named(model), named(networks)):
        for name, tensor in [*other.named_parameters(), *other.named_buffers()]:
            value = getattr(layer, name)
            if value is None:  # a bias before BatchNorm, which takes it away again
                tensor.zero_()
            else:
                tensor.copy_(value.reshape(tensor.shape))  # the 8x8 convolution over 8x8 maps is a linear layer here


def draws(step):
    """The trainer's, in the second one's order: z, eps, the noise of the fakes and that of the reals."""
    stream = torch_stream(SEED, "trainer", step)
    z, eps = torch.randn(8, 16, generator=stream), torch.randn(8, 10, generator=stream)
    of_reals, of_fakes = (torch.randn(8, 64, 64, 1, generator=stream).movedim(3, 1) for _ in range(2))
    left = iter((eps, of_fakes, of_reals))
    return z, lambda _: next(left)


@pytest.fixture
def both(build):
    """The plugin's IB-GAN as its preset has it, and the second one with its weights."""
    settings = resolve_config(default_registry(), "ibgan", "dsprites").settings
    system = build("ibgan", model=settings["model"], loss=settings["loss"], trainer=settings["trainer"], seed=SEED)
    networks = second.Networks()
    give_weights(system.model, networks)
    return system, networks


def test_they_take_the_same_step(both, squares):
    system, networks = both
    training = second.Training(networks)
    for (_, optimiser), ours in zip(training.sides, system.trainer.optimisers.values(), strict=True):
        assert (type(optimiser), optimiser.defaults) == (type(ours), ours.defaults)
    for step in (1, 2, 3):
        give_weights(system.model, networks)  # RMSProp begins with whole steps even for gradients that are rounding
        z, normal = draws(step)
        images = squares(8, seed=step)
        sigma = 1 - (step - 1) / 100_000
        found = second.losses(networks, to_model_range(images), z, sigma, normal)
        training.update(found)
        terms = system.trainer.step(images)

        ours = [terms["real"] + terms["fake"], terms["adversarial"], terms["mi_lower"], terms["kl"]]
        theirs = [found.discriminator, found.adversarial, found.lower, found.kl]
        torch.testing.assert_close(ours, [term.detach() for term in theirs], rtol=1e-5, atol=1e-6)
        for name, layer, other in pairs(named(system.model), named(networks)):
            for key, parameter in layer.named_parameters():
                expected = getattr(other, key).grad.reshape(parameter.shape)
                off = (parameter.grad - expected).norm() / expected.norm()
                assert off < 1e-4, f"gradient of {name}.{key} at step {step} is off by {off:.1e}"


@pytest.mark.slow
def test_they_score_alike(drawn):
    model = zoo.load("ibgan", "pretrained:dsprites")
    networks = second.Networks()
    give_weights(model, networks)
    data = zoo.load_dataset("dsprites", data_root=drawn)
    theirs = second.factorvae_score(networks, second.reader(data), list(data.factor_sizes))
    ours = zoo.load_metric("factorvae")(model, data, seed=0, variance_images=10_000)
    assert list(theirs["active"]) == [i for i, variance in enumerate(ours["variances"]) if variance >= 0.05]
    assert theirs["score"] == pytest.approx(
        ours["score"], abs=0.03
    )  # two draws of 800 votes differ by 0.022 (one deviation)


def test_they_represent_images_alike(both, squares):
    system, networks = both
    system.train(squares(8), 3)
    give_weights(system.model, networks)
    images = squares(8, seed=9)
    networks.eval()
    with torch.no_grad():
        expected = networks.e(networks.q(networks.front(to_model_range(images))))[:, :10]
    torch.testing.assert_close(torch.as_tensor(system.model.encode(images)), expected, rtol=1e-4, atol=1e-5)
