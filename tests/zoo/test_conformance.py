"""What is said of parts that do not do what `zoo.interfaces` says: whose it is, what it gave, what was expected."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from zoo.conformance import (
    check_converted,
    check_dataset,
    check_model,
    check_pixels,
    check_result,
    check_step,
    check_trainer,
)
from zoo.errors import DataError, MetricError, PluginError

TERM: dict[str, Any] = {"loss": torch.tensor(1.0), "kl": torch.ones(3)}
STATE: tuple[Any, Any] = ({"average": torch.ones(2)}, {"steps_done": 1})


class Tiles:
    """12 images of 2 x 3 combinations, two of each."""

    name, image_shape = "tiles", (8, 8, 1)
    factor_names, factor_sizes = ("row", "column"), (2, 3)

    def __init__(self, **parts: Any) -> None:
        vars(self).update(parts)

    def __len__(self) -> int:
        return 12

    def images(self, indices: Any) -> Any:
        return np.zeros((len(indices), *self.image_shape), np.uint8)

    def index_of(self, factors: Any) -> Any: ...

    def factors_of(self, indices: Any) -> Any: ...


class Empty(Tiles):
    def __len__(self) -> int:
        return 0


@pytest.mark.parametrize("parts", [{}, {"factor_names": None}])
def test_a_dataset_is_one(parts: dict[str, Any]) -> None:
    check_dataset("tiles", Tiles(**parts))
    check_dataset("tiles", Tiles(factor_sizes=None, **parts))


@pytest.mark.parametrize(
    ("dataset", "told"),
    [
        (None, "is a NoneType without __len__"),
        (type("T", (Tiles,), {"images": property()})(), "is a T without images"),
        (Tiles(image_shape=(8, 8)), r"has image_shape \(8, 8\), expected a tuple of three int, \(height, "),
        (Tiles(image_shape=(8, 8, 0)), "expected"),
        (Tiles(image_shape=(8.0, 8, 1)), "expected"),
        (Tiles(image_shape=3), "expected"),
        (Tiles(image_shape=[8, 8, 1]), r"has image_shape \[8, 8, 1\], expected a tuple"),
        (Tiles(image_shape=tuple(np.array([8, 8, 1]))), "expected a tuple of three int"),
        (Empty(), "has no images"),
        (type("T", (Tiles,), {"index_of": property()})(), "has factor_sizes and no index_of"),
        (Tiles(factor_sizes=5), "has factor_sizes 5, expected a tuple of int, one for each factor"),
        (Tiles(factor_sizes=(2, 0)), "expected a tuple of int"),
        (Tiles(factor_names=("row",)), "has 1 factor_names and 2 factor_sizes"),
        (Tiles(factor_sizes=(5, 4)), "has factor_sizes .5, 4., 20 combinations, and 12 images; expected an image for"),
    ],
)
def test_what_is_said_of_a_dataset(dataset: Any, told: str) -> None:
    with pytest.raises(DataError, match=f"^dataset 'tiles' .*{told}"):
        check_dataset("tiles", dataset)


def test_a_dataset_without_factors_says_so() -> None:
    class Bare(Tiles):
        factor_sizes = property()  # as if it were not there

    with pytest.raises(DataError, match=r"without factor_sizes; None says that there is no ground truth$"):
        check_dataset("tiles", Bare())


@pytest.mark.parametrize(
    "pixels", [[[1], [2, 3]], torch.zeros(2, 8, 8, 1, dtype=torch.uint8), np.zeros((2, 1, 8, 8), np.uint8)]
)
def test_pixels_are_bytes_with_the_channels_last(pixels: Any) -> None:
    data = Tiles()
    assert check_pixels(data, data.images([0, 1]), 2).shape == (2, 8, 8, 1)
    with pytest.raises(DataError, match=r"^tiles gives images of type .*, expected uint8 \(2, 8, 8, 1\): "):
        check_pixels(data, pixels, 2)


def test_a_model_is_a_module() -> None:
    check_model("mine", torch.nn.Linear(1, 1))
    with pytest.raises(PluginError, match=r"^model 'mine' is a Tiles, expected a torch.nn.Module$"):
        check_model("mine", Tiles())


@pytest.mark.parametrize("method", ["step", "state", "load"])
def test_a_trainer_has_all_three(method: str) -> None:
    methods = dict.fromkeys(("step", "state", "load"), print)
    check_trainer("mine", SimpleNamespace(**methods))
    del methods[method]
    with pytest.raises(PluginError, match=rf"^trainer 'mine' is a SimpleNamespace without {method}\(\)"):
        check_trainer("mine", SimpleNamespace(**methods))


@pytest.mark.parametrize(
    ("terms", "state", "told"),
    [
        (None, STATE, r"^step\(\) of trainer 'mine' returned a NoneType, expected a dict of tensors"),
        ({"loss": 0.5}, STATE, "returned 'loss' of type float, expected"),
        ({"kl": torch.ones(2, 3)}, STATE, r"returned 'kl' of shape \(2, 3\), expected"),
        ({3: torch.ones(())}, STATE, "expected a dict of tensors by name"),
        ({"loss": torch.ones((), dtype=torch.complex64)}, STATE, "expected a dict of tensors by name"),
        ({"step": torch.ones(())}, STATE, "returned a 'step', which the log has already; rename it"),
        (TERM, {}, r"^state\(\) of trainer 'mine' returned no \(dict of tensors, dict of JSON values\), by name$"),
        (TERM, ({1: torch.ones(1)}, {}), r"^state\(\) of trainer 'mine' returned no "),
        (TERM, ({}, MappingProxyType({})), r"^state\(\) of trainer 'mine' returned no "),
        (TERM, (STATE[0], []), r"^state\(\) of trainer 'mine' returned no "),
        (TERM, ({"rate": 0.1}, {}), "returned 'rate' of type float among the tensors; put it among the values"),
        (TERM, ({}, {"rate": torch.ones(1)}), "returned among the values 'rate', which is no plain JSON: .*Tensor"),
        (TERM, ({}, {"rate": float("nan")}), "returned among the values 'rate', which is no plain JSON"),
    ],
)
def test_what_a_step_returns_can_be_logged_and_saved(terms: Any, state: Any, told: str) -> None:
    check_step("mine", TERM, STATE)
    with pytest.raises(PluginError, match=told):
        check_step("mine", terms, state)


@pytest.mark.parametrize(
    ("result", "told"),
    [
        ({"score": 1}, "expected a dict with score and protocol"),
        ({"score": True, "protocol": {}}, "a score of type bool, expected a number or None"),
        ({"score": float("inf"), "protocol": {}}, "the score inf, expected a finite number or None"),
        ({"score": 10**400, "protocol": {}}, "expected a finite number or None"),
        ({"score": 1, "protocol": {}, "codes": np.zeros(2)}, "returned 'codes', which is no plain JSON: .*ndarray"),
    ],
)
def test_a_result_is_plain(result: Any, told: str) -> None:
    assert check_result({"score": None, "protocol": {}, "reason": "none"})["reason"] == "none"
    with pytest.raises(MetricError, match=told):
        check_result(result)


def test_a_converter_returns_what_it_wrote(tmp_path: Path) -> None:
    assert check_converted("mine", str(tmp_path)) == tmp_path
    for written, told in ((None, "a NoneType"), (tmp_path / "not", f"'{tmp_path / 'not'}'"), ([], "a list")):
        with pytest.raises(
            PluginError, match=f"converter 'mine' returned {re.escape(told)}, expected the path of what"
        ):
            check_converted("mine", written)


def test_a_command_line_says_so(run: Callable[..., Any], distribution: Callable[..., Path]) -> None:
    module = """
from zoo import hookimpl
from zoo.specs import ConverterSpec, DatasetSpec
class Silent:
    def dataset_to(self, dataset, out): out.write_text(dataset.name)
@hookimpl
def zoo_converters(): return [ConverterSpec("silent", "silent:Silent")]
@hookimpl
def zoo_datasets(): return [DatasetSpec("tiny", "zoo.tiny_images:tiny_images")]
"""
    words = ("convert", "dataset", "tiny", "--to", "silent", "--out", "x")
    outcome = run(*words, path=[distribution("silent", module)])
    assert (outcome.code, outcome.error) == (
        1,
        "converter 'silent' returned a NoneType, expected the path of what it wrote",
    )
