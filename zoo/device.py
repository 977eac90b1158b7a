"""The one torch-facing place that knows devices, precision and memory layout; models and losses are written plainly."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from zoo.errors import UsageError


@dataclass(frozen=True)
class Backend:
    """A device and a precision to compute in. Weights and optimiser states are float32 in both precisions."""

    device: torch.device
    precision: str  # "fp32" or "bf16"

    @classmethod
    def choose(cls, device: str = "auto", precision: str = "auto") -> Backend:
        """Resolve `auto`: CUDA, else MPS, else the CPU; bf16 where the hardware multiplies it, fp32 elsewhere.

        Raises UsageError for a device that is not there.
        """
        found = _device(device)
        if precision == "auto":
            precision = "bf16" if _multiplies_bf16(found) else "fp32"
        if precision not in ("fp32", "bf16"):
            raise UsageError(f"unknown precision {precision!r}; there are: auto, bf16, fp32")
        return cls(found, precision)

    def place(self, module: nn.Module) -> nn.Module:
        """Move a module to the device, in the memory layout its convolutions are fastest in."""
        return module.to(device=self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def images(self, pixels: NDArray[np.uint8]) -> Tensor:
        """uint8 (n, H, W, C) -> float32 (n, C, H, W) in [0, 1] on the device, channels last in memory."""
        pixels = np.require(pixels, requirements=("C", "W"))  # a dataset may hand out a read-only view of its file
        return torch.from_numpy(pixels).to(self.device).permute(0, 3, 1, 2).float().div_(255)

    def autocast(self) -> AbstractContextManager[Any]:
        """The context that forward passes run in."""
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.precision == "bf16")

    def exact(self) -> AbstractContextManager[Any]:
        """The context in which fp32 means float32 on CUDA: no TF32, which torch allows in convolutions by default."""
        return without_tf32() if self.device.type == "cuda" and self.precision == "fp32" else nullcontext()

    def __str__(self) -> str:
        return f"{self.device}, {self.precision}"


@contextmanager
def without_tf32() -> Iterator[None]:
    """Convolutions of CUDA in float32 proper, whatever the program has set; its setting is put back.

    torch has an older switch and newer ones, and refuses to read the older where the newer differ among themselves: all
    are set.
    """
    cudnn = torch.backends.cudnn
    found: list[Any] = [getattr(cudnn, name, None) for name in ("conv", "rnn")]
    parts = [part for part in found if hasattr(part, "fp32_precision")]
    before = [part.fp32_precision for part in parts]
    older = before[0] == "tf32" if parts else cudnn.allow_tf32
    cudnn.allow_tf32 = False
    for part in parts:
        part.fp32_precision = "ieee"
    try:
        yield
    finally:
        cudnn.allow_tf32 = older
        for part, precision in zip(parts, before, strict=True):
            part.fp32_precision = precision


def device_of(model: Any) -> torch.device:
    """Where a model's weights are; the CPU for what is no module, or has none."""
    if not isinstance(model, nn.Module):
        return torch.device("cpu")
    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))


@contextmanager
def evaluation_mode(model: Any) -> Iterator[None]:
    """Run the block with a module in evaluation mode, and put the mode of each of its parts back.

    In training mode BatchNorm would code an image by the batch it is in, and move its averages, and Dropout would draw.
    What is no module, or was frozen in one mode, is left as it is. float32 is computed as float32, on CUDA too.
    """
    modules = list(model.modules()) if isinstance(model, nn.Module) else []
    parts = [(part, part.training) for part in modules if hasattr(part, "training")]
    if parts:
        model.eval()
    try:
        with Backend(device_of(model), "fp32").exact():
            yield
    finally:
        for part, was_training in parts:
            part.training = was_training


def _device(name: str) -> torch.device:
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(f"unknown device {name!r}; there are: auto, cpu, cuda, cuda:N, mps") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UsageError(f"device {name!r} is not there: torch sees {torch.cuda.device_count()} CUDA devices")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise UsageError("device 'mps' is not there: torch sees no Apple GPU")
    if device.type not in ("cpu", "cuda", "mps") or (device.type == "cpu" and device.index is not None):
        raise UsageError(f"unknown device {name!r}; there are: auto, cpu, cuda, cuda:N, mps")
    return device


def _multiplies_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        if not hasattr(torch.cpu, "get_capabilities"):  # an older torch, which tells it under a name of its own
            return bool(torch.cpu._is_avx512_bf16_supported())
        capabilities = torch.cpu.get_capabilities()
        return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
    return False
