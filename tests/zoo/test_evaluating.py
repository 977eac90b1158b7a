"""Scoring: each metric on its own, settings checked before anything is computed."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from pydantic import PositiveInt

from zoo import hookimpl
from zoo.errors import AmbiguousNameError, MetricError, PluginError, SettingError, UnknownNameError, UsageError
from zoo.evaluating import check_metrics, score
from zoo.plugins import PluginManager
from zoo.registry import Registry
from zoo.scores import lower_is_better, published
from zoo.specs import MetricSpec
from zoo.testing import TinyImages


def counts(model: Any, data: Any, seed: int = 0, *, times: PositiveInt = 2) -> dict[str, Any]:
    return {"score": len(data) * times + seed, "protocol": {"times": times}}


def returns(result: Any) -> Any:
    return lambda model, data, seed=0: result


def raises(error: BaseException) -> Any:
    def metric(model: Any, data: Any, seed: int = 0) -> Any:
        raise error

    return metric


def placed(model: Any, data: Any, seed: int = 0, *, data_root: Path | None = None) -> dict[str, Any]:
    return {"score": 0, "protocol": {}, "root": str(data_root)}


def prints(model: Any, data: Any, seed: int = 0) -> dict[str, Any]:
    print("on its way")  # noqa: T201  # as another plugin's metric may
    return {"score": 1, "protocol": {}}


METRICS = {
    "placed": placed,
    "prints": prints,
    "exits": raises(SystemExit(3)),
    "counts": counts,
    "undefined": raises(MetricError("not defined for this")),
    "key": raises(KeyError("lost")),
    "memory": raises(MemoryError()),
    "attribute": raises(AttributeError("two\nlines")),
    "nothing": returns(None),
    "no_score": returns({"protocol": {}}),
    "no_protocol": returns({"score": 1.0}),
    "nan": returns({"score": float("nan"), "protocol": {}}),
    "nan_beside": returns({"score": 0.5, "protocol": {}, "more": float("nan")}),
    "numpy": returns({"score": np.float32(0.5), "protocol": {}}),
    "array": returns({"score": 0.5, "protocol": {}, "more": np.zeros(2)}),
    "none": returns({"score": None, "protocol": {}, "reason": "no dimension is active"}),
}


class Metrics:
    @hookimpl
    def zoo_metrics(self) -> list[MetricSpec]:
        named = [MetricSpec(name, f"some_metrics:{name}") for name in METRICS]
        return [
            *named,
            MetricSpec("free", "some_metrics:counts", needs_factors=False, published={("ibgan", "dsprites"): 0.8}),
            MetricSpec("down", "some_metrics:counts", lower_is_better=True),
            MetricSpec("missing", "no_such_module:metric"),
            MetricSpec("twice", "a:b"),
            MetricSpec("twice", "a:c"),
        ]


class NoTruth(TinyImages):
    name = "no truth"
    factor_names = None  # type: ignore[assignment]  # a dataset without ground truth
    factor_sizes = None  # type: ignore[assignment]  # likewise

    def __len__(self) -> int:
        return 10


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Registry:
    module = ModuleType("some_metrics")
    vars(module).update(METRICS)
    monkeypatch.setitem(sys.modules, "some_metrics", module)
    manager = PluginManager([])
    manager.register(Metrics(), "metrics")
    return Registry(manager)


DATA = TinyImages((8, 8, 1))


def test_results_come_in_order_with_their_settings_and_seed(registry: Registry) -> None:
    results, errors = score(registry, None, DATA, ["free", "counts"], 3, {"counts": {"times": 10}})
    assert errors == {}
    assert list(results.items()) == [
        ("free", {"score": 99, "protocol": {"times": 2}}),
        ("counts", {"score": 483, "protocol": {"times": 10}}),
    ]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("undefined", "not defined for this"),
        ("key", "KeyError: 'lost'"),
        ("memory", "MemoryError:"),
        ("attribute", "AttributeError: two lines"),
        ("nothing", "returned None, expected a dict with score and protocol"),
        ("no_score", "returned {'protocol': {}}, expected a dict with score and protocol"),
        ("no_protocol", "returned {'score': 1.0}, expected a dict with score and protocol"),
        ("nan", "returned the score nan, expected a finite number or None"),
        ("nan_beside", "returned 'more', which is no plain JSON: Out of range float values are not JSON compliant"),
        ("exits", "SystemExit: 3"),
        ("numpy", "returned a score of type float32, expected a number or None"),
        ("array", "returned 'more', which is no plain JSON: Object of type ndarray is not JSON serializable"),
        ("missing", "cannot import no_such_module:metric: No module named 'no_such_module'; is its package"),
    ],
)
def test_a_failing_metric_costs_its_own_score_only(registry: Registry, name: str, told: str) -> None:
    names = ["counts", name, "none"]
    wanted = check_metrics(registry, names, {})
    results, errors = score(registry, None, DATA, names, 0, wanted)
    assert list(results) == ["counts", "none"]
    assert results["none"]["score"] is None
    assert list(errors) == [name]
    assert errors[name].startswith(told)
    assert "\n" not in errors[name]


def test_what_a_metric_prints_is_no_result(registry: Registry, capsys: pytest.CaptureFixture[str]) -> None:
    assert score(registry, None, DATA, ["prints"], 0, {})[1] == {}
    assert capsys.readouterr() == ("", "on its way\n")


def test_settings_by_dotted_names_are_told_how_they_are_written(registry: Registry) -> None:
    with pytest.raises(UsageError, match=r"settings for 'counts\.times', .*; write {\"counts\": {\"times\": \.\.\.}}$"):
        check_metrics(registry, ["counts"], {"counts.times": {}})


def test_an_interrupt_is_no_failure_of_a_metric(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("some_metrics.counts", raises(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        score(registry, None, DATA, ["counts"], 0, {})


def test_a_metric_with_files_of_its_own_is_told_the_data_root(registry: Registry, tmp_path: Path) -> None:
    found = score(registry, None, DATA, ["placed", "counts"], 0, {}, tmp_path)[0]
    assert found["placed"]["root"] == str(tmp_path)
    other = {"placed": {"data_root": str(tmp_path / "other")}}
    assert score(registry, None, DATA, ["placed"], 0, other, tmp_path)[0]["placed"]["root"] == str(tmp_path / "other")


def test_ground_truth_where_it_is_needed(registry: Registry) -> None:
    results, errors = score(registry, None, NoTruth((8, 8, 1)), ["counts", "free"], 0, {})
    assert errors == {"counts": "needs ground-truth factors, which no truth does not have"}
    assert results["free"]["score"] == 20


@pytest.mark.parametrize(
    ("names", "settings", "error", "told"),
    [
        ([], {}, UsageError, "no metric named"),
        (["counst"], {}, UnknownNameError, "unknown metric 'counst'; did you mean 'counts'"),
        (["twice"], {}, AmbiguousNameError, "metric 'twice' is registered by plugin 'metrics'"),
        (["counts"], {"counts": {"times": 0}}, SettingError, "counts.times=0: input should be greater than 0"),
        (
            ["counts"],
            {"counts": {"tims": 1}},
            SettingError,
            "unknown setting 'counts.tims'; did you mean 'counts.times",
        ),
        (["counts"], {"free": {}}, UsageError, "settings for 'free', which is not among the metrics asked for"),
        (["no_such_module:x"], {}, PluginError, "cannot import no_such_module:x"),
    ],
)
def test_what_is_wrong_shows_before_anything_is_computed(
    registry: Registry, names: list[str], settings: dict[str, Any], error: type[Exception], told: str
) -> None:
    with pytest.raises(error) as raised:
        check_metrics(registry, names, settings)
    assert str(raised.value).startswith(told)


def test_what_the_paper_reports(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    assert published(registry, "free", "ibgan", "dsprites") == 0.8
    assert published(registry, "free", "ibgan", "celeba") is None
    spec = MetricSpec("s", "some_metrics:counts", published={("ibgan", "dsprites"): 0.8})
    monkeypatch.setattr("some_metrics.SPEC", spec, raising=False)
    assert published(registry, "some_metrics:SPEC", "ibgan", "dsprites", typed=True) == 0.8


def test_which_way_a_metric_goes(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    assert lower_is_better(registry, "down")
    assert not lower_is_better(registry, "free")
    monkeypatch.setattr(
        "some_metrics.SPEC", MetricSpec("s", "some_metrics:counts", lower_is_better=True), raising=False
    )
    assert lower_is_better(registry, "some_metrics:SPEC", typed=True)


@pytest.mark.parametrize("name", ["twice", "gone", "some_metrics:SPEC", "no_such_module:x"])
def test_of_a_metric_that_is_not_known_here_nothing_is_said_and_nothing_imported(registry: Registry, name: str) -> None:
    """It scored a run elsewhere, or under another set of plugins; its name stands in a file."""
    assert published(registry, name, "ibgan", "dsprites") is None
    assert not lower_is_better(registry, name)


def test_a_traceback_is_shown_where_it_is_asked_for(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    score(registry, None, DATA, ["key"], 0, {})
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("ZOO_DEBUG", "1")
    assert score(registry, None, DATA, ["key"], 0, {})[1] == {"key": "KeyError: 'lost'"}
    assert "raise error\nKeyError: 'lost'" in capsys.readouterr().err
