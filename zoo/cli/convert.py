"""`zoo convert`: datasets and checkpoints to and from other formats."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from zoo import terminal
from zoo.cli.argument_types import RegisteredName, UserPath
from zoo.cli.options import assigned, data_root_option, set_option
from zoo.errors import UsageError
from zoo.registry import default_registry
from zoo.specs import ConverterSpec

out_option = click.option("--out", required=True, type=UserPath(), help="Where to write it.")


@click.group("convert")
def convert() -> None:
    """Convert datasets and checkpoints to and from other formats."""


@convert.command("dataset")
@click.argument("name", type=RegisteredName("datasets"))
@click.option("--to", "to_format", required=True, type=RegisteredName("converters"), help="The format to write.")
@out_option
@set_option("Change a setting of the dataset, such as size=128.")
@data_root_option
def dataset(name: str, to_format: str, out: Path, words: tuple[str, ...], data_root: Path | None) -> None:
    """Write dataset NAME in another format."""
    from zoo.building import build_dataset
    from zoo.conformance import check_converted

    write = _method(to_format, "dataset_to", "write datasets")
    opened = build_dataset(default_registry(), name, data_root, assigned(words, "size=64"))
    terminal.out(str(check_converted(to_format, write(opened, out))))


@convert.command("checkpoint")
@click.argument("checkpoint", type=UserPath())
@click.option("--to", "to_format", type=RegisteredName("converters"), help="The format to write.")
@click.option("--from", "from_format", type=RegisteredName("converters"), help="The format to read, into a run.")
@out_option
@set_option("Change a setting of the format, such as dataset=celeba.")
def checkpoint(
    checkpoint: Path, to_format: str | None, from_format: str | None, out: Path, words: tuple[str, ...]
) -> None:
    """Write a run's CHECKPOINT in another format, or read a foreign one into a run."""
    from zoo.conformance import check_converted
    from zoo.settings import validated

    if to_format is not None and from_format is None:
        name, convert = to_format, _method(to_format, "checkpoint_to", "write checkpoints")
    elif from_format is not None and to_format is None:
        name, convert = from_format, _method(from_format, "checkpoint_from", "read checkpoints")
    else:
        raise click.UsageError("give either --to or --from")
    written = convert(checkpoint, out, **validated(convert, assigned(words, "dataset=celeba"), ""))
    terminal.out(str(check_converted(name, written)))


def _method(name: str, method: str, what: str) -> Callable[..., Any]:
    from zoo.registry import resolve

    converter = resolve(default_registry().spec(ConverterSpec, name).target)()
    found: Callable[..., Any] | None = getattr(converter, method, None)
    if found is None:
        raise UsageError(f"converter {name!r} cannot {what}")
    return found
