"""The presets of VAE, beta-VAE, FactorVAE and beta-TCVAE; every number names its source.

On the sprite sets they are the settings of Locatello et al. (2019), "Challenging Common Assumptions in the Unsupervised
Learning of Disentangled Representations", which the IB-GAN paper compares with. On 3D Chairs and CelebA the IB-GAN
paper says which networks, and nothing of the rest: that is as on the sprite sets. "Table N" is the IB-GAN paper's.
"""

from __future__ import annotations

from zoo.specs import Preset, Setting

_STUDY = "Locatello et al. (2019), supplement, Tables 1 to 3"
_UNTOLD = "the IB-GAN paper tells none: as on dSprites"

# The study trains with every value of a grid and names no best one; one value is chosen here.
_BETA_VAE = "this project, the middle of the study's grid 1, 2, 4, 6, 8, 16 (1 is the VAE)"
_FACTOR_VAE = "this project, the middle of the study's grid 10, 20, 30, 40, 50, 100"
_BETA_TCVAE = "this project, of the study's grid 1, 2, 4, 6, 8, 10: the one in the README of Chen et al.'s code"


def _optimisation(steps: int, steps_source: str) -> dict[str, Setting]:
    return {
        "steps": Setting(steps, steps_source),
        "batch_size": Setting(64, _STUDY),
        "trainer.lr": Setting(1e-4, _STUDY),
        "trainer.beta1": Setting(0.9, _STUDY),
        "trainer.beta2": Setting(0.999, _STUDY),
        "trainer.eps": Setting(1e-8, _STUDY),
    }


_ONE_OPTIMISER = _optimisation(300_000, _STUDY)
_TWO_OPTIMISERS = _optimisation(
    150_000,
    f"{_STUDY}: 300,000 steps, of which disentanglement_lib counts two an update, one for each optimiser",
) | {
    "trainer.lr_discriminator": Setting(1e-4, _STUDY),
    "trainer.beta1_discriminator": Setting(0.5, _STUDY),
    "trainer.beta2_discriminator": Setting(0.9, _STUDY),
}

_SPRITES = {
    "model.networks": Setting("locatello", _STUDY),
    "model.z_dim": Setting(10, _STUDY),
    "model.init": Setting("glorot", "disentanglement_lib, TensorFlow's default"),
}


def _ibgan_networks(ngf: int, z_dim: int) -> dict[str, Setting]:
    return {
        "model.networks": Setting("ibgan", "IB-GAN paper: its generator, and the mirror image as encoder"),
        "model.ngf": Setting(ngf, "Table 7, ngf"),
        "model.z_dim": Setting(z_dim, "Table 7, D_r: codes as large as IB-GAN's"),
        "model.init": Setting("orthogonal", "Table 7, as IB-GAN's"),
    }


def _presets(
    name: str, optimisation: dict[str, Setting], weight: dict[str, Setting] | None = None
) -> tuple[Preset, ...]:
    """One preset for each of the paper's four datasets."""
    sprites = weight or {}
    photographs = {key: Setting(setting.value, _UNTOLD) for key, setting in sprites.items()}
    untold = {key: Setting(setting.value, f"{_UNTOLD}, {setting.source}") for key, setting in optimisation.items()}
    return (
        Preset("dsprites", f"{name} as Locatello et al. (2019) train it", _SPRITES | optimisation | sprites),
        Preset(
            "color_dsprites",
            f"{name} as Locatello et al. (2019) train it",
            _SPRITES | optimisation | sprites,
            also_for=("color_dsprites_dlib", "noisy_dsprites"),  # the study's own
        ),
        Preset(
            "chairs3d", f"{name} with IB-GAN's networks on 3D Chairs", _ibgan_networks(32, 10) | untold | photographs
        ),
        Preset("celeba", f"{name} with IB-GAN's networks on CelebA", _ibgan_networks(64, 15) | untold | photographs),
    )


VAE = _presets("the VAE", _ONE_OPTIMISER)
BETA_VAE = _presets("beta-VAE", _ONE_OPTIMISER, {"loss.beta": Setting(4.0, _BETA_VAE)})
FACTOR_VAE = _presets("FactorVAE", _TWO_OPTIMISERS, {"loss.gamma": Setting(30.0, _FACTOR_VAE)})
BETA_TCVAE = _presets("beta-TCVAE", _ONE_OPTIMISER, {"loss.beta": Setting(6.0, _BETA_TCVAE)})
