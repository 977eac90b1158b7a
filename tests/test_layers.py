"""Who may import whom, read from the sources: imports inside functions and those for type checkers count as well."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from zoo.registry import default_registry

ROOT = Path(__file__).parents[1]
FOLDERS = {  # as they are imported
    "zoo": "zoo",
    "ibgan_plugin": "ibgan_plugin",
    "adapters": "ibgan_plugin.adapters",
    "evaluation": "ibgan_plugin.evaluation",
}
OURS = {"zoo", "ibgan_plugin", "adapters", "evaluation", "tests", "benchmarks"}
HEAVY = {"torch", "torchvision", "numpy", "scipy", "sklearn", "h5py", "PIL", "matplotlib", "pydantic", "rich"}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def sources(folder: str) -> Iterator[tuple[str, str]]:
    """Yield (module name, text) of every module of a folder."""
    for file in sorted((ROOT / folder).rglob("*.py")):
        parts = file.relative_to(ROOT / folder).with_suffix("").parts
        module = ".".join([FOLDERS[folder], *(part for part in parts if part != "__init__")])
        yield module, file.read_text("utf-8")


def imports(module: str, text: str, *, package: bool = False) -> set[str]:
    """Return the absolute names of all that a module imports; of `from a import b` both a and a.b."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            start = module.split(".") if package else module.split(".")[:-1]
            start = start[: len(start) - node.level + 1] if node.level else []
            origin = ".".join([*start, *filter(None, [node.module])])
            found |= {origin} | {f"{origin}.{alias.name}" for alias in node.names}
    return found


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def outside(module: str, text: str, allowed: tuple[str, ...]) -> set[str]:
    """Return what a module imports of this project beyond the packages it may import."""
    found = {name for name in imports(module, text) if name.partition(".")[0] in OURS}
    # `from ibgan_plugin import adapters` imports the package above; what counts is what is taken out of it.
    found -= {name for name in found if any(within(package, name) and package != name for package in allowed)}
    return {name for name in found if not any(within(name, package) for package in allowed)}


ALLOWED = {
    "zoo": ("zoo",),
    "adapters": ("zoo", "ibgan_plugin.adapters"),
    "evaluation": ("zoo", "ibgan_plugin.evaluation"),
}


@pytest.mark.parametrize("folder", ALLOWED)
def test_a_room_imports_what_it_may(folder: str) -> None:
    modules = list(sources(folder))
    assert len(modules) > 5
    assert {module: found for module, text in modules if (found := outside(module, text, ALLOWED[folder]))} == {}


def test_the_host_names_no_model_dataset_or_metric() -> None:
    registry = default_registry()
    names = {name for kind in ("models", "datasets", "metrics") for name in registry.names(kind)}
    assert {"ibgan", "dsprites", "factorvae"} <= names
    for module, text in sources("zoo"):
        constants = {node.value for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Constant)}
        assert not names & {value for value in constants if isinstance(value, str)}, module


def test_models_know_neither_datasets_nor_metrics() -> None:
    for module, text in sources("ibgan_plugin"):
        names = imports(module, text)
        assert not any(within(name, FOLDERS[room]) for name in names for room in ("adapters", "evaluation")), module


@pytest.mark.parametrize(
    ("folder", "code", "found"),
    [
        ("zoo", "import ibgan_plugin", {"ibgan_plugin"}),
        ("zoo", "def f():\n    from ibgan_plugin.model import GAN", {"ibgan_plugin.model", "ibgan_plugin.model.GAN"}),
        ("zoo", "from zoo import run\nimport zoo.run, numpy, os", set()),
        ("zoo", "from . import run", set()),
        ("adapters", "from zoo import run", set()),
        ("adapters", "from ibgan_plugin.adapters import store\nfrom ibgan_plugin import adapters", set()),
        ("adapters", "from ibgan_plugin import evaluation", {"ibgan_plugin.evaluation"}),
        ("adapters", "from ..evaluation import mig", {"ibgan_plugin.evaluation", "ibgan_plugin.evaluation.mig"}),
        ("adapters", "from .. import model", {"ibgan_plugin.model"}),
        ("adapters", "from . import store", set()),
        ("adapters", "import adapters.store", {"adapters.store"}),
        ("evaluation", "import ibgan_plugin.adapters.store", {"ibgan_plugin.adapters.store"}),
        ("evaluation", "import ibgan_plugin.evaluations", {"ibgan_plugin.evaluations"}),
        ("evaluation", "if 1:\n    import ibgan_plugin.losses as losses", {"ibgan_plugin.losses"}),
    ],
)  # fmt: skip
def test_the_check_sees(folder: str, code: str, found: set[str]) -> None:
    assert outside(f"{FOLDERS[folder]}.module", code, ALLOWED[folder]) == found


@pytest.mark.parametrize("module", sorted(PROJECT["entry-points"]["zoo"].values()))
def test_a_plugin_module_imports_nothing_heavy(module: str) -> None:
    program = f"import sys, {module}; print(*sorted({HEAVY!r} & set(sys.modules)))"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == ""


def calls(text: str) -> Iterator[tuple[str, ast.Call]]:
    """Yield every call as (dotted name, node)."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def test_targets_are_imported_in_one_place() -> None:
    importing = {
        module
        for folder in FOLDERS
        for module, text in sources(folder)
        for name, _ in calls(text)
        if name.rpartition(".")[2] in ("import_module", "__import__")
    }
    assert importing == {"zoo.registry"}


def test_nothing_is_unpickled() -> None:
    for folder in FOLDERS:
        for module, text in sources(folder):
            assert not {"cPickle", "cloudpickle", "dill", "joblib", "shelve"} & imports(module, text), module
            for name, call in calls(text):
                # A name to look for in the sources, not a call.
                assert name not in ("pickle.load", "pickle.loads", "pickle.Unpickler"), module
                given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
                if name in ("torch.load", "load_url", "torch.hub.load_state_dict_from_url"):
                    assert given.get("weights_only") == "True", f"{module}: {ast.unparse(call)}"
                assert given.get("allow_pickle", "False") == "False", f"{module}: {ast.unparse(call)}"
