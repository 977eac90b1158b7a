"""The seven systems, built small, and images to train them on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.systems import ADVERSARIAL, SYSTEMS, VAES
from zoo.device import Backend
from zoo.registry import default_registry, resolve
from zoo.specs import LossSpec, ModelSpec, TrainerSpec


@dataclass
class System:
    model: Any
    loss: Any
    trainer: Any

    def train(self, images: Tensor, steps: int) -> list[dict[str, Tensor]]:
        return [self.trainer.step(images) for _ in range(steps)]


@pytest.fixture
def build() -> Callable[..., System]:
    """Build a system by its registered names: narrow networks where the width is a setting, fp32 on the CPU."""

    def make(
        name: str,
        channels: int = 1,
        *,
        seed: int = 0,
        model: dict[str, Any] | None = None,
        loss: Any = None,
        trainer: dict[str, Any] | None = None,
        precision: str = "fp32",
    ) -> System:
        registry = default_registry()
        spec = registry.spec(ModelSpec, name)
        backend = Backend.choose("cpu", precision)
        width = {"ngf": 4, "ndf": 4} if name in ADVERSARIAL else {}
        torch.manual_seed(seed)
        built = backend.place(resolve(spec.target)((64, 64, channels), **(width | (model or {}))))
        if loss is None or isinstance(loss, dict):
            loss = resolve(registry.spec(LossSpec, spec.loss).target)(**(loss or {}))
        target = resolve(registry.spec(TrainerSpec, spec.trainer).target)
        return System(built, loss, target(built, loss, seed=seed, backend=backend, **(trainer or {})))

    return make


@pytest.fixture
def squares() -> Callable[..., Tensor]:
    """Draw float32 (n, C, 64, 64) images in {0, 1}: a square each, anywhere, channels last in memory as the host's."""

    def draw(n: int, channels: int = 1, seed: int = 0) -> Tensor:
        stream = torch.Generator().manual_seed(seed)
        corners = torch.randint(0, 48, (n, 2), generator=stream)
        images = torch.zeros(n, channels, 64, 64)
        for image, (row, column) in zip(images, corners.tolist(), strict=True):
            image[:, row : row + 16, column : column + 16] = 1
        return images.contiguous(memory_format=torch.channels_last)

    return draw


@pytest.fixture(params=SYSTEMS)
def system_name(request: pytest.FixtureRequest) -> str:
    """Each of the seven."""
    return request.param


@pytest.fixture(params=VAES)
def vae_name(request: pytest.FixtureRequest) -> str:
    """Each of the four VAEs."""
    return request.param


@pytest.fixture(params=ADVERSARIAL)
def adversarial_name(request: pytest.FixtureRequest) -> str:
    """Each of GAN, InfoGAN and IB-GAN."""
    return request.param
