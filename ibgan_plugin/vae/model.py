"""The one model behind VAE, beta-VAE, FactorVAE and beta-TCVAE.

x -> encoder -> q(z|x) = N(mu, sigma^2) -> z -> decoder -> Bernoulli logits of x

The four systems are this model under four losses (`ibgan_plugin.vae.losses`); what FactorVAE has more, a discriminator
of codes, belongs to its loss.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from ibgan_plugin.gaussians import sample_gaussian
from ibgan_plugin.image_model import ImageModel
from ibgan_plugin.vae.networks import Init, Kind, decoder, encoder, initialise


@dataclass
class Coded:
    """One forward pass of a batch: what the losses need of it."""

    images: Tensor  # (n, C, 64, 64) in [0, 1]
    mu: Tensor  # (n, D), of q(z|x)
    logvar: Tensor  # (n, D)
    z: Tensor  # (n, D): a draw from q(z|x) for each image
    permuted: Tensor  # (n, D): the same numbers, each dimension shuffled among the images; without gradient
    logits: Tensor  # (n, C, 64, 64): of the reconstruction, Bernoulli pixels
    step: int = 0  # of the training, counted from 1; the trainer fills it in


class VAE(ImageModel):
    """Kingma and Welling (2014). `encode` is the mean of q(z|x), `decode` the mean image of p(x|z).

    `networks` "locatello" are those of Locatello et al. (2019); "ibgan" are IB-GAN's generator as the decoder and its
    mirror image as the encoder, which alone `ngf` scales.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        *,
        z_dim: PositiveInt = 10,
        networks: Kind = "locatello",
        ngf: Annotated[int, Field(ge=4, le=1024)] = 64,
        init: Init = "glorot",
    ) -> None:
        super().__init__(image_shape, z_dim)
        channels = image_shape[2]
        self.encoder = encoder(networks, z_dim, ngf, channels)
        self.decoder = decoder(networks, z_dim, ngf, channels)
        initialise(self, init)

    def players(self) -> dict[str, list[nn.Module]]:
        """One player, who owns both networks."""
        return {"vae": [self.encoder, self.decoder]}

    def code(self, images: Tensor, stream: torch.Generator) -> Coded:
        """Encode float32 (n, C, 64, 64) images in [0, 1], draw a z for each, and decode it, with gradients."""
        mu, logvar = self.encoder(images)
        z = sample_gaussian(mu, logvar, stream)
        return Coded(images, mu, logvar, z, permute_dimensions(z.detach(), stream), self.decoder(z))

    def _encoded(self, images: Tensor) -> Tensor:
        mu: Tensor = self.encoder(images)[0]
        return mu

    def _images(self, codes: Tensor) -> Tensor:
        images: Tensor = self.decoder(codes).float().sigmoid()
        return images


def permute_dimensions(z: Tensor, stream: torch.Generator) -> Tensor:
    """Shuffle each column of (n, D) on its own: draws from the product of the marginals (Kim and Mnih, Algorithm 1)."""
    order = torch.rand(z.shape, generator=stream, device=stream.device).argsort(0).to(z.device)
    return z.gather(0, order)
