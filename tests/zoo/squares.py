"""The plugin of docs/plugins.md, whole or with defects put into it."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from zoo.testing import check_plugin

FILES = ("plugin", "presets", "model", "loss", "trainer", "dataset", "metric", "converter")


def squares_with(documented: Path, patch: pytest.MonkeyPatch, *changes: str) -> ModuleType:
    """Make the plugin; `changes` are a file, what is replaced in it and by what, and so on."""
    modules = {}
    for stem in FILES:
        text = (documented / "zoo_squares" / f"{stem}.py").read_text()
        for file, old, new in zip(*[iter(changes)] * 3, strict=True):
            if file == stem:
                assert old in text
                text = text.replace(old, new)
        modules[stem] = ModuleType(f"zoo_squares.{stem}")
        patch.setitem(sys.modules, f"zoo_squares.{stem}", modules[stem])
        exec(compile(text, f"{stem}.py", "exec"), vars(modules[stem]))
    return modules["plugin"]


def found_in(plugin: Any, **options: Any) -> str:
    """What `check_plugin` says is wrong."""
    with pytest.raises(AssertionError) as raised:
        check_plugin(plugin, image_shape=(16, 16, 1), **options)
    return str(raised.value)
