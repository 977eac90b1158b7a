"""Algorithm 1 against a plain restatement, and its schedules."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ibgan_plugin.losses import GANLoss, IBGANLoss, InfoGANLoss
from ibgan_plugin.trainer import instance_noise
from tests.systems import ADVERSARIAL
from zoo.errors import UsageError
from zoo.randomness import torch_stream

SMOOTH = {"noise_start": 0.5, "noise_end": 0.1, "noise_steps": 4, "label_smoothing": True}
# Steps large enough for errors to show, and an eps that keeps RMSProp from blowing up gradients that are rounding.
FAST = {"lr_discriminator": 1e-4, "lr_generator": 1e-4, "eps": 1e-2}


def parameters_of(module):
    return {name: parameter.detach().clone() for name, parameter in module.named_parameters()}


def plain_training(model, images, steps, seed, *, gamma, beta, settings, shared_front="discriminator"):
    """Algorithm 1 in its plain form: D on detached fakes, a second pass for the generator's side, two backward passes.

    `beta` None: InfoGAN; "gan": a GAN, whose Q learns on detached fakes.
    """
    gan = beta == "gan"
    encoder = getattr(model, "encoder", nn.Identity())
    of_d = [*model.front.parameters(), *model.discriminator.parameters()]
    of_q = list(model.reconstructor.parameters())
    bound_trains_front = shared_front == "both" and any(True for _ in model.front.parameters())
    of_g = [*model.generator.parameters(), *encoder.parameters()]
    options = {"alpha": 0.99, "eps": settings["eps"], "momentum": 0.9}
    optimisers = [
        torch.optim.RMSprop(of_d, lr=settings["lr_discriminator"], **options),
        torch.optim.RMSprop([*of_g, *of_q], lr=settings["lr_generator"], **options),
    ]
    model.train()
    for step in range(1, steps + 1):
        # The draws, in the trainer's order: z, eps of r, noise of the reals, noise of the fakes, targets.
        stream = torch_stream(seed, "trainer", step)
        n, _, height, width = images.shape
        z = torch.randn(n, model.z_dim, generator=stream)
        if beta is None or gan:
            mu = logvar = None
            code = z
        else:
            mu, logvar = encoder(z)
            code = mu + torch.exp(logvar / 2) * torch.randn(mu.shape, generator=stream)
        sigma = max(0.1, 0.5 - (step - 1) * 0.1)
        noise = [torch.randn(n, height, width, 1, generator=stream).permute(0, 3, 1, 2) for _ in range(2)]
        targets = 0.7 + 0.5 * torch.rand(n, 1, generator=stream)
        real = torch.clamp(2 * images - 1 + sigma * noise[0], -1, 1)
        fake = torch.clamp(model.generator(code) + sigma * noise[1], -1, 1)

        # D: reals are real, fakes are fake.
        d_real = F.binary_cross_entropy_with_logits(model.discriminator(model.front(real)), targets)
        d_logits = model.discriminator(model.front(fake.detach()))
        d_gradients = torch.autograd.grad(
            d_real + F.binary_cross_entropy_with_logits(d_logits, torch.zeros_like(d_logits)), of_d
        )

        # G, e and Q, before D has moved.
        features = model.front(fake)
        g_logits = model.discriminator(features)
        adversarial = F.binary_cross_entropy_with_logits(g_logits, torch.ones_like(g_logits))
        z_hat = model.reconstructor(model.front(fake.detach()) if gan else features)
        lower = 0.5 * (z.square() - (z - z_hat).square()).sum(1).mean()
        objective = gamma * adversarial - lower
        if mu is not None:
            objective = objective + beta * 0.5 * (mu.square() + logvar.exp() - logvar - 1).sum(1).mean()
        model.zero_grad()
        objective.backward(retain_graph=bound_trains_front)
        from_lower = [torch.zeros_like(p) for p in of_d]
        if bound_trains_front:
            on_front = torch.autograd.grad(-lower, list(model.front.parameters()))
            from_lower[: len(on_front)] = on_front
        for parameter, gradient, extra in zip(of_d, d_gradients, from_lower, strict=True):
            parameter.grad = gradient + extra
        for optimiser in optimisers:
            optimiser.step()


@pytest.mark.parametrize(
    ("name", "beta", "model", "shared_front"),
    [
        ("ibgan", 0.3, {"variant": "table4"}, "discriminator"),
        ("ibgan", 0.3, {"variant": "table4"}, "both"),
        ("ibgan", 0.3, {"variant": "table5"}, "both"),
        ("ibgan", 0.3, {"variant": "authors"}, "discriminator"),
        ("infogan", None, {}, "discriminator"),
        ("gan", "gan", {}, "discriminator"),
    ],
)
def test_a_step_is_algorithm_1(build, squares, name, beta, model, shared_front):
    images = squares(8)
    loss = {"gamma": 1.2} | ({"beta": beta} if name == "ibgan" else {})
    settings = SMOOTH | FAST | {"shared_front": shared_front}
    system = build(name, model=model, loss=loss, trainer=settings, seed=4)
    before, plain = parameters_of(system.model), copy.deepcopy(system.model)
    plain_training(plain, images, 3, 4, gamma=1.2, beta=beta, settings=FAST, shared_front=shared_front)
    system.train(images, 3)
    expected = parameters_of(plain)
    for parameter, value in parameters_of(system.model).items():
        assert not torch.equal(value, before[parameter]), f"{parameter} has not moved"
        torch.testing.assert_close(
            value, expected[parameter], rtol=1e-4, atol=1e-6, msg=lambda m, p=parameter: f"{p} {m}"
        )


def test_what_trains_the_shared_front_is_a_setting(build, squares):
    trained = {}
    for owner in ("discriminator", "both"):
        system = build("ibgan", trainer=FAST | {"shared_front": owner})
        system.train(squares(8), 1)
        trained[owner] = parameters_of(system.model)
    differ = {
        name.split(".")[0]
        for name, value in trained["both"].items()
        if not torch.equal(value, trained["discriminator"][name])
    }
    assert differ == {"front"}


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-5), ("bf16", 2e-2)])
def test_whose_images_q_averages_is_a_setting_and_trains_nothing(build, squares, precision, tolerance):
    """With "both", each average is of the reals' batch, then of the fakes', with BatchNorm's momentum of 0.1."""
    averaged = {}
    for whose in ("fakes", "both"):
        system = build("ibgan", trainer=FAST | {"reconstructor_statistics": whose}, precision=precision)
        seen, norm = [], next(m for m in system.model.reconstructor.modules() if isinstance(m, nn.BatchNorm2d))
        norm.register_forward_pre_hook(
            lambda _, inputs, seen=seen: seen.append(inputs[0].float().mean((0, 2, 3)).detach())
        )
        system.train(squares(8), 1)
        expected = torch.zeros_like(norm.running_mean)
        for mean in seen:
            expected = 0.9 * expected + 0.1 * mean
        assert len(seen) == {"fakes": 1, "both": 2}[whose]
        torch.testing.assert_close(norm.running_mean, expected, rtol=tolerance, atol=tolerance)
        averaged[whose] = dict(system.model.state_dict())
    differ = {name for name, value in averaged["both"].items() if not torch.equal(value, averaged["fakes"][name])}
    assert differ
    assert all((name.startswith("reconstructor.") and "running" in name) or "batches" in name for name in differ)


