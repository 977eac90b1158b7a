"""Pages of the small runs, made and read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ibgan_plugin.evaluation.report import write_report
from tests.evaluation.report.pages import SMALL, Page


@pytest.fixture(scope="session")
def alone(ibgan_run: Path, drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Page:
    """The page of the IB-GAN run."""
    out = tmp_path_factory.mktemp("page") / "page.html"
    return Page(write_report([ibgan_run], out, data_root=drawn, **SMALL))


@pytest.fixture(scope="session")
def together(ibgan_run: Path, vae_run: Path, drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Page:
    """The page of the IB-GAN run and the VAE's, which has no score."""
    out = tmp_path_factory.mktemp("page") / "page.html"
    return Page(write_report([ibgan_run, vae_run], out, data_root=drawn, **SMALL))


@pytest.fixture
def report(tmp_path: Path, drawn: Path) -> Callable[..., Page]:
    """Make a page of runs and read it."""

    def make(*runs: Path, **options: Any) -> Page:
        path = write_report(runs, tmp_path / "page.html", **(SMALL | {"data_root": drawn} | options))
        assert path == tmp_path / "page.html"
        return Page(path)

    return make
