"""What all tests share: no data of the user's, and dSprites drawn once (377 MB) and kept beside pytest's cache."""

from __future__ import annotations

from pathlib import Path

import pytest

from ibgan_plugin.adapters.dsprites import prepare


@pytest.fixture(scope="session")
def data_root(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root that stays from one session to the next; a store of another renderer's version is made anew."""
    cache = getattr(pytestconfig, "cache", None)  # absent with -p no:cacheprovider
    return Path(cache.mkdir("zoo-data")) if cache else tmp_path_factory.mktemp("zoo-data")


@pytest.fixture(scope="session")
def drawn(data_root: Path) -> Path:
    """A data root in which dSprites is drawn."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("DISENTANGLEMENT_LIB_DATA", raising=False)
        prepare(data_root)
    return data_root


@pytest.fixture(autouse=True)
def no_data_of_the_user(monkeypatch: pytest.MonkeyPatch, data_root: Path) -> None:
    """No test finds the user's own data or settings, and none writes into the user's cache."""
    monkeypatch.setenv("ZOO_DATA", str(data_root))
    for variable in ("DISENTANGLEMENT_LIB_DATA", "ZOO_DEBUG", "ZOO_DISABLE_PLUGINS", "ZOO_STRICT_PLUGINS"):
        monkeypatch.delenv(variable, raising=False)
