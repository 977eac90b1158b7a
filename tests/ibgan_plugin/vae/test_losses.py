"""The VAEs' terms against closed forms and hand work, and the reductions from one loss to another."""

import math

import pytest
import torch
from torch import nn
from torch.distributions import Bernoulli, Normal, kl_divergence

from ibgan_plugin.vae import losses
from ibgan_plugin.vae.losses import BetaTCVAELoss, BetaVAELoss, FactorVAELoss, VAELoss
from ibgan_plugin.vae.model import Coded, permute_dimensions


class Codes:
    """All that FactorVAE's loss asks of a model."""

    code_dim = 3


def coded(n=6, seed=0):
    draw = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=draw).requires_grad_()

    z = normal(n, 3)
    return Coded(
        torch.rand(n, 2, 4, 4, generator=draw), normal(n, 3), normal(n, 3), z, z.detach().flip(0), normal(n, 2, 4, 4)
    )


def every_loss():
    factor_vae = FactorVAELoss(gamma=7)
    torch.manual_seed(0)
    factor_vae.bind(Codes())
    return {"vae": VAELoss(), "beta": BetaVAELoss(beta=3), "factor": factor_vae, "tc": BetaTCVAELoss(beta=5)}


def test_reconstruction_is_the_bernoulli_likelihood_summed_over_pixels():
    images = torch.tensor([1.0, 0.0, 1.0, 0.25]).view(1, 1, 2, 2)
    logits = torch.tensor([0.0, math.log(3), math.log(3), math.log(3)]).view(1, 1, 2, 2)
    # -log 1/2, -log 1/4, -log 3/4, and 1/4 and 3/4 of the last two.
    by_hand = math.log(2) + math.log(4) + math.log(4 / 3) + 0.25 * math.log(4 / 3) + 0.75 * math.log(4)
    assert losses.reconstruction(images, logits).item() == pytest.approx(by_hand)
    both = losses.reconstruction(images.repeat(2, 1, 1, 1), torch.cat([logits, torch.zeros_like(logits)]))
    assert both.item() == pytest.approx((by_hand + 4 * math.log(2)) / 2)


def test_reconstruction_against_torch_distributions_for_saturated_logits():
    images = torch.randint(0, 2, (3, 1, 8, 8)).float()
    logits = 50 * torch.randn(3, 1, 8, 8)
    expected = -Bernoulli(logits=logits).log_prob(images).sum((1, 2, 3)).mean()
    torch.testing.assert_close(losses.reconstruction(images, logits), expected)


def test_terms_of_bf16_logits_are_computed_in_float32():
    rough = torch.randn(64, 2, generator=torch.Generator().manual_seed(0)).bfloat16()
    images = torch.rand(64, 2, generator=torch.Generator().manual_seed(1))
    for term in (
        losses.density_ratio,
        lambda logits: losses.cross_entropy_with(logits, losses.CODE),
        lambda logits: losses.reconstruction(images, logits),
    ):
        found = term(rough)
        assert found.dtype == torch.float32
        assert torch.equal(found, term(rough.float()))


def test_terms_of_the_vae():
    outputs = coded()
    terms = VAELoss().terms(outputs)
    assert list(terms) == ["elbo", "reconstruction", "kl_total", "kl"]
    kl = kl_divergence(Normal(outputs.mu, (0.5 * outputs.logvar).exp()), Normal(0.0, 1.0))
    torch.testing.assert_close(terms["kl"], kl.mean(0))
    torch.testing.assert_close(terms["kl_total"], kl.sum(1).mean())
    torch.testing.assert_close(terms["elbo"], -(terms["reconstruction"] + terms["kl_total"]))


def test_objectives_weigh_the_terms():
    outputs = coded()
    for name, loss in every_loss().items():
        terms = loss.terms(outputs)
        t = {key: value.item() for key, value in terms.items() if key != "kl"}
        expected = {
            "vae": {"vae": t["reconstruction"] + t["kl_total"]},
            "beta": {"vae": t["reconstruction"] + 3 * t["kl_total"]},
            "factor": {
                "vae": t["reconstruction"] + t["kl_total"] + 7 * t.get("total_correlation", 0),
                "discriminator": 0.5 * (t.get("says_code", 0) + t.get("says_permuted", 0)),
            },
            "tc": {"vae": t["reconstruction"] + t["kl_total"] + 4 * t.get("total_correlation", 0)},
        }[name]
        found = {player: value.item() for player, value in loss.objectives(terms).items()}
        assert found == pytest.approx(expected)


