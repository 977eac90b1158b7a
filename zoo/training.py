"""The training loop: one function that reads from top to bottom."""

from __future__ import annotations

import math
import shlex
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from zoo import terminal
from zoo.building import (
    build_dataset,
    build_loss,
    build_model,
    build_trainer,
    load_trainer,
    load_weights,
    refuse_before_preparing,
)
from zoo.config import RunConfig
from zoo.conformance import check_pixels, check_step
from zoo.device import Backend
from zoo.errors import UsageError, ZooError, described
from zoo.evaluating import score
from zoo.provenance import differences, with_start
from zoo.randomness import numpy_stream
from zoo.registry import Registry
from zoo.run import RunDirectory
from zoo.scores import lower_is_better
from zoo.signals import Interrupted, stopping
from zoo.specs import MetricSpec, ModelSpec
from zoo.weights import broken_weights

if TYPE_CHECKING:
    from torch import Tensor


def train(
    registry: Registry, config: RunConfig, out: Path, *, resume: bool = False, data_root: Path | None = None
) -> RunDirectory:
    """Train as `config` says, in the run directory `out`; return it.

    With `resume`, go on from its newest whole checkpoint (from the beginning where there is none yet). `config` is one
    that `zoo.config` made: what a file names was held against the registry there.

    Raises Interrupted, with a checkpoint written, on SIGINT, SIGTERM or SIGHUP; ZooError for numbers that are not
    finite, a full disk, a folder that vanished, ....
    """
    run = RunDirectory(out)
    run.refuse_checkpoint()
    if run.exists() and not resume:
        raise UsageError(f"{out} holds a run already; go on with --resume, or choose another --out")
    with run.locked():
        # Build everything; nothing but the lock is written before all of it stands.
        checkpoint = run.newest() if resume else None
        if run.exists() and checkpoint is None:
            run.refuse_to_begin_anew()
        backend = Backend.choose(config.device, config.precision)
        if checkpoint is None:  # a run that goes on had such images; `info` may list a folder to tell their shape
            refuse_before_preparing(registry, config, data_root)
        dataset = build_dataset(registry, config.dataset, data_root, config.settings.get("dataset", {}))
        _refuse_metrics_without_factors(registry, config, dataset)
        config = config.model_copy(update={"image_shape": dataset.image_shape, "precision": backend.precision})
        model = build_model(registry, config, backend, checkpoint=checkpoint)
        loss = build_loss(registry, config, backend)
        trainer = build_trainer(registry, config, model, loss, backend)

        # Go on from the newest checkpoint, or begin.
        if checkpoint is not None:
            load_weights(model, checkpoint)
            load_trainer(trainer, checkpoint)
        first = checkpoint.step if checkpoint else 0
        run.forget_after(first)
        if _due(config.eval_every, first) and not run.evaluated(first):  # killed between saving and evaluating
            evaluate_here(registry, run, config, model, dataset, first, data_root)
        if first >= config.steps:
            if run.exists() and config.settings["dataset"] != run.config.settings.get("dataset"):  # files that moved
                run.write_config(config.model_copy(update={"made_by": run.config.made_by}))
            terminal.note(f"{out} is at step {first:,} already; nothing to do (--steps N goes further)")
            return run
        for difference in differences(run.config.made_by, backend, dataset) if first else ():
            terminal.warn(f"from here on not bit for bit as without the stop: {difference}")
        made_by = run.config.made_by if run.exists() else {}
        made_by = with_start(made_by, first + 1, backend, dataset, registry.plugins.versions())
        on = config.dataset if config.preset == config.dataset else f"{config.dataset}, preset {config.preset}"
        terminal.note(f"training {config.model} on {on}: steps {first + 1:,} to {config.steps:,} in {out} ({backend})")

        # Train.
        shown = terminal.progress("training", config.steps, done=first)
        with backend.exact(), stopping() as signals, shown as progress:
            window = (first, time.monotonic())
            for step in range(first + 1, config.steps + 1):
                # Draw a batch: a function of (seed, step) alone.
                indices = numpy_stream(config.seed, "data", step).integers(0, len(dataset), config.batch_size)
                images = backend.images(check_pixels(dataset, dataset.images(indices), len(indices)))
                # Update every player. A run is one once it has done a step: what fails at once leaves none behind.
                if step > first + 1:
                    terms = trainer.step(images)
                else:
                    with _first_step_told(registry, config):
                        terms = trainer.step(images)
                        check_step(config.trainer, terms, trainer.state())
                    run.write_config(config.model_copy(update={"made_by": made_by}))
                text = ""
                # Log.
                if step % config.log_every == 0 or step == config.steps:
                    values = _finite(terms, step, run)
                    rate = (step - window[0]) / max(time.monotonic() - window[1], 1e-9)
                    run.append("metrics.jsonl", {"step": step, **values, "steps_per_second": round(rate, 3)})
                    window = (step, time.monotonic())
                    text = "  ".join(
                        f"{name} {value:.3g}" for name, value in values.items() if isinstance(value, float)
                    )
                progress.advance(1, text)
                # Save. What is evaluated is saved too where only the best is kept: it may be the best.
                evaluates = _due(config.eval_every, step)
                saves = _due(config.save_every, step) or step == config.steps or (evaluates and config.keep > 0)
                if saves:
                    save(run, step, terms, model, trainer)
                # Evaluate. A signal ends that at once; the run makes up for it when it is resumed.
                if evaluates and not signals.received:
                    began = time.monotonic()
                    with signals.raised():
                        evaluate_here(registry, run, config, model, dataset, step, data_root)
                    window = (window[0], window[1] + time.monotonic() - began)
                # Obey a signal, whenever it came.
                stops = bool(signals.received)
                if stops and not saves:
                    save(run, step, terms, model, trainer)
                    saves = True
                # Make room.
                if config.keep and saves:
                    run.prune(config.keep, _best_step(registry, run, config))
                if stops:
                    number = signals.received[0]
                    name = signal.Signals(number).name
                    raise Interrupted(
                        f"stopped by {name} after step {step:,}; go on with --resume --out {shlex.quote(str(out))}",
                        number,
                    )
    return run


