"""Eq. 11, term by term, against values worked out otherwise, and who minimises what."""

import math

import pytest
import torch
from torch.distributions import Bernoulli, Normal, kl_divergence

from ibgan_plugin import losses
from ibgan_plugin.gaussians import gaussian_kl, kl_per_dimension
from ibgan_plugin.losses import GANLoss, IBGANLoss, InfoGANLoss, Judged
from ibgan_plugin.model import Fakes


def judged(n=4, seed=0, mu_scale=1.0):
    draw = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=draw).requires_grad_()

    fakes = Fakes(normal(n, 1, 2, 2), normal(n, 3), mu_scale * normal(n, 2), normal(n, 2))
    return Judged(normal(n, 1), normal(n, 1), torch.ones(n, 1), fakes, normal(n, 3), step=1)


def test_bce_values_by_hand():
    # D(x) = 3/4 and 1/2 in logits log 3 and 0.
    logits = torch.tensor([[math.log(3)], [0.0]])
    for_real = (math.log(4 / 3) + math.log(2)) / 2
    for_fake = (math.log(4) + math.log(2)) / 2
    assert losses.loss_on_reals(logits, torch.ones(2, 1)).item() == pytest.approx(for_real)
    assert losses.loss_on_fakes(logits).item() == pytest.approx(for_fake)
    assert losses.non_saturating_loss(logits).item() == pytest.approx(for_real)
    # Smoothed targets t: -t log p - (1 - t) log(1 - p), also for t above 1.
    smoothed = (-0.8 * math.log(3 / 4) - 0.2 * math.log(1 / 4) - 1.2 * math.log(1 / 2) + 0.2 * math.log(1 / 2)) / 2
    assert losses.loss_on_reals(logits, torch.tensor([[0.8], [1.2]])).item() == pytest.approx(smoothed)


def test_bce_against_torch_distributions_also_where_logits_saturate():
    logits = torch.tensor([[-60.0], [-3.0], [0.5], [60.0]])
    real, fake = (-Bernoulli(logits=logits).log_prob(torch.full_like(logits, label)).mean() for label in (1.0, 0.0))
    torch.testing.assert_close(losses.non_saturating_loss(logits), real)
    torch.testing.assert_close(losses.loss_on_fakes(logits), fake)


def test_terms_of_bf16_logits_are_computed_in_float32():
    rough = torch.randn(64, 1, generator=torch.Generator().manual_seed(0)).bfloat16()
    targets = torch.linspace(0.7, 1.2, 64)[:, None]
    for term in (
        losses.loss_on_fakes,
        losses.non_saturating_loss,
        lambda logits: losses.loss_on_reals(logits, targets),
    ):
        found = term(rough)
        assert found.dtype == torch.float32
        assert torch.equal(found, term(rough.float()))


