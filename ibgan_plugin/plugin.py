"""The entry point `ibgan`: IB-GAN, its loss and the adversarial trainer. Imports nothing heavy."""

from __future__ import annotations

from zoo import hookimpl
from zoo.specs import LossSpec, ModelSpec, TrainerSpec


@hookimpl
def zoo_models() -> list[ModelSpec]:
    """IB-GAN."""
    return [
        ModelSpec(
            "ibgan",
            "ibgan_plugin.model:IBGAN",
            "InfoGAN with an information bottleneck between the noise and the generator",
            loss="ibgan",
            trainer="adversarial",
            paper="Jeon et al., AAAI 2021",
            presets="ibgan_plugin.presets:IBGAN",
            default_preset="celeba",
            pretrained={"dsprites": "ibgan_plugin.pretrained:DSPRITES"},
            eval_metrics=("factorvae",),
        )
    ]


@hookimpl
def zoo_losses() -> list[LossSpec]:
    """The loss of IB-GAN."""
    return [LossSpec("ibgan", "ibgan_plugin.losses:IBGANLoss", "Eq. 11: adversarial, - I^L, + beta * I^U")]


@hookimpl
def zoo_trainers() -> list[TrainerSpec]:
    """The trainer of every adversarial model."""
    return [
        TrainerSpec(
            "adversarial",
            "ibgan_plugin.trainer:AdversarialTrainer",
            "Algorithm 1: one forward, all gradients, then RMSProp for every player; instance noise, label smoothing",
        )
    ]