def test_a_step_in_bf16_multiplies_in_it_and_keeps_all_else_in_float32(build, squares, system_name):
    """The terms, the weights, and what the optimisers gather; and the terms are those of fp32, within 5 %."""
    convolutions, terms = {}, {}
    for precision in ("fp32", "bf16"):
        system = build(system_name, precision=precision)
        seen = convolutions[precision] = set()
        for module in system.model.modules():
            if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
                module.register_forward_hook(lambda _module, _inputs, output, seen=seen: seen.add(output.dtype))
        (terms[precision],) = system.train(squares(4), 1)
    assert convolutions == {"fp32": {torch.float32}, "bf16": {torch.bfloat16}}
    kept = terms["bf16"] | dict(system.model.named_parameters()) | system.trainer.state()[0]
    assert [name for name, tensor in kept.items() if tensor.dtype != torch.float32] == []
    for name, value in terms["fp32"].items():
        torch.testing.assert_close(terms["bf16"][name], value, rtol=0.05, atol=1e-4, msg=lambda m, n=name: f"{n} {m}")


def test_instance_noise_falls_linearly_and_stays_at_its_end(build):
    paper = build("ibgan", trainer={"noise_start": 1.0, "noise_end": 0.0, "noise_steps": 100_000}).trainer
    steps = (1, 25_001, 50_001, 100_001, 150_000)
    assert [paper.noise_at(step) for step in steps] == [1.0, 0.75, 0.5, 0.0, 0.0]
    photographs = build("ibgan", trainer={"noise_start": 0.5, "noise_end": 0.01, "noise_steps": 700_000}).trainer
    assert [photographs.noise_at(step) for step in (1, 350_001, 700_001)] == pytest.approx([0.5, 0.255, 0.01])
    at_once = build("ibgan", trainer={"noise_start": 1, "noise_end": 0.2, "noise_steps": 0}).trainer
    assert at_once.noise_at(1) == pytest.approx(0.2)


