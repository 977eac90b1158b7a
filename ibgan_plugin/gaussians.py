"""Diagonal Gaussians, of which both families are made: e(r|z) and q(z|x), their draws, and their terms in nats."""

from __future__ import annotations

import torch
from torch import Tensor


def sample_gaussian(mu: Tensor, logvar: Tensor, stream: torch.Generator) -> Tensor:
    """mu + sigma * eps for (n, D) means and log-variances, in their dtype; differentiable in both.

    Kingma and Welling (2014), Section 2.4.
    """
    eps = torch.randn(mu.shape, generator=stream, device=stream.device).to(mu.device)
    return mu + torch.exp(0.5 * logvar) * eps


def gaussian_kl(mu: Tensor, logvar: Tensor) -> Tensor:
    """KL(N(mu, sigma^2) || N(0, 1)) per element, in nats (Kingma and Welling, 2014, Appendix B)."""
    return 0.5 * (mu.square() + logvar.exp() - logvar - 1)


def kl_per_dimension(mu: Tensor, logvar: Tensor) -> Tensor:
    """KL(N(mu_i, sigma_i^2) || N(0, 1)), averaged over a batch (n, D): (D,) in nats.

    Of e(r|z) their sum is I^U (IB-GAN, Eq. 7-10), of q(z|x) the KL of the ELBO.
    """
    return gaussian_kl(mu, logvar).mean(0)


def mi_lower_bounds(z: Tensor, z_hat: Tensor) -> Tensor:
    """log q(z|x) - log p(z), whose mean is I^L (IB-GAN, Eq. 4-6), of (n, D_z) noise and Q's means: (n,) in nats.

    Both are Gaussians of unit variance, so that it is 0.5 * sum(z^2 - (z - z_hat)^2).
    """
    return 0.5 * (z.square() - (z - z_hat).square()).sum(1)
