"""What the words of a command line can be: registered names, presets, checkpoints, paths; and how each is completed.

Completing imports no torch. A name is checked where it is used, so that a script hears what a terminal would.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from zoo.errors import UsageError
from zoo.registry import default_registry, resolve
from zoo.specs import ModelSpec
from zoo.untrusted import user_path


class RegisteredName(click.ParamType):
    """A name of some kind: `models`, `datasets`, ..."""

    name = "name"

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Offer the registered names."""
        return [
            CompletionItem(spec.name, help=spec.summary)
            for _, spec in default_registry().entries(self.kind)
            if spec.name.startswith(incomplete)
        ]


class RegisteredNames(RegisteredName):
    """Several of them, separated by commas."""

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Offer, for the name after the last comma, those that are not among the ones before it."""
        before, comma, last = incomplete.rpartition(",")
        return [
            CompletionItem(f"{before}{comma}{item.value}", help=item.help)
            for item in super().shell_complete(ctx, param, last)
            if item.value not in before.split(",")
        ]


class PresetName(click.ParamType):
    """A preset of the model that was named before it."""

    name = "name"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Offer the model's presets."""
        spec = _model(ctx)
        try:
            names = sorted(preset.name for preset in resolve(spec.presets)) if spec and spec.presets else []
        except Exception:  # what is wrong with a plugin is told when it is used, not in the line being typed
            return []
        return [CompletionItem(name) for name in names if name.startswith(incomplete)]


class CheckpointPlace(click.ParamType):
    """A path, or `pretrained:NAME`."""

    name = "checkpoint"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Offer the weights that come with the model, and the shell's own files and folders."""
        spec = _model(ctx)
        shipped = [f"pretrained:{name}" for name in sorted(spec.pretrained)] if spec else []
        offered = [CompletionItem(place) for place in shipped if place.startswith(incomplete)]
        return [CompletionItem(incomplete, type="file"), *offered]  # bash forgets what stands before a "file"


class UserPath(click.Path):
    """A path, `~` expanded: shells do that in `--out ~/run`, but not in `--out=~/run`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(path_type=Path, **options)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Return the path that was typed; an empty one, of a variable that is not set, is none."""
        if value == "":
            self.fail("the path is empty; write it out, or leave the option away", param, ctx)
        return user_path(Path(os.fsdecode(super().convert(value, param, ctx))), UsageError)


def _model(ctx: click.Context) -> ModelSpec | None:
    """The model on the line so far. A registered one only: no code is imported because of a word half typed."""
    name = ctx.params.get("model") or next(iter(ctx.args), None)  # in args while an option waits for its value
    found = [spec for _, spec in default_registry().entries("models") if spec.name == name]
    return found[0] if len(found) == 1 and isinstance(found[0], ModelSpec) else None
