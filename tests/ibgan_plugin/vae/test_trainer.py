"""The VAEs' step against a plain restatement with Adam, and the reductions over twenty steps."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F

from zoo.randomness import torch_stream


def plain_training(model, discriminator, images, steps, seed, *, beta=1.0, gamma=0.0, tc_weight=0.0):
    """Encoder and decoder on their loss, then FactorVAE's discriminator on detached codes, each with its own Adam."""
    of_vae = torch.optim.Adam(model.parameters(), lr=1e-4, betas=(0.9, 0.999), eps=1e-8)
    of_d = torch.optim.Adam(discriminator.parameters(), lr=1e-4, betas=(0.5, 0.9), eps=1e-8) if discriminator else None
    for step in range(1, steps + 1):
        stream = torch_stream(seed, "trainer", step)
        mu, logvar = model.encoder(images)
        z = mu + torch.exp(logvar / 2) * torch.randn(mu.shape, generator=stream)
        order = torch.rand(mu.shape, generator=stream).argsort(0)
        logits = model.decoder(z)
        rebuilt = F.binary_cross_entropy_with_logits(logits, images, reduction="sum") / len(images)
        loss = rebuilt + beta * 0.5 * (mu.square() + logvar.exp() - logvar - 1).sum(1).mean()
        if discriminator:
            scores = discriminator(z)
            loss = loss + gamma * (scores[:, 0] - scores[:, 1]).mean()
        if tc_weight:  # as disentanglement_lib has it, without the constants
            squares = (z[:, None, :] - mu[None]) ** 2 / logvar.exp()[None]
            density = -0.5 * (squares + logvar[None] + math.log(2 * math.pi))
            joint, marginals = density.sum(2).logsumexp(1), density.logsumexp(1).sum(1)
            loss = loss + tc_weight * (joint - marginals).mean()
        of_vae.zero_grad()
        loss.backward()
        if discriminator:
            permuted = torch.stack([z.detach()[order[:, i], i] for i in range(z.shape[1])], 1)
            of_d.zero_grad()
            says_code, says_permuted = discriminator(z.detach()).softmax(1), discriminator(permuted).softmax(1)
            (-0.5 * says_code[:, 0].log().mean() - 0.5 * says_permuted[:, 1].log().mean()).backward()
            of_d.step()
        of_vae.step()


@pytest.mark.parametrize(
    ("name", "loss", "plain"),
    [
        ("vae", {}, {}),
        ("beta_vae", {"beta": 4.0}, {"beta": 4.0}),
        ("factor_vae", {"gamma": 30.0}, {"gamma": 30.0}),
        ("beta_tcvae", {"beta": 6.0}, {"tc_weight": 5.0}),
    ],
)
def test_a_step_is_the_plain_one(build, squares, name, loss, plain):
    images = squares(8)
    system = build(name, loss=loss, seed=3)
    before = {n: p.detach().clone() for n, p in system.model.named_parameters()}
    model, discriminator = copy.deepcopy(system.model), copy.deepcopy(getattr(system.loss, "discriminator", None))
    plain_training(model, discriminator, images, 4, 3, **plain)
    system.train(images, 4)
    pairs = list(zip(system.model.parameters(), model.parameters(), strict=True))
    if discriminator:
        pairs += list(zip(system.loss.discriminator.parameters(), discriminator.parameters(), strict=True))
    # Adam turns a gradient that is all rounding into a whole step, so a few parameters may differ by some steps.
    far = sum((found - expected).abs().gt(2e-6).sum().item() for found, expected in pairs)
    assert far < 0.002 * sum(found.numel() for found, _ in pairs)
    assert max((found - expected).abs().max().item() for found, expected in pairs) < 4e-4
    moved = sum((p - before[n]).abs().gt(5e-5).sum().item() for n, p in system.model.named_parameters())
    assert moved > 0.5 * sum(p.numel() for p in system.model.parameters())


def trained(build, squares, name, steps=20, **settings):
    system = build(name, **settings)
    for step in range(steps):
        system.trainer.step(squares(4, seed=step))
    return dict(system.model.named_parameters())


def test_beta_1_trains_as_the_vae_for_twenty_steps(build, squares):
    vae = trained(build, squares, "vae")
    for name in ("beta_vae", "beta_tcvae"):
        other = trained(build, squares, name, loss={"beta": 1.0})
        assert all(torch.equal(value, other[key]) for key, value in vae.items()), name
        different = trained(build, squares, name, loss={"beta": 2.0}, steps=2)
        assert not all(torch.equal(value, different[key]) for key, value in vae.items()), name


def test_gamma_0_trains_as_the_vae_while_the_discriminator_learns(build, squares):
    vae = trained(build, squares, "vae", steps=5)
    factor_vae = trained(build, squares, "factor_vae", steps=5, loss={"gamma": 0.0})
    assert all(torch.equal(value, factor_vae[key]) for key, value in vae.items())


def test_the_discriminator_has_an_adam_of_its_own(build):
    system = build("factor_vae", trainer={"lr": 1e-3, "lr_discriminator": 2e-4, "beta1_discriminator": 0.4})
    options = {player: optimiser.param_groups[0] for player, optimiser in system.trainer.optimisers.items()}
    assert (options["vae"]["lr"], options["vae"]["betas"], options["vae"]["eps"]) == (1e-3, (0.9, 0.999), 1e-8)
    found = options["discriminator"]
    assert (found["lr"], found["betas"], found["eps"]) == (2e-4, (0.4, 0.9), 1e-8)


def test_the_discriminators_weights_depend_on_the_runs_seed_alone(build):
    def weights(seed):
        torch.rand(1)
        return build("factor_vae", seed=seed).loss.discriminator[0].weight

    state = torch.random.get_rng_state()
    first = weights(1)
    assert torch.equal(first, weights(1))
    assert not torch.equal(first, weights(2))
    torch.random.set_rng_state(state)
    bound = 6**0.5 / (10 + 1000) ** 0.5
    assert 0.99 * bound < first.abs().max() <= bound


def test_no_gradient_of_the_discriminator_reaches_the_codes_of_the_other_player(build, squares):
    """Each player's gradient is of its own objective alone: neither moves for the other's sake."""
    images = squares(8)
    system = build("factor_vae")
    terms = system.loss.terms(system.trainer._forward(images, 1))
    objectives = system.loss.objectives(terms)
    found = system.trainer._gradients(objectives, terms)
    for player, parameters in system.trainer.parameters.items():
        alone = torch.autograd.grad(
            system.loss.objectives(system.loss.terms(system.trainer._forward(images, 1)))[player],
            list(parameters.values()),
        )
        for gradient, expected in zip(found[player], alone, strict=True):
            assert torch.equal(gradient, expected)


def test_training_lowers_the_reconstruction_and_raises_the_elbo(build, squares, vae_name):
    terms = build(vae_name, trainer={"lr": 1e-3}).train(squares(16), 15)
    first, last = terms[0], terms[-1]
    assert first["reconstruction"].item() == pytest.approx(4096 * math.log(2), rel=0.02), "grey at first"
    assert last["reconstruction"] < 0.6 * first["reconstruction"]
    assert last["elbo"] > first["elbo"]
    assert last["kl_total"].item() == pytest.approx(last["kl"].sum().item(), rel=1e-5)
