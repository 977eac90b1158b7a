"""The presets of GAN, InfoGAN and IB-GAN; every number names its source.

"Table N", "Appendix X" and "Section N" are those of the IB-GAN paper (AAAI 2021). Where the paper and the authors'
code disagree, the paper is followed and the code's value stands in the source.
"""

from __future__ import annotations

from typing import Any

from zoo.specs import Preset, Setting


def _optimisation(
    lr_discriminator: float, steps: int, noise: tuple[float, float, int], smoothing: bool, noise_source: str = "Table 7"
) -> dict[str, Setting]:
    """The columns of Table 7 that the three models share."""
    start, end, noise_steps = noise
    return {
        "steps": Setting(steps, "Table 7, iterations"),
        "batch_size": Setting(64, "Table 7"),
        "trainer.lr_discriminator": Setting(lr_discriminator, "Table 7, lr of D"),
        "trainer.lr_generator": Setting(5e-5, "Table 7, lr of G, e, Q"),
        "trainer.alpha": Setting(0.99, "Table 7, RMSProp"),
        "trainer.momentum": Setting(0.9, "Table 7, RMSProp"),
        "trainer.eps": Setting(1e-8, "authors' code, RMSProp"),
        "trainer.noise_start": Setting(start, noise_source),
        "trainer.noise_end": Setting(end, noise_source),
        "trainer.noise_steps": Setting(noise_steps, noise_source),
        "trainer.label_smoothing": Setting(smoothing, "Table 7"),
        "trainer.shared_front": Setting("discriminator", "authors' code, optimisers"),
    }


def _networks(
    variant: str, table: str, width: int, init: str, width_source: str = "Table 7, ngf and ndf"
) -> dict[str, Setting]:
    return {
        "model.variant": Setting(variant, table),
        "model.ngf": Setting(width, width_source),
        "model.ndf": Setting(width, width_source),
        "model.init": Setting(init, "Table 7"),
    }


def _bottleneck(z_dim: int, r_dim: int, gamma: float, beta: float, beta_source: str = "Table 7") -> dict[str, Setting]:
    return {
        "model.z_dim": Setting(z_dim, "Table 7"),
        "model.r_dim": Setting(r_dim, "Table 7"),
        "loss.gamma": Setting(gamma, "Table 7"),
        "loss.beta": Setting(beta, beta_source),
    }


# disentanglement_lib's variants of dSprites, of which the paper says nothing: three channels, so as Color-dSprites.
OTHER_SPRITES = ("color_dsprites_dlib", "noisy_dsprites")

# What the three models share on each dataset.
_DSPRITES = _optimisation(1e-6, 150_000, (1.0, 0.0, 100_000), smoothing=False)
_COLOR_DSPRITES = _optimisation(
    1e-6, 500_000, (1.0, 0.0, 400_000), smoothing=False, noise_source="Table 7 (authors' code: over 100,000)"
)
_CHAIRS = _optimisation(2e-6, 700_000, (0.5, 0.01, 700_000), smoothing=True)
_CELEBA = _optimisation(2e-6, 1_000_000, (0.5, 0.01, 1_000_000), smoothing=True)

_SPRITES_TABLE4 = _networks("table4", "Table 4", 16, "normal")
_SPRITES_TABLE5 = _networks("table5", "Table 5", 16, "normal")
_CHAIRS_TABLE4 = _networks("table4", "Table 4", 32, "orthogonal", "Table 7 (authors' code forces ndf 16)")
_CELEBA_TABLE4 = _networks("table4", "Table 4", 64, "orthogonal")

# Twice the paper's rates, half its batch, and noise that is half gone at the end: a look at how training begins, not at
# how it ends.
_DEMO: dict[str, Any] = {
    "steps": 3_000,
    "batch_size": 32,
    "trainer.lr_discriminator": 2e-6,
    "trainer.lr_generator": 1e-4,
    "trainer.noise_steps": 6_000,
}

_IBGAN_DSPRITES = _SPRITES_TABLE4 | _bottleneck(16, 10, 1.0, 0.141, "Table 7 (Figures 4 and 8: 0.212)") | _DSPRITES

# Where Q has first layers of its own and averages fakes alone, its codes of clean images hardly vary for some thousand
# steps, while the fakes do not look like the data.
_BOTH = {"trainer.reconstructor_statistics": Setting("both", "authors' code")}

_UNSHARED = {"model.share_front": Setting(False, "authors' code (Table 4: shared)")} | _BOTH

# What made the weights that ship. Single codes follow single factors in more of its runs, see docs/results.md.
_LESS_NOISE: dict[str, Any] = {"steps": 10_000, "trainer.noise_end": 0.5, "trainer.noise_steps": 10_000}

IBGAN = (
    Preset("dsprites", "the paper's setting on dSprites", _IBGAN_DSPRITES),
    Preset(
        "dsprites_unshared",
        "the paper's setting on dSprites, but Q has first layers of its own",
        _IBGAN_DSPRITES | _UNSHARED,
    ),
    Preset(
        "dsprites_less_noise",
        "ten minutes of the paper's setting on dSprites, with less instance noise: that of the weights that ship",
        _IBGAN_DSPRITES
        | {key: Setting(value, "this project, for aligned codes early") for key, value in _LESS_NOISE.items()},
    ),
    Preset(
        "color_dsprites",
        "the paper's setting on Color-dSprites",
        _SPRITES_TABLE5 | _bottleneck(16, 10, 1.0, 0.071) | _COLOR_DSPRITES | _BOTH,
        also_for=OTHER_SPRITES,
    ),
    Preset(
        "chairs3d",
        "the paper's setting on 3D Chairs",
        _CHAIRS_TABLE4
        | _bottleneck(64, 10, 1.2, 0.35, "Table 7 (the authors' README exchanges it with CelebA's)")
        | _CHAIRS,
    ),
    Preset(
        "celeba",
        "the paper's setting on CelebA",
        _CELEBA_TABLE4
        | _bottleneck(64, 15, 2.0, 0.325, "Table 7 (the authors' README exchanges it with 3D Chairs')")
        | _CELEBA,
    ),
    Preset(
        "demo",
        "a few minutes on a laptop: the paper's Color-dSprites setting, hurried",
        _SPRITES_TABLE5
        | _bottleneck(16, 10, 1.0, 0.071)
        | _COLOR_DSPRITES
        | _BOTH
        | {key: Setting(value, "this project, for a short run") for key, value in _DEMO.items()},
    ),
)


def _without_encoder(weights: dict[str, Setting]) -> tuple[Preset, ...]:
    """The presets of GAN and InfoGAN: Table 6's networks, IB-GAN's optimisation."""
    z_dim = {"model.z_dim": Setting(10, "Table 6")}
    sprites = _networks("table4", "Table 6", 16, "normal")
    by_dataset = {
        "dsprites": sprites | _DSPRITES,
        "color_dsprites": sprites | _COLOR_DSPRITES,
        "chairs3d": _CHAIRS_TABLE4 | _CHAIRS | {"loss.gamma": Setting(1.2, "Table 7, as IB-GAN's")},
        "celeba": _CELEBA_TABLE4 | _CELEBA | {"loss.gamma": Setting(2.0, "Table 7, as IB-GAN's")},
    }
    return tuple(
        Preset(
            name,
            f"IB-GAN's setting on {name}, without an encoder",
            weights | settings | z_dim,
            also_for=OTHER_SPRITES if name == "color_dsprites" else (),
        )
        for name, settings in by_dataset.items()
    )


GAN = INFOGAN = _without_encoder({"loss.gamma": Setting(1.0, "Table 7, as IB-GAN's")})
