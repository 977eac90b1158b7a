"""The training step of the VAEs: one forward pass, all gradients, then Adam for every player."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from ibgan_plugin.players import PlayersTrainer
from ibgan_plugin.vae.model import Coded
from zoo.device import Backend
from zoo.randomness import torch_stream

Rate = Annotated[float, Field(gt=0, le=1)]
Decay = Annotated[float, Field(ge=0, lt=1)]


class VAETrainer(PlayersTrainer):
    """Adam for the VAE and, with other decays, for the discriminator that FactorVAE's loss brings.

    A step is one update of the VAE. disentanglement_lib counts both of FactorVAE's optimisers, two a step.
    """

    def __init__(
        self,
        model: Any,
        loss: Any,
        *,
        seed: int,
        backend: Backend,
        lr: Rate = 1e-4,
        beta1: Decay = 0.9,
        beta2: Decay = 0.999,
        lr_discriminator: Rate = 1e-4,
        beta1_discriminator: Decay = 0.5,
        beta2_discriminator: Decay = 0.9,
        eps: Rate = 1e-8,
    ) -> None:
        self.adam: dict[str, Any] = {"lr": lr, "betas": (beta1, beta2), "eps": eps}
        self.adam_discriminator: dict[str, Any] = {
            "lr": lr_discriminator,
            "betas": (beta1_discriminator, beta2_discriminator),
            "eps": eps,
        }
        super().__init__(model, loss, seed=seed, backend=backend)

    def _forward(self, images: Tensor, step: int) -> Coded:
        coded: Coded = self.model.code(images, torch_stream(self.seed, "trainer", step, self.backend.device))
        coded.step = step
        return coded

    def _optimiser(self, player: str, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.Adam(parameters, **(self.adam_discriminator if player == "discriminator" else self.adam))
