"""docs/figures.md, followed to the letter."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest
from PIL import Image

import zoo.cli

PAGE = Path(__file__).parents[2] / "docs" / "figures.md"
TEXT = PAGE.read_text("utf-8")
COMMANDS = re.findall(r"^\$ zoo (.*)$", TEXT, re.MULTILINE)
(CODE,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


@pytest.fixture
def with_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ibgan_run: Path, vae_run: Path) -> Path:
    """A folder with the runs that the page speaks of."""
    shutil.copytree(ibgan_run, tmp_path / "runs" / "a")
    shutil.copytree(vae_run, tmp_path / "runs" / "b")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_its_commands(with_runs: Path, drawn: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(COMMANDS) >= 8
    for command in COMMANDS:
        words = shlex.split(command.replace("--num 1000", "--num 10"))
        words += ["--images", "4", "--steps", "3"] if words[0] == "report" else []  # the same, smaller
        assert zoo.cli.run(words) == 0, command
        (*_, written) = capsys.readouterr().out.split()
        assert (with_runs / written).exists(), command
    for name in ("traversal.png", "chosen.gif", "samples.png"):
        Image.open(with_runs / name).verify()
    assert len(list((with_runs / "samples").glob("*.png"))) == 10
    assert (with_runs / "shapes.pdf").read_bytes().startswith(b"%PDF")
    assert (with_runs / "runs" / "a" / "figures" / "report.html").is_file()


def test_its_code(with_runs: Path, drawn: Path) -> None:
    exec(compile(CODE, str(PAGE), "exec"), {})

    for name in ("samples.pdf", "traversal.pdf", "reconstructions.pdf", "curves.pdf"):
        assert (with_runs / name).read_bytes().startswith(b"%PDF"), name


def test_its_pictures_are_there_and_small() -> None:
    for link in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", TEXT):
        assert (PAGE.parent / link).stat().st_size < 400_000
