"""`zoo train`: words -> one `RunConfig` -> the training loop."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from zoo import terminal
from zoo.cli.argument_types import PresetName, RegisteredName, UserPath
from zoo.cli.options import assigned, data_root_option, model_argument, set_option
from zoo.errors import UsageError
from zoo.registry import default_registry
from zoo.specs import DatasetSpec

if TYPE_CHECKING:
    from zoo.config import RunConfig


@click.command("train")
@model_argument
@click.option(
    "--dataset",
    type=RegisteredName("datasets"),
    help="The dataset to train on.  [default: that of --config, or of the run resumed]",
)
@click.option("--out", type=UserPath(), help="The run directory.  [default: runs/MODEL-DATASET-NNN]")
@click.option("--preset", type=PresetName(), help="The settings to start from.  [default: the dataset's]")
@click.option("--config", type=UserPath(), help="A run's config.json to repeat, or to start from.")
@click.option("--steps", type=click.IntRange(1), help="How many steps.  [default: the preset's]")
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), help="The seed of the run.  [default: 0]")
@set_option("Change a setting, such as loss.beta=0.2, batch_size=128 or loss=NAME; see --dry-run for all.")
@click.option(
    "--eval-every",
    type=click.IntRange(0),
    help="Score every N steps, by the model's own metrics or --set eval_metrics=A,B.  [default: 0, never]",
)
@click.option("--save-every", type=click.IntRange(0), help="Write a checkpoint every N steps.  [default: 5000]")
@click.option(
    "--keep",
    type=click.IntRange(0),
    help="Keep the newest N checkpoints, and the best by the first of eval_metrics.  [default: 0, all]",
)
@click.option("--device", metavar="DEVICE", help="auto, cpu, cuda, cuda:N or mps.  [default: auto]")
@click.option("--precision", type=click.Choice(["auto", "fp32", "bf16"]), help="What to compute in.  [default: auto]")
@click.option("--resume", is_flag=True, help="Go on from the newest checkpoint in --out.")
@data_root_option
@click.option("--dry-run", is_flag=True, help="Print every setting, its value and its source; train nothing.")
def train(
    model: str,
    dataset: str | None,
    out: Path | None,
    preset: str | None,
    config: Path | None,
    words: tuple[str, ...],
    resume: bool,
    data_root: Path | None,
    dry_run: bool,
    **options: object,
) -> None:
    """Train MODEL on a dataset."""
    from zoo.config import resolve_config, resumed_config
    from zoo.run import RunDirectory

    registry = default_registry()
    if resume and config is not None:
        raise UsageError("--resume goes on with the run's own configuration; leave --config out")
    base = _to_start_from(config) if config else None
    if resume and out is None:
        raise UsageError("--resume needs --out, the run to go on with")
    if out is not None:
        RunDirectory(out).refuse_checkpoint()
    typed = {key: value for key, value in options.items() if value is not None}
    for key in typed.keys() & assigned(words, "loss.beta=0.2").keys():
        raise UsageError(f"--{key.replace('_', '-')} and --set {key}=... are both given; leave one out")
    if resume and out is not None and RunDirectory(out).exists():
        stored = RunDirectory(out).config
        resolved = resumed_config(registry, stored, model, dataset, preset=preset, typed=typed, words=words)
    else:
        if dataset is None and base is not None:
            dataset = registry.spec(DatasetSpec, base.dataset, typed=False).name  # a file names no code to import
        if dataset is None:
            missing = f"{out} is no run to go on with" if resume else "Missing option '--dataset'"
            raise UsageError(f"{missing}; see zoo train --help")
        resolved = resolve_config(registry, model, dataset, preset=preset, base=base, typed=typed, words=words)
    if dry_run:
        terminal.table(["setting", "value", "from"], resolved.rows())
        return

    from zoo.training import train as run_training

    run = run_training(
        registry, resolved, out or _free_name(model, resolved.dataset), resume=resume, data_root=data_root
    )
    terminal.out(str(run.path))


def _to_start_from(path: Path) -> RunConfig:
    """Read a configuration, whose values all come from it now."""
    from zoo.config import RunConfig

    config = RunConfig.from_file(path)
    sources = {key: source for key, _, source in config.rows()}
    once = {key: s if s.startswith("--config (") else f"--config ({s})" for key, s in sources.items()}
    return config.model_copy(update={"sources": once})


def _free_name(model: str, dataset: str) -> Path:
    """runs/MODEL-DATASET-NNN, the first NNN that is free."""
    stem = re.sub(r"[^\w.-]+", "_", f"{model}-{dataset}")
    number = 1
    while Path(f"runs/{stem}-{number:03d}").exists():
        number += 1
    return Path(f"runs/{stem}-{number:03d}")
