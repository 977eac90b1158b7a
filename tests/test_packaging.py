"""What is installed: the package list, written by hand, against the tree, and a wheel that is really built."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from email import message_from_string
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
FOLDERS = {
    "zoo": "zoo",
    "ibgan_plugin": "ibgan_plugin",
    "adapters": "ibgan_plugin/adapters",
    "evaluation": "ibgan_plugin/evaluation",
}


def tree() -> dict[str, Path]:
    """Every file of the packages, by the path it has to be installed under."""
    return {
        f"{installed}/{file.relative_to(ROOT / folder).as_posix()}": file
        for folder, installed in FOLDERS.items()
        for file in (ROOT / folder).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }


def test_the_package_list_is_the_tree() -> None:
    setuptools = PYPROJECT["tool"]["setuptools"]
    packages = {path.rpartition("/")[0].replace("/", ".") for path in tree() if path.endswith(".py")}
    assert sorted(setuptools["packages"]) == sorted(packages)
    assert setuptools["package-dir"] == {name.replace("/", "."): folder for folder, name in FOLDERS.items()}


def test_every_package_says_so() -> None:
    for package in PYPROJECT["tool"]["setuptools"]["packages"]:
        assert f"{package.replace('.', '/')}/__init__.py" in tree(), package


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel, built from a copy so that nothing is left in the checkout."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for folder in (*FOLDERS, "tests"):
        shutil.copytree(ROOT / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "pip", "wheel", str(source), "--no-deps", "--no-build-isolation", "-w", str(out)]
    ended = subprocess.run([*command, "--no-index"], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def unpacked(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel as an installer would lay it out."""
    folder = tmp_path_factory.mktemp("unpacked")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def described(unpacked: Path, file: str) -> str:
    (found,) = unpacked.glob(f"*.dist-info/{file}")
    return found.read_text("utf-8")


def test_the_wheel_holds_two_packages_and_nothing_else(unpacked: Path) -> None:
    version = PYPROJECT["project"]["version"]
    assert {entry.name for entry in unpacked.iterdir()} == {"zoo", "ibgan_plugin", f"ibgan_plugin-{version}.dist-info"}
    assert described(unpacked, "top_level.txt").split() == ["ibgan_plugin", "zoo"]


def test_the_wheel_holds_every_file_of_the_tree(unpacked: Path) -> None:
    installed = {
        file.relative_to(unpacked).as_posix()
        for package in ("zoo", "ibgan_plugin")
        for file in (unpacked / package).rglob("*")
        if file.is_file()
    }
    assert installed == set(tree())
    for path, file in tree().items():
        assert (unpacked / path).read_bytes() == file.read_bytes(), path


def test_the_wheel_has_the_entry_points(unpacked: Path) -> None:
    import configparser

    parser = configparser.ConfigParser()
    parser.read_string(described(unpacked, "entry_points.txt"))
    assert dict(parser["zoo"]) == PYPROJECT["project"]["entry-points"]["zoo"]
    assert set(parser["zoo"]) == {"ibgan", "baselines", "adapters", "evaluation"}
    assert dict(parser["console_scripts"]) == {"zoo": "zoo.cli:main"}


def test_the_wheel_describes_itself(unpacked: Path) -> None:
    metadata = message_from_string(described(unpacked, "METADATA"))
    assert (metadata["Name"], metadata["License-Expression"]) == ("ibgan-plugin", "MIT")
    assert metadata["Requires-Python"] == PYPROJECT["project"]["requires-python"]
    required = [r.partition(";")[0].strip() for r in metadata.get_all("Requires-Dist", []) if "extra ==" not in r]
    assert sorted(required) == sorted(PYPROJECT["project"]["dependencies"])


def test_the_wheel_works(unpacked: Path, tmp_path: Path) -> None:
    program = (
        "import json, sys, zoo, zoo.registry, ibgan_plugin, ibgan_plugin.adapters, ibgan_plugin.evaluation\n"
        "registry = zoo.registry.default_registry()\n"
        "targets = [spec.target for kind in ('models', 'datasets', 'metrics', 'losses', 'trainers', 'converters')\n"
        "           for _, spec in registry.entries(kind)]\n"
        "files = {sys.modules[zoo.registry.resolve(t).__module__].__file__ for t in targets}\n"
        "plugins = {p.name: p.status for p in registry.plugins.plugins}\n"
        "print(json.dumps([zoo.__file__, sorted(files), plugins]))"
    )
    environment = os.environ | {"PYTHONPATH": str(unpacked), "ZOO_STRICT_PLUGINS": "1"}
    command = [sys.executable, "-c", program]
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    file, targets, plugins = json.loads(ended.stdout)
    assert all(Path(path).is_relative_to(unpacked) for path in [file, *targets])
    assert plugins == dict.fromkeys(("adapters", "baselines", "evaluation", "ibgan"), "ok")
