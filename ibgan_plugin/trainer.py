"""Algorithm 1: the training step of GAN, InfoGAN and IB-GAN, with instance noise and one-sided label smoothing.

As printed, Algorithm 1 exchanges D's labels and leaves gamma out; this follows Eq. 11 and the authors' code.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
from pydantic import Field, NonNegativeInt
from torch import Tensor, nn

from ibgan_plugin.losses import Judged
from ibgan_plugin.networks import to_model_range
from ibgan_plugin.players import PlayersTrainer
from zoo.device import Backend
from zoo.randomness import torch_stream

Rate = Annotated[float, Field(gt=0, le=1)]
Noise = Annotated[float, Field(ge=0, le=10)]

SMOOTHED_TARGETS = (0.7, 1.2)


class AdversarialTrainer(PlayersTrainer):
    """RMSProp for every player (Table 7: alpha 0.99, eps 1e-8, momentum 0.9); D slower than G, e and Q."""

    def __init__(
        self,
        model: Any,
        loss: Any,
        *,
        seed: int,
        backend: Backend,
        lr_discriminator: Rate = 1e-6,
        lr_generator: Rate = 5e-5,
        alpha: Annotated[float, Field(ge=0, lt=1)] = 0.99,
        momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9,
        eps: Rate = 1e-8,
        noise_start: Noise = 1.0,
        noise_end: Noise = 0.0,
        noise_steps: NonNegativeInt = 100_000,
        label_smoothing: bool = False,
        shared_front: Literal["discriminator", "both"] = "discriminator",
        reconstructor_statistics: Literal["fakes", "both"] = "fakes",
    ) -> None:
        """Instance noise falls linearly from `noise_start` to `noise_end` over `noise_steps` and stays there.

        `shared_front` says whose gradients train the half that D and Q share. In the authors' code it is in D's
        optimiser alone, so the MI term does not train it; with "both" D's optimiser takes the MI term's gradient too.

        `reconstructor_statistics` says whose images Q's BatchNorm averages for evaluation: those of the fakes, which Q
        is trained on, or of "both", since the authors' code passes the reals through Q too. Training is the same.
        """
        self.lr = {"discriminator": lr_discriminator}
        self.lr_generator = lr_generator
        self.rmsprop: dict[str, Any] = {"alpha": alpha, "momentum": momentum, "eps": eps}
        self.noise = (noise_start, noise_end, noise_steps)
        self.label_smoothing = label_smoothing
        self.reals_pass_reconstructor = reconstructor_statistics == "both"
        self.mi_trains_front = shared_front == "both" and any(True for _ in model.front.parameters())
        super().__init__(model, loss, seed=seed, backend=backend)

    def noise_at(self, step: int) -> float:
        """The standard deviation of the instance noise at a step, counted from 1."""
        start, end, steps = self.noise
        done = min((step - 1) / steps, 1.0) if steps else 1.0
        return start + (end - start) * done

    def step(self, images: Tensor) -> dict[str, Tensor]:
        """Do Algorithm 1's step; the instance noise in force is logged beside the terms."""
        sigma = self.noise_at(self.steps_done + 1)
        return super().step(images) | {"instance_noise": torch.tensor(sigma)}

    def _forward(self, images: Tensor, step: int) -> Judged:
        stream = torch_stream(self.seed, "trainer", step, self.backend.device)
        sigma = self.noise_at(step)
        fakes = self.model.fakes(len(images), stream)
        real = instance_noise(to_model_range(images), sigma, stream)
        fake = instance_noise(fakes.images.float(), sigma, stream)
        real_features = self.model.front(real)
        real_logits = self.model.discriminator(real_features)
        if self.reals_pass_reconstructor:
            # Detached rather than under no_grad, in which older versions of autocast keep Q's bfloat16 weights without
            # a graph, and Q would learn nothing from the fakes.
            self.model.reconstructor(real_features.detach())
        features = self.model.front(fake)
        fake_logits = self.model.discriminator(features)
        targets = self._targets(real_logits, stream)
        return Judged(real_logits, fake_logits, targets, fakes, self.model.reconstructor(features), step)

    def _targets(self, real_logits: Tensor, stream: torch.Generator) -> Tensor:
        """Ones, or uniform in [0.7, 1.2] (one-sided label smoothing, Table 7)."""
        if not self.label_smoothing:
            return torch.ones(real_logits.shape, device=real_logits.device)
        low, high = SMOOTHED_TARGETS
        uniform = torch.rand(real_logits.shape, generator=stream, device=real_logits.device)
        return low + (high - low) * uniform

    def _gradients(
        self, objectives: Mapping[str, Tensor], terms: Mapping[str, Tensor]
    ) -> dict[str, tuple[Tensor, ...]]:
        front_gradients: tuple[Tensor, ...] = ()
        if self.mi_trains_front:
            front_gradients = torch.autograd.grad(
                -terms["mi_lower"], list(self.model.front.parameters()), retain_graph=True
            )
        gradients = super()._gradients(objectives, terms)
        if front_gradients:  # the front's parameters come first among D's
            own = gradients["discriminator"]
            shared = [a + b for a, b in zip(own, front_gradients, strict=False)]
            gradients["discriminator"] = (*shared, *own[len(shared) :])
        return gradients

    def _optimiser(self, player: str, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.RMSprop(parameters, lr=self.lr.get(player, self.lr_generator), **self.rmsprop)


def instance_noise(images: Tensor, sigma: float, stream: torch.Generator) -> Tensor:
    """Add N(0, sigma^2) to images in [-1, 1] and clamp to that range again, as the authors' code does.

    The noise is drawn contiguous and then viewed as channels last: drawing into a channels-last tensor with three
    channels takes a slow path in torch, several times slower than the whole rest of this function. `hardtanh` is the
    clamp whose gradient torch takes in one pass; that of `clamp` costs as much as a convolution.
    """
    if sigma == 0:
        return images
    n, channels, height, width = images.shape
    noise = torch.randn((n, height, width, channels), generator=stream, device=images.device).permute(0, 3, 1, 2)
    return F.hardtanh(images.add(noise, alpha=sigma))