def test_the_noise_in_force_is_logged(build, squares):
    system = build("ibgan", trainer=SMOOTH)
    logged = [terms["instance_noise"].item() for terms in system.train(squares(4), 6)]
    assert logged == pytest.approx([0.5, 0.4, 0.3, 0.2, 0.1, 0.1])


def test_instance_noise_has_its_deviation_and_is_clamped():
    stream = torch.Generator().manual_seed(0)
    grey = torch.zeros(16, 3, 64, 64)
    noisy = instance_noise(grey, 0.1, stream)
    assert noisy.std().item() == pytest.approx(0.1, rel=0.01)
    assert noisy.mean().item() == pytest.approx(0, abs=0.001)
    wild = instance_noise(grey, 1.0, stream)
    assert (wild.min().item(), wild.max().item()) == (-1, 1)
    outside = (wild.abs() == 1).float().mean().item()
    assert outside == pytest.approx(math.erfc(1 / math.sqrt(2)), rel=0.01), "what a normal draw has beyond one sigma"
    assert instance_noise(grey, 0, stream) is grey
    unlike = instance_noise(grey, 0.1, stream)
    assert not torch.equal(unlike, noisy)


def test_noise_is_added_to_reals_and_fakes_alike_and_differs(build, squares):
    """The inputs of D, seen by a hook: within [-1, 1], as noisy as the schedule says, and not with the same noise."""
    system = build("ibgan", trainer={"noise_start": 0.3, "noise_end": 0.3})
    seen = []
    handle = system.model.front.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].detach()))
    grey = torch.full((32, 1, 64, 64), 0.5)
    system.train(grey, 1)
    handle.remove()
    real, fake = seen
    assert real.std().item() == pytest.approx(0.3, rel=0.02)
    assert fake.abs().max() <= 1
    untouched = system.model.fakes(32, torch_stream(0, "trainer", 1)).images.detach()
    assert (fake - untouched).std().item() == pytest.approx(0.3, rel=0.15)
    assert abs(torch.corrcoef(torch.stack([real.flatten(), fake.flatten()]))[0, 1].item()) < 0.1


