"""The plugin of docs/plugins.md, taken out of the page: it is checked by its own test, and its commands work."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import zoo
from zoo.plugins import HOOKS, PluginManager
from zoo.run import RunDirectory

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
    assert "3 passed" in ended.stdout


def test_it_is_built_beside_its_runs_with_the_weights_that_ship(documented: Path, tmp_path: Path) -> None:
    """What `zoo train --out runs/squares` leaves in the folder is not taken for a package."""
    source = tmp_path / "source"
    shutil.copytree(documented, source, ignore=shutil.ignore_patterns("*.dist-info", "__pycache__"))
    (source / "runs").mkdir()
    (source / "runs" / "config.json").write_text("{}")
    (source / "zoo_squares" / "best.safetensors").write_bytes(b"weights")
    of_weights = re.search(r"```toml\n(\[tool\.setuptools\.package-data\]\n.*?)```", PAGE, re.DOTALL)
    assert of_weights
    with (source / "pyproject.toml").open("a") as project:
        project.write(of_weights[1])
    command = [sys.executable, "-m", "pip", "wheel", str(source), "--no-deps", "--no-build-isolation", "--no-index"]
    ended = subprocess.run([*command, "-w", str(tmp_path)], capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info" not in name}
    assert names == {
        *(file.relative_to(documented).as_posix() for file in documented.glob("zoo_squares/*.py")),
        "zoo_squares/best.safetensors",
    }


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
    assert cli(*words).err.splitlines()[-1] == "error: size=4: input should be greater than or equal to 8"


def test_its_dataset_is_asked_about_with_its_settings(cli: Callable[..., Any], installed: None) -> None:
    told = [json.loads(cli("data", "info", "squares", "--json", *words).out) for words in ((), ("--set", "size=20"))]
    assert [info["images"] for info in told] == [13 * 13, 17 * 17]
    assert told[1]["images"] == len(zoo.load_dataset("squares", size=20))


def test_its_loss_anneals(
    cli: Callable[..., Any], installed: None, one_thread: None, small_words: tuple[str, ...], drawn: Path
) -> None:
    for steps in (2, 4):
        words = ["--set", "loss=annealed_ibgan", "--set", "loss.over=3", *small_words, "--set", "log_every=1"]
        go_on = ["--resume"] if steps == 4 else ["--dataset", "dsprites", *words, "--seed", "0"]
        outcome = cli("train", "ibgan", *go_on, "--steps", steps, "--out", "run", "--data-root", drawn)
        assert outcome.code == 0, outcome.err
    log = [json.loads(line) for line in Path("run/metrics.jsonl").read_text().splitlines()]
    assert len(log) == 4
    for record in log:
        weight = min(1, record["step"] / 3)
        assert record["annealed"] == pytest.approx(weight * record["mi_upper"], rel=1e-5)


def test_its_checkpoints_go_to_another_format_and_back(
    cli: Callable[..., Any], installed: None, one_thread: None, tmp_path: Path
) -> None:
    def convert(*words: object) -> Any:
        return cli("convert", "checkpoint", *words)

    assert cli("train", "linear", "--dataset", "squares", "--steps", 3, "--out", "run").code == 0
    for source, out in (("run", "run.npz"), ("run/checkpoints/step-00000003", "one.npz")):
        assert convert(source, "--to", "npz", "--out", out).code == 0
    assert cli("convert", "checkpoint", "run", "--to", "weights", "--out", "best.safetensors").code == 0
    assert convert("best.safetensors", "--to", "npz", "--out", "best.npz").code == 0
    outcome = convert("pretrained:dsprites", "--to", "npz", "--out", "ibgan.npz")
    assert outcome.code == 0, outcome.err

    assert convert("run.npz", "--from", "npz", "--out", "back").code == 0
    model, back = (zoo.load("linear", path) for path in ("run", "back"))
    assert RunDirectory(Path("back")).newest().step == 3  # type: ignore[union-attr]
    for name, weight in model.state_dict().items():
        assert weight.equal(back.get_parameter(name))
        np.testing.assert_array_equal(np.load("one.npz")[name], weight)
    assert cli("eval", "linear", "back", "--metrics", "reconstruction").code == 0
    assert cli("train", "linear", "--resume", "--out", "back", "--steps", 5).code == 0

    for words in (("run", "--to", "npz", "--out", "run.npz"), ("run.npz", "--from", "npz", "--out", "back")):
        assert "exists already; choose another --out" in convert(*words).error
    np.savez(tmp_path / "other.npz", weight=np.zeros(3))
    (tmp_path / "text.npz").write_text("no archive")
    for name in ("other.npz", "text.npz", "ibgan.npz", "missing.npz"):
        assert convert(name, "--from", "npz", "--out", "never").error.startswith(name)
        assert not Path("never").exists()


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
