"""`zoo list` and `zoo plugins`."""

from __future__ import annotations

from typing import Any

import click

from zoo import terminal
from zoo.cli.options import json_option
from zoo.errors import unknown
from zoo.registry import default_registry
from zoo.specs import KINDS, ModelSpec


@click.command("list", short_help="List models, datasets, metrics and more.")
@click.argument("kind", type=click.Choice(list(KINDS)), required=False)
@json_option
def list_names(kind: str | None, as_json: bool) -> None:
    """List what is registered: models, datasets, metrics, losses, trainers, converters."""
    kinds = [kind] if kind else list(KINDS)
    listed = {kind: _described(kind) for kind in kinds}
    if as_json:
        terminal.out_json(listed)
        return
    for kind, entries in listed.items():
        rows = [[entry["name"], entry["summary"], entry["plugin"]] for entry in entries]
        terminal.table([kind, "", "plugin"], rows)


@click.command("plugins", short_help="List the plugins, and what is wrong with one.")
@json_option
def plugins(as_json: bool) -> None:
    """List the plugins: where each comes from, what it adds, whether it works."""
    registry = default_registry()
    for kind in KINDS:  # a plugin whose hook raises shows as broken only once it was asked
        registry.names(kind)
    found: list[dict[str, Any]] = [
        {
            "name": plugin.name,
            "distribution": plugin.distribution,
            "version": plugin.version,
            "hooks": list(plugin.hooks),
            "status": plugin.status,
            "error": plugin.error or None,
        }
        for plugin in registry.plugins.plugins
    ]
    for name in registry.plugins.disables_nothing:
        terminal.warn(f"ZOO_DISABLE_PLUGINS: {unknown('plugin', name, (plugin['name'] for plugin in found))}")
    if as_json:
        terminal.out_json(found)
        return
    rows = [
        [p["name"], f"{p['distribution']} {p['version']}", p["status"], ", ".join(p["hooks"]), p["error"] or ""]
        for p in found
    ]
    terminal.table(["plugin", "distribution", "status", "hooks", "error"], rows)


def _described(kind: str) -> list[dict[str, Any]]:
    entries = []
    for plugin, spec in default_registry().entries(kind):
        entry: dict[str, Any] = {
            "name": spec.name,
            "summary": spec.summary,
            "target": spec.target,
            "plugin": plugin.name,
        }
        if isinstance(spec, ModelSpec):
            entry |= {"paper": spec.paper, "loss": spec.loss, "trainer": spec.trainer}
            entry["pretrained"] = list(spec.pretrained)
            entry["summary"] += f" [{spec.paper}]" if spec.paper else ""
            entry["summary"] += f"; pretrained: {', '.join(spec.pretrained)}" if spec.pretrained else ""
        entries.append(entry)
    return entries
