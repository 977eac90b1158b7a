"""A model -> the folders that disentanglement_lib's pipeline leaves of it, and the challenge's PyTorch representor.

OUT/model/results                          train
OUT/postprocessed/mean/results             train, postprocess
OUT/metrics/mean/METRIC/results            train, postprocess, evaluation: one for each metric in evaluations.jsonl
OUT/representation/pytorch_model.pt        images -> codes; beside it `results`, those of the postprocessing

TensorFlow's hub modules, which theirs has beside the results, cannot be written without TensorFlow.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from ibgan_plugin.adapters import checkpoints
from ibgan_plugin.adapters.representor import FILE, write_representor
from ibgan_plugin.adapters.result_tree import Reference, Step
from zoo import terminal
from zoo.errors import CheckpointError, UsageError
from zoo.files import writing_folder
from zoo.loading import Loaded

DATASETS = {
    "dsprites": "dsprites_full",
    "color_dsprites_dlib": "color_dsprites",
    "noisy_dsprites": "noisy_dsprites",
}
"""Our datasets that are one of theirs, by their name for it."""


@dataclass(frozen=True)
class TheirMetric:
    """What disentanglement_lib calls one of our metrics: the configuration in its studies, and the function.

    `settings` maps what a metric's `protocol` holds to gin parameters, `fixed` is what our metric cannot vary, and
    `results` maps our names of results to theirs where they differ.
    """

    name: str
    function: str
    settings: Mapping[str, str]
    fixed: Mapping[str, Any] = field(default_factory=dict)
    results: Mapping[str, str] = field(default_factory=dict)


def _named(function: str, *names: str, **others: str) -> dict[str, str]:
    return {name: f"{function}.{name}" for name in names} | others


_BINS = {"num_bins": "discretizer.num_bins"}
_HISTOGRAM = {"discretizer.discretizer_fn": Reference("histogram_discretizer")}

_MOST_METRICS = 1000
_METRIC = re.compile(r"\w[\w.:-]{0,100}", re.ASCII)

METRICS = {
    "betavae": TheirMetric(
        "beta_vae_sklearn",
        "beta_vae_sklearn",
        _named("beta_vae_sklearn", "num_train", "num_eval", "batch_size"),
    ),
    "factorvae_dlib": TheirMetric(
        "factor_vae_metric",
        "factor_vae_score",
        _named(
            "factor_vae_score",
            *("num_train", "num_eval", "num_variance_estimate", "batch_size"),
            prune_threshold="prune_dims.threshold",
        ),
        # Theirs is the number of all dimensions, whatever it prunes.
        results={"num_active_dims_dlib": "num_active_dims", "num_active_dims": "num_active_dims_pruned"},
    ),
    "mig": TheirMetric("mig", "mig", _named("mig", "num_train", "batch_size") | _BINS, _HISTOGRAM),
    "dci": TheirMetric("dci", "dci", _named("dci", "num_train", "batch_size", num_eval="dci.num_test")),
    "modularity": TheirMetric(
        "modularity_explicitness",
        "modularity_explicitness",
        _named("modularity_explicitness", "num_train", "batch_size", num_eval="modularity_explicitness.num_test")
        | _BINS,
        _HISTOGRAM,
    ),
    "sap": TheirMetric(
        "sap_score",
        "sap_score",
        _named("sap_score", "num_train", "batch_size", "continuous_factors", num_eval="sap_score.num_test"),
    ),
    "irs": TheirMetric("irs", "irs", _named("irs", "num_train", "batch_size", "diff_quantile") | _BINS, _HISTOGRAM),
    "unsupervised": TheirMetric(
        "unsupervised",
        "unsupervised_metrics",
        _named("unsupervised_metrics", "num_train", "batch_size") | _BINS,
        _HISTOGRAM,
    ),
}
"""Ours by name; the other metrics keep their own names there."""


def write_checkpoint(checkpoint: Path, out: Path, model: str | None = None) -> Path:
    """Write the folder `out` for a run, one checkpoint in it, a weights file or `pretrained:NAME`; return it.

    Of each metric, the newest evaluation of that checkpoint is written. Nothing is computed but the representor.

    Raises CheckpointError, one line, for what is no checkpoint; UsageError if `out` exists; ZooError if the model's
    `encode` cannot be written.
    """
    if out.is_file() or (out.is_dir() and any(out.iterdir())):
        raise UsageError(f"{out} exists already; choose another --out")
    loaded = checkpoints.load(checkpoint, model)
    image_shape = loaded.config.image_shape
    assert image_shape is not None  # or no model could have been built
    if loaded.config.dataset not in DATASETS:
        terminal.note(
            f"{loaded.config.dataset} is no dataset of disentanglement_lib; there it is named "
            f"{dataset_name(loaded)!r}, so that its own steps refuse it rather than take another"
        )
    with writing_folder(out) as folder:
        representation = folder / "representation"
        representation.mkdir()
        num_latent = write_representor(loaded.model, image_shape, representation / FILE)
        trained, mean = folder / "model" / "results", folder / "postprocessed" / "mean" / "results"
        train_step(loaded, num_latent).write(trained)
        postprocess_step(loaded).write(mean, trained)
        shutil.copytree(mean, representation / "results")
        metrics = newest_results(loaded)
        for metric, (result, seed) in metrics.items():
            step = evaluation_step(loaded, metric, result, seed)
            step.write(folder / "metrics" / "mean" / theirs(metric).name / "results", mean)
    none = "none yet; zoo eval computes them" if loaded.run else "none, for only a run directory keeps evaluations"
    terminal.note(f"step {loaded.step:,} of {loaded.config.model}; metrics: {', '.join(metrics) or none}")
    return out


def theirs(metric: str) -> TheirMetric:
    """Return what they call a metric; one that they do not have keeps its name."""
    return METRICS.get(metric) or TheirMetric(metric, metric, {})


def dataset_name(loaded: Loaded) -> str:
    """Return their name of the dataset, or one that they do not know."""
    return DATASETS.get(loaded.config.dataset, f"zoo_{loaded.config.dataset}")


def train_step(loaded: Loaded, num_latent: int) -> Step:
    """What they record of training: the dataset, the model, and the last logged terms of the loss."""
    config = loaded.config
    has_tanh = any(isinstance(module, nn.Tanh) for module in loaded.model.modules())
    bindings = {
        "dataset.name": dataset_name(loaded),
        "encoder.num_latent": num_latent,
        "reconstruction_loss.activation": "tanh" if has_tanh else "logits",  # what makes images of a decoder's outputs
        "model.batch_size": config.batch_size,
        "model.name": config.model,
        "model.random_seed": config.seed,
        "model.training_steps": loaded.step,
        "zoo.preset": config.preset,
    }
    for part in ("dataset", "loss", "model", "trainer"):
        for name, value in config.settings.get(part, {}).items():
            bindings[f"zoo.{part}.{name}"] = value
    seconds = _training_seconds(_logged(loaded), config.log_every)
    results: dict[str, Any] = {"step": loaded.step}
    for record in _logged(loaded):
        results = record
    return Step("train", bindings, results | {"elapsed_time": seconds}, _identity(loaded))


def postprocess_step(loaded: Loaded) -> Step:
    """What they record of taking the mean of q(z|x) for the representation: `encode` is that already."""
    bindings = {
        "dataset.name": dataset_name(loaded),
        "postprocess.name": "mean",
        "postprocess.postprocess_fn": Reference("mean_representation"),
        "postprocess.random_seed": 0,
    }
    return Step("postprocess", bindings, {"elapsed_time": None}, _identity(loaded))


def evaluation_step(loaded: Loaded, metric: str, result: Mapping[str, Any], seed: int) -> Step:
    """What they record of one metric. Our own names stand beside theirs: `score` is the one that `zoo eval` prints."""
    known = theirs(metric)
    bindings = {
        "dataset.name": dataset_name(loaded),
        "evaluation.evaluation_fn": Reference(known.function),
        "evaluation.name": known.name,
        "evaluation.random_seed": seed,
        "zoo.metric": metric,
        **known.fixed,
    }
    for name, value in result.get("protocol", {}).items():
        if name != "seed":
            bindings[known.settings.get(name, f"zoo.{metric}.{name}")] = value
    results = {known.results.get(name, name): value for name, value in result.items() if name != "protocol"}
    return Step("evaluation", bindings, results | {"elapsed_time": None}, f"{_identity(loaded)} {metric} {result}")


def newest_results(loaded: Loaded) -> dict[str, tuple[dict[str, Any], int]]:
    """Return the newest result of each metric for this checkpoint, and its seed, in the order of their first time."""
    found: dict[str, tuple[dict[str, Any], int]] = {}
    for record in _records(loaded, "evaluations.jsonl"):
        metrics, seed = record.get("metrics"), record.get("seed", 0)
        if record["step"] == loaded.step and isinstance(metrics, dict) and isinstance(seed, int):
            found |= {name: (result, seed) for name, result in metrics.items() if _is_result(name, result)}
            if len(found) > _MOST_METRICS:
                raise CheckpointError(f"{loaded.path} has results of more metrics than there are")
    return found


def _is_result(name: str, result: Any) -> bool:
    """Whether this is a metric's. The name becomes a folder's: what is no metric's name could lead out of ours."""
    return bool(_METRIC.fullmatch(name)) and isinstance(result, dict) and isinstance(result.get("protocol", {}), dict)


def _records(loaded: Loaded, file: str) -> Iterator[dict[str, Any]]:
    return loaded.run.each_record(file) if loaded.run else iter(())


def _logged(loaded: Loaded) -> Iterator[dict[str, Any]]:
    """What was logged of training up to the checkpoint."""
    return (record for record in _records(loaded, "metrics.jsonl") if record["step"] <= loaded.step)


def _identity(loaded: Loaded) -> str:
    """What tells this checkpoint from all others."""
    return f"{loaded.config.model} {loaded.weights_sha256}"


def _training_seconds(logged: Iterable[dict[str, Any]], log_every: int) -> float | None:
    """The time that the logged steps took, from their rates; None without any."""
    seconds, before = None, None
    for record in logged:
        step, rate = record["step"], record.get("steps_per_second")
        span = step - (max(0, step - log_every) if before is None else before)
        seconds, before = (seconds or 0.0) + (span / rate if _is_rate(rate) else 0.0), step
    return None if seconds is None else round(seconds, 3)


def _is_rate(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 1e-9 < value < 1e9
