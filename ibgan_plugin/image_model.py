"""What all seven systems are from outside: 64x64 images from codes, and codes from images, without a trace."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from zoo.device import device_of, evaluation_mode
from zoo.errors import UsageError
from zoo.randomness import torch_stream

IMAGE_SIZE = 64
_DECODED = 256  # codes at a time


class ImageModel(nn.Module, ABC):
    """A model of `zoo.interfaces.Model` whose codes come from noise z ~ N(0, I).

    Its methods run in evaluation mode, and leave the modes of all parts and torch's random state as they were.
    """

    def __init__(self, image_shape: tuple[int, int, int], z_dim: int) -> None:
        """Take (height, width, channels). Raises UsageError for images of another size than 64x64."""
        super().__init__()
        height, width, channels = image_shape
        if (height, width) != (IMAGE_SIZE, IMAGE_SIZE):
            raise UsageError(f"this model needs 64x64 images, the dataset has {height}x{width}; prepare it at size 64")
        self.image_shape = (height, width, channels)
        self.z_dim = z_dim

    @property
    def code_dim(self) -> int:
        """D, the dimension of what `decode` takes and `encode` returns."""
        return self.z_dim

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return device_of(self)

    @torch.no_grad()
    def generate(self, num: int, seed: int = 0) -> Tensor:
        """Return float32 (num, C, 64, 64) images in [0, 1] on the CPU; the same seed gives the same images.

        Raises UsageError for a negative number of them.
        """
        if num < 0:
            raise UsageError(f"{num} images cannot be generated; ask for 0 or more")
        stream = torch_stream(seed, "generate")
        z = torch.randn((num, self.z_dim), generator=stream).to(self.device)
        with evaluation_mode(self):
            codes = self._code_of_noise(z, stream)
            return torch.cat([self._decoded(part).cpu() for part in codes.split(_DECODED)])

    @torch.no_grad()
    def decode(self, codes: Tensor) -> Tensor:
        """Return float32 (n, C, 64, 64) images in [0, 1] for (n, D) codes. Raises UsageError for anything else."""
        _check("codes", codes, (self.code_dim,))
        with evaluation_mode(self):
            return self._decoded(codes)

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        """Return float32 (n, D) codes for float (n, C, 64, 64) images in [0, 1]; nothing is sampled.

        Raises UsageError for anything else.
        """
        height, width, channels = self.image_shape
        _check("images", images, (channels, height, width))
        if not images.is_floating_point():
            raise UsageError(f"images are {images.dtype}, expected float in [0, 1]")
        _check_range(images)
        with evaluation_mode(self):
            on_device = images.to(self.device).float()  # in two steps: a trace of one would name the device
            return self._encoded(on_device.contiguous(memory_format=torch.channels_last))

    def _code_of_noise(self, z: Tensor, stream: torch.Generator) -> Tensor:
        """Return the (n, D) codes that (n, D_z) noise stands for."""
        return z

    @abstractmethod
    def _encoded(self, images: Tensor) -> Tensor:
        """`encode` in evaluation mode, of images on the device, channels last."""

    def _decoded(self, codes: Tensor) -> Tensor:
        return self._images(codes.to(self.device, torch.float32)).contiguous()

    @abstractmethod
    def _images(self, codes: Tensor) -> Tensor:
        """Return float32 images in [0, 1] for float32 codes on the device."""


def _check_range(images: Tensor) -> None:
    """Refuse what is in [0, 255] or [-1, 1], of which the codes would be wrong without a word; noise may overshoot."""
    if torch.jit.is_tracing() or not images.numel():
        return
    low, high = (float(bound) for bound in images.detach().aminmax())
    if low < -0.5 or high > 2:
        raise UsageError(f"images are in [{low:.4g}, {high:.4g}], expected them in [0, 1]")


def _check(what: str, given: Tensor, shape: tuple[int, ...]) -> None:
    if not isinstance(given, Tensor):
        raise UsageError(f"{what} are of type {type(given).__name__}, expected a torch.Tensor")
    if given.dim() != 1 + len(shape) or given.shape[1:] != shape:
        expected = ", ".join(map(str, ("n", *shape)))
        raise UsageError(f"{what} have shape {tuple(given.shape)}, expected ({expected})")
