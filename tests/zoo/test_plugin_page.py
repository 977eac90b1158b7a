"""The plugin of docs/plugins.md, taken out of the page: it is checked by its own test, and its commands work."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import zoo
from zoo.plugins import HOOKS, PluginManager

PAGE = (Path(__file__).parents[2] / "docs" / "plugins.md").read_text("utf-8")
COMMANDS = re.findall(r"^\$ (zoo .*)$", PAGE, re.MULTILINE)


@pytest.fixture
def installed(documented: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(documented)


def test_it_has_every_hook(installed: None) -> None:
    plugin = next(p for p in PluginManager.from_environment().plugins if p.name == "squares")
    assert (plugin.hooks, plugin.status, plugin.error) == (HOOKS, "ok", "")


def test_its_own_test_passes(documented: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(documented), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", "tests/test_squares.py"]
    ended = subprocess.run(command, cwd=documented, env=environment, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "2 passed" in ended.stdout


def test_its_commands(cli: Callable[..., Any], installed: None, one_thread: None, tmp_path: Path) -> None:
    printed = {}
    for command in COMMANDS:
        outcome = cli(*shlex.split(command)[1:])
        assert outcome.code == 0, outcome.err
        printed[command.split()[1]] = outcome.out
    assert list(printed) == ["train", "eval", "convert", "data", "draw-square"]

    document = json.loads(printed["eval"])
    assert document["errors"] == {}
    score = document["metrics"]["reconstruction"]["score"]
    model, data = zoo.load("linear", "runs/squares"), zoo.load_dataset("squares")
    images = data.images(np.arange(len(data)))
    spread = (images / 255).var(axis=0).mean()  # the error of the best constant picture
    fresh = zoo.load_metric("reconstruction")(zoo.load("linear", dataset="squares"), data)["score"]
    assert score < spread < fresh
    assert model.generate(2).shape == (2, 1, 16, 16)
    np.testing.assert_array_equal(np.load(tmp_path / "squares.npy"), images)
    assert printed["draw-square"].splitlines() == ["####" + "." * 12] * 4 + ["." * 16] * 12
    assert "drawn in memory" in printed["data"]


def test_a_dataset_is_converted_with_its_settings(cli: Callable[..., Any], installed: None, tmp_path: Path) -> None:
    words = ["convert", "dataset", "squares", "--to", "npy", "--set", "size=8", "--out", tmp_path / "small.npy"]
    assert cli(*words).code == 0
    np.testing.assert_array_equal(
        np.load(tmp_path / "small.npy"), (data := zoo.load_dataset("squares", size=8)).images(np.arange(len(data)))
    )
    words[6] = "size=4"
    assert cli(*words).err.splitlines()[-1] == "error: dataset.size=4: input should be greater than or equal to 8"


def test_what_it_shows_without_a_plugin(
    cli: Callable[..., Any],
    documented: Path,
    one_thread: None,
    tmp_path: Path,
    small_words: tuple[str, ...],
    drawn: Path,
) -> None:
    """In a file of the current folder. Of the 480,000 images of 3D Shapes, fewer values make a few."""
    text = (documented / "mine.py").read_text()
    (tmp_path / "mine.py").write_text(text.replace("(10, 10, 10, 8, 4, 15)", "(2, 2, 3, 2, 2, 2)"))
    pixels = np.random.default_rng(0).integers(0, 256, (96, 64, 64, 3), dtype=np.uint8)
    np.save(tmp_path / "shapes3d.npy", pixels)
    section = PAGE[PAGE.index("## Without a plugin") : PAGE.index("## A plugin")]
    commands = [shlex.split(line)[1:] for line in re.findall(r"^zoo .*$", section, re.MULTILINE)]
    here = ("--data-root", drawn)
    briefly = (
        ("--steps", "2", *small_words, *here),
        ("--steps", "3", *here),
        ("--json", "--set", "mi_bounds.num=8", *here),
        ("--steps", "2", "--set", "batch_size=4"),
        ("--json", "--set", "factorvae.votes=20", "--set", "mig.num_train=100"),
    )
    found = []
    for words, more in zip(commands, briefly, strict=True):
        outcome = cli(*words, *more)
        assert outcome.code == 0, outcome.err
        found.append(outcome.out)
    log = json.loads((tmp_path / "runs/capacity/metrics.jsonl").read_text().splitlines()[-1])
    assert log["off_capacity"] == pytest.approx(abs(log["mi_upper"] - 4), abs=1e-4)
    scores = json.loads(found[2])["metrics"]
    model = zoo.load("ibgan", tmp_path / "runs/capacity")
    assert scores["mine:brightness"]["score"] == pytest.approx(float(model.generate(64, seed=0).mean()), abs=1e-6)
    assert json.loads(found[4])["metrics"].keys() == {"factorvae", "mig"}
