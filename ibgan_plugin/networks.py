"""The networks of the paper's Tables 4, 5 and 6, and of the authors' code.

Names: `ngf` and `ndf` scale the channels of the generator and of the discriminator/reconstructor. All images are
float (n, C, 64, 64) in [-1, 1] here. A convolution or linear layer that a BatchNorm follows has no bias.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from ibgan_plugin.convolutions import DoublingConv

LEAK = 0.2

Variant = Literal["table4", "table5", "authors"]


class RepresentationEncoder(nn.Module):
    """e(r|z): the mean and the log-variance of a diagonal Gaussian over r.

    Table 4 has hidden widths 64, 64, 32; Table 5 has 32, 32; both with BatchNorm. The authors' code has 32, 32
    without it.
    """

    def __init__(self, z_dim: int, r_dim: int, widths: tuple[int, ...], *, batch_norm: bool) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width_in = z_dim
        for width in widths:
            layers.append(nn.Linear(width_in, width, bias=not batch_norm))
            if batch_norm:
                layers.append(nn.BatchNorm1d(width))
            layers.append(nn.ReLU())
            width_in = width
        self.layers = nn.Sequential(*layers, nn.Linear(width_in, 2 * r_dim))

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return mu and log sigma^2, each (n, r_dim), for z (n, z_dim)."""
        mu, logvar = self.layers(z).float().chunk(2, dim=1)  # (n, r_dim) each; float32 also under autocast
        return mu, logvar


def generator(code_dim: int, ngf: int, channels: int) -> nn.Sequential:
    """G(r): (n, code_dim) -> (n, channels, 64, 64) in [-1, 1]; the same in Tables 4, 5 and 6."""
    wide = ngf * 4
    return nn.Sequential(
        nn.Linear(code_dim, ngf * 16, bias=False),
        nn.BatchNorm1d(ngf * 16),
        nn.ReLU(),
        nn.Linear(ngf * 16, wide * 8 * 8, bias=False),
        nn.BatchNorm1d(wide * 8 * 8),
        nn.ReLU(),
        nn.Unflatten(1, (wide, 8, 8)),
        *_upconv(wide, wide),  # (n, ngf*4, 8, 8)
        *_upconv(wide, wide),  # (n, ngf*4, 8, 8)
        *_doubling_upconv(wide, ngf * 2),  # (n, ngf*2, 16, 16)
        *_doubling_upconv(ngf * 2, ngf),  # (n, ngf, 32, 32)
        DoublingConv(ngf, channels),  # (n, C, 64, 64)
        nn.Tanh(),
    )


def front(ndf: int, channels: int) -> nn.Sequential:
    """The first half of D and of Q, shared between them in Tables 4 and 6: (n, C, 64, 64) -> (n, ndf*4, 8, 8)."""
    return nn.Sequential(
        nn.Conv2d(channels, ndf, 4, stride=2, padding=1),  # (n, ndf, 32, 32)
        nn.LeakyReLU(LEAK),
        *_conv(ndf, ndf * 2, kernel=4, stride=2),  # (n, ndf*2, 16, 16)
        *_conv(ndf * 2, ndf * 4, kernel=4, stride=2),  # (n, ndf*4, 8, 8)
    )


def head(ndf: int, out_dim: int, variant: Variant, *, reconstructs: bool = False) -> nn.Sequential:
    """The second half of D (out_dim 1) or Q (out_dim D_z): (n, ndf*4, 8, 8) -> (n, out_dim).

    The tables have two 3x3 convolutions with ndf*4 channels; the authors' code has one with ndf*8, and a further 1x1
    layer in Q. The valid 8x8 convolution over an 8x8 map is the matrix product it amounts to.
    """
    authors = variant == "authors"
    width = ndf * 8 if authors else ndf * 4
    convs = _conv(ndf * 4, width, kernel=3, stride=1)
    if not authors:
        convs += _conv(width, width, kernel=3, stride=1)
    layers = [*convs, Flatten(), *_linear(width * 8 * 8, ndf * 16)]
    if authors and reconstructs:
        layers += _linear(ndf * 16, ndf * 16)
    return nn.Sequential(*layers, nn.Linear(ndf * 16, out_dim))


class Flatten(nn.Module):
    """(n, C, H, W) -> (n, C*H*W), whose gradient comes back in the memory layout of the feature maps.

    Left alone, the gradient of channels-last maps comes back with the channels first, and the backward pass of the
    leaky ReLU before takes ten times as long for two layouts as for one.
    """

    def forward(self, maps: Tensor) -> Tensor:
        """Flatten; the order of the features is that of (C, H, W), whatever the layout."""
        if maps.requires_grad and maps.is_contiguous(memory_format=torch.channels_last):
            maps.register_hook(lambda gradient: gradient.contiguous(memory_format=torch.channels_last))
        return maps.flatten(1)


def initialise(module: nn.Module, scheme: Literal["normal", "orthogonal"]) -> None:
    """Initialise every weight: normal(0, 0.02) on the sprite sets, orthogonal on CelebA and 3D Chairs (Table 7).

    BatchNorm weights are 1, all biases 0.
    """
    for part in module.modules():
        if isinstance(part, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            if scheme == "normal":
                nn.init.normal_(part.weight, 0.0, 0.02)
            else:
                nn.init.orthogonal_(part.weight)
            if part.bias is not None:
                nn.init.zeros_(part.bias)


def to_model_range(images: Tensor) -> Tensor:
    """[0, 1] -> [-1, 1]."""
    return images * 2 - 1


def to_user_range(images: Tensor) -> Tensor:
    """[-1, 1] -> float32 [0, 1]."""
    return images.float().add(1).mul(0.5).clamp(0, 1)


def _conv(channels_in: int, channels_out: int, kernel: int, stride: int) -> list[nn.Module]:
    return [
        nn.Conv2d(channels_in, channels_out, kernel, stride, padding=1, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.LeakyReLU(LEAK),
    ]


def _upconv(channels_in: int, channels_out: int) -> list[nn.Module]:
    convolution = nn.ConvTranspose2d(channels_in, channels_out, 3, padding=1, bias=False)
    return [convolution, nn.BatchNorm2d(channels_out), nn.ReLU()]


def _doubling_upconv(channels_in: int, channels_out: int) -> list[nn.Module]:
    return [DoublingConv(channels_in, channels_out, bias=False), nn.BatchNorm2d(channels_out), nn.ReLU()]


def _linear(width_in: int, width_out: int) -> list[nn.Module]:
    return [nn.Linear(width_in, width_out, bias=False), nn.BatchNorm1d(width_out), nn.LeakyReLU(LEAK)]
