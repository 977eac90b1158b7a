"""Settings: the keyword-only parameters of a target, read from its signature and checked against its annotations.

So a model, loss, trainer, dataset or metric declares each setting once, where it is used. pydantic does the checking
and the conversion of command-line words ("1e-4", "none", "true").
"""

from __future__ import annotations

import inspect
import itertools
import typing
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from zoo.errors import SettingError, UsageError, shown, unknown

if TYPE_CHECKING:
    from pydantic import TypeAdapter

# What the host passes itself; never a setting.
RESERVED = frozenset({"seed", "backend"})


def assignment(word: str, example: str) -> tuple[str, str]:
    """Split the `key=value` of a `--set`. Raises SettingError, with an example of what goes there, for all else."""
    key, found, value = word.partition("=")
    if not (found and key.strip()):
        raise SettingError(f"--set {shown(word)}: expected key=value, such as --set {example}")
    return key.strip(), value


def flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """`{"loss": {"beta": 0.1}}`, as TOML reads an unquoted `loss.beta`, -> `{"loss.beta": 0.1}`.

    A mapping under a setting's own name, `{"loss.weights": {...}}`, is its value.
    """
    found: dict[str, Any] = {}
    for key, value in values.items():
        is_part = "." not in str(key).rpartition(":")[2]  # an import path has dots before its colon
        if isinstance(value, Mapping) and is_part:
            found |= {f"{key}.{name}": inner for name, inner in value.items()}
        else:
            found[str(key)] = value
    return found


def listed(text: str) -> list[str]:
    """The names between the commas, each once: "mig, dci," -> ["mig", "dci"]."""
    return list(dict.fromkeys(filter(None, map(str.strip, text.split(",")))))


def settings_of(target: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Return the settings that a target declares, in order, with annotations resolved."""
    function = target.__init__ if inspect.isclass(target) else target
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):  # it is no function, or one of C's that does not say
        raise UsageError(f"{shown(repr(target))[1:-1]} is nothing that can be called with settings") from None
    declared = {
        name: parameter
        for name, parameter in parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY and name not in RESERVED
    }
    # Only these annotations are resolved: the others may name what is imported for type checkers alone.
    annotations = {n: p.annotation for n, p in declared.items() if p.annotation is not inspect.Parameter.empty}
    holder = type("Settings", (), {"__annotations__": annotations})
    globals_there = getattr(inspect.unwrap(function), "__globals__", {})
    hints = typing.get_type_hints(holder, globalns=globals_there, include_extras=True)
    return {name: parameter.replace(annotation=hints.get(name, Any)) for name, parameter in declared.items()}


def defaults_of(target: Callable[..., Any]) -> dict[str, Any]:
    """Return the default of each setting that has one."""
    return {n: p.default for n, p in settings_of(target).items() if p.default is not inspect.Parameter.empty}


def departures(target: Callable[..., Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of `values`, converted, that are not the defaults."""
    defaults = defaults_of(target)
    checked = validated(target, values, "")
    return {name: value for name, value in checked.items() if name not in defaults or value != defaults[name]}


def validated(target: Callable[..., Any], values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return `values` converted to the declared types; `where` ("loss", "fid") stands before a setting's name where it
    is typed so, and is empty where the name is typed alone.

    Raises SettingError, one line, for an unknown name, a wrong type or a value out of range.
    """
    from pydantic import ConfigDict, TypeAdapter, ValidationError

    declared = settings_of(target)
    checked: dict[str, Any] = {}
    before = f"{where}." if where else ""
    for name, value in values.items():
        if not declared:
            none = f"{where} has no settings" if where else "there are none"
            raise SettingError(f"unknown setting {shown(before + name)}; {none}")
        if name not in declared:
            raise SettingError(unknown("setting", before + name, [before + known for known in declared]))
        config = ConfigDict(allow_inf_nan=False, arbitrary_types_allowed=True)
        adapter = TypeAdapter(declared[name].annotation, config=config)
        try:
            if isinstance(value, str) and value.lower() in ("none", "null"):
                with suppress(ValidationError):  # where None is not allowed, the word may still be
                    checked[name] = adapter.validate_python(None)
                    continue
            checked[name] = adapter.validate_python(value)
        except ValidationError as error:
            if isinstance(value, str) and value[:1] in ("[", "{"):  # a list or dict, as it is typed
                with suppress(ValidationError):
                    checked[name] = adapter.validate_json(value)
                    continue
            written = shown(value)[1:-1] if isinstance(value, str) else shown(value)
            raise SettingError(f"{before}{name}={written}: {reason(error)}{_or_none(adapter)}") from None
    return checked


def _or_none(adapter: TypeAdapter[Any]) -> str:
    """What pydantic leaves out of its reasons."""
    from pydantic import ValidationError

    try:
        adapter.validate_python(None)
    except ValidationError:
        return ""
    return "; or none"


def reason(error: Any) -> str:
    """Return a pydantic ValidationError as one line."""
    found = error.errors(include_url=False, include_input=False)
    problems = dict.fromkeys(problem["msg"][:1].lower() + problem["msg"][1:] for problem in found)
    return "; ".join(itertools.islice(problems, 5))
