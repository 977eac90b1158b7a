"""The entry point `baselines`: the systems that IB-GAN is compared with. Imports nothing heavy.

GAN and InfoGAN are IB-GAN's components less some. The four VAEs are one model under four losses.
"""

from __future__ import annotations

from zoo import hookimpl
from zoo.specs import LossSpec, ModelSpec, TrainerSpec


@hookimpl
def zoo_models() -> list[ModelSpec]:
    """GAN, InfoGAN and the VAEs."""
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
            eval_metrics=("factorvae",),
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
            eval_metrics=("factorvae",),
        ),
        _vae("vae", "a variational autoencoder", "Kingma and Welling, ICLR 2014"),
        _vae("beta_vae", "a VAE whose KL term weighs beta", "Higgins et al., ICLR 2017"),
        _vae(
            "factor_vae",
            "a VAE that minimises total correlation, as a discriminator of codes estimates it",
            "Kim and Mnih, ICML 2018",
        ),
        _vae(
            "beta_tcvae",
            "a VAE that minimises total correlation, as the minibatch estimates it",
            "Chen et al., NeurIPS 2018",
        ),
    ]


@hookimpl
def zoo_losses() -> list[LossSpec]:
    """The losses of GAN, InfoGAN and the VAEs."""
    return [
        LossSpec("gan", "ibgan_plugin.losses:GANLoss", "the non-saturating GAN loss; Q learns beside it"),
        LossSpec("infogan", "ibgan_plugin.losses:InfoGANLoss", "the GAN loss, - I^L on the generator's side"),
        LossSpec("vae", "ibgan_plugin.vae.losses:VAELoss", "the negative ELBO: reconstruction + KL"),
        LossSpec("beta_vae", "ibgan_plugin.vae.losses:BetaVAELoss", "reconstruction + beta * KL"),
        LossSpec(
            "factor_vae",
            "ibgan_plugin.vae.losses:FactorVAELoss",
            "reconstruction + KL + gamma * TC; a discriminator of codes learns beside it",
        ),
        LossSpec("beta_tcvae", "ibgan_plugin.vae.losses:BetaTCVAELoss", "reconstruction + KL + (beta - 1) * TC"),
    ]


@hookimpl
def zoo_trainers() -> list[TrainerSpec]:
    """The trainer of the VAEs."""
    return [
        TrainerSpec(
            "vae",
            "ibgan_plugin.vae.trainer:VAETrainer",
            "one forward, all gradients, then Adam for the VAE and for FactorVAE's discriminator",
        )
    ]


def _vae(name: str, summary: str, paper: str) -> ModelSpec:
    """One of the systems that are the model VAE: they differ in their loss and its presets."""
    return ModelSpec(
        name,
        "ibgan_plugin.vae.model:VAE",
        summary,
        loss=name,
        trainer="vae",
        paper=paper,
        presets=f"ibgan_plugin.vae.presets:{name.upper()}",
        default_preset="celeba",
        eval_metrics=("factorvae",),
    )
