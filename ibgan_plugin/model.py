"""GAN, InfoGAN and IB-GAN: each is the one before it and one component more.

GAN       z ------------------> G -> x -> D         (Q only watches: it is trained, but G never hears of it)
InfoGAN   z ------------------> G -> x -> D, Q      Q's bound of I(z; x) trains G too
IB-GAN    z -> e -> r --------> G -> x -> D, Q      and e bounds what r can carry
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from ibgan_plugin import networks
from ibgan_plugin.gaussians import gaussian_kl, mi_lower_bounds, sample_gaussian
from ibgan_plugin.image_model import ImageModel
from ibgan_plugin.networks import to_model_range, to_user_range
from zoo.device import evaluation_mode
from zoo.randomness import torch_stream

Width = Annotated[int, Field(ge=4, le=1024)]


@dataclass
class Fakes:
    """One forward pass from noise: what the loss needs of it. Images are in [-1, 1]."""

    images: Tensor  # (n, C, 64, 64)
    z: Tensor  # (n, D_z)
    mu: Tensor | None = None  # (n, D_r), of e(r|z)
    logvar: Tensor | None = None  # (n, D_r)


class GAN(ImageModel):
    """Goodfellow et al. (2014) with the networks of the paper's Table 6.

    The reconstructor Q is there, and is trained on the generated images, to make the GAN measurable: `encode` is its
    estimate of z. It is a player of its own, so nothing of it reaches the generator.
    """

    training_only = ("discriminator",)  # what generating and encoding do without

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        *,
        z_dim: PositiveInt = 10,
        ngf: Width = 16,
        ndf: Width = 16,
        variant: networks.Variant = "table4",
        share_front: bool | None = None,
        init: Literal["normal", "orthogonal"] = "normal",
    ) -> None:
        """`share_front` None follows the table: D and Q share their first half in Table 4, and not in Table 5."""
        super().__init__(image_shape, z_dim)
        channels = image_shape[2]
        shared = variant == "table4" if share_front is None else share_front

        def half() -> nn.Module:
            return networks.front(ndf, channels)

        self.generator = networks.generator(self.code_dim, ngf, channels)
        self.front = half() if shared else nn.Identity()
        heads = [networks.head(ndf, 1, variant), networks.head(ndf, z_dim, variant, reconstructs=True)]
        self.discriminator, self.reconstructor = heads if shared else [nn.Sequential(half(), h) for h in heads]
        self._add_components(variant)
        networks.initialise(self, init)

    def players(self) -> dict[str, list[nn.Module]]:
        """The modules whose parameters each player owns (Algorithm 1)."""
        return {
            "discriminator": [self.front, self.discriminator],
            "generator": [self.generator],
            "reconstructor": [self.reconstructor],
        }

    def bottleneck(self, z: Tensor, stream: torch.Generator) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Return what the generator takes for noise z, and the mu and log-variance it was drawn with: here z itself."""
        return z, None, None

    def fakes(self, n: int, stream: torch.Generator) -> Fakes:
        """Draw z ~ N(0, I) and generate, with gradients."""
        z = torch.randn((n, self.z_dim), generator=stream, device=stream.device).to(self.device)
        code, mu, logvar = self.bottleneck(z, stream)
        return Fakes(self.generator(code), z, mu, logvar)

    @torch.no_grad()
    def mi_bounds(self, num: int, seed: int = 0) -> Mapping[str, object]:
        """Return the mutual-information bounds in nats, averaged over `num` draws of z: `mi_lower` is I^L, `mi_upper`
        I^U (None without an encoder), and `kl` (D_r,) the KL of each r_i (None likewise). Section 3, Eq. 7-10.
        """
        stream = torch_stream(seed, "mi_bounds")  # sums are float64, which Apple's GPUs lack, so they are the CPU's
        lower, kl_sum = 0.0, None
        with evaluation_mode(self):
            for start in range(0, num, 250):
                fakes = self.fakes(min(250, num - start), stream)
                z_hat = self.reconstructor(self.front(fakes.images)).float()
                lower += float(mi_lower_bounds(fakes.z.cpu().double(), z_hat.cpu().double()).sum())
                if fakes.mu is not None and fakes.logvar is not None:
                    kl = gaussian_kl(fakes.mu.cpu().double(), fakes.logvar.cpu().double()).sum(0)
                    kl_sum = kl if kl_sum is None else kl_sum + kl
        kl_mean = None if kl_sum is None else kl_sum / num
        return {"mi_lower": lower / num, "mi_upper": None if kl_mean is None else float(kl_mean.sum()), "kl": kl_mean}

    def _add_components(self, variant: networks.Variant) -> None:
        """Where a model that is a GAN and more adds its networks, before initialisation."""

    def _representation(self, z_hat: Tensor) -> Tensor:
        return z_hat

    def _code_of_noise(self, z: Tensor, stream: torch.Generator) -> Tensor:
        return self.bottleneck(z, stream)[0]

    def _encoded(self, images: Tensor) -> Tensor:
        return self._representation(self.reconstructor(self.front(to_model_range(images))).float())

    def _images(self, codes: Tensor) -> Tensor:
        return to_user_range(self.generator(codes))


class InfoGAN(GAN):
    """Chen et al. (2016), all of z being the latent code: Q's bound of I(z; x) trains the generator too (Table 6)."""

    def players(self) -> dict[str, list[nn.Module]]:
        """Q moves from a player of its own to the generator's side."""
        players = super().players()
        players["generator"] += players.pop("reconstructor")
        return players


class IBGAN(InfoGAN):
    """Jeon et al. (AAAI 2021): noise z passes a stochastic encoder e(r|z) before the generator (Tables 4 and 5).

    `encode` is r = mu_e(Q(x)), nothing sampled; `decode` is G(r).
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        *,
        z_dim: PositiveInt = 16,
        r_dim: PositiveInt = 10,
        ngf: Width = 16,
        ndf: Width = 16,
        variant: networks.Variant = "table4",
        share_front: bool | None = None,
        init: Literal["normal", "orthogonal"] = "normal",
    ) -> None:
        self.r_dim = r_dim  # before the generator is built: its input is r
        super().__init__(
            image_shape, z_dim=z_dim, ngf=ngf, ndf=ndf, variant=variant, share_front=share_front, init=init
        )

    @property
    def code_dim(self) -> int:
        """The dimension of r."""
        return self.r_dim

    def players(self) -> dict[str, list[nn.Module]]:
        """The encoder plays on the generator's side."""
        players = super().players()
        players["generator"].append(self.encoder)
        return players

    def bottleneck(self, z: Tensor, stream: torch.Generator) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Draw r ~ e(r|z)."""
        mu, logvar = self.encoder(z)
        return sample_gaussian(mu, logvar, stream), mu, logvar

    def _add_components(self, variant: networks.Variant) -> None:
        widths = (64, 64, 32) if variant == "table4" else (32, 32)
        self.encoder = networks.RepresentationEncoder(self.z_dim, self.r_dim, widths, batch_norm=variant != "authors")

    def _representation(self, z_hat: Tensor) -> Tensor:
        return self.encoder(z_hat)[0]
