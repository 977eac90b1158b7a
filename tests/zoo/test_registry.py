"""Names -> specs -> targets."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from zoo import hookimpl
from zoo.errors import AmbiguousNameError, PluginError, UnknownNameError, UsageError
from zoo.plugins import PluginManager
from zoo.registry import Registry, default_registry, resolve, use_registry
from zoo.specs import DatasetSpec, LossSpec, MetricSpec, ModelSpec


class Provider:
    """A plugin of metrics and losses."""

    def __init__(self, *names: str) -> None:
        self.names, self.asked = names, 0

    @hookimpl
    def zoo_metrics(self) -> list[MetricSpec]:
        self.asked += 1
        return [MetricSpec(name, f"not.imported.{name}:metric") for name in self.names]


A_SPEC = ModelSpec("spec", "json:loads", loss="some_loss")


@pytest.fixture
def registry() -> Registry:
    manager = PluginManager([])
    manager.register(Provider("mig", "factorvae", "shared"), "one", "first-dist", "1.0")
    manager.register(Provider("dci", "shared"), "two", "second-dist", "2.0")
    return Registry(manager)


def test_names_are_sorted_and_keep_their_providers(registry: Registry) -> None:
    assert registry.names("metrics") == ["dci", "factorvae", "mig", "shared"]
    assert registry.names("models") == []
    listed = [(spec.name, plugin.name) for plugin, spec in registry.entries("metrics")]
    assert listed == [("dci", "two"), ("factorvae", "one"), ("mig", "one"), ("shared", "one"), ("shared", "two")]


def test_a_name_gives_its_spec_and_imports_nothing(registry: Registry) -> None:
    assert registry.spec(MetricSpec, "mig").target == "not.imported.mig:metric"
    assert "not" not in sys.modules


def test_plugins_are_asked_once() -> None:
    manager, provider = PluginManager([]), Provider("mig")
    manager.register(provider, "one")
    registry = Registry(manager)
    assert provider.asked == 0
    for _ in range(3):
        registry.names("metrics")
        registry.spec(MetricSpec, "mig")
    assert provider.asked == 1


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("factorvea", "unknown metric 'factorvea'; did you mean 'factorvae'?"),
        ("MIG", "unknown metric 'MIG'; there are: dci, factorvae, mig, shared"),
        ("", "unknown metric ''; there are: dci, factorvae, mig, shared"),
    ],
)
def test_an_unknown_name_tells_the_near_ones_or_all(registry: Registry, name: str, told: str) -> None:
    with pytest.raises(UnknownNameError) as raised:
        registry.spec(MetricSpec, name)
    assert str(raised.value) == told


def test_where_nothing_is_registered(registry: Registry) -> None:
    with pytest.raises(UnknownNameError, match=r"^unknown loss 'x'; none is registered$"):
        registry.spec(LossSpec, "x")
    with pytest.raises(UnknownNameError, match=r"^unknown kind 'metric'; did you mean 'metrics'"):
        registry.names("metric")


def test_an_ambiguous_name_tells_both_providers(registry: Registry) -> None:
    with pytest.raises(AmbiguousNameError) as raised:
        registry.spec(MetricSpec, "shared")
    assert str(raised.value) == (
        "metric 'shared' is registered by plugin 'one' (first-dist 1.0) and plugin 'two' (second-dist 2.0); "
        "switch one off with ZOO_DISABLE_PLUGINS"
    )
    assert raised.value.exit_code == 1


def test_an_import_path_that_was_typed(registry: Registry) -> None:
    spec = registry.spec(DatasetSpec, "json:loads")
    assert (spec.name, spec.target, type(spec)) == ("json:loads", "json:loads", DatasetSpec)
    assert registry.spec(MetricSpec, f"{__name__}:A_SPEC").target == f"{__name__}:A_SPEC"  # of another kind: the target
    assert not registry.spec(MetricSpec, "json:loads").needs_factors  # it is asked, and may say so itself
    with pytest.raises(UnknownNameError, match=r"^json:lods: json has no 'lods'; did you mean 'loads'"):
        registry.spec(MetricSpec, "json:lods")  # misspelt by a person, not a plugin's fault


def test_an_import_path_to_a_spec_is_that_spec(registry: Registry) -> None:
    assert registry.spec(ModelSpec, f"{__name__}:A_SPEC") is A_SPEC


def test_an_import_path_in_a_file_is_refused_and_not_imported(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "from_a_file.py").write_text(f"open({str(tmp_path / 'imported')!r}, 'w').close()\nthing = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UnknownNameError, match=r"unknown loss 'from_a_file:thing'.*type the name yourself"):
        registry.spec(LossSpec, "from_a_file:thing", typed=False)
    assert not (tmp_path / "imported").exists()
    registry.spec(LossSpec, "from_a_file:thing")
    assert (tmp_path / "imported").exists()


@pytest.mark.parametrize(
    ("target", "error", "told"),
    [
        ("json", UsageError, "'json' is no target: expected package.module:attribute"),
        (":loads", UsageError, "':loads' is no target: expected package.module:attribute"),
        ("json:", UsageError, "'json:' is no target: expected package.module:attribute"),
        ("json:lods", PluginError, "json:lods: json has no 'lods'; did you mean 'loads'"),
        ("json.lods:x", PluginError, "cannot import json.lods:x: No module named 'json.lods'; is its package"),
        ("failing_module:x", PluginError, "cannot import failing_module:x: ZeroDivisionError: division by zero"),
    ],
)
def test_a_target_that_is_not_there(
    target: str, error: type[Exception], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "failing_module.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(error) as raised:
        resolve(target)
    assert str(raised.value).startswith(told)


def test_a_target_may_be_an_attribute_of_an_attribute() -> None:
    assert resolve("pathlib:Path.home") == Path.home


def test_the_default_registry_is_loaded_once_and_can_be_replaced(registry: Registry) -> None:
    assert default_registry() is default_registry()
    use_registry(registry)
    assert default_registry() is registry


def test_listing_the_installed_plugins_imports_no_target(run: Callable[..., Any]) -> None:
    assert run("list").code == 0
    registry = default_registry()
    for kind in ("models", "losses", "trainers", "datasets", "metrics"):
        assert registry.names(kind), kind
