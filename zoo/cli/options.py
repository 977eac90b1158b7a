"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from zoo.cli.argument_types import CheckpointPlace, RegisteredName, UserPath
from zoo.errors import SettingError, UsageError, shown
from zoo.settings import assignment

F = TypeVar("F", bound=Callable[..., Any])


model_argument = click.argument("model", type=RegisteredName("models"))
checkpoint_argument = click.argument("checkpoint", type=CheckpointPlace())
seed_option = click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=0, show_default=True, help="The seed.")
device_option = click.option(
    "--device", default="auto", show_default=True, metavar="DEVICE", help="auto, cpu, cuda, cuda:N or mps."
)
data_root_option = click.option(
    "--data-root",
    type=UserPath(file_okay=False),
    help="Where datasets live.  [default: $ZOO_DATA, else the user cache folder]",
)
run_dataset_option = click.option(
    "--dataset", metavar="NAME", help="The run's own dataset; needed where that is one given by its import path."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout, nothing else.")


def set_option(help_text: str) -> Callable[[F], F]:
    """The `--set key=value` option."""
    return click.option("--set", "words", multiple=True, metavar="KEY=VALUE", help=help_text)


def grouped(words: tuple[str, ...]) -> dict[str, dict[str, str]]:
    """`("fid.num_images=10",)` -> `{"fid": {"num_images": "10"}}`."""
    groups: dict[str, dict[str, str]] = {}
    for word in words:
        key, value = assignment(word, "factorvae.votes=100")
        part, _, name = key.rpartition(".")
        if not (part and name):
            raise SettingError(f"--set {shown(word)}: expected NAME.KEY=VALUE, such as --set factorvae.votes=100")
        groups.setdefault(part, {})[name] = value
    return groups


def dataset_places(words: tuple[str, ...], what: str) -> dict[str, str]:
    """`("dataset.source=faces",)` -> `{"source": "faces"}`; UsageError for a setting of anything else."""
    groups = grouped(words)
    for stray in groups.keys() - {"dataset"}:
        raise UsageError(f"{what} has no setting of {shown(stray)[1:-1]}; only dataset.KEY=PATH may be set")
    return groups.get("dataset", {})


def assigned(words: tuple[str, ...], example: str) -> dict[str, str]:
    """`("dataset=celeba",)` -> `{"dataset": "celeba"}`; the example is for the message where a word is none."""
    return dict(assignment(word, example) for word in words)
