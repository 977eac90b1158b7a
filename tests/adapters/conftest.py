"""The drawn dSprites, made once a test session (a second, 377 MB)."""

from __future__ import annotations

from pathlib import Path

import pytest
from ibgan_plugin.adapters.dsprites import prepare


@pytest.fixture(autouse=True)
def no_data_of_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test finds the user's own data, and none writes into the user's cache."""
    monkeypatch.delenv("DISENTANGLEMENT_LIB_DATA", raising=False)
    monkeypatch.setenv("ZOO_DATA", str(tmp_path / "zoo-data"))


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root in which dSprites is drawn."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("DISENTANGLEMENT_LIB_DATA", raising=False)
        root = tmp_path_factory.mktemp("data-root")
        prepare(root)
    return root