def test_smoothed_targets_are_uniform_from_0_7_to_1_2_and_only_for_reals(build):
    smooth = build("ibgan", trainer={"label_smoothing": True}).trainer
    targets = smooth._targets(torch.zeros(20_000, 1), torch.Generator().manual_seed(0))
    assert targets.shape == (20_000, 1)
    assert targets.min().item() == pytest.approx(0.7, abs=1e-3)
    assert targets.max().item() == pytest.approx(1.2, abs=1e-3)
    quarters = targets.quantile(torch.tensor([0.25, 0.5, 0.75])).tolist()
    assert quarters == pytest.approx([0.825, 0.95, 1.075], abs=0.01)
    hard = build("ibgan").trainer
    assert (hard._targets(torch.zeros(5, 1), torch.Generator()) == 1).all()
    # The fakes' term is that of hard zeros in both.
    judged = smooth._forward(torch.rand(4, 1, 64, 64), 1)
    expected = F.binary_cross_entropy_with_logits(judged.fake_logits, torch.zeros(4, 1))
    assert smooth.loss.terms(judged)["fake"].item() == pytest.approx(expected.item())


def test_what_is_logged_is_detached_and_finite(build, squares, system_name):
    system = build(system_name)
    for terms in system.train(squares(4), 2):
        for name, value in terms.items():
            assert not value.requires_grad, name
            assert torch.isfinite(value).all(), name
            assert value.dim() == (1 if name == "kl" else 0), name


def objective(system, images, player):
    system.model.train()
    with system.trainer.backend.autocast():
        terms = system.loss.terms(system.trainer._forward(images, 1))
    return system.loss.objectives(terms)[player], terms


# player -> its own terms, with the direction its update should move them in on the same images and draws.
OWN_TERMS = {
    ("gan", "discriminator"): {"real": -1, "fake": -1},
    ("gan", "generator"): {"adversarial": -1},
    ("gan", "reconstructor"): {"mi_lower": +1},
    ("infogan", "discriminator"): {"real": -1, "fake": -1},
    ("infogan", "generator"): {"adversarial": -1, "mi_lower": +1},
    ("ibgan", "discriminator"): {"real": -1, "fake": -1},
    ("ibgan", "generator"): {"adversarial": -1, "mi_lower": +1, "mi_upper": -1},
    ("vae", "vae"): {"reconstruction": -1, "elbo": +1},
    ("beta_vae", "vae"): {"reconstruction": -1},
    ("factor_vae", "vae"): {"reconstruction": -1},
    ("factor_vae", "discriminator"): {"says_code": -1, "says_permuted": -1},
    ("beta_tcvae", "vae"): {"reconstruction": -1},
}


@pytest.mark.parametrize(("name", "player"), list(OWN_TERMS))
def test_a_players_update_improves_its_objective_and_its_own_terms(build, squares, name, player):
    """A small step down each gradient, on fixed images and draws; the terms one by one, weighed alone."""
    images = squares(8)
    for term, direction in {None: -1, **OWN_TERMS[name, player]}.items():
        system = build(name, trainer={"noise_start": 0.2} if player != "vae" and name in ADVERSARIAL else {})
        system.train(images, 1)
        system.trainer.steps_done = 0
        total, terms = objective(system, images, player)
        goal = total if term is None else system.loss.weights()[player].get(term, -1) * terms[term]
        parameters = list(system.trainer.parameters[player].values())
        gradients = torch.autograd.grad(goal, parameters, allow_unused=True)
        norm = sum(g.square().sum() for g in gradients if g is not None).sqrt()
        assert norm > 0
        with torch.no_grad():
            for parameter, gradient in zip(parameters, gradients, strict=True):
                if gradient is not None:
                    parameter -= 1e-3 * gradient / norm
        total_after, terms_after = objective(system, images, player)
        before, after = (total, total_after) if term is None else (terms[term], terms_after[term])
        assert direction * (after - before).item() > 0, term


