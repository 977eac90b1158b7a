"""For plugin authors: whether a plugin keeps its promises, in one line of a test.

    from zoo.testing import check_plugin

    def test_my_plugin():
        check_plugin("my-plugin")

Every failure is an AssertionError that says what is wrong, what was expected and what to do; any test runner will do.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import PositiveInt

from zoo import hookimpl
from zoo.config import resolve_config
from zoo.declarations import own_specs, problems_of
from zoo.errors import ZooError, unknown
from zoo.hookspecs import PROJECT
from zoo.plugins import Plugin, PluginManager
from zoo.registry import Registry
from zoo.run import RunDirectory
from zoo.specs import DatasetSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

ImageShape = tuple[int, int, int]

TINY = "zoo-testing-tiny"


def check_plugin(
    plugin: Any,
    *,
    models: Sequence[str] | Mapping[str, Mapping[str, Any]] | None = None,
    image_shape: ImageShape = (64, 64, 3),
    steps: int = 3,
    batch_size: int = 4,
) -> None:
    """Check a plugin: hooks, names, targets, settings, presets, and that its models train, save, load and answer.

    Args:
        plugin: the name of an installed plugin's entry point, or the module (or object) that has the hooks.
        models: the models to train, the plugin's own by default. A mapping adds settings, as `--set` takes them:
            `{"mine": {"model.width": 4}}` keeps a large model small, `{"ibgan": {"loss": "my_loss"}}` trains another
            plugin's model with a loss of this one.
        image_shape: (height, width, channels) of the images to train on.
        steps: how many steps each model trains, at least 2; it trains twice, once with a pause before the last step.
        batch_size: images a step.

    Everything is trained on the CPU in fp32, on images made here, in a temporary folder.

    Raises:
        AssertionError: naming every defect of what the plugin declares, or else the first promise a model breaks.
    """
    registry, checked = _registered(plugin)
    problems = list(problems_of(registry, checked, TINY))
    if problems:
        raise AssertionError("\n- ".join([f"{checked.origin}:", *problems]))
    if models is None:
        models = [spec.name for spec in own_specs(checked, "models")]
    chosen = dict(models) if isinstance(models, Mapping) else {name: {} for name in models}
    for name, values in chosen.items():
        try:
            _check_training(registry, name, values, image_shape, steps, batch_size)
        except Exception as error:  # whatever a plugin raises is a finding here
            told = str(error) if isinstance(error, AssertionError | ZooError) else f"{type(error).__name__}: {error}"
            raise AssertionError(f"{checked.origin}: model {name!r}: {told}") from error


def check_model(model: Any, image_shape: ImageShape) -> None:
    """Check what `zoo.interfaces.Model` promises of `generate`, `encode` and `decode`.

    Shapes, dtypes, ranges, seeds, evaluation mode, and that the caller's random state and the module's mode stay.
    Raises AssertionError.
    """
    import torch

    dataset = TinyImages(image_shape)
    pixels = dataset.images(np.arange(0, len(dataset), len(dataset) // 4))
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255  # (4, C, H, W)
    model.train()
    modes, random_state = [module.training for module in model.modules()], torch.get_rng_state()

    generated = model.generate(4, seed=0)
    _expect_images(generated, image_shape, "generate(4, seed=0)")
    _expect(torch.equal(generated, model.generate(4, seed=0)), "generate gives other images for the same seed")
    _expect(not torch.equal(generated, model.generate(4, seed=1)), "generate gives the same images for another seed")

    codes = torch.as_tensor(model.encode(images))
    _expect(
        codes.dtype == torch.float32 and codes.dim() == 2 and len(codes) == 4,
        f"encode gave {_kind(codes)} for 4 images, expected float32 (4, D)",
    )
    _expect(bool(torch.isfinite(codes).all()), "encode gave numbers that are not finite")
    _expect(not codes.requires_grad, "encode gave a tensor that requires gradients")
    _expect(torch.equal(codes, torch.as_tensor(model.encode(images))), "encode gives other codes the second time")
    alone = torch.as_tensor(model.encode(images[:1]))
    _expect(
        torch.allclose(alone, codes[:1], rtol=1e-3, atol=1e-4),
        "encode gives an image another code beside other images; does it run in evaluation mode?",
    )

    _expect_images(model.decode(codes), image_shape, "decode of 4 codes")
    _expect(
        modes == [module.training for module in model.modules()],
        "it leaves the module in another mode",
    )
    for part in list(model.children())[:1]:  # as somebody who trains on may have frozen it
        part.eval()
        modes = [module.training for module in model.modules()]
        model.decode(torch.as_tensor(model.encode(images)))
        model.generate(1, seed=0)
        _expect(
            modes == [module.training for module in model.modules()],
            "it leaves a part of the module that was frozen in another mode",
        )
    _expect(torch.equal(random_state, torch.get_rng_state()), "it draws from torch's global random state")


def check_dataset(dataset: Any) -> None:
    """Check what `zoo.interfaces.Dataset` promises of images, indices and factors. Raises AssertionError."""
    size, shape = len(dataset), tuple(dataset.image_shape)
    _expect(isinstance(dataset.name, str) and bool(dataset.name), "it has no name")
    _expect(size > 0, "it is empty")
    _expect(
        len(shape) == 3 and all(n > 0 for n in shape), f"image_shape is {shape}, expected (height, width, channels)"
    )
    indices = np.unique(np.linspace(0, size - 1, 5).astype(np.int64))
    images = dataset.images(indices)
    expected = (len(indices), *shape)
    _expect(
        images.dtype == np.uint8 and images.shape == expected,
        f"images gave {images.dtype} {images.shape} for {len(indices)} indices, expected uint8 {expected}",
    )
    _expect(np.array_equal(images[::-1], dataset.images(indices[::-1])), "an index gives another image the second time")
    none = dataset.images(np.empty(0, np.int64))
    _expect(none.shape == (0, *shape), f"images of no indices has shape {none.shape}, expected {(0, *shape)}")
    for outside in (-1, size):
        _expect_raises(IndexError, partial(dataset.images, np.array([outside])), f"images of the index {outside}")
    if hasattr(dataset, "observe"):
        seen = np.asarray(dataset.observe(indices, np.random.RandomState(0)))
        again = np.asarray(dataset.observe(indices, np.random.RandomState(0)))
        _expect(
            seen.dtype.kind == "f" and seen.shape == expected and bool(((seen >= 0) & (seen <= 1)).all()),
            f"observe gave {seen.dtype} {seen.shape}, expected floats {expected} in [0, 1]",
        )
        _expect(np.array_equal(seen, again), "observe gives something else for the same random state")
    names, sizes = dataset.factor_names, dataset.factor_sizes
    _expect((names is None) == (sizes is None), "only one of factor_names and factor_sizes is None")
    if sizes is None:
        return
    _expect(len(names) == len(sizes) > 0, f"{len(names)} factor_names and {len(sizes)} factor_sizes")
    factors = dataset.factors_of(indices)
    _expect(
        factors.dtype == np.int64 and factors.shape == (len(indices), len(sizes)),
        f"factors_of gave {factors.dtype} {factors.shape}, expected int64 {(len(indices), len(sizes))}",
    )
    _expect(bool(((factors >= 0) & (factors < np.array(sizes))).all()), "factors_of gave values outside factor_sizes")
    back = dataset.index_of(factors)
    _expect(back.dtype == np.int64 and np.array_equal(back, indices), "index_of does not lead back from factors_of")
    beyond = factors[:1] * 0 + np.array(sizes)
    _expect_raises(ValueError, partial(dataset.index_of, beyond), f"index_of {beyond[0].tolist()}")


class TinyImages:
    """48 grey squares on black: every combination of row, column and shade once. In memory, of any image shape."""

    name = TINY
    factor_names = ("row", "column", "shade")
    factor_sizes = (4, 4, 3)

    def __init__(self, image_shape: ImageShape) -> None:
        self.image_shape = image_shape

    def __len__(self) -> int:
        return math.prod(self.factor_sizes)

    def images(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return uint8 (n, H, W, C); IndexError for an index outside [0, len)."""
        height, width, channels = self.image_shape
        images = np.zeros((len(indices), height, width, channels), np.uint8)
        tall, wide = max(1, height // 4), max(1, width // 4)
        for image, (row, column, shade) in zip(images, self.factors_of(indices), strict=True):
            top, left = row * height // 4, column * width // 4
            image[top : top + tall, left : left + wide] = 85 * (shade + 1)
        return images

    def index_of(self, factors: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return int64 (n,) from int (n, 3); ValueError for a value out of range."""
        return np.ravel_multi_index(tuple(np.asarray(factors).T), self.factor_sizes).astype(np.int64)

    def factors_of(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return int64 (n, 3) from int (n,); IndexError for an index outside [0, len)."""
        if len(indices) and not 0 <= np.min(indices) <= np.max(indices) < len(self):
            raise IndexError(f"an index is outside [0, {len(self)})")
        return np.stack(np.unravel_index(indices, self.factor_sizes), axis=1).astype(np.int64)


def tiny_images(
    data_root: Path | None = None, *, height: PositiveInt = 64, width: PositiveInt = 64, channels: PositiveInt = 3
) -> TinyImages:
    """Return `TinyImages` as a dataset of the registry; nothing is read from `data_root`."""
    return TinyImages((height, width, channels))


class _TinyPlugin:
    """Registers the images to train on, in the manager of one check alone."""

    @hookimpl
    def zoo_datasets(self) -> list[DatasetSpec]:
        return [DatasetSpec(TINY, "zoo.testing:tiny_images", "grey squares to try a model on")]


# Finding the plugin.


def _registered(plugin: Any) -> tuple[Registry, Plugin]:
    """A registry of everything installed, the plugin to check and the tiny images, and what is known of the plugin."""
    manager = PluginManager(list(entry_points(group=PROJECT)))
    if isinstance(plugin, str):
        found = [p for p in manager.plugins if p.name == plugin]
        if not found:
            message = unknown("plugin", plugin, [p.name for p in manager.plugins])
            raise AssertionError(f"{message} (an entry point of group {PROJECT!r}; is its distribution installed?)")
        checked = next((p for p in found if p.status == "broken"), found[0])
    else:
        installed = next((p for p in manager.plugins if p.module is plugin), None)
        name = getattr(plugin, "__name__", type(plugin).__name__)
        checked = installed or manager.register(plugin, name, "not installed", "")
    manager.register(_TinyPlugin(), TINY)
    return Registry(manager), checked


# What a model does.


def _check_training(
    registry: Registry, name: str, values: Mapping[str, Any], image_shape: ImageShape, steps: int, batch_size: int
) -> None:
    """Train through the real loop, once straight and once with a pause; load, compare, and ask the model."""
    from zoo.building import build_model
    from zoo.device import Backend
    from zoo.loading import load_checkpoint
    from zoo.training import train

    height, width, channels = image_shape
    own: dict[str, Any] = {
        "dataset.height": height,
        "dataset.width": width,
        "dataset.channels": channels,
        "steps": steps,
        "batch_size": batch_size,
        "log_every": 1,
        "save_every": 0,
        "eval_every": 0,
        "device": "cpu",
        "precision": "fp32",
    }
    config = resolve_config(registry, name, TINY, typed=own | dict(values))
    with tempfile.TemporaryDirectory() as folder:
        straight = train(registry, config, Path(folder) / "straight")
        _expect_log(straight, steps)
        loaded = load_checkpoint(registry, name, straight.path, device="cpu")
        taken = [attribute for attribute in ("config", "load_dataset") if hasattr(loaded.model, attribute)]
        _expect(not taken, f"it has an attribute {', '.join(taken)}, which zoo.load sets; call it something else")
        fresh = build_model(registry, loaded.config, Backend.choose("cpu", "fp32")).state_dict()
        trained = loaded.model.state_dict()
        changed = [key for key, value in fresh.items() if not value.equal(trained[key])]
        _expect(bool(changed), f"{steps} steps of training changed no weight")

        paused = config.model_copy(update={"steps": steps - 1})
        train(registry, paused, Path(folder) / "paused")
        resumed = train(registry, config, Path(folder) / "paused", resume=True)
        _expect_same(straight, resumed)
        check_model(loaded.model, image_shape)


def _expect_log(run: RunDirectory, steps: int) -> None:
    lines = (run.path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    _expect([record["step"] for record in records] == list(range(1, steps + 1)), "its log has not a line for each step")
    _expect(records[0].keys() > {"step", "steps_per_second"}, "the trainer's step returns nothing to log")


def _expect_same(straight: RunDirectory, resumed: RunDirectory) -> None:
    """A trainer's state() has everything that the next step depends on, or the pause shows in the weights."""
    one, other = straight.newest(), resumed.newest()
    if one is None or other is None:
        raise AssertionError("training left no checkpoint")
    for file in ("model.safetensors", "trainer.safetensors"):
        _expect(
            one.state["files"][file]["sha256"] == other.state["files"][file]["sha256"],
            f"a run that was paused and resumed ends with another {file} than one without a pause: the trainer's "
            "state() leaves something out, or it draws numbers that do not derive from (seed, step)",
        )


def _expect_images(images: Tensor, image_shape: ImageShape, what: str) -> None:
    import torch

    height, width, channels = image_shape
    expected = (4, channels, height, width)
    _expect(isinstance(images, torch.Tensor), f"{what} gave {type(images).__name__}, expected a torch.Tensor")
    _expect(
        images.dtype == torch.float32 and images.shape == expected,
        f"{what} gave {_kind(images)}, expected float32 {expected}",
    )
    _expect(not images.requires_grad, f"{what} gave a tensor that requires gradients")
    low, high = float(images.min()), float(images.max())
    _expect(0 <= low <= high <= 1, f"{what} gave values in [{low:.3g}, {high:.3g}], expected [0, 1]")


def _kind(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"


def _expect(condition: bool, message: str) -> None:
    if not condition:
        raise AssertionError(message)


def _expect_raises(expected: type[Exception], call: Callable[[], Any], what: str) -> None:
    try:
        call()
    except expected:
        return
    except Exception as error:  # another exception is a finding
        raise AssertionError(f"{what} raises {type(error).__name__}, expected {expected.__name__}") from error
    raise AssertionError(f"{what} raises nothing, expected {expected.__name__}")
