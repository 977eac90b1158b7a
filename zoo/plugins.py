"""Finding, loading and asking plugins.

A plugin that cannot be imported, or one of whose hooks raises, never takes the host down: it is marked broken, told in
one warning line, and left out. `ZOO_STRICT_PLUGINS=1` makes it fatal; `ZOO_DISABLE_PLUGINS=a,b` and
`zoo --no-plugins` leave plugins out before they are imported.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pluggy

from zoo import hookspecs, terminal
from zoo.errors import PluginError, described, unknown
from zoo.specs import KINDS, Spec

if TYPE_CHECKING:
    import click

HOOKS = tuple(sorted(name for name in vars(hookspecs) if name.startswith("zoo_")))


@dataclass
class Plugin:
    """What is known of one plugin: where it comes from, what it adds, and whether it works."""

    name: str
    distribution: str
    version: str
    hooks: tuple[str, ...] = ()
    status: str = "ok"  # or "disabled", "broken"
    error: str = ""
    module: Any = field(default=None, repr=False)

    @property
    def origin(self) -> str:
        """The plugin and its distribution, for messages."""
        return f"plugin {self.name!r} ({f'{self.distribution} {self.version}'.strip()})"


class PluginManager:
    """All plugins of one process, in the order of their names."""

    def __init__(
        self, found: list[EntryPoint], *, disabled: frozenset[str] = frozenset(), strict: bool = False
    ) -> None:
        self._strict = strict
        self._pluggy = pluggy.PluginManager(hookspecs.PROJECT)
        self._pluggy.add_hookspecs(hookspecs)
        self.plugins: list[Plugin] = []
        for entry in sorted(found, key=lambda entry: (entry.name, entry.dist.name if entry.dist else "")):
            self._add(entry, entry.name in disabled or "*" in disabled)
        # One list may serve several environments, so a name that disables nothing is no error.
        self.disables_nothing = sorted(disabled - {"*"} - {plugin.name for plugin in self.plugins})

    @classmethod
    def from_environment(cls, *, no_plugins: bool = False) -> PluginManager:
        """Load what is installed, as the environment variables say."""
        names = frozenset(filter(None, (part.strip() for part in os.environ.get("ZOO_DISABLE_PLUGINS", "").split(","))))
        return cls(
            list(entry_points(group=hookspecs.PROJECT)),
            disabled=frozenset("*") if no_plugins else names,
            strict=os.environ.get("ZOO_STRICT_PLUGINS", "") not in ("", "0"),
        )

    def register(self, module: Any, name: str, distribution: str = "this process", version: str = "") -> Plugin:
        """Add a plugin object directly: for tests, and for programs that embed the zoo."""
        plugin = Plugin(name, distribution, version)
        self.plugins.append(plugin)
        self._register(plugin, module, self._marked(module))
        return plugin

    def specs(self, hook: str) -> Iterator[tuple[Plugin, Spec]]:
        """Yield what every working plugin returns from one of the six listing hooks."""
        kind = KINDS[hook.removeprefix("zoo_")]
        for plugin in self._working(hook):
            try:
                found = self._ask(plugin, hook)
                for spec in found:
                    if not isinstance(spec, kind):
                        raise TypeError(f"{hook} returned {type(spec).__name__} {spec!r:.60}, expected {kind.__name__}")
                    if not all(isinstance(text, str) for text in (spec.name, spec.target, spec.summary)):
                        raise TypeError(f"{spec!r:.120}: name, target and summary must be strings")
            except (Exception, SystemExit) as error:  # whatever a plugin raises is its own failure, told with its name
                self._break(plugin, f"{hook} failed: {described(error)}", error)
                continue
            for spec in found:
                yield plugin, spec

    def versions(self) -> dict[str, str]:
        """The versions of the distributions that the working plugins come from, by name."""
        working = (plugin for plugin in self.plugins if plugin.status == "ok" and plugin.version)
        return {plugin.distribution: plugin.version for plugin in working}

    def add_commands(self, cli: click.Group) -> None:
        """Let every working plugin add its commands. One whose name is taken is left out, and the plugin told so."""
        owners = dict.fromkeys(cli.commands, "zoo itself")
        for plugin in self._working("zoo_commands"):
            before = dict(cli.commands)
            try:
                self._ask(plugin, "zoo_commands", cli=cli)
                if before.keys() - cli.commands.keys():
                    raise ValueError("it takes commands away")
            except (Exception, SystemExit) as error:  # whatever a plugin raises is its own failure, told with its name
                cli.commands.clear()
                cli.commands.update(before)
                self._break(plugin, f"zoo_commands failed: {described(error)}", error)
                continue
            taken = [name for name, command in before.items() if cli.commands.get(name) is not command]
            cli.commands.update(before)
            for name in taken:
                self._report(plugin, f"cannot add the command {name!r}: {owners[name]} has one of that name")
            owners |= dict.fromkeys(cli.commands.keys() - before.keys(), plugin.origin)

    def _add(self, entry: EntryPoint, disabled: bool) -> None:
        dist = entry.dist
        plugin = Plugin(entry.name, dist.name if dist else "?", dist.version if dist else "?")
        self.plugins.append(plugin)
        if disabled:
            plugin.status = "disabled"
            return
        try:
            module = entry.load()
            hooks = self._marked(module)
        except (Exception, SystemExit) as error:  # an import can fail in any way, and must not take the host down
            self._break(plugin, f"failed to load: {described(error)}", error)
            return
        self._register(plugin, module, hooks)

    def _marked(self, module: Any) -> dict[str, str]:
        """The names that a module has marked, each with the hook that it implements (`specname`, else its own name)."""
        options = {name: self._pluggy.parse_hookimpl_opts(module, name) for name in dir(module)}
        return {name: found.get("specname") or name for name, found in options.items() if found is not None}

    def _register(self, plugin: Plugin, module: Any, marked: dict[str, str]) -> None:
        if self._pluggy.has_plugin(plugin.name):
            other = next(p for p in self.plugins if p.name == plugin.name and p.module is not None)
            self._break(plugin, f"its name is taken by {other.distribution} {other.version}")
            return
        known = {name: hook for name, hook in marked.items() if hook in HOOKS}
        plugin.module, plugin.hooks = module, tuple(dict.fromkeys(known.values()))
        for hook in marked.values():
            if hook not in HOOKS:
                self._report(plugin, unknown("hook", hook, HOOKS))
        # Only the known hooks are registered, so that a misspelt one does not cost the plugin its others.
        registered = ModuleType(plugin.name)
        vars(registered).update({name: getattr(module, name) for name in known})
        try:
            self._pluggy.register(registered, plugin.name)
        except pluggy.PluginValidationError as error:
            if self._pluggy.has_plugin(plugin.name):  # pluggy before 1.7 keeps the name of what it refuses
                self._pluggy.unregister(name=plugin.name)
            plugin.module = None
            self._break(plugin, described(error), error)

    def _working(self, hook: str) -> Iterator[Plugin]:
        return (plugin for plugin in self.plugins if plugin.status == "ok" and hook in plugin.hooks)

    def _ask(self, plugin: Plugin, hook: str, **arguments: Any) -> list[Any]:
        others = [other for name, other in self._pluggy.list_name_plugin() if name != plugin.name]
        answers = self._pluggy.subset_hook_caller(hook, others)(**arguments)
        return [spec for answer in answers for spec in answer] if hook != "zoo_commands" else []

    def _break(self, plugin: Plugin, error: str, cause: BaseException | None = None) -> None:
        plugin.status = "broken"
        self._report(plugin, error, cause)

    def _report(self, plugin: Plugin, error: str, cause: BaseException | None = None) -> None:
        plugin.error = f"{plugin.error}; {error}" if plugin.error else error
        if self._strict:
            raise PluginError(f"{plugin.origin} {error}; fix it, or name it in ZOO_DISABLE_PLUGINS") from cause
        terminal.warn(f"{plugin.origin} {error}")
