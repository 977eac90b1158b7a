"""Putting what somebody would make on purpose in a valid input's place, and holding that it is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.fuzz.fuzzer import Fuzzer


def refused(fuzzer: Fuzzer, name: str, change: Callable[[Path], Any], told: str = "") -> Path:
    """Check that the changed input is refused, in words, and that nothing of it was run; return the folder."""
    folder: list[Path] = []
    outcome = fuzzer.check(name, lambda case: (folder.append(case), change(case)))
    assert outcome["end"] == "refused", outcome
    assert told in outcome["message"], outcome["message"]
    assert not list(folder[0].rglob("executed"))
    assert not (folder[0].parent / "executed").exists()
    return folder[0]


def in_place(file: str, put: Callable[[Path], Any]) -> Callable[[Path], None]:
    """A change that removes a file and puts something else there."""

    def change(folder: Path) -> None:
        (folder / file).unlink()
        put(folder / file)

    return change
