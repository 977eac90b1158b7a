from __future__ import annotations

from pathlib import Path

import pytest

from zoo.data_root import data_root


def test_the_flag_goes_before_the_variable_before_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("ZOO_DATA", "~/from-variable")
    assert data_root(Path("~/from-flag")) == tmp_path / "from-flag"
    assert data_root() == tmp_path / "from-variable"
    monkeypatch.setenv("ZOO_DATA", "")
    found = data_root()
    assert found.parts[-2:] == ("ibgan-plugin", "zoo")
    assert tmp_path in found.parents
    assert not found.exists()