def test_kl_is_the_closed_form():
    mu, logvar = torch.randn(5, 3), torch.randn(5, 3)
    expected = kl_divergence(Normal(mu, (0.5 * logvar).exp()), Normal(0.0, 1.0))
    torch.testing.assert_close(gaussian_kl(mu, logvar), expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(kl_per_dimension(mu, logvar), expected.mean(0), rtol=1e-5, atol=1e-6)
    assert gaussian_kl(torch.zeros(1), torch.zeros(1)).item() == 0
    # By hand: mu 2, sigma 1/2: (4 + 1/4 + 2 log 2 - 1) / 2.
    assert gaussian_kl(torch.tensor(2.0), torch.tensor(-2 * math.log(2))).item() == pytest.approx(1.625 + math.log(2))


def test_the_lower_bound_is_the_log_likelihood_ratio_of_q_and_the_prior():
    z, z_hat = torch.randn(6, 4), torch.randn(6, 4)
    ratio = Normal(z_hat, 1.0).log_prob(z) - Normal(0.0, 1.0).log_prob(z)
    torch.testing.assert_close(losses.mi_lower_bound(z, z_hat), ratio.sum(1).mean(), rtol=1e-5, atol=1e-5)
    # A perfect Q: half of |z|^2. A Q that says nothing: none.
    assert losses.mi_lower_bound(z, z).item() == pytest.approx(0.5 * z.square().sum(1).mean().item())
    assert losses.mi_lower_bound(z, torch.zeros_like(z)).item() == 0


def test_terms_are_logged_under_one_name_and_the_upper_bound_is_the_sum_of_the_kls():
    outputs = judged()
    terms = IBGANLoss(beta=0.5).terms(outputs)
    assert list(terms) == ["real", "fake", "adversarial", "mi_lower", "mi_upper", "kl"]
    assert terms["kl"].shape == (2,)
    torch.testing.assert_close(terms["mi_upper"], terms["kl"].sum())
    assert list(GANLoss().terms(outputs)) == ["real", "fake", "adversarial", "mi_lower"]


def test_objectives_weigh_the_terms_with_the_signs_of_eq_11():
    outputs = judged()
    terms = IBGANLoss(gamma=1.2, beta=0.35).terms(outputs)
    t = {name: value.item() for name, value in terms.items() if name != "kl"}
    d = t["real"] + t["fake"]
    g = 1.2 * t["adversarial"]
    for loss, expected in [
        (GANLoss(gamma=1.2), {"discriminator": d, "generator": g, "reconstructor": -t["mi_lower"]}),
        (InfoGANLoss(gamma=1.2), {"discriminator": d, "generator": g - t["mi_lower"]}),
        (
            IBGANLoss(gamma=1.2, beta=0.35),
            {"discriminator": d, "generator": g - t["mi_lower"] + 0.35 * t["mi_upper"]},
        ),
    ]:
        objectives = loss.objectives(loss.terms(outputs))
        assert {player: value.item() for player, value in objectives.items()} == pytest.approx(expected)


def test_every_objective_is_differentiable_in_what_its_player_moves():
    outputs = judged()
    objectives = IBGANLoss(beta=0.3).objectives(IBGANLoss(beta=0.3).terms(outputs))
    n = len(outputs.z_hat)
    by_real, by_fake = torch.autograd.grad(
        objectives["discriminator"], [outputs.real_logits, outputs.fake_logits], retain_graph=True
    )
    torch.testing.assert_close(by_real, (outputs.real_logits.sigmoid() - 1) / n)  # up, on reals
    torch.testing.assert_close(by_fake, outputs.fake_logits.sigmoid() / n)  # down, on fakes
    by_fake, by_z_hat, by_mu = torch.autograd.grad(
        objectives["generator"], [outputs.fake_logits, outputs.z_hat, outputs.fakes.mu]
    )
    torch.testing.assert_close(by_fake, (outputs.fake_logits.sigmoid() - 1) / n)  # the generator wants them up
    torch.testing.assert_close(by_z_hat, (outputs.z_hat - outputs.fakes.z) / n)  # Q towards z
    torch.testing.assert_close(by_mu, 0.3 * outputs.fakes.mu / n)  # e towards the prior


def test_the_guard_at_beta_0_holds_the_kl_back_from_20_nats_on():
    loss = IBGANLoss(beta=0)
    calm, wild = judged(), judged(mu_scale=10)
    for outputs, active in ((calm, False), (wild, True)):
        terms = loss.terms(outputs)
        assert (terms["mi_upper"].item() >= 20) == active
        expected = 100 * terms["mi_upper"].item() if active else 0
        assert terms["kl_guard"].item() == pytest.approx(expected)
        without = InfoGANLoss().objectives(terms)["generator"].item()
        assert loss.objectives(terms)["generator"].item() == pytest.approx(without + expected)
        (by_mu,) = torch.autograd.grad(loss.objectives(terms)["generator"], outputs.fakes.mu)
        torch.testing.assert_close(by_mu, (100 if active else 0) * outputs.fakes.mu / len(by_mu))


def test_the_guard_acts_at_20_nats_and_not_below():
    for total, active in ((20.0, True), (19.99, False)):
        mu = torch.tensor([[(2 * total) ** 0.5]])
        outputs = judged(1)
        outputs.fakes = Fakes(outputs.fakes.images, outputs.fakes.z, mu, torch.zeros(1, 1))
        terms = IBGANLoss(beta=0).terms(outputs)
        assert terms["kl_guard"].item() == pytest.approx(100 * total if active else 0, rel=1e-5)


def test_there_is_no_guard_where_beta_bounds_the_kl_or_where_it_is_switched_off():
    for loss in (IBGANLoss(beta=0.1), IBGANLoss(beta=0, guard=False)):
        assert "kl_guard" not in loss.terms(judged(mu_scale=10))
        assert "kl_guard" not in loss.weights()["generator"]


def test_ibgan_without_encoder_is_infogan_and_infogan_without_its_bound_is_gan():
    outputs = judged()
    without_encoder = IBGANLoss(beta=0, guard=False)
    infogan, gan = InfoGANLoss(), GANLoss()
    terms = without_encoder.terms(outputs)
    assert without_encoder.objectives(terms)["generator"].equal(infogan.objectives(terms)["generator"])
    assert without_encoder.objectives(terms)["discriminator"].equal(infogan.objectives(terms)["discriminator"])
    terms["mi_lower"] = torch.zeros(())
    assert infogan.objectives(terms)["generator"].equal(gan.objectives(terms)["generator"])


def test_ibgan_refuses_a_model_without_an_encoder():
    outputs = judged()
    outputs.fakes.mu = None
    with pytest.raises(TypeError, match="representation encoder"):
        IBGANLoss().terms(outputs)
