"""The four objectives, a term a function. Each is the VAE's with a weight more.

VAE          min  reconstruction + KL                                            Kingma and Welling (2014)
beta-VAE     min  reconstruction + beta * KL                                     Higgins et al. (2017), Eq. 4
FactorVAE    min  reconstruction + KL + gamma * TC, TC by a discriminator        Kim and Mnih (2018), Eq. 2
beta-TCVAE   min  reconstruction + KL + (beta - 1) * TC, TC by the minibatch     Chen et al. (2018), Eq. 5

All terms are in nats, summed over pixels or dimensions and averaged over the batch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from ibgan_plugin.gaussians import kl_per_dimension
from ibgan_plugin.losses import weighted
from ibgan_plugin.vae.model import Coded
from ibgan_plugin.vae.networks import initialise, tc_discriminator

Weight = Annotated[float, Field(ge=0)]

CODE, PERMUTED = 0, 1  # the discriminator's classes


def reconstruction(images: Tensor, logits: Tensor) -> Tensor:
    """-log p(x|z) of (n, C, H, W) images in [0, 1] and logits, independent Bernoulli pixels. Float32 scalar, nats.

    It is at least the entropy of the pixels, which is 0 for black and white.
    """
    return F.binary_cross_entropy_with_logits(logits.float(), images, reduction="none").flatten(1).sum(1).mean()


def density_ratio(code_logits: Tensor) -> Tensor:
    """TC by the density-ratio trick (Kim and Mnih, Eq. 3), of a discriminator's (n, 2) logits. Float32 scalar, nats.

    log q(z) - log prod_i q(z_i) is what an ideal discriminator's two logits differ by.
    """
    return (code_logits[:, CODE].float() - code_logits[:, PERMUTED].float()).mean()


def cross_entropy_with(logits: Tensor, label: int) -> Tensor:
    """The cross-entropy of (n, 2) logits, all of which should say `label`. Float32 scalar, nats."""
    return F.cross_entropy(logits.float(), torch.full((len(logits),), label, device=logits.device))


def minibatch_total_correlation(z: Tensor, mu: Tensor, logvar: Tensor) -> Tensor:
    """TC of the mixture of the batch's n posteriors, q(z) = mean_i q(z|x_i), estimated on the drawn z, all (n, D).

    This is disentanglement_lib's minibatch log-sum-exp, whose gradient needs no size of the dataset. Theirs leaves the
    constants out and so is (D - 1) * log n less; with them the number means something when it is logged.
    """
    n, dims = z.shape
    squares = (z[:, None] - mu[None]).square() * torch.exp(-logvar)[None]  # (n of z, n of x, D)
    log_density = -0.5 * (squares + logvar[None] + math.log(2 * math.pi))
    log_joint = log_density.sum(2).logsumexp(1) - math.log(n)  # (n,): log q(z)
    log_marginals = log_density.logsumexp(1).sum(1) - dims * math.log(n)  # (n,): sum_i log q(z_i)
    return (log_joint - log_marginals).mean()


class VAELoss:
    """min reconstruction + KL: the negative ELBO."""

    def weights(self) -> dict[str, dict[str, float]]:
        """player -> term -> weight in what the player minimises."""
        return {"vae": {"reconstruction": 1.0, "kl_total": 1.0}}

    def terms(self, coded: Coded) -> dict[str, Tensor]:
        """Return each term, a float32 scalar in nats; `kl` is the vector whose sum `kl_total` is."""
        rebuilt = reconstruction(coded.images, coded.logits)
        kl = kl_per_dimension(coded.mu, coded.logvar)
        total = kl.sum()
        return {"elbo": -(rebuilt + total), "reconstruction": rebuilt, "kl_total": total, "kl": kl}

    def objectives(self, terms: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return what each player minimises."""
        return weighted(terms, self.weights())


class BetaVAELoss(VAELoss):
    """min reconstruction + beta * KL."""

    def __init__(self, *, beta: Weight = 4.0) -> None:
        self.beta = beta

    def weights(self) -> dict[str, dict[str, float]]:
        """The KL weighs beta."""
        return {"vae": {"reconstruction": 1.0, "kl_total": self.beta}}


class BetaTCVAELoss(VAELoss):
    """min reconstruction + KL + (beta - 1) * TC: of the KL's three parts, the total correlation alone weighs beta."""

    def __init__(self, *, beta: Weight = 6.0) -> None:
        self.beta = beta

    def weights(self) -> dict[str, dict[str, float]]:
        """The VAE's, and the TC that its KL holds once already."""
        weights = super().weights()
        weights["vae"]["total_correlation"] = self.beta - 1
        return weights

    def terms(self, coded: Coded) -> dict[str, Tensor]:
        """Return the VAE's terms and the minibatch estimate of the TC."""
        return super().terms(coded) | {
            "total_correlation": minibatch_total_correlation(coded.z, coded.mu, coded.logvar)
        }


class FactorVAELoss(VAELoss, nn.Module):
    """min reconstruction + KL + gamma * TC, and a discriminator that learns to tell codes from permuted codes.

    The discriminator is this loss's own network and a player of its own. Both players move on the same batch, as in
    disentanglement_lib (Kim and Mnih permute a second batch). The codes are not detached: the trainer takes each
    player's gradient for the parameters that player owns.
    """

    discriminator: nn.Sequential

    def __init__(self, *, gamma: Weight = 30.0) -> None:
        nn.Module.__init__(self)
        self.gamma = gamma

    def bind(self, model: Any) -> None:
        """Make the discriminator for the codes of a model."""
        self.discriminator = tc_discriminator(model.code_dim)
        initialise(self.discriminator, "glorot")

    def players(self) -> dict[str, list[nn.Module]]:
        """The modules whose parameters the loss's own players own."""
        return {"discriminator": [self.discriminator]}

    def weights(self) -> dict[str, dict[str, float]]:
        """The VAE's and gamma times the TC; half of each cross-entropy for the discriminator."""
        weights = super().weights()
        weights["vae"]["total_correlation"] = self.gamma
        weights["discriminator"] = {"says_code": 0.5, "says_permuted": 0.5}
        return weights

    def terms(self, coded: Coded) -> dict[str, Tensor]:
        """Return the VAE's terms, the discriminator's estimate of the TC, and its two cross-entropies."""
        code_logits = self.discriminator(coded.z)
        return super().terms(coded) | {
            "total_correlation": density_ratio(code_logits),
            "says_code": cross_entropy_with(code_logits, CODE),
            "says_permuted": cross_entropy_with(self.discriminator(coded.permuted), PERMUTED),
        }
