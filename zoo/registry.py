"""Names -> specs -> targets; targets are imported here and only here.

Wherever a name is accepted from a person, `package.module:attribute` is too. A name that comes from a file (a
configuration, a checkpoint) must be a registered one: nothing in a file may name code to import.
"""

from __future__ import annotations

import importlib
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar, cast

from zoo.errors import (
    AmbiguousNameError,
    PluginError,
    UnknownNameError,
    UsageError,
    ZooError,
    did_you_mean,
    shown,
    unknown,
)
from zoo.plugins import Plugin, PluginManager
from zoo.specs import KINDS, DatasetSpec, MetricSpec, ModelSpec, Spec

S = TypeVar("S", bound=Spec)

SINGULAR = {kind: "loss" if kind == "losses" else kind.removesuffix("s") for kind in KINDS}


class Registry:
    """The names that the plugins of one manager registered, asked for when first needed."""

    def __init__(self, plugins: PluginManager) -> None:
        self.plugins = plugins
        self._found: dict[str, dict[str, list[tuple[Plugin, Spec]]]] = {}

    def names(self, kind: str) -> list[str]:
        """Return the registered names of a kind (`models`, `losses`, ...), sorted."""
        return sorted(self._of(kind))

    def entries(self, kind: str) -> list[tuple[Plugin, Spec]]:
        """Return (plugin, spec) for everything of a kind, sorted by name."""
        return [entry for name in self.names(kind) for entry in self._of(kind)[name]]

    def spec(self, kind: type[S], name: str, *, typed: bool = True) -> S:
        """Return the spec registered under `name`.

        `typed` says that a person typed the name; only then `package.module:attribute` is accepted.
        Raises UnknownNameError with the near names, AmbiguousNameError with both providers.
        """
        plural = next(plural for plural, spec_type in KINDS.items() if spec_type is kind)
        found = self._of(plural).get(name, [])
        if len(found) > 1:
            providers = " and ".join(plugin.origin for plugin, _ in found)
            raise AmbiguousNameError(
                f"{SINGULAR[plural]} {name!r} is registered by {providers}; switch one off with ZOO_DISABLE_PLUGINS"
            )
        if found:
            return cast(S, found[0][1])
        if ":" in name and typed:
            with suppress(OSError):  # a folder that was removed
                if not {"", str(Path.cwd())} & set(sys.path):  # as `python -m` has it; last, so that it shadows nothing
                    sys.path.append(str(Path.cwd()))
            target = resolve(name, missing=UnknownNameError)
            if isinstance(target, kind):
                return target
            # What a metric needs of a dataset nobody said; one that needs factors tells so itself.
            needs: dict[str, Any] = {"needs_factors": False} if kind is MetricSpec else {}
            return kind(name, name, "named by its import path", **needs)
        message = unknown(SINGULAR[plural], name, self.names(plural))
        if ":" in name:
            where = {DatasetSpec: ", a dataset's as --dataset", ModelSpec: ", a converted model's as --set model=NAME"}
            message += f" (a file may only name what a plugin registered; type the name yourself{where.get(kind, '')})"
        raise UnknownNameError(message)

    def _of(self, kind: str) -> dict[str, list[tuple[Plugin, Spec]]]:
        if kind not in KINDS:
            raise UnknownNameError(unknown("kind", kind, KINDS))
        if kind not in self._found:
            found: dict[str, list[tuple[Plugin, Spec]]] = {}
            for plugin, spec in self.plugins.specs(f"zoo_{kind}"):
                found.setdefault(spec.name, []).append((plugin, spec))
            self._found[kind] = found
        return self._found[kind]


def resolve(target: str, *, missing: type[ZooError] = PluginError) -> Any:
    """Import `package.module:attribute`.

    Raises UsageError for what is no such target, `missing` where the module has no such attribute, with the near names,
    and PluginError, with what failed, where it cannot be imported.
    """
    module_name, _, attribute = target.partition(":")
    if not module_name or not attribute:
        raise UsageError(f"{shown(target)} is no target: expected package.module:attribute")
    written = shown(target)[1:-1]
    try:
        found = importlib.import_module(module_name)
    except ImportError as error:
        raise PluginError(f"cannot import {written}: {error}; is its package, or its extra, installed?") from error
    except (Exception, SystemExit) as error:  # a module can fail in any way while it is imported
        raise PluginError(f"cannot import {written}: {type(error).__name__}: {error}") from error
    for part in attribute.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            there = [name for name in dir(found) if not name.startswith("_")]
            raise missing(f"{written}: {module_name} has no {attribute!r}{did_you_mean(part, there)}") from None
        except Exception as error:  # a module may compute what it offers
            raise PluginError(f"cannot import {written}: {type(error).__name__}: {error}") from error
    return found


_default: Registry | None = None


def default_registry() -> Registry:
    """Return the registry of the installed plugins, loaded on first use."""
    global _default
    if _default is None:
        _default = Registry(PluginManager.from_environment())
    return _default


def use_registry(registry: Registry | None) -> None:
    """Make another registry this process's default (the command line's `--no-plugins`, tests); None starts afresh."""
    global _default
    _default = registry
