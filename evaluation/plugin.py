"""The evaluation room's hooks: the metrics by name. Imports nothing heavy, so that listing them stays fast."""

from __future__ import annotations

import click

from zoo import hookimpl
from zoo.specs import MetricSpec

_HERE = "ibgan_plugin.evaluation"

# Table 1 of the IB-GAN paper: FactorVAE scores, one column a dataset.
_FACTORVAE_TABLE_1 = {
    "dsprites": {
        "gan": 0.40,
        "infogan": 0.61,
        "ibgan": 0.80,
        "vae": 0.61,
        "beta_vae": 0.69,
        "factor_vae": 0.81,
        "beta_tcvae": 0.79,
    },
    "color_dsprites": {
        "gan": 0.35,
        "infogan": 0.55,
        "ibgan": 0.79,
        "vae": 0.59,
        "beta_vae": 0.74,
        "factor_vae": 0.82,
        "beta_tcvae": 0.80,
    },
}

# Table 2 of the IB-GAN paper: FID, lower is better.
_FID_TABLE_2 = {
    "celeba": {
        "ibgan": 7.4,
        "gan": 8.4,
        "infogan": 9.3,
        "vae": 129.7,
        "beta_vae": 131.0,
        "factor_vae": 109.7,
        "beta_tcvae": 125.0,
    },
    "chairs3d": {
        "ibgan": 25.5,
        "gan": 27.9,
        "infogan": 25.6,
        "vae": 56.2,
        "beta_vae": 91.3,
        "factor_vae": 44.7,
        "beta_tcvae": 57.3,
    },
}


@hookimpl
def zoo_metrics() -> list[MetricSpec]:
    """The metrics of the paper and of disentanglement_lib's study."""
    return [
        MetricSpec(
            "factorvae",
            f"{_HERE}.factorvae:factorvae",
            "FactorVAE score by the IB-GAN paper's protocol: majority vote on the least-varying code",
            published={
                (model, dataset): score for dataset, row in _FACTORVAE_TABLE_1.items() for model, score in row.items()
            },
        ),
        MetricSpec(
            "factorvae_dlib",
            f"{_HERE}.factorvae:factorvae_dlib",
            "FactorVAE score by disentanglement_lib's protocol",
        ),
        MetricSpec("betavae", f"{_HERE}.betavae:betavae", "beta-VAE score: a linear classifier names the fixed factor"),
        MetricSpec("mig", f"{_HERE}.mig:mig", "mutual information gap between a factor's two best codes"),
        MetricSpec("dci", f"{_HERE}.dci:dci", "disentanglement, completeness, informativeness by boosted trees (slow)"),
        MetricSpec("modularity", f"{_HERE}.modularity:modularity", "modularity of the codes, explicitness of factors"),
        MetricSpec("sap", f"{_HERE}.sap:sap", "separated attribute predictability: gap between a factor's best codes"),
        MetricSpec("irs", f"{_HERE}.irs:irs", "interventional robustness of each code to the other factors"),
        MetricSpec(
            "unsupervised",
            f"{_HERE}.unsupervised:unsupervised",
            "dependence among the codes: total, Wasserstein and mutual-information correlation",
            lower_is_better=True,
        ),
        MetricSpec(
            "mi_bounds",
            f"{_HERE}.mi_bounds:mi_bounds",
            "lower and upper bound of the generator's mutual information, and the KL of each code",
            needs_factors=False,
        ),
        MetricSpec(
            "fid",
            f"{_HERE}.fid:fid",
            "Fréchet Inception Distance of generated images to the dataset's; lower is better",
            needs_factors=False,
            lower_is_better=True,
            published={
                (model, dataset): score for dataset, row in _FID_TABLE_2.items() for model, score in row.items()
            },
        ),
    ]


@hookimpl
def zoo_commands(cli: click.Group) -> None:
    """Pictures, curves and reports."""
    from ibgan_plugin.evaluation import commands
    from ibgan_plugin.evaluation.paper.command import reproduce

    for command in (commands.sample, commands.traverse, commands.plot, commands.report, reproduce):
        cli.add_command(command)
