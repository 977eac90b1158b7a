"""The networks of the VAEs: those of Locatello et al. (2019), and IB-GAN's generator with its mirror image.

Encoders take float (n, C, 64, 64) images and return the mean and the log-variance of q(z|x); decoders return logits.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from ibgan_plugin import networks
from ibgan_plugin.convolutions import DoublingConv, PatchConv
from ibgan_plugin.networks import LEAK, Flatten, to_model_range

Kind = Literal["locatello", "ibgan"]
Init = Literal["glorot", "normal", "orthogonal"]


class GaussianEncoder(nn.Module):
    """q(z|x): a body, and on its features one linear layer for the mean and one for the log-variance."""

    def __init__(self, body: nn.Module, width: int, z_dim: int) -> None:
        super().__init__()
        self.body = body
        self.mean = nn.Linear(width, z_dim)
        self.logvar = nn.Linear(width, z_dim)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return mu and log sigma^2, each float32 (n, z_dim), for images (n, C, 64, 64) in [0, 1]."""
        features = self.body(images)  # (n, width)
        return self.mean(features).float(), self.logvar(features).float()


class ToModelRange(nn.Module):
    """[0, 1] -> [-1, 1], the range that IB-GAN's networks work in."""

    def forward(self, images: Tensor) -> Tensor:
        """Return the images in [-1, 1]."""
        return to_model_range(images)


def encoder(kind: Kind, z_dim: int, width: int, channels: int) -> GaussianEncoder:
    """Return the encoder that goes with `decoder(kind, ...)`; `width` is IB-GAN's ngf and of no effect on Locatello's.

    "locatello" is Table 1 of the supplement of Locatello et al. (2019), the encoder of disentanglement_lib. Its padding
    is "same": one pixel on each side for a 4x4 kernel with stride 2 on an even size, none for a 2x2 kernel.

    "ibgan" is IB-GAN's generator (Table 4) read backwards: every convolution a transposed one's mirror image, every
    hidden representation as large as the generator's, and normalised and rectified where the generator's is.
    """
    if kind == "locatello":
        body = nn.Sequential(
            nn.Conv2d(channels, 32, 4, stride=2, padding=1),  # (n, 32, 32, 32)
            nn.ReLU(),
            nn.Conv2d(32, 32, 4, stride=2, padding=1),  # (n, 32, 16, 16)
            nn.ReLU(),
            PatchConv(32, 64),  # (n, 64, 8, 8)
            nn.ReLU(),
            PatchConv(64, 64),  # (n, 64, 4, 4)
            nn.ReLU(),
            Flatten(),
            nn.Linear(64 * 4 * 4, 256),
            nn.ReLU(),
        )
        return GaussianEncoder(body, 256, z_dim)
    wide = width * 4
    body = nn.Sequential(
        ToModelRange(),
        *_conv(channels, width, kernel=4, stride=2),  # (n, ngf, 32, 32)
        *_conv(width, width * 2, kernel=4, stride=2),  # (n, ngf*2, 16, 16)
        *_conv(width * 2, wide, kernel=4, stride=2),  # (n, ngf*4, 8, 8)
        *_conv(wide, wide, kernel=3, stride=1),  # (n, ngf*4, 8, 8)
        *_conv(wide, wide, kernel=3, stride=1),  # (n, ngf*4, 8, 8)
        Flatten(),
        nn.Linear(wide * 8 * 8, width * 16, bias=False),
        nn.BatchNorm1d(width * 16),
        nn.ReLU(),
    )
    return GaussianEncoder(body, width * 16, z_dim)


def decoder(kind: Kind, z_dim: int, width: int, channels: int) -> nn.Sequential:
    """Return the decoder, (n, z_dim) -> Bernoulli logits (n, channels, 64, 64).

    "locatello" is that of the same table; "same" padding of a transposed 4x4 convolution means that stride 2 doubles
    the size.

    "ibgan" is IB-GAN's generator without its tanh. Nothing is lost by that: an image tanh(a) in [-1, 1] is sigmoid(2a)
    in [0, 1], so that the same images are reached with half the last layer's weights.
    """
    if kind == "locatello":
        return nn.Sequential(
            nn.Linear(z_dim, 256),
            nn.ReLU(),
            nn.Linear(256, 64 * 4 * 4),
            nn.ReLU(),
            nn.Unflatten(1, (64, 4, 4)),
            DoublingConv(64, 64),  # (n, 64, 8, 8)
            nn.ReLU(),
            DoublingConv(64, 32),  # (n, 32, 16, 16)
            nn.ReLU(),
            DoublingConv(32, 32),  # (n, 32, 32, 32)
            nn.ReLU(),
            DoublingConv(32, channels),  # (n, C, 64, 64)
        )
    return networks.generator(z_dim, width, channels)[:-1]


def tc_discriminator(z_dim: int) -> nn.Sequential:
    """FactorVAE's discriminator, (n, z_dim) -> (n, 2) logits: is z a code, or are its dimensions of different codes?

    Kim and Mnih (2018), appendix A: six layers of 1000, leaky ReLU 0.2.
    """
    layers: list[nn.Module] = []
    width_in = z_dim
    for _ in range(6):
        layers += [nn.Linear(width_in, 1000), nn.LeakyReLU(LEAK)]
        width_in = 1000
    return nn.Sequential(*layers, nn.Linear(width_in, 2))


def initialise(module: nn.Module, scheme: Init) -> None:
    """Initialise every weight: Glorot uniform (Locatello et al.), or as IB-GAN's networks; biases are 0."""
    if scheme != "glorot":
        networks.initialise(module, scheme)
        return
    for part in module.modules():
        if isinstance(part, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            nn.init.xavier_uniform_(part.weight)
            if part.bias is not None:
                nn.init.zeros_(part.bias)


def _conv(channels_in: int, channels_out: int, kernel: int, stride: int) -> list[nn.Module]:
    return [
        nn.Conv2d(channels_in, channels_out, kernel, stride, padding=1, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(),
    ]