def test_the_gans_generator_hears_nothing_of_q(build, squares):
    images = squares(8)
    system = build("gan")
    total, _ = objective(system, images, "generator")
    of_q = list(system.model.reconstructor.parameters())
    assert all(g is None for g in torch.autograd.grad(total, of_q, allow_unused=True))
    # And so another Q makes no other generator.
    first, second = build("gan", trainer=FAST), build("gan", trainer=FAST)
    with torch.no_grad():
        for parameter in second.model.reconstructor.parameters():
            parameter.mul_(-3)
    for trained in (first, second):
        trained.train(images, 3)
    for part in ("generator", "front", "discriminator"):
        assert_same(getattr(first.model, part), getattr(second.model, part))


class WithoutBound(InfoGANLoss):
    """InfoGAN's objective with a weight of 0 on I^L."""

    def weights(self):
        weights = super().weights()
        weights["generator"]["mi_lower"] = 0.0
        return weights


class NoEncoder(nn.Module):
    """r = z: the mean is z, and the deviation too small for a float to show."""

    def forward(self, z):
        return z, torch.full_like(z, -80.0)


def assert_same(first, second):
    for name, value in first.named_parameters():
        assert torch.equal(value, second.get_parameter(name)), name


def test_infogan_without_its_bound_trains_as_a_gan(build, squares):
    images = squares(8)
    gan, infogan = build("gan", trainer=FAST), build("infogan", trainer=FAST, loss=WithoutBound())
    untrained = copy.deepcopy(infogan.model.reconstructor)
    for system in (gan, infogan):
        system.train(images, 4)
    for part in ("generator", "front", "discriminator"):
        assert_same(getattr(gan.model, part), getattr(infogan.model, part))
    assert_same(untrained, infogan.model.reconstructor)


def test_ibgan_without_its_encoder_trains_as_infogan(build, squares):
    images, quiet = squares(8), FAST | {"noise_start": 0.0, "noise_end": 0.0}
    infogan = build("infogan", trainer=quiet)
    ibgan = build("ibgan", model={"z_dim": 10, "r_dim": 10})
    for part in ("generator", "front", "discriminator", "reconstructor"):
        getattr(ibgan.model, part).load_state_dict(getattr(infogan.model, part).state_dict())
    ibgan.model.encoder = NoEncoder()
    ibgan.loss = IBGANLoss(beta=0, guard=False)
    ibgan.trainer = type(ibgan.trainer)(ibgan.model, ibgan.loss, seed=0, backend=ibgan.trainer.backend, **quiet)
    for system in (infogan, ibgan):
        system.train(images, 4)
    for part in ("generator", "front", "discriminator", "reconstructor"):
        assert_same(getattr(infogan.model, part), getattr(ibgan.model, part))


def test_a_step_depends_on_nothing_but_seed_step_and_images(build, squares):
    """Not on the global random state, nor on what was generated or evaluated between steps."""
    images = squares(4)
    first, second = build("ibgan", trainer=FAST), build("ibgan", trainer=FAST)
    first.train(images, 2)
    torch.manual_seed(99)
    second.train(images, 1)
    second.model.generate(3)
    second.model.mi_bounds(num=10)
    second.train(images, 1)
    assert_same(first.model, second.model)
    other = build("ibgan", trainer=FAST)
    other.trainer.seed = 1
    other.train(images, 2)
    assert not torch.equal(next(first.model.parameters()), next(other.model.parameters()))


def test_a_loss_that_does_not_go_with_the_model_is_told_in_one_line(build, squares):
    with pytest.raises(UsageError, match="GANLoss has objectives for discriminator, generator, reconstructor"):
        build("ibgan", loss=GANLoss()).train(squares(4), 1)

    class Intruder(GANLoss):
        def players(self):
            return {"generator": [nn.Linear(1, 1)]}

    with pytest.raises(UsageError, match="Intruder brings a player 'generator', which GAN has already"):
        build("gan", loss=Intruder())
