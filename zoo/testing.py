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
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.config import resolve_config
from zoo.declarations import own_specs, problems_of
from zoo.errors import described, one_line, unknown
from zoo.hookspecs import PROJECT
from zoo.plugins import Plugin, PluginManager
from zoo.registry import Registry
from zoo.run import RunDirectory
from zoo.specs import ModelSpec
from zoo.tiny_images import TINY, ImageShape, TinyPlugin, four_images
from zoo.tiny_images import TinyImages as TinyImages  # for the tests of plugins
from zoo.tiny_images import tiny_images as tiny_images

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from zoo.loading import Loaded


@contextmanager
def _told(where: str = "") -> Iterator[None]:
    """Whatever a plugin raises is a finding here: an AssertionError of one line that begins with `where`."""
    try:
        yield
    except Exception as error:
        told = str(error) if isinstance(error, AssertionError) else ""
        raise AssertionError(one_line(where + (told or described(error)))) from error


def check_plugin(
    plugin: Any,
    *,
    models: str | Sequence[str] | Mapping[str, Mapping[str, Any]] | None = None,
    image_shape: ImageShape = (64, 64, 3),
    steps: int = 3,
    batch_size: int = 4,
) -> None:
    """Check a plugin: hooks, names, targets, settings, presets, and that its models train, save, load and answer.

    The files that ship as `pretrained` are loaded; each model is trained, resumed, written as a weights file, and asked
    for images and codes; it does one step in bf16. Not tried: a loss or trainer that no model trained here uses (name
    one in `models`), what metrics, converters and commands do, what datasets give (`check_dataset` tries that), a GPU.

    Args:
        plugin: the name of an installed plugin's entry point, or the module (or object) that has the hooks.
        models: the model or models to train, the plugin's own by default. A mapping adds settings, as `--set` takes
            them: `{"mine": {"model.width": 4}}` keeps a large model small, `{"ibgan": {"loss": "my_loss"}}` trains
            another plugin's model with a loss of this one.
        image_shape: (height, width, channels) of the images to train on.
        steps: how many steps each model trains, at least 2; it trains twice, once with a pause before the last step.
        batch_size: images a step.

    Everything is trained on the CPU, on images made here, in a temporary folder.

    Raises:
        AssertionError: naming every defect of what the plugin declares, or else the first promise a model breaks.
    """
    _expect(steps >= 2, f"steps is {steps}, expected at least 2: a run is paused before its last step")
    registry, checked = _registered(plugin)
    with _told(f"{checked.origin}: "):
        problems = list(problems_of(registry, checked, TINY))
    if problems:
        raise AssertionError("\n- ".join([f"{checked.origin}:", *problems]))

    from zoo.loading import PRETRAINED, load_checkpoint  # imports torch

    own = [spec for spec in own_specs(checked, "models") if isinstance(spec, ModelSpec)]
    for spec in own:
        for shipped in spec.pretrained:
            with _told(f"{checked.origin}: model {spec.name!r}: pretrained:{shipped} cannot be loaded: "):
                load_checkpoint(registry, spec.name, f"{PRETRAINED}{shipped}", device="cpu")
    if models is None:
        models = [spec.name for spec in own]
    elif isinstance(models, str):
        models = [models]
    chosen = dict(models) if isinstance(models, Mapping) else {name: {} for name in models}
    for name, values in chosen.items():
        with _told(f"{checked.origin}: model {name!r}: "):
            _check_training(registry, name, values, image_shape, steps, batch_size)


@_told()
def check_model(model: Any, image_shape: ImageShape) -> None:
    """Check what `zoo.interfaces.Model` promises of `generate`, `encode` and `decode`.

    Shapes, dtypes, ranges, seeds, evaluation mode, and that the caller's random state and the module's mode stay.
    Raises AssertionError.
    """
    before = [(module, module.training) for module in model.modules()]
    try:
        _check_answers(model, image_shape)
    finally:
        for module, training in before:
            module.training = training


def _check_answers(model: Any, image_shape: ImageShape) -> None:
    import torch

    images = four_images(image_shape)
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


@_told()
def check_dataset(dataset: Any) -> None:
    """Check what `zoo.interfaces.Dataset` promises of images, indices and factors. Raises AssertionError."""
    from zoo import conformance

    conformance.check_dataset(type(dataset).__name__, dataset)
    _expect(isinstance(dataset.name, str) and bool(dataset.name), "it has no name")
    size, shape = len(dataset), tuple(dataset.image_shape)
    indices = np.unique(np.linspace(0, size - 1, 5).astype(np.int64))
    expected = (len(indices), *shape)
    images = conformance.check_pixels(dataset, dataset.images(indices), len(indices))
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
    if sizes is not None:
        _check_factors(dataset, sizes, indices)


