"""Every hook is documented, in its docstring and in docs/plugins.md, and does what it says."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from types import ModuleType

import click
import pytest

from zoo import hookspecs
from zoo.plugins import HOOKS, PluginManager
from zoo.registry import Registry
from zoo.specs import KINDS, Spec

PAGE = (Path(__file__).parents[2] / "docs" / "plugins.md").read_text("utf-8")


def test_the_hooks_are_the_six_kinds_and_commands() -> None:
    assert set(HOOKS) == {f"zoo_{kind}" for kind in KINDS} | {"zoo_commands"}
    assert set(KINDS.values()) == set(Spec.__subclasses__())


@pytest.mark.parametrize("hook", HOOKS)
def test_it_is_documented_and_typed(hook: str) -> None:
    function = getattr(hookspecs, hook)
    assert len((function.__doc__ or "").split()) > 5
    signature = inspect.signature(function)
    assert signature.return_annotation is not inspect.Signature.empty
    assert all(p.annotation is not inspect.Parameter.empty for p in signature.parameters.values())
    assert re.search(rf"^@hookimpl\ndef {hook}\(", PAGE, re.MULTILINE), "no example in docs/plugins.md"
    assert re.search(rf"^\| `{hook}[(`]", PAGE, re.MULTILINE), "not in the table of docs/plugins.md"
    if hook != "zoo_commands":
        assert re.search(rf"^## `{hook}`", PAGE, re.MULTILINE), "no section in docs/plugins.md"


@pytest.mark.parametrize("hook", HOOKS)
def test_it_adds_what_a_plugin_answers(hook: str) -> None:
    def specs() -> list[Spec]:
        return [KINDS[hook.removeprefix("zoo_")]("mine", "my.module:mine", "my own")]

    def commands(cli: click.Group) -> None:
        cli.command("mine")(lambda: None)

    module = ModuleType("mine")
    setattr(module, hook, hookspecs.hookimpl(commands if hook == "zoo_commands" else specs))
    manager = PluginManager([], strict=True)
    assert manager.register(module, "mine").hooks == (hook,)
    group = click.Group("zoo")
    manager.add_commands(group)
    registry = Registry(manager)
    added = {kind: registry.names(kind) for kind in KINDS} | {"commands": list(group.commands)}
    assert {kind: names for kind, names in added.items() if names} == {hook.removeprefix("zoo_"): ["mine"]}


@pytest.mark.parametrize("kind", KINDS)
def test_the_hook_returns_what_its_kind_is(kind: str) -> None:
    returned = inspect.signature(getattr(hookspecs, f"zoo_{kind}")).return_annotation
    assert returned == f"list[{KINDS[kind].__name__}]"
