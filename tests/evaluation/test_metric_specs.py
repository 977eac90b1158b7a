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


MODELS = ["gan", "infogan", "ibgan", "vae", "beta_vae", "factor_vae", "beta_tcvae"]
TABLE_1 = {
    "dsprites": [0.40, 0.61, 0.80, 0.61, 0.69, 0.81, 0.79],
    "color_dsprites": [0.35, 0.55, 0.79, 0.59, 0.74, 0.82, 0.80],
}
TABLE_2 = {
    "celeba": [8.4, 9.3, 7.4, 129.7, 131.0, 109.7, 125.0],
    "chairs3d": [27.9, 25.6, 25.5, 56.2, 91.3, 44.7, 57.3],
}


@pytest.mark.parametrize(("name", "table"), [("factorvae", TABLE_1), ("fid", TABLE_2)])
def test_published_scores_are_those_of_the_papers_table(name, table):
    written_out = {
        (model, dataset): score for dataset, row in table.items() for model, score in zip(MODELS, row, strict=True)
    }
    assert len(written_out) == 14
    assert SPECS[name].published == written_out


def test_no_other_metric_has_published_scores():
    assert {name for name, spec in SPECS.items() if spec.published} == {"factorvae", "fid"}
