"""Every number of Table 7, and every preset of every model through the host's configuration."""

import pytest

from ibgan_plugin import presets
from ibgan_plugin.vae import presets as vae_presets
from tests.systems import SYSTEMS
from zoo.config import resolve_config
from zoo.registry import default_registry, resolve
from zoo.specs import ModelSpec, Setting

DATASETS = ("dsprites", "color_dsprites", "chairs3d", "celeba")

# Table 7: D_z, D_r, gamma, beta, lr of D, iterations, noise from, to, over, smoothing, ngf, ndf, initialisation.
TABLE_7 = {
    "dsprites": (16, 10, 1, 0.141, 1e-6, 150_000, 1, 0, 100_000, False, 16, 16, "normal"),
    "color_dsprites": (16, 10, 1, 0.071, 1e-6, 500_000, 1, 0, 400_000, False, 16, 16, "normal"),
    "chairs3d": (64, 10, 1.2, 0.35, 2e-6, 700_000, 0.5, 0.01, 700_000, True, 32, 32, "orthogonal"),
    "celeba": (64, 15, 2, 0.325, 2e-6, 1_000_000, 0.5, 0.01, 1_000_000, True, 64, 64, "orthogonal"),
}
ROW = (
    "model.z_dim",
    "model.r_dim",
    "loss.gamma",
    "loss.beta",
    "trainer.lr_discriminator",
    "steps",
    "trainer.noise_start",
    "trainer.noise_end",
    "trainer.noise_steps",
    "trainer.label_smoothing",
    "model.ngf",
    "model.ndf",
    "model.init",
)
COMMON = {
    "batch_size": 64,
    "trainer.lr_generator": 5e-5,
    "trainer.alpha": 0.99,
    "trainer.momentum": 0.9,
    "trainer.eps": 1e-8,
    "trainer.shared_front": "discriminator",
}


def resolved(model, dataset, preset=None):
    """All values of a configuration, by dotted key, and the sources of those."""
    config = resolve_config(default_registry(), model, dataset, preset=preset)
    flat = {"steps": config.steps, "batch_size": config.batch_size, "preset": config.preset}
    for part, values in config.settings.items():
        flat |= {f"{part}.{name}": value for name, value in values.items()}
    return flat, config.sources


@pytest.mark.parametrize("dataset", DATASETS)
def test_ibgan_is_trained_as_table_7_says(dataset):
    found, sources = resolved("ibgan", dataset)
    expected = dict(zip(ROW, TABLE_7[dataset], strict=True)) | COMMON
    assert {key: found[key] for key in expected} == expected
    assert found["preset"] == dataset
    assert found["model.variant"] == ("table5" if dataset == "color_dsprites" else "table4")
    assert all(sources[key] not in ("", "default") for key in expected)


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize("model", ["gan", "infogan"])
def test_gan_and_infogan_are_trained_as_ibgan_with_ten_dimensions(model, dataset):
    found, _ = resolved(model, dataset)
    expected = dict(zip(ROW, TABLE_7[dataset], strict=True)) | COMMON | {"model.z_dim": 10}
    for absent in ("model.r_dim", "loss.beta"):
        del expected[absent]
        assert absent not in found
    assert {key: found[key] for key in expected} == expected
    assert found["model.variant"] == "table4"


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize(
    ("model", "weight", "steps"),
    [
        ("vae", {}, 300_000),
        ("beta_vae", {"loss.beta": 4}, 300_000),
        ("factor_vae", {"loss.gamma": 30}, 150_000),
        ("beta_tcvae", {"loss.beta": 6}, 300_000),
    ],
)
def test_the_vaes_are_trained_as_in_the_study(model, weight, steps, dataset):
    found, sources = resolved(model, dataset)
    expected = weight | {
        "steps": steps,
        "batch_size": 64,
        "trainer.lr": 1e-4,
        "trainer.beta1": 0.9,
        "trainer.beta2": 0.999,
        "trainer.lr_discriminator": 1e-4,
        "trainer.beta1_discriminator": 0.5,
        "trainer.beta2_discriminator": 0.9,
        "trainer.eps": 1e-8,
    }
    expected |= {
        "dsprites": {"model.networks": "locatello", "model.z_dim": 10, "model.init": "glorot"},
        "color_dsprites": {"model.networks": "locatello", "model.z_dim": 10, "model.init": "glorot"},
        "chairs3d": {"model.networks": "ibgan", "model.z_dim": 10, "model.ngf": 32, "model.init": "orthogonal"},
        "celeba": {"model.networks": "ibgan", "model.z_dim": 15, "model.ngf": 64, "model.init": "orthogonal"},
    }[dataset]
    assert {key: found[key] for key in expected} == expected
    assert ("two an update" in sources["steps"]) == (model == "factor_vae")


def every_preset():
    registry = default_registry()
    for name in SYSTEMS:
        for preset in resolve(registry.spec(ModelSpec, name).presets):
            yield name, preset


@pytest.mark.parametrize(("model", "preset"), list(every_preset()), ids=lambda value: getattr(value, "name", value))
def test_every_preset_resolves_and_every_number_names_its_source(model, preset):
    dataset = preset.name if preset.name in DATASETS else "color_dsprites"
    found, sources = resolved(model, dataset, preset.name)
    for key, setting in preset.settings.items():
        assert isinstance(setting, Setting)
        assert len(setting.source) > 3, key
        assert found[key] == setting.value
        assert sources[key] == setting.source


@pytest.mark.parametrize("preset", presets.IBGAN, ids=lambda preset: preset.name)
def test_a_reconstructor_that_shares_nothing_averages_both(preset):
    settings = {key: setting.value for key, setting in preset.settings.items()}
    shares = settings.get("model.share_front", settings["model.variant"] == "table4")
    assert settings.get("trainer.reconstructor_statistics", "fakes") == ("fakes" if shares else "both")


def test_each_of_the_seven_has_a_preset_for_each_dataset():
    for model in SYSTEMS:
        assert set(DATASETS) <= {preset.name for name, preset in every_preset() if name == model}


@pytest.mark.parametrize("dataset", ["color_dsprites_dlib", "noisy_dsprites"])
def test_disentanglement_libs_sprites_train_as_the_coloured_ones(dataset):
    for model in SYSTEMS:
        found, coloured = (resolved(model, name)[0] for name in (dataset, "color_dsprites"))
        assert {key: value for key, value in found.items() if not key.startswith("dataset.")} == coloured


def test_where_paper_and_code_disagree_the_source_says_so():
    by_name = {preset.name: preset.settings for preset in presets.IBGAN}
    assert "forces ndf 16" in by_name["chairs3d"]["model.ndf"].source
    assert "0.212" in by_name["dsprites"]["loss.beta"].source
    assert "over 100,000" in by_name["color_dsprites"]["trainer.noise_steps"].source
    for name in ("chairs3d", "celeba"):
        assert "exchanges" in by_name[name]["loss.beta"].source
        told = {preset.name: preset.settings for preset in vae_presets.BETA_VAE}[name]
        assert "tells none" in told["loss.beta"].source
        assert "tells none" in told["trainer.lr"].source
