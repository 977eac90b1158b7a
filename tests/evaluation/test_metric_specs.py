"""The registered metrics: names, targets, settings and the published numbers."""

import importlib
import inspect
from pathlib import Path

import pytest

from ibgan_plugin.evaluation.plugin import zoo_metrics
from zoo.errors import SettingError
from zoo.settings import defaults_of, validated

SPECS = {spec.name: spec for spec in zoo_metrics()}
REPRESENTATION = ["factorvae", "factorvae_dlib", "betavae", "mig", "dci", "modularity", "sap", "irs", "unsupervised"]


def target(name):
    module, attribute = SPECS[name].target.split(":")
    return getattr(importlib.import_module(module), attribute)


def test_every_metric_of_the_contract_is_there():
    assert {*REPRESENTATION, "mi_bounds"} <= SPECS.keys()
    assert all(spec.summary for spec in SPECS.values())


@pytest.mark.parametrize("name", [*REPRESENTATION, "mi_bounds"])
def test_targets_take_what_the_host_passes(name):
    parameters = list(inspect.signature(target(name)).parameters.values())
    assert [parameter.name for parameter in parameters[:3]] == ["model", "data", "seed"]
    assert all(parameter.kind is parameter.KEYWORD_ONLY for parameter in parameters[3:])
    assert SPECS[name].needs_factors == (name != "mi_bounds")
    assert "Raises:" in target(name).__doc__ and "Returns:" in target(name).__doc__


@pytest.mark.parametrize("name", [*REPRESENTATION, "mi_bounds"])
def test_every_setting_is_documented_and_its_default_valid(name):
    defaults = defaults_of(target(name))
    assert validated(target(name), defaults, name) == defaults
    for setting in defaults:
        assert f"        {setting}:" in target(name).__doc__


@pytest.mark.parametrize("name", [*REPRESENTATION, "mi_bounds"])
def test_the_documentation_names_every_setting_with_its_default(name):
    text = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text(encoding="utf-8")
    paragraph = " ".join(text.split(f"\n**`{name}`**:")[1].split("\n\n")[0].split())
    for setting, default in defaults_of(target(name)).items():
        if setting == "num_test":  # said once for all
            continue
        shown = {None: "null", False: "false"}.get(default, f"{default:,}" if type(default) is int else str(default))
        assert f"`{setting}` {shown}" in paragraph


def test_the_defaults_are_the_published_protocols():
    assert defaults_of(target("factorvae")) | {"batch_size": 0} == {
        "votes": 800,
        "samples_per_vote": 100,
        "variance_threshold": 0.05,
        "variance_images": None,
        "batch_size": 0,
        "precision": "fp32",
    }
    dlib = defaults_of(target("factorvae_dlib"))
    assert (dlib["num_train"], dlib["num_eval"], dlib["num_variance_estimate"], dlib["batch_size"]) == (
        10_000,
        5_000,
        10_000,
        64,
    )
    for name in ("mig", "dci", "modularity", "sap", "irs", "unsupervised"):
        settings = defaults_of(target(name))
        assert (settings["num_train"], settings["batch_size"]) == (10_000, 16)
        assert settings.get("num_eval", 5_000) == 5_000
        assert settings.get("num_bins", 20) == 20
    assert defaults_of(target("irs"))["diff_quantile"] == 0.99


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("factorvae", {"votes": 0}),
        ("factorvae", {"samples_per_vote": 1}),
        ("factorvae", {"variance_threshold": -1}),
        ("mig", {"num_train": 1}),
        ("mig", {"num_bins": 0}),
        ("irs", {"diff_quantile": 1.5}),
        ("dci", {"estimator": "forest"}),
        ("sap", {"continuous_factors": "perhaps"}),
    ],
)
def test_values_out_of_range_are_refused(name, settings):
    with pytest.raises(SettingError, match=f"{name}.{next(iter(settings))}"):
        validated(target(name), settings, name)


def test_published_scores_are_table_1():
    published = SPECS["factorvae"].published
    assert len(published) == 14
    assert published["ibgan", "dsprites"] == 0.80
    assert published["ibgan", "color_dsprites"] == 0.79
    assert published["gan", "dsprites"] == 0.40
    assert published["infogan", "color_dsprites"] == 0.55
    assert published["factor_vae", "dsprites"] == 0.81
