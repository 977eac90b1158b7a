"""`zoo data`: what a dataset needs, and making it ready."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from zoo import terminal
from zoo.cli.argument_types import RegisteredName
from zoo.cli.options import data_root_option, json_option, set_option
from zoo.errors import UsageError
from zoo.registry import default_registry
from zoo.specs import DatasetSpec

name_argument = click.argument("name", type=RegisteredName("datasets"))


@click.group("data")
def data() -> None:
    """Tell what a dataset needs, and make it ready."""


@data.command("info")
@name_argument
@data_root_option
@set_option("Ask about it prepared so, such as size=128.")
@json_option
def info(name: str, data_root: Path | None, words: tuple[str, ...], as_json: bool) -> None:
    """Tell what is there, what is missing, what to fetch and where to put it."""
    spec = default_registry().spec(DatasetSpec, name)
    if not spec.info:
        raise UsageError(f"dataset {name!r} has nothing to tell; open it with zoo.load_dataset({name!r})")
    found = _called(spec.info, name, data_root, words)
    if as_json:
        terminal.out_json(found)
        return
    terminal.table([name, ""], [[key, _shown(value)] for key, value in found.items()])


@data.command("prepare")
@name_argument
@data_root_option
@set_option("Change how it is prepared, such as size=64.")
def prepare(name: str, data_root: Path | None, words: tuple[str, ...]) -> None:
    """Make a dataset ready for fast reading."""
    spec = default_registry().spec(DatasetSpec, name)
    if not spec.prepare:
        raise UsageError(f"dataset {name!r} needs no preparation")
    terminal.out(str(_called(spec.prepare, name, data_root, words)))


def _called(where: str, name: str, data_root: Path | None, words: tuple[str, ...]) -> Any:
    """What a dataset's `info` or `prepare` returns, with the settings that follow `--set`."""
    from zoo import settings
    from zoo.registry import resolve

    target = resolve(where)
    values = dict(settings.assignment(word, "size=64") for word in words)
    return target(data_root, **settings.validated(target, values, ""))


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return "\n".join(f"{key}: {_shown(part)}" for key, part in value.items())
    if isinstance(value, list | tuple) and value:
        return "\n".join(map(_shown, value)) if any(isinstance(part, dict | str) for part in value) else str(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "–" if value in (None, [], ()) else f"{value:,}" if isinstance(value, int) else str(value)