def _check_factors(dataset: Any, sizes: Sequence[int], indices: NDArray[np.int64]) -> None:
    """Index and factors lead to one another, and every combination of the factors is there."""
    combinations = math.prod(sizes)
    _expect(
        combinations == len(dataset),
        f"factor_sizes make {combinations} combinations, and it has {len(dataset)} images; expected one for each",
    )
    factors = dataset.factors_of(indices)
    _expect(
        factors.dtype == np.int64 and factors.shape == (len(indices), len(sizes)),
        f"factors_of gave {factors.dtype} {factors.shape}, expected int64 {(len(indices), len(sizes))}",
    )
    _expect(bool(((factors >= 0) & (factors < np.array(sizes))).all()), "factors_of gave values outside factor_sizes")
    back = dataset.index_of(factors)
    _expect(back.dtype == np.int64 and np.array_equal(back, indices), "index_of does not lead back from factors_of")
    last = np.array([sizes]) - 1
    with _told(f"the last combination of the factors, {last[0].tolist()}: "):
        at = int(dataset.index_of(last)[0])
        _expect(0 <= at < len(dataset), f"index_of gives {at}, expected an index of its {len(dataset)} images")
    beyond = last + 1
    _expect_raises(ValueError, partial(dataset.index_of, beyond), f"index_of {beyond[0].tolist()}")


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
    manager.register(TinyPlugin(), TINY)
    return Registry(manager), checked


# What a model does.


def _check_training(
    registry: Registry, name: str, values: Mapping[str, Any], image_shape: ImageShape, steps: int, batch_size: int
) -> None:
    """Train through the real loop, straight, with a pause and in bf16; load, compare, and ask the model."""
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
    fixed = ", ".join(own.keys() & values.keys())
    _expect(not fixed, f"{fixed} is set by the check itself; leave it out of `models`")
    config = resolve_config(registry, name, TINY, typed=own | dict(values))
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        straight = train(registry, config, folder / "straight")
        _expect_log(straight, steps)
        loaded = load_checkpoint(registry, name, straight.path, device="cpu")
        taken = [attribute for attribute in ("config", "load_dataset") if hasattr(loaded.model, attribute)]
        _expect(not taken, f"it has an attribute {', '.join(taken)}, which zoo.load sets; call it something else")
        fresh = dict(build_model(registry, loaded.config, Backend.choose("cpu", "fp32")).named_parameters())
        changed = [key for key, trained in loaded.model.named_parameters() if not trained.equal(fresh[key])]
        _expect(bool(changed), f"{steps} steps of training changed no weight (the averages of a BatchNorm are none)")

        paused = config.model_copy(update={"steps": steps - 1})
        train(registry, paused, folder / "paused")
        resumed = train(registry, config, folder / "paused", resume=True)
        _expect_same(straight, resumed)
        check_model(loaded.model, image_shape)
        _check_weights_file(registry, loaded, folder / "weights.safetensors", image_shape)
        with _told("with --precision bf16, which `auto` is on many machines: "):
            train(registry, config.model_copy(update={"steps": 1, "precision": "bf16"}), folder / "bf16")


def _check_weights_file(registry: Registry, loaded: Loaded, out: Path, image_shape: ImageShape) -> None:
    """Hold what a model answers that has no weights but those of its weights file against what the trained one does."""
    import torch

    from zoo.building import build_model, load_weights
    from zoo.device import Backend
    from zoo.weights import WeightsFile, write_weights

    file = WeightsFile.open(write_weights(out, loaded.model, loaded.config, loaded.step))
    model = build_model(registry, file.config, Backend.choose("cpu", "fp32"), checkpoint=file)
    for tensor in model.state_dict().values():
        if tensor.is_floating_point():
            tensor.fill_(math.nan)  # what the file lacks stays so, and shows in all that needs it
    load_weights(model, file)

    images = four_images(image_shape)
    codes = torch.as_tensor(loaded.model.encode(images))
    questions: dict[str, Callable[[Any], Any]] = {
        "encode": lambda asked: asked.encode(images),
        "decode": lambda asked: asked.decode(codes),
        "generate": lambda asked: asked.generate(4, seed=0),
    }
    lacking = ", ".join(getattr(model, "training_only", ())) or "nothing"
    for name, ask in questions.items():
        with _told(f"loaded from a weights file, which lacks {lacking}, {name} fails: "):
            expected, found = torch.as_tensor(ask(loaded.model)), torch.as_tensor(ask(model))
            _expect(not bool(found.isnan().any()), "it needs what training_only names")
            # Weights of 11 bits change the answers of a deep network by some percent at most.
            off = float((found - expected).square().mean().sqrt() / (expected.square().mean().sqrt() + 1e-3))
            _expect(off < 0.25, f"half precision changes what it gives by {off:.0%}")


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
            "state() leaves something out, or it draws numbers that do not derive from (seed, step), or the loss keeps "
            "something from step to step, which belongs into a buffer of an nn.Module",
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
