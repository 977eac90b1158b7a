"""The errors a user meets: each one line that says what was wrong, what was expected, and what to do.

`zoo.cli` is the one place that turns them into messages and exit codes; library users catch `ZooError`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Any

LONGEST = 2000  # characters of a message: room for the names of ten files


class ZooError(Exception):
    """A failure with a one-line explanation. Exit code 1 on the command line.

    Whatever a file put into the message, it stays one line, and nothing in it speaks to a terminal.
    """

    exit_code = 1

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


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


class UnreadableCheckpointError(CheckpointError):
    """A checkpoint that may well be whole, but not for this process: no permission, or another version's format."""


class PluginError(ZooError):
    """A plugin failed: it cannot be imported, or what it declares, makes or returns is not what `zoo.interfaces` says.

    One that cannot be loaded is only warned of, and is this error with `ZOO_STRICT_PLUGINS=1`.
    """


class MetricError(ZooError):
    """A metric that is not defined for this model or dataset."""


def described(error: BaseException) -> str:
    """Return one line for any exception: what a ZooError says, and the type before what another says."""
    return str(error) if isinstance(error, ZooError) else " ".join(f"{type(error).__name__}: {error}".split())


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """Return "unknown KIND 'NAME' ...", with the near names first, else all of them."""
    names = sorted(known)
    meant = did_you_mean(name, names)
    if meant:
        return f"unknown {kind} {shown(name)}{meant}"
    if names:
        return f"unknown {kind} {shown(name)}; there are: {', '.join(names)}"
    return f"unknown {kind} {shown(name)}; none is registered"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return "; did you mean 'NEAR' ...?", or nothing where no known name is near."""
    near = difflib.get_close_matches(name[:200], sorted(known), n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(map(repr, near))}?" if near else ""


def shown(value: Any, longest: int = 80) -> str:
    """Return a value that came from a file or a person as a message can hold it: short, and in quotes if it is text."""
    if isinstance(value, str):
        text = repr(value[: longest + 1])
    elif value is None or isinstance(value, bool | int | float):
        try:
            text = repr(value)
        except ValueError:  # Python writes no integers of more than 4,300 digits
            text = "a number of thousands of digits"
    else:
        text = f"a {type(value).__name__}"
    return text if len(text) <= longest + 2 else f"{text[: longest - 3]}..."


def one_line(text: str) -> str:
    """Return text as one line without control characters, cut in the middle where it is too long."""
    if len(text) > LONGEST:
        text = f"{text[: LONGEST // 2]} ... {text[-LONGEST // 3 :]}"
    text = re.sub(r"\s*[\t-\r\x1c-\x1f\x85\u2028\u2029]\s*", " ", text)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
