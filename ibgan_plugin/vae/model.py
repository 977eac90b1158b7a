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

from ibgan_plugin.networks import IMAGE_SIZE, sample_gaussian
from ibgan_plugin.vae.networks import Init, Kind, decoder, encoder, initialise
from zoo.device import device_of, evaluation_mode
from zoo.errors import UsageError
from zoo.randomness import torch_stream


@dataclass
class Coded:
    """One forward pass of a batch: what the losses need of it."""

    images: Tensor  # (n, C, 64, 64) in [0, 1]
    mu: Tensor  # (n, D), of q(z|x)
    logvar: Tensor  # (n, D)
    z: Tensor  # (n, D): a draw from q(z|x) for each image
    permuted: Tensor  # (n, D): the same numbers, each dimension shuffled among the images; without gradient
    logits: Tensor  # (n, C, 64, 64): of the reconstruction


class VAE(nn.Module):
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
        super().__init__()
        height, width, channels = image_shape
        if (height, width) != (IMAGE_SIZE, IMAGE_SIZE):
            raise UsageError(f"this model needs 64x64 images, the dataset has {height}x{width}; prepare it at size 64")
        self.image_shape = (height, width, channels)
        self.z_dim = z_dim
        self.encoder = encoder(networks, z_dim, ngf, channels)
        self.decoder = decoder(networks, z_dim, ngf, channels)
        initialise(self, init)

    @property
    def code_dim(self) -> int:
        """The dimension of what the decoder takes and `encode` returns."""
        return self.z_dim

    def players(self) -> dict[str, list[nn.Module]]:
        """One player, who owns both networks."""
        return {"vae": [self.encoder, self.decoder]}

    def code(self, images: Tensor, stream: torch.Generator) -> Coded:
        """Encode float32 (n, C, 64, 64) images in [0, 1], draw a z for each, and decode it, with gradients."""
        mu, logvar = self.encoder(images)
        z = sample_gaussian(mu, logvar, stream)
        return Coded(images, mu, logvar, z, permute_dimensions(z.detach(), stream), self.decoder(z))

    @torch.no_grad()
    def generate(self, num: int, seed: int = 0) -> Tensor:
        """Return float32 (num, C, 64, 64) images in [0, 1] on the CPU: the means of p(x|z), z ~ N(0, I)."""
        z = torch.randn((num, self.z_dim), generator=torch_stream(seed, "generate"))
        with evaluation_mode(self):
            return torch.cat([self._decode(part).cpu() for part in z.split(256)])

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        """Return the means of q(z|x), float32 (n, D), for float32 (n, C, 64, 64) images in [0, 1]."""
        with evaluation_mode(self):
            mu, _ = self.encoder(images.to(self.device).contiguous(memory_format=torch.channels_last))
            return mu

    @torch.no_grad()
    def decode(self, codes: Tensor) -> Tensor:
        """Return float32 (n, C, 64, 64) images in [0, 1], the means of p(x|z), for (n, D) codes."""
        with evaluation_mode(self):
            return self._decode(codes)

    def _decode(self, codes: Tensor) -> Tensor:
        codes = codes.to(self.device, torch.float32)
        if codes.dim() != 2 or codes.shape[1] != self.code_dim:
            raise UsageError(f"codes have shape {tuple(codes.shape)}, expected (n, {self.code_dim})")
        return self.decoder(codes).float().sigmoid().contiguous()

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return device_of(self)


def permute_dimensions(z: Tensor, stream: torch.Generator) -> Tensor:
    """Shuffle each column of (n, D) on its own: draws from the product of the marginals (Kim and Mnih, Algorithm 1)."""
    order = torch.rand(z.shape, generator=stream, device=stream.device).argsort(0).to(z.device)
    return z.gather(0, order)
