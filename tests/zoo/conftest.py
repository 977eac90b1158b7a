"""Second distributions, the command line in this process and in others, and one small trained run."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import zoo.cli
from zoo.registry import use_registry

DOCUMENTATION = Path(__file__).parents[2] / "docs" / "plugins.md"
SMALL = {"model.ngf": 4, "model.ndf": 4}


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one error line there is."""
        lines = [line for line in self.err.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1, self.err
        assert self.out == ""
        assert "Traceback" not in self.err
        return lines[0].removeprefix("error: ")


@pytest.fixture(autouse=True)
def fresh_registry() -> Iterator[None]:
    """Every test finds the plugins that are installed for it."""
    use_registry(None)
    yield
    use_registry(None)


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Outcome]:
    """Run a command line in this process, in an empty folder, with the plugins that are there when it begins."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(zoo.cli.cli, "commands", dict(zoo.cli.cli.commands))
    monkeypatch.setattr(zoo.cli.cli, "_asked_plugins", False)

    def call(*words: object) -> Outcome:
        capsys.readouterr()
        code = zoo.cli.run([str(word) for word in words])
        return Outcome(code, *capsys.readouterr())

    return call


@pytest.fixture
def run(start: Callable[..., subprocess.Popen[str]]) -> Callable[..., Outcome]:
    """Run a command line in another process to its end."""

    def call(*words: object, path: Sequence[Path] = (), env: Mapping[str, str] = {}) -> Outcome:
        process = start(*words, path=path, env=env)
        out, err = process.communicate(timeout=120)
        return Outcome(process.returncode, out, err)

    return call


def make_distribution(
    root: Path, name: str, version: str, plugins: Mapping[str, str], files: Mapping[str, str]
) -> Path:
    """Write a distribution as an installer leaves it: modules, and a dist-info with its entry points."""
    described = root / f"{name.replace('-', '_')}-{version}.dist-info"
    described.mkdir(parents=True)
    (described / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    entries = "".join(f"{plugin} = {module}\n" for plugin, module in plugins.items())
    (described / "entry_points.txt").write_text(f"[zoo]\n{entries}")
    for file, text in files.items():
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_text(text)
    return root


@pytest.fixture
def distribution(tmp_path: Path) -> Callable[..., Path]:
    """Make a distribution of one module; it has to be put on a path."""

    def make(name: str, module: str, plugin: str | None = None, version: str = "1.0") -> Path:
        module_name = name.replace("-", "_")
        plugins = {plugin or name: module_name}
        return make_distribution(tmp_path / "site" / name, name, version, plugins, {f"{module_name}.py": module})

    return make


@pytest.fixture(scope="session")
def documented(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The distribution that docs/plugins.md goes through, taken out of it."""
    import tomllib

    blocks = re.findall(r"```(?:python|toml)\n# file: (\S+)\n(.*?)```", DOCUMENTATION.read_text("utf-8"), re.DOTALL)
    files = {**dict(blocks), "zoo_squares/__init__.py": ""}
    project = tomllib.loads(files["pyproject.toml"])["project"]
    root = tmp_path_factory.mktemp("documented")
    plugins = project["entry-points"]["zoo"]
    return make_distribution(root, project["name"], project["version"], plugins, files)


@pytest.fixture(scope="session")
def small() -> dict[str, Any]:
    """Settings of a small IB-GAN."""
    return dict(SMALL)


@pytest.fixture(scope="session")
def trained(one_thread: None, drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small IB-GAN after 6 steps on dSprites, with checkpoints at 2, 4 and 6; not to be written to."""
    out = tmp_path_factory.mktemp("trained") / "run"
    more = {"batch_size": 8, "save_every": 2, "log_every": 1, "device": "cpu", "precision": "fp32"}
    zoo.train("ibgan", "dsprites", out=out, steps=6, seed=3, settings=SMALL, data_root=drawn, **more)
    return out


@pytest.fixture
def run_copy(trained: Path, tmp_path: Path) -> Path:
    """A copy of the trained run, to be written to."""
    return Path(shutil.copytree(trained, tmp_path / "copy"))