def plain_total_correlation(z, mu, logvar):
    """log q(z) - sum_i log q(z_i) for the mixture of the posteriors, number by number in double precision."""

    def density(value, mean, log_variance):
        variance = math.exp(log_variance)
        return math.exp(-((value - mean) ** 2) / (2 * variance)) / math.sqrt(2 * math.pi * variance)

    z, mu, logvar = z.tolist(), mu.tolist(), logvar.tolist()
    n, total = len(z), 0.0
    for code in z:
        densities = [[density(*v) for v in zip(code, *q, strict=True)] for q in zip(mu, logvar, strict=True)]
        joint = sum(math.prod(row) for row in densities) / n
        marginals = [sum(column) / n for column in zip(*densities, strict=True)]
        total += math.log(joint) - sum(math.log(marginal) for marginal in marginals)
    return total / n


def test_minibatch_total_correlation_of_two_codes_by_hand():
    # Two posteriors of variance 1 with means (0, 0) and (2, 2), the codes on the means: in units of the density at a
    # mean, of e^-2 in one dimension and e^-4 in both.
    mu = torch.tensor([[0.0, 0.0], [2.0, 2.0]])
    by_hand = math.log((1 + math.exp(-4)) / 2) - 2 * math.log((1 + math.exp(-2)) / 2)
    found = losses.minibatch_total_correlation(mu, mu, torch.zeros(2, 2))
    assert found.item() == pytest.approx(by_hand, rel=1e-5)
    assert by_hand == pytest.approx(0.457441, abs=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_minibatch_total_correlation_is_the_plain_sum(seed):
    draw = torch.Generator().manual_seed(seed)
    z, mu, logvar = (torch.randn(5, 4, generator=draw) for _ in range(3))
    found = losses.minibatch_total_correlation(z, mu, logvar)
    assert found.item() == pytest.approx(plain_total_correlation(z, mu, logvar), rel=1e-4, abs=1e-5)


def test_minibatch_total_correlation_where_it_is_known():
    # Posteriors on a grid make a product: no total correlation, whatever the codes.
    grid = torch.cartesian_prod(torch.tensor([-2.0, 0.5, 3.0]), torch.tensor([-1.0, 4.0]))
    z = torch.randn(6, 2)
    assert losses.minibatch_total_correlation(z, grid, torch.full((6, 2), 0.3)).item() == pytest.approx(0, abs=1e-5)
    # n sharp codes that each dimension alone tells apart: (D - 1) log n.
    apart = torch.arange(5.0)[:, None].repeat(1, 3) * 100
    found = losses.minibatch_total_correlation(apart, apart, torch.zeros(5, 3))
    assert found.item() == pytest.approx(2 * math.log(5), rel=1e-5)


def test_minibatch_total_correlation_is_finite_for_far_and_sharp_codes():
    mu = torch.tensor([[1e3, -1e3], [-1e3, 1e3]], requires_grad=True)
    found = losses.minibatch_total_correlation(mu + 1e-2, mu, torch.full((2, 2), -9.0))
    assert torch.isfinite(found)
    assert torch.isfinite(torch.autograd.grad(found, mu)[0]).all()


def test_density_ratio_is_the_difference_of_the_logits():
    logits = torch.tensor([[1.0, -2.0], [0.5, 4.0]])
    assert losses.density_ratio(logits).item() == pytest.approx((3.0 - 3.5) / 2)


def test_the_discriminator_calls_codes_0_and_permuted_codes_1():
    logits = torch.tensor([[math.log(3), 0.0], [0.0, 0.0]])
    assert losses.cross_entropy_with(logits, losses.CODE).item() == pytest.approx((math.log(4 / 3) + math.log(2)) / 2)
    assert losses.cross_entropy_with(logits, losses.PERMUTED).item() == pytest.approx((math.log(4) + math.log(2)) / 2)
    # A discriminator that sees the two is rewarded, and says that there is a total correlation.
    loss = every_loss()["factor"]
    loss.discriminator = nn.Linear(3, 2)
    with torch.no_grad():
        loss.discriminator.weight.copy_(torch.tensor([[1.0, 0, 0], [-1.0, 0, 0]]))
        loss.discriminator.bias.zero_()
    outputs = coded()
    outputs.z, outputs.permuted = torch.full((6, 3), 2.0), torch.full((6, 3), -2.0)
    terms = loss.terms(outputs)
    assert terms["says_code"].item() == pytest.approx(math.log(1 + math.exp(-4)), rel=1e-4)
    assert terms["says_permuted"].item() == pytest.approx(math.log(1 + math.exp(-4)), rel=1e-4)
    assert terms["total_correlation"].item() == pytest.approx(4)


class Quadratic(nn.Module):
    """A discriminator linear in the products of dimensions: the log ratio of Gaussians is one of its functions."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(9, 2)

    def forward(self, z):
        return self.linear((z[:, :, None] * z[:, None]).flatten(1))


@pytest.mark.parametrize("rho", [0.8, 0.0])
def test_the_density_ratio_estimates_the_total_correlation_of_a_gaussian(rho):
    """Correlation rho between two of three dimensions: -log(1 - rho^2) / 2 nats, once the discriminator has learnt."""
    torch.manual_seed(0)
    loss = FactorVAELoss()
    loss.discriminator = Quadratic()
    stream = torch.Generator().manual_seed(1)
    outputs = coded(20_000)
    outputs.z = torch.randn(20_000, 3, generator=stream)
    outputs.z[:, 1] = rho * outputs.z[:, 0] + math.sqrt(1 - rho**2) * outputs.z[:, 1]
    outputs.permuted = permute_dimensions(outputs.z, stream)
    optimiser = torch.optim.LBFGS(loss.discriminator.parameters(), max_iter=100, line_search_fn="strong_wolfe")

    def closure():
        optimiser.zero_grad()
        objective = loss.objectives(loss.terms(outputs))["discriminator"]
        objective.backward()
        return objective

    optimiser.step(closure)
    estimate = loss.terms(outputs)["total_correlation"].item()
    assert estimate == pytest.approx(-0.5 * math.log(1 - rho**2), abs=0.03)


def test_permuting_moves_numbers_within_their_dimension_only_and_each_dimension_on_its_own():
    z = torch.randn(50, 8)
    permuted = permute_dimensions(z, torch.Generator().manual_seed(0))
    assert torch.equal(permuted.sort(0).values, z.sort(0).values)
    orders = {tuple(z[:, i].argsort()[permuted[:, i].argsort().argsort()].tolist()) for i in range(8)}
    assert len(orders) == 8


def test_every_permutation_is_as_likely():
    z = torch.arange(3.0)[:, None].repeat(1, 12_000)
    permuted = permute_dimensions(z, torch.Generator().manual_seed(0))
    _, counts = permuted.T.unique(dim=0, return_counts=True)
    assert len(counts) == 6
    assert (counts - 2_000).abs().max() < 4 * math.sqrt(12_000 * 5 / 36)


def test_beta_1_is_the_vae_and_gamma_0_too():
    outputs = coded()
    expected = VAELoss().objectives(VAELoss().terms(outputs))["vae"]
    gamma_0 = every_loss()["factor"]
    gamma_0.gamma = 0.0
    for loss in (BetaVAELoss(beta=1), BetaTCVAELoss(beta=1), gamma_0):
        assert loss.objectives(loss.terms(outputs))["vae"].item() == expected.item()


def test_factorvaes_network_is_its_own_and_bound_once_per_model():
    loss = FactorVAELoss()
    assert not list(loss.parameters())
    loss.bind(Codes())
    assert loss.discriminator[0].in_features == 3
    assert loss.players() == {"discriminator": [loss.discriminator]}
    assert loss.weights()["vae"]["total_correlation"] == 30
