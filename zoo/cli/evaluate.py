"""`zoo eval`: a checkpoint -> scores, as a table or as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from zoo import terminal
from zoo.cli.argument_types import RegisteredNames
from zoo.cli.options import (
    checkpoint_argument,
    data_root_option,
    device_option,
    grouped,
    json_option,
    model_argument,
    run_dataset_option,
    set_option,
)
from zoo.registry import default_registry
from zoo.settings import listed
from zoo.specs import MetricSpec, ModelSpec
from zoo.untrusted import exists, user_path


@click.command("eval", short_help="Score a checkpoint with metrics.")
@model_argument
@checkpoint_argument
@click.option(
    "--metrics",
    required=True,
    type=RegisteredNames("metrics"),
    metavar="A,B",
    help="The metrics, separated by commas; see zoo list metrics.",
)
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="The seed.")
@json_option
@set_option("Change a metric's setting, such as factorvae.votes=100; dataset.source=PATH: where images are now.")
@device_option
@run_dataset_option
@data_root_option
def evaluate(
    model: str,
    checkpoint: str,
    metrics: str,
    seed: int,
    as_json: bool,
    words: tuple[str, ...],
    device: str,
    dataset: str | None,
    data_root: Path | None,
) -> int:
    """Score a CHECKPOINT of MODEL: a run directory (its newest checkpoint), one checkpoint, a weights file, or
    pretrained:NAME.

    A run's scores are added to its evaluations.jsonl, which `zoo plot` and `zoo report` read.
    """
    registry = default_registry()
    names = listed(metrics)
    # A misspelt name is told before torch is imported, but of a run that is there `loading` knows what made it.
    if not exists(user_path(checkpoint)):
        registry.spec(ModelSpec, model)
    for name in names:
        registry.spec(MetricSpec, name)

    from zoo.evaluating import evaluate as run_evaluation

    document = run_evaluation(
        registry,
        model,
        checkpoint,
        names,
        seed=seed,
        metric_settings=grouped(words),
        device=device,
        dataset_name=dataset,
        data_root=data_root,
    )
    if as_json:
        terminal.out_json(document)
    elif document["metrics"]:
        _show(document, grouped(words))
    for name, error in document["errors"].items():
        terminal.note(f"error: {name}: {error}")
    return 1 if document["errors"] else 0


def _show(document: dict[str, Any], given: dict[str, dict[str, str]]) -> None:
    from zoo.scores import departures, published

    registry = default_registry()
    rows = []
    for name, result in document["metrics"].items():
        paper = published(registry, name, document["model"], document["dataset"], typed=True)
        more = [f"{key} {_shown(value)}" for key, value in result.items() if _is_scalar(value) and key != "score"]
        more += [result["reason"]] if isinstance(result.get("reason"), str) else []
        changed = departures(registry, name, given.get(name, {}), typed=True)
        more += [f"with {', '.join(changed)}"] if changed else []
        rows.append([name, _shown(result["score"]), _shown(paper), ", ".join(more)])
    checkpoint = Path(document["checkpoint"])
    of_run = checkpoint.parent.name == "checkpoints" and checkpoint.name.startswith("step-")
    where = checkpoint.parent.parent if of_run else checkpoint
    trained = f"{document['model']} on {document['dataset']}, step {document['step']:,} of {where}"
    terminal.out(f"{trained}; seed of the metrics {document['seed']}")
    terminal.table(["metric", "score", "paper", "more"], rows)


def _is_scalar(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _shown(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
