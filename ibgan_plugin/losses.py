"""The objective of GAN, InfoGAN and IB-GAN: Eq. 11, a term a function, each with its sign and its source.

A loss computes named terms of one forward pass and says how each player weighs them; what is logged, tested and
tabulated uses the same names. Every player minimises its objective.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from ibgan_plugin.gaussians import kl_per_dimension, mi_lower_bounds
from ibgan_plugin.model import Fakes

Weight = Annotated[float, Field(ge=0)]


@dataclass
class Judged:
    """A forward pass judged: D on reals and fakes, Q on fakes."""

    real_logits: Tensor  # (n, 1)
    fake_logits: Tensor  # (n, 1)
    real_targets: Tensor  # (n, 1): ones, or smoothed
    fakes: Fakes
    z_hat: Tensor  # (n, D_z): Q's mean
    step: int  # of the training, counted from 1: what anneals is a function of it


def loss_on_reals(logits: Tensor, targets: Tensor) -> Tensor:
    """BCE(D(x), targets) of (n, 1) logits and targets: small where D takes reals for real. Float32 scalar, nats."""
    return F.binary_cross_entropy_with_logits(logits.float(), targets)


def loss_on_fakes(logits: Tensor) -> Tensor:
    """BCE(D(x_g), 0) of (n, 1) logits: small where D takes fakes for fake. Float32 scalar, nats."""
    return F.softplus(logits.float()).mean()


def non_saturating_loss(logits: Tensor) -> Tensor:
    """BCE(D(x_g), 1) of (n, 1) logits: small where D takes fakes for real. Float32 scalar, nats.

    Goodfellow et al. (2014), Section 3.
    """
    return F.softplus(-logits.float()).mean()


def mi_lower_bound(z: Tensor, z_hat: Tensor) -> Tensor:
    """I^L = E[log q(z|x)] + H(z) of (n, D_z) noise and Q's means (Eq. 4-6). Float32 scalar, nats."""
    return mi_lower_bounds(z, z_hat.float()).mean()


class GANLoss:
    """min_D BCE(D(x), 1) + BCE(D(x_g), 0);  min_G gamma * BCE(D(x_g), 1);  and Q learns z from x_g on its own."""

    def __init__(self, *, gamma: Weight = 1.0) -> None:
        self.gamma = gamma

    def weights(self) -> dict[str, dict[str, float]]:
        """player -> term -> weight in what the player minimises."""
        return {
            "discriminator": {"real": 1.0, "fake": 1.0},
            "generator": {"adversarial": self.gamma},
            "reconstructor": {"mi_lower": -1.0},
        }

    def terms(self, judged: Judged) -> dict[str, Tensor]:
        """Return each term, a float32 scalar in nats."""
        return {
            "real": loss_on_reals(judged.real_logits, judged.real_targets),
            "fake": loss_on_fakes(judged.fake_logits),
            "adversarial": non_saturating_loss(judged.fake_logits),
            "mi_lower": mi_lower_bound(judged.fakes.z, judged.z_hat),
        }

    def objectives(self, terms: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return what each player minimises."""
        return weighted(terms, self.weights())


class InfoGANLoss(GANLoss):
    """The same, and the generator's side maximises I^L: min_{G,Q} gamma * BCE(D(x_g), 1) - I^L."""

    def weights(self) -> dict[str, dict[str, float]]:
        """Q is on the generator's side."""
        weights = super().weights()
        weights["generator"] |= weights.pop("reconstructor")
        return weights


class IBGANLoss(InfoGANLoss):
    """Eq. 11: min_{G,e,Q} gamma * BCE(D(x_g), 1) - I^L + beta * I^U.

    With beta = 0 nothing bounds e, and its KL can diverge. `guard` then does what the authors' dSprites code does:
    it adds 100 * I^U while I^U is 20 nats or more.
    """

    GUARD_NATS = 20.0
    GUARD_WEIGHT = 100.0

    def __init__(self, *, gamma: Weight = 1.0, beta: Weight = 0.141, guard: bool = True) -> None:
        super().__init__(gamma=gamma)
        self.beta, self.guard = beta, guard and beta == 0

    def weights(self) -> dict[str, dict[str, float]]:
        """beta * I^U joins the generator's side."""
        weights = super().weights()
        weights["generator"]["mi_upper"] = self.beta
        if self.guard:
            weights["generator"]["kl_guard"] = 1.0
        return weights

    def terms(self, judged: Judged) -> dict[str, Tensor]:
        """Return each term; `kl` is the vector whose sum `mi_upper` is."""
        fakes = judged.fakes
        if fakes.mu is None or fakes.logvar is None:
            raise TypeError("IBGANLoss needs a model with a representation encoder (mu and logvar of e(r|z))")
        kl = kl_per_dimension(fakes.mu, fakes.logvar)
        terms = super().terms(judged) | {"mi_upper": kl.sum(), "kl": kl}
        if self.guard:
            upper = terms["mi_upper"]
            terms["kl_guard"] = torch.where(upper >= self.GUARD_NATS, self.GUARD_WEIGHT * upper, 0 * upper)
        return terms


def weighted(terms: Mapping[str, Tensor], weights: Mapping[str, Mapping[str, float]]) -> dict[str, Tensor]:
    """Return each player's sum of weighted terms."""
    return {
        player: torch.stack([weight * terms[name] for name, weight in share.items()]).sum()
        for player, share in weights.items()
    }
