"""The Python face of the zoo: what `import zoo` offers, and what the command line is made of."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.errors import UsageError
from zoo.registry import default_registry, resolve
from zoo.specs import MetricSpec

if TYPE_CHECKING:
    from zoo.interfaces import Dataset
    from zoo.run import RunDirectory


def list_models() -> list[str]:
    """The names of the models, sorted. Imports no torch."""
    return default_registry().names("models")


def list_datasets() -> list[str]:
    """The names of the datasets, sorted. Imports no torch."""
    return default_registry().names("datasets")


def list_metrics() -> list[str]:
    """The names of the metrics, sorted. Imports no torch."""
    return default_registry().names("metrics")


def load(
    model: str,
    checkpoint: str | Path | None = None,
    *,
    dataset: str | None = None,
    preset: str | None = None,
    pretrained: str | None = None,
    seed: int = 0,
    device: str = "auto",
    data_root: str | Path | None = None,
) -> Any:
    """Return a model, in evaluation mode.

    `checkpoint` is a run directory (its newest whole checkpoint), one checkpoint, a weights file, or `pretrained:NAME`
    (the same as `pretrained="NAME"`), which ships with the model; without one, `dataset` says which preset's fresh
    weights to make (from `seed`). The model carries its configuration as `model.config`, and `model.load_dataset()`
    opens the dataset it was made for; with a checkpoint, `dataset` is needed where that is one given by its import
    path, since no file may name code to import.

    Raises zoo.errors.ZooError, one line, for an unknown name or a checkpoint that is not one of this model.
    """
    from zoo.building import build_dataset, build_model
    from zoo.config import resolve_config
    from zoo.device import Backend
    from zoo.loading import PRETRAINED, load_checkpoint

    registry = default_registry()
    root = _root(data_root)
    if pretrained is not None:
        if checkpoint is not None:
            raise UsageError(f"both a checkpoint, {checkpoint}, and pretrained={pretrained!r} are given; leave one out")
        checkpoint = PRETRAINED + pretrained
    if checkpoint is not None:
        if preset is not None:
            raise UsageError("a checkpoint brings its preset with it; leave preset= out")
        loaded = load_checkpoint(registry, model, checkpoint, device=device)
        loaded.refuse_other_dataset(dataset)
        found, config = loaded.model, loaded.config
        found.load_dataset = partial(loaded.open_dataset, registry, root, dataset)
    else:
        if dataset is None:
            raise UsageError(f"zoo.load({model!r}) needs a checkpoint, or dataset= for fresh weights")
        config = resolve_config(registry, model, dataset, preset=preset, typed={"seed": seed}, untrained=True)
        opened = build_dataset(registry, dataset, root, config.settings["dataset"])
        config = config.model_copy(update={"image_shape": opened.image_shape})
        found = build_model(registry, config, Backend.choose(device, "fp32")).eval()
        found.load_dataset = partial(build_dataset, registry, dataset, root, config.settings["dataset"])
    found.config = config
    return found


def load_dataset(name: str, *, data_root: str | Path | None = None, **settings: Any) -> Dataset:
    """Open a dataset; `settings` are what `zoo train MODEL --dataset NAME --dry-run` lists as `dataset.`..."""
    from zoo.building import build_dataset

    return build_dataset(default_registry(), name, _root(data_root), settings)


def load_metric(name: str) -> Callable[..., dict[str, Any]]:
    """Return a metric: `metric(model, data, seed=0, **settings) -> dict`."""
    metric: Callable[..., dict[str, Any]] = resolve(default_registry().spec(MetricSpec, name).target)
    return metric


def train(
    model: str,
    dataset: str | None = None,
    *,
    out: str | Path,
    preset: str | None = None,
    steps: int | None = None,
    seed: int | None = None,
    settings: Mapping[str, Any] | None = None,
    resume: bool = False,
    data_root: str | Path | None = None,
    **options: Any,
) -> RunDirectory:
    """Train a model and return its run directory; the same as `zoo train`.

    `settings` takes what `--set` takes, as a dict (`{"loss.beta": 0.2}` or `{"loss": {"beta": 0.2}}`); `options` the
    other run settings (`batch_size`, `save_every`, `eval_every`, `device`, `precision`, ...). With `resume` the run's
    own configuration holds, its dataset included, and what is given here may differ only in how long it goes on, on
    which device, what it writes, and where the dataset's files are.

    Ctrl-C raises KeyboardInterrupt, and SIGTERM and SIGHUP a ZooError, once a checkpoint is written.
    """
    from zoo.config import resolve_config, resumed_config
    from zoo.run import RunDirectory
    from zoo.settings import flat
    from zoo.signals import Interrupted
    from zoo.training import train as run_training
    from zoo.untrusted import user_path

    registry = default_registry()
    typed = {"steps": steps, "seed": seed} | options
    typed = {key: value for key, value in typed.items() if value is not None} | flat(settings or {})
    run = RunDirectory(user_path(out))
    if resume and run.exists():
        config = resumed_config(registry, run.config, model, dataset, preset=preset, typed=typed)
    elif dataset is None:
        raise UsageError(f"zoo.train({model!r}) needs a dataset, or resume=True and out= a run that is there")
    else:
        config = resolve_config(registry, model, dataset, preset=preset, typed=typed)
    try:
        return run_training(registry, config, run.path, resume=resume, data_root=_root(data_root))
    except Interrupted as stopped:
        if stopped.number == signal.SIGINT:  # no failure, which a loop over seeds may catch and go on from
            raise KeyboardInterrupt(str(stopped)) from None
        raise


def evaluate(
    model: str,
    checkpoint: str | Path,
    metrics: Sequence[str] | str,
    *,
    seed: int = 0,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    device: str = "auto",
    dataset: str | None = None,
    data_root: str | Path | None = None,
) -> dict[str, Any]:
    """Score a checkpoint and return the dict that `zoo eval --json` prints; metrics that failed are in `errors`.

    `metrics` are names, in a list or with commas between them; `settings` are theirs, by name, and under "dataset"
    those that say where the dataset's files are now. `dataset` is the run's own, needed where that is one given by its
    import path.
    """
    from zoo.evaluating import evaluate as run_evaluation
    from zoo.settings import listed

    return run_evaluation(
        default_registry(),
        model,
        checkpoint,
        listed(metrics) if isinstance(metrics, str) else list(dict.fromkeys(metrics)),
        seed=seed,
        metric_settings=settings,
        device=device,
        dataset_name=dataset,
        data_root=_root(data_root),
    )


def _root(data_root: str | Path | None) -> Path | None:
    """The data root that was given; an empty one is none, as an empty environment variable is."""
    return Path(data_root) if data_root else None
