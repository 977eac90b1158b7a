"""The entry point `baselines`: the systems that IB-GAN is compared with. Imports nothing heavy."""

from __future__ import annotations

from zoo import hookimpl
from zoo.specs import LossSpec, ModelSpec


@hookimpl
def zoo_models() -> list[ModelSpec]:
    """GAN and InfoGAN: IB-GAN's components, less some."""
    return [
        ModelSpec(
            "gan",
            "ibgan_plugin.model:GAN",
            "a GAN, with a reconstructor that only watches",
            loss="gan",
            trainer="adversarial",
            paper="Goodfellow et al., NeurIPS 2014",
            presets="ibgan_plugin.presets:GAN",
            default_preset="celeba",
        ),
        ModelSpec(
            "infogan",
            "ibgan_plugin.model:InfoGAN",
            "a GAN that maximises a lower bound of I(z; x)",
            loss="infogan",
            trainer="adversarial",
            paper="Chen et al., NeurIPS 2016",
            presets="ibgan_plugin.presets:INFOGAN",
            default_preset="celeba",
        ),
    ]


@hookimpl
def zoo_losses() -> list[LossSpec]:
    """The losses of GAN and InfoGAN."""
    return [
        LossSpec("gan", "ibgan_plugin.losses:GANLoss", "the non-saturating GAN loss; Q learns beside it"),
        LossSpec("infogan", "ibgan_plugin.losses:InfoGANLoss", "the GAN loss, - I^L on the generator's side"),
    ]
