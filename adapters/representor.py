"""The PyTorch representor of the NeurIPS 2019 disentanglement challenge: a TorchScript file that encodes images.

torch has deprecated TorchScript, and still nothing else will do: the challenge's kit, and what others built on it,
reads this file as TorchScript, and cannot read what torch.export writes. So the one warning is silenced where the file
is made, and what was traced is held against the model before it is written.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from zoo.errors import ZooError, described

FILE = "pytorch_model.pt"
TOLERANCE = 1e-5  # of a code of size 1; larger codes may differ by as much, relatively


class Representor(nn.Module):
    """(n, C, H, W) images in [0, 1], of any float type and on the weights' device -> float32 (n, D) codes."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        """Encode."""
        codes: Tensor = self.model.encode(images.float())  # type: ignore[operator]  # the Encoder protocol
        return codes


def write_representor(model: nn.Module, image_shape: tuple[int, int, int], path: Path) -> int:
    """Write `model.encode` as a TorchScript file, for batches of any size; return the number of dimensions D.

    `image_shape` is (H, W, C). Any model will do whose `encode` computes with torch alone and takes the same way for
    every image. Raises ZooError, one line, where the file would not give what `encode` gives.
    """
    name = f"{type(model).__name__}.encode"
    model = copy.deepcopy(model).cpu().eval().requires_grad_(False)
    try:
        with warnings.catch_warnings(), _StayingInPlace():
            warnings.filterwarnings("ignore", r"`torch\.jit\.trace", FutureWarning)
            # Where a trace depends on the example, `_largest_difference` tells, for certain and not by warning.
            warnings.simplefilter("ignore", torch.jit.TracerWarning)
            traced = torch.jit.trace(Representor(model), _images(image_shape, 2), check_trace=False)
        difference, dimensions = _largest_difference(traced, model, image_shape)
    except Exception as error:  # `encode` is any plugin's
        reason = described(error)
        raise ZooError(f"{name} cannot be written as a TorchScript file: {reason[:300]}") from error
    if not difference <= TOLERANCE:
        raise ZooError(
            f"{name} cannot be written as a TorchScript file: for batches other than the traced one its codes "
            f"would be off by {difference:.2g}"
        )
    traced.save(str(path))  # the method: the function torch.jit.save is deprecated too
    return dimensions


class _StayingInPlace(TorchFunctionMode):
    """Leaves moves to where a tensor is already out of a trace; in it they would name a device of this machine."""

    def __torch_function__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func is torch.Tensor.to and not kwargs and len(args) == 2 and args[1] == args[0].device:
            return args[0]
        return func(*args, **(kwargs or {}))


def _largest_difference(traced: Any, model: nn.Module, image_shape: tuple[int, int, int]) -> tuple[float, int]:
    """How far the trace is from `encode` over batches of other sizes, relative to codes larger than 1; and D."""
    differences = []
    for count in (1, 3, 64):
        images = _images(image_shape, count)
        expected = torch.as_tensor(model.encode(images))  # type: ignore[operator]  # the Encoder protocol
        try:
            with torch.no_grad():
                codes = traced(images)
        except RuntimeError:  # TorchScript's own message is a page of its code
            raise ValueError(f"traced with two images it does not take {count}") from None
        if codes.shape != expected.shape or codes.dim() != 2:
            raise ValueError(f"codes of shape {tuple(codes.shape)}, expected {tuple(expected.shape)} and (n, D)")
        differences.append(((codes - expected).abs() / expected.abs().clamp(min=1)).max())
    return float(torch.stack(differences).max()), codes.shape[1]  # the maximum passes a NaN on


def _images(image_shape: tuple[int, int, int], count: int) -> Tensor:
    height, width, channels = image_shape
    return torch.rand(count, channels, height, width, generator=torch.Generator().manual_seed(count))
