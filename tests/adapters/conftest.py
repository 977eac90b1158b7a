"""The adapters' tests start with an empty data root; those that need dSprites ask for `drawn`."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def no_data_of_the_user(no_data_of_the_user: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As everywhere, and a data root of each test's own."""
    monkeypatch.setenv("ZOO_DATA", str(tmp_path / "zoo-data"))
