from __future__ import annotations

import importlib
import inspect
import json
from pathlib import Path
from typing import Any

import pytest

from ibgan_plugin.adapters import plugin

SPECS = plugin.zoo_datasets()


def target(path: str) -> Any:
    module, _, attribute = path.partition(":")
    return getattr(importlib.import_module(module), attribute)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_every_target_is_there_and_takes_a_data_root(spec: Any) -> None:
    for path in (spec.target, spec.info, spec.prepare):
        parameters = list(inspect.signature(target(path)).parameters.values())
        assert parameters[0].name == "data_root"
        assert all(p.kind is p.KEYWORD_ONLY and p.annotation is not p.empty for p in parameters[1:])
    assert spec.summary


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_info_on_an_empty_root_is_plain_and_leaves_it_empty(spec: Any, tmp_path: Path) -> None:
    told = target(spec.info)(tmp_path / "root")
    assert told["name"] == spec.name
    assert told["ready"] is False
    assert {"where", "images", "image_shape", "factors", "source", "missing"} <= told.keys()
    assert bool(told["factors"]) == spec.has_factors
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    assert not (tmp_path / "root").exists()


def test_names_are_unique_and_those_promised() -> None:
    names = [spec.name for spec in SPECS]
    assert len(set(names)) == len(names)
    noisy, photographs = {"color_dsprites_dlib", "noisy_dsprites"}, {"chairs3d", "celeba", "image_folder"}
    assert set(names) == {"dsprites", "color_dsprites"} | noisy | photographs


def test_converters_have_a_method_that_the_host_calls() -> None:
    for spec in plugin.zoo_converters():
        converter = target(spec.target)()
        assert any(hasattr(converter, method) for method in ("dataset_to", "checkpoint_to", "checkpoint_from"))