def evaluate_here(
    registry: Registry,
    run: RunDirectory,
    config: RunConfig,
    model: Any,
    dataset: Any,
    step: int,
    data_root: Path | None = None,
) -> None:
    """Score the model in training and append the result to evaluations.jsonl; a failing metric costs a warning."""
    metric_settings = {name: config.settings.get(name, {}) for name in config.eval_metrics}
    seed = config.seed % 2**32  # the metrics' generator takes no more
    began = time.monotonic()
    metrics, errors = score(registry, model, dataset, config.eval_metrics, seed, metric_settings, data_root)
    seconds = round(time.monotonic() - began, 3)
    record = {"step": step, "model": config.model, "dataset": config.dataset, "seed": seed, "metrics": metrics}
    run.append("evaluations.jsonl", record | {"errors": errors, "seconds": seconds})
    for name, error in errors.items():
        terminal.warn(f"step {step:,}: {name}: {error}")
    scores = ", ".join(f"{name} {_rounded(result['score'])}" for name, result in metrics.items())
    if scores:
        terminal.note(f"step {step:,}: {scores}")


def _refuse_metrics_without_factors(registry: Registry, config: RunConfig, dataset: Any) -> None:
    """Say now what every evaluation would say: that the dataset has no ground truth for it."""
    for metric in config.eval_metrics if config.eval_every and dataset.factor_sizes is None else ():
        if registry.spec(MetricSpec, metric).needs_factors:
            raise UsageError(
                f"{metric} needs ground-truth factors, which {config.dataset} does not have; evaluate something else, "
                "as with --set eval_metrics=fid, or leave --eval-every out"
            )


@contextmanager
def _first_step_told(registry: Registry, config: RunConfig) -> Iterator[None]:
    """Say what met what where the first step fails: most often two parts, or a part and the images, do not fit."""
    try:
        yield
    except (ZooError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # a model, loss or trainer may come from another plugin
        spec = registry.spec(ModelSpec, config.model)
        images = f"images {config.image_shape} of {config.dataset}"
        own = (spec.loss, spec.trainer) == (config.loss, config.trainer)
        if own or not isinstance(error, AttributeError | TypeError | KeyError | ValueError | RuntimeError):
            raise ZooError(f"the first step of {config.model} failed on {images}: {described(error)}") from error
        raise UsageError(
            f"trainer {config.trainer!r} with loss {config.loss!r} does not go with model {config.model!r} on {images} "
            f"({described(error)}); leave --set trainer=... and --set loss=... out, or choose others"
        ) from error


def _due(every: int, step: int) -> bool:
    """Whether something done every so many steps (0: never) is due after this one."""
    return every > 0 and step > 0 and step % every == 0


def _best_step(registry: Registry, run: RunDirectory, config: RunConfig) -> int | None:
    """The step whose checkpoint `keep` spares."""
    if not config.eval_metrics:
        return None
    metric = config.keep_best or config.eval_metrics[0]
    # A run that evaluates was asked to by a person, so its metrics may be import paths.
    return run.best_step(metric, lower_is_better=lower_is_better(registry, metric, typed=config.eval_every > 0))


def save(run: RunDirectory, step: int, terms: Mapping[str, Tensor], model: torch.nn.Module, trainer: Any) -> None:
    """Write a checkpoint, unless anything is not finite: nothing good is ever followed by something broken."""
    _finite(terms, step, run)
    weights = model.state_dict()
    tensors, values = trainer.state()
    in_state = [name for name, tensor in tensors.items() if not bool(torch.isfinite(tensor).all())]
    for what, broken in (("weights", broken_weights(model, weights)), ("trainer's state", in_state)):
        if broken:
            raise ZooError(f"step {step:,}: the {what} {broken[0]} became non-finite; {_last_good(run)}")
    run.save(step, weights, tensors, values)


def _finite(terms: Mapping[str, Tensor], step: int, run: RunDirectory) -> dict[str, float | list[float]]:
    """Bring the terms to Python numbers; this is where the loop waits for the device."""
    values: dict[str, float | list[float]] = {name: term.tolist() for name, term in terms.items()}
    broken = [
        name
        for name, value in values.items()
        if not all(map(math.isfinite, value if isinstance(value, list) else [value]))
    ]
    if broken:
        raise ZooError(f"step {step:,}: {', '.join(broken)} became non-finite; {_last_good(run)}")
    return values


def _last_good(run: RunDirectory) -> str:
    newest = run.newest()
    where = f"the last good checkpoint is {newest.path}" if newest else "there is no checkpoint yet"
    return f"{where}; try --precision fp32 or smaller learning rates"


def _rounded(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
