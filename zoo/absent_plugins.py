"""The plugins that a run was made with and that are not installed here: an unknown name of its may be of one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from zoo.errors import UnknownNameError, shown

if TYPE_CHECKING:
    from zoo.config import RunConfig

_NO_DISTRIBUTION = ("python",)  # of what a run records the versions of


@contextmanager
def naming_absent_plugins(config: RunConfig) -> Iterator[None]:
    """Add to an UnknownNameError which distributions the run was made with that are not installed here."""
    try:
        yield
    except UnknownNameError as error:
        absent = _absent(config)
        if not absent:
            raise
        raise UnknownNameError(f"{error}; the run was made with {', '.join(absent)}, not installed here") from error


def _absent(config: RunConfig) -> list[str]:
    """Name and version, as recorded at the run's latest start; a file from elsewhere may hold anything there."""
    match list(config.made_by.values())[-1:]:
        case [{"versions": dict(versions)}]:
            recorded = {str(name): then for name, then in versions.items() if name not in _NO_DISTRIBUTION}
            return [f"{shown(name)[1:-1]} {shown(then)[1:-1]}" for name, then in recorded.items() if _is_absent(name)]
    return []


def _is_absent(distribution: str) -> bool:
    try:
        version(distribution)
    except (PackageNotFoundError, ValueError):  # ValueError: no name at all
        return True
    return False
