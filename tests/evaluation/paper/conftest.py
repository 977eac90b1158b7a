"""The command line in this process, with the plugins that are installed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import zoo.cli


@pytest.fixture
def reproduce(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., tuple[int, str, str]]:
    """Run `zoo reproduce` in an empty folder; return its code and what it printed."""
    monkeypatch.chdir(tmp_path)

    def call(*words: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = zoo.cli.run(["reproduce", *map(str, words)])
        return (code, *capsys.readouterr())

    return call
