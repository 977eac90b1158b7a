"""The adapters' tests start with an empty data root; those that need dSprites ask for `drawn`."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def no_data_of_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test finds the user's own data, and none writes into the user's cache."""
    monkeypatch.delenv("DISENTANGLEMENT_LIB_DATA", raising=False)
    monkeypatch.setenv("ZOO_DATA", str(tmp_path / "zoo-data"))
