"""The errors a user meets: each one line that says what was wrong, what was expected, and what to do.

`zoo.cli` is the one place that turns them into messages and exit codes; library users catch `ZooError`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ZooError(Exception):
    """A failure with a one-line explanation. Exit code 1 on the command line."""

    exit_code = 1


class UsageError(ZooError):
    """The caller asked for something that does not exist or is out of range. Exit code 2 on the command line."""

    exit_code = 2


class UnknownNameError(UsageError):
    """A name that nothing is registered under."""


class AmbiguousNameError(ZooError):
    """A name that two plugins registered."""


class SettingError(UsageError):
    """A setting that does not exist, or a value of the wrong type or out of range."""


class DataError(ZooError):
    """A dataset that is missing, damaged or of another kind than expected."""


class CheckpointError(ZooError):
    """A checkpoint or run directory that is missing, damaged or of another kind than expected."""


class PluginError(ZooError):
    """A plugin failed and `ZOO_STRICT_PLUGINS=1` makes that fatal."""


class MetricError(ZooError):
    """A metric that is not defined for this model or dataset."""


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """Return "unknown KIND 'NAME' ...", with the near names first, else all of them."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    if near:
        return f"unknown {kind} {name!r}; did you mean {' or '.join(map(repr, near))}?"
    if names:
        return f"unknown {kind} {name!r}; there are: {', '.join(names)}"
    return f"unknown {kind} {name!r}; none is registered"
