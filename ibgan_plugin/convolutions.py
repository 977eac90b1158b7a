"""Two convolutions done another way where bfloat16 is trained on a processor: the same products, summed.

The transposed convolution that doubles an image's sides takes oneDNN two to four times as long as the convolution that
halves them, which is as much arithmetic, and longer still where the result has one channel, or where the gradients of
kernel and bias are taken with that of the input. Here it is an ordinary 2x2 convolution of stride 1, whose outputs are
the four phases of a pixel (even or odd row, even or odd column), written where they belong.

The convolution whose windows do not overlap is a linear layer over patches, of which oneDNN takes the gradients two to
three times as fast.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class DoublingConv(nn.ConvTranspose2d):
    """`nn.ConvTranspose2d` (n, C_in, h, w) -> (n, C_out, 2h, 2w) with a 4x4 kernel, stride 2 and padding 1."""

    def __init__(self, channels_in: int, channels_out: int, *, bias: bool = True) -> None:
        super().__init__(channels_in, channels_out, kernel_size=4, stride=2, padding=1, bias=bias)

    def forward(self, maps: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Convolve, by way of `doubled` where that is the faster one."""
        if output_size is not None or not _trains_in_bfloat16(maps):
            return super().forward(maps, output_size)
        # Cast here, where autograd sees it: gradients of gradients pass through both.
        bias = None if self.bias is None else self.bias.bfloat16()
        result: Tensor = Double.apply(maps.bfloat16(), self.weight.bfloat16(), bias)
        return result


class PatchConv(nn.Conv2d):
    """`nn.Conv2d` (n, C_in, 2h, 2w) -> (n, C_out, h, w) with a 2x2 kernel and stride 2."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__(channels_in, channels_out, kernel_size=2, stride=2)

    def forward(self, maps: Tensor) -> Tensor:
        """Convolve, as a linear layer over patches of 2x2 pixels where that is the faster one."""
        n, channels, height, width = maps.shape
        if height % 2 or width % 2 or not _trains_in_bfloat16(maps):
            return super().forward(maps)
        rows = maps.permute(0, 2, 3, 1).reshape(n, height // 2, 2, width // 2, 2, channels)
        patches = rows.transpose(2, 3).flatten(3)  # (n, h, w, 4 * C_in)
        return F.linear(patches, self.weight.permute(0, 2, 3, 1).flatten(1), self.bias).permute(0, 3, 1, 2)


def doubled(maps: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`F.conv_transpose2d(maps, weight, bias, stride=2, padding=1)` of a 4x4 kernel, channels last in memory.

    Row 2i + a of the result (a = 0, 1) is made of rows i + a - 1 + s of the maps (s = 0, 1), each with row 3 - a - 2s
    of the kernel; columns likewise. So the four phases (a, b) are channels of one 2x2 convolution over the padded maps,
    and phase (a, b) of output pixel (i, j) is found at (i + a, j + b).
    """
    n, _, h, w = maps.shape
    channels_in, channels_out = weight.shape[:2]
    flipped = weight.flip(2, 3).reshape(channels_in, channels_out, 2, 2, 2, 2)  # (C_in, C_out, s, a, t, b)
    kernels = flipped.permute(3, 5, 1, 2, 4, 0).reshape(4 * channels_out, 2, 2, channels_in).permute(0, 3, 1, 2)
    phases = F.conv2d(maps, kernels, None if bias is None else bias.repeat(4), padding=1)
    phases = phases.permute(0, 2, 3, 1).unflatten(3, (2, 2, channels_out))  # (n, h + 1, w + 1, a, b, C_out)
    pixels = phases.new_empty(n, h, 2, w, 2, channels_out)
    for a, b in ((0, 0), (0, 1), (1, 0), (1, 1)):
        pixels[:, :, a, :, b] = phases[:, a : a + h, b : b + w, a, b]
    return pixels.reshape(n, 2 * h, 2 * w, channels_out).permute(0, 3, 1, 2)


class Double(torch.autograd.Function):
    """`doubled`, with each gradient taken by itself."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(maps, weight)
        return doubled(maps, weight, bias)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        maps, weight = ctx.saved_tensors
        of_maps, of_weight, of_bias = None, None, None
        if ctx.needs_input_grad[0]:
            of_maps = F.conv2d(gradient, weight, stride=2, padding=1)
        if ctx.needs_input_grad[1]:
            _, of_weight, _ = torch.ops.aten.convolution_backward(
                gradient, maps, weight, None, [2, 2], [1, 1], [1, 1], True, [0, 0], 1, [False, True, False]
            )
        if ctx.needs_input_grad[2]:
            of_bias = gradient.sum((0, 2, 3))
        return of_maps, of_weight, of_bias


def _trains_in_bfloat16(maps: Tensor) -> bool:
    return maps.device.type == "cpu" and torch.is_autocast_enabled("cpu") and torch.is_grad_enabled()
