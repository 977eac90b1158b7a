"""What plugins make and return, held against `zoo.interfaces`, before a run depends on it.

A dataset is looked at when it is opened, a model and a trainer when they are made, what a trainer returns after its
first step, a metric's result when it is there, and what a converter wrote. Each message names whose it is (of a result,
its caller does), what it gave and what was expected.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from zoo.errors import DataError, MetricError, PluginError, shown

LOGGED = ("step", "steps_per_second")  # what a line of metrics.jsonl has beside the terms


def check_dataset(name: str, dataset: Any) -> None:
    """Raise DataError for what is no dataset, is empty, or has fewer images than combinations of its factors."""
    for part in ("__len__", "name", "image_shape", "factor_names", "factor_sizes", "images"):
        if not hasattr(dataset, part):
            none = "; None says that there is no ground truth" if part.startswith("factor") else ""
            raise DataError(f"dataset {name!r} is a {type(dataset).__name__} without {part}{none}")
    shape = dataset.image_shape
    if not (isinstance(shape, tuple) and len(shape) == 3 and all(type(n) is int and n > 0 for n in shape)):
        raise DataError(
            f"dataset {name!r} has image_shape {shape!r}, expected a tuple of three int, (height, width, channels)"
        )
    if len(dataset) < 1:
        raise DataError(f"dataset {name!r} has no images")
    if dataset.factor_sizes is not None:
        _check_factors(name, dataset)


def _check_factors(name: str, dataset: Any) -> None:
    names, sizes = dataset.factor_names, dataset.factor_sizes
    for part in ("index_of", "factors_of"):
        if not hasattr(dataset, part):
            raise DataError(f"dataset {name!r} has factor_sizes and no {part}; without ground truth they are None")
    if not (isinstance(sizes, tuple) and sizes and all(type(n) is int and n > 0 for n in sizes)):
        raise DataError(f"dataset {name!r} has factor_sizes {sizes!r}, expected a tuple of int, one for each factor")
    if names is not None and len(names) != len(sizes):
        raise DataError(f"dataset {name!r} has {len(names)} factor_names and {len(sizes)} factor_sizes")
    if math.prod(sizes) > len(dataset):
        raise DataError(
            f"dataset {name!r} has factor_sizes {sizes}, {math.prod(sizes):,} combinations, and {len(dataset):,} "
            "images; expected an image for each combination"
        )


def check_model(name: str, model: Any) -> None:
    """Raise PluginError for a model that is no module."""
    if not isinstance(model, torch.nn.Module):
        raise PluginError(f"model {name!r} is a {type(model).__name__}, expected a torch.nn.Module")


def check_trainer(name: str, trainer: Any) -> None:
    """Raise PluginError for a trainer that could not be saved, or not be resumed."""
    for method in ("step", "state", "load"):
        if not callable(getattr(trainer, method, None)):
            raise PluginError(f"trainer {name!r} is a {type(trainer).__name__} without {method}(); it needs all three")


def check_step(name: str, terms: Any, state: Any) -> None:
    """Raise PluginError if what `step()` returned cannot be logged, or what `state()` returned cannot be saved."""
    expected = "expected a dict of tensors by name, each a number or a vector"
    if not isinstance(terms, Mapping):
        raise PluginError(f"step() of trainer {name!r} returned a {type(terms).__name__}, {expected}")
    for term, value in terms.items():
        if not isinstance(term, str) or not isinstance(value, torch.Tensor) or value.dim() > 1 or value.is_complex():
            what = f"shape {tuple(value.shape)}" if isinstance(value, torch.Tensor) else f"type {type(value).__name__}"
            raise PluginError(f"step() of trainer {name!r} returned {shown(term)} of {what}, {expected}")
        if term in LOGGED:
            raise PluginError(f"step() of trainer {name!r} returned a {term!r}, which the log has already; rename it")
    if not (
        isinstance(state, tuple)
        and len(state) == 2
        and all(isinstance(part, dict) and all(isinstance(key, str) for key in part) for part in state)
    ):
        raise PluginError(f"state() of trainer {name!r} returned no (dict of tensors, dict of JSON values), by name")
    tensors, values = state
    for key, value in tensors.items():
        if not isinstance(value, torch.Tensor):
            raise PluginError(
                f"state() of trainer {name!r} returned {shown(key)} of type {type(value).__name__} among the tensors; "
                "put it among the values"
            )
    _as_json(values, PluginError, f"state() of trainer {name!r} returned among the values")


def check_pixels(dataset: Any, pixels: Any, number: int) -> NDArray[np.uint8]:
    """Return the images of a batch. Raises DataError where they are not the uint8 that trainers and metrics expect."""
    expected = (number, *dataset.image_shape)
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.shape != expected:
        kind = pixels.dtype if isinstance(pixels, np.ndarray) else type(pixels).__name__
        raise DataError(
            f"{dataset.name} gives images of type {kind} and shape {getattr(pixels, 'shape', None)}, expected uint8 "
            f"{expected}: pixels from 0 to 255, the channels last"
        )
    return pixels


def check_result(result: Any) -> dict[str, Any]:
    """Return what a metric returned. Raises MetricError where it is not what `zoo.interfaces.Metric` says."""
    if not isinstance(result, dict) or not {"score", "protocol"} <= result.keys():
        raise MetricError(f"returned {result!r:.60}, expected a dict with score and protocol")
    score = result["score"]
    if score is not None and (isinstance(score, bool) or not isinstance(score, int | float)):
        raise MetricError(f"returned a score of type {type(score).__name__}, expected a number or None")
    if score is not None and not abs(score) <= sys.float_info.max:
        raise MetricError(f"returned the score {score}, expected a finite number or None")
    _as_json(result, MetricError, "returned")
    return result


def check_converted(name: str, written: Any) -> Path:
    """Return what a converter says it wrote. Raises PluginError where that is no path, or nothing is there."""
    if not isinstance(written, str | os.PathLike) or not Path(written).exists():
        what = shown(str(written)) if isinstance(written, str | os.PathLike) else f"a {type(written).__name__}"
        raise PluginError(f"converter {name!r} returned {what}, expected the path of what it wrote")
    return Path(written)


def _as_json(values: Mapping[Any, Any], error: type[Exception], whose: str) -> None:
    """Raise `error`, naming the key, for what JSON cannot hold: NaN, infinities, arrays, NumPy's numbers."""
    for key, value in values.items():
        try:
            json.dumps({key: value}, allow_nan=False)
        except (TypeError, ValueError) as problem:
            raise error(f"{whose} {shown(key)}, which is no plain JSON: {problem}") from None
