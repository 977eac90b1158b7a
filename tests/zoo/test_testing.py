"""`check_plugin` finds nothing in our own plugins, and each defect put into the plugin of docs/plugins.md."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

import zoo
from zoo import settings
from zoo.device import evaluation_mode
from zoo.registry import default_registry, resolve
from zoo.specs import ModelSpec
from zoo.testing import TinyImages, check_dataset, check_model, check_plugin

FILES = ("plugin", "presets", "model", "loss", "trainer", "dataset", "metric", "converter")
SMALL = {"model.ngf": 4, "model.ndf": 4}

Make = Callable[..., ModuleType]


@pytest.fixture
def squares(documented: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Make the plugin of the page, with `old` replaced by `new` in one of its files."""

    def make(file: str = "", old: str = "", new: str = "") -> ModuleType:
        modules = {}
        for stem in FILES:
            text = (documented / "zoo_squares" / f"{stem}.py").read_text()
            if stem == file:
                assert old in text
                text = text.replace(old, new)
            modules[stem] = ModuleType(f"zoo_squares.{stem}")
            monkeypatch.setitem(sys.modules, f"zoo_squares.{stem}", modules[stem])
            exec(compile(text, f"{stem}.py", "exec"), vars(modules[stem]))
        return modules["plugin"]

    return make


@pytest.mark.parametrize("plugin", ["ibgan", "baselines", "adapters", "evaluation"])
def test_the_plugins_of_this_distribution_are_sound(one_thread: None, plugin: str) -> None:
    models = {}
    for found, spec in default_registry().entries("models"):
        if found.name == plugin:
            declared = settings.settings_of(resolve(spec.target))
            models[spec.name] = {key: value for key, value in SMALL.items() if key.partition(".")[2] in declared}
    check_plugin(plugin, models=models)


def test_the_page_is_sound(squares: Make) -> None:
    check_plugin(squares(), image_shape=(16, 16, 1))
    check_dataset(sys.modules["zoo_squares.dataset"].squares(None))


def found_in(plugin: Any, **options: Any) -> str:
    with pytest.raises(AssertionError) as raised:
        check_plugin(plugin, image_shape=(16, 16, 1), **options)
    return str(raised.value)


METRIC = """[
        MetricSpec(
            "reconstruction",
            "zoo_squares.metric:reconstruction",
            "error after encode and decode",
            needs_factors=False,
            lower_is_better=True,
        )
    ]"""


@pytest.mark.parametrize(
    ("file", "old", "new", "told"),
    [
        ("plugin", "def zoo_metrics", "def zoo_metric", "unknown hook 'zoo_metric'; did you mean 'zoo_metrics'"),
        ("plugin", "@hookimpl\ndef zoo_losses", "def zoo_losses", "zoo_losses is not marked with @zoo.hookimpl"),
        ("plugin", "@hookimpl\n", "", "it implements no hook; there are: zoo_commands, "),
        ("plugin", f"return {METRIC}", METRIC, "zoo_metrics returned nothing, expected a list of MetricSpec"),
        ("plugin", f"return {METRIC}", "raise OSError('gone')", "zoo_metrics failed: OSError: gone"),
        ("plugin", METRIC, "['metric']", "zoo_metrics returned str 'metric', expected MetricSpec"),
        ("plugin", '        """Draw the first square with letters."""\n', "", "command 'draw-square' has no help"),
        ("plugin", "draw-square", "train", "it replaces the command train"),
        ("plugin", '"linear"', '"ibgan"', "model 'ibgan' is registered by plugin 'ibgan'"),
        ("plugin", METRIC, f"2 * {METRIC}", "metric 'reconstruction' is registered by plugin 'zoo_squares.plugin'"),
        ("plugin", '"npy"', '"n.py"', "converter 'n.py': a name is made of letters, digits, _ and -"),
        ("plugin", '"reconstruction"', '"loss"', "metric 'loss': a metric cannot have the name of a part of a run"),
        ("plugin", '"error after encode and decode"', '""', "metric 'reconstruction': its summary is not one line"),
        (
            "plugin",
            'default_preset="squares"',
            'default_preset="squares", eval_metrics=("reconstuction",)',
            "eval_metrics: unknown metric 'reconstuction'; did you mean 'reconstruction'",
        ),
        (
            "plugin",
            'default_preset="squares"',
            'default_preset="squares", pretrained={"best": "zoo_squares.files:BEST"}',
            "pretrained 'best': cannot import zoo_squares.files:BEST",
        ),
        ("plugin", "metric:reconstruction", "matric:reconstruction", "cannot import zoo_squares.matric:reconstruction"),
        ("plugin", "metric:reconstruction", "metric:recons", "zoo_squares.metric has no 'recons'"),
        ("plugin", "model:LinearAutoencoder", "model", "'zoo_squares.model' is no target: expected package.module:att"),
        ("plugin", "loss:SquaredError", "loss:__name__", "loss 'squared_error': zoo_squares.loss:__name__ is str"),
        ("plugin", "presets:PRESETS", "presets:PRESET", "zoo_squares.presets has no 'PRESET'"),
        ("plugin", "presets:PRESETS", "presets:Preset", "zoo_squares.presets:Preset is not a tuple of Preset"),
        ("plugin", "dataset:info", "dataset:inform", "zoo_squares.dataset has no 'inform'"),
        ("plugin", 'info="zoo_squares.dataset:info"', 'prepare="a:b"', "dataset 'squares': cannot import a:b"),
        (
            "plugin",
            'loss="squared_error"',
            'loss="cubed_error"',
            "its default: unknown loss 'cubed_error'; did you mean",
        ),
        ("plugin", 'trainer="denoising"', 'trainer="x.y:z"', "its default: unknown trainer 'x.y:z'"),
        ("plugin", 'default_preset="squares"', 'default_preset="big"', "default_preset 'big' is not among its presets"),
        ("plugin", '            presets="zoo_squares.presets:PRESETS",\n', "", "and it has no presets"),
        (
            "plugin",
            '"error after encode and decode"',
            '"e", published={"ibgan": 1}',
            "expected (model, dataset) -> score",
        ),
        ("presets", "model.code_dim", "model.codes", "preset 'squares': unknown setting 'model.codes'; did you mean"),
        ("presets", "Setting(6,", "Setting(0,", "preset 'squares': model.code_dim=0: input should be greater than 0"),
        ("presets", 'Setting(32, "chosen by trial")', "32", "batch_size is 32, expected a Setting with its source"),
        ("presets", 'Setting(32, "chosen by trial")', 'Setting(32, "")', "expected a Setting with its source"),
        ("presets", "PRESETS = (", "PRESETS = 2 * (", "2 presets are named 'squares'"),
        ("model", "image_shape: tuple[int, int, int], *,", "*,", "cannot be called with (image_shape)"),
        ("loss", "self, *, weight", "self, weight", "'weight' is no setting, since it is not keyword-only"),
        ("trainer", "seed: int,\n", "sede: int,\n", "cannot be called with (model, loss, seed, backend)"),
        ("dataset", "size: Annotated[int, Field(ge=8, le=64)]", "size", "the setting 'size' has no annotation"),
        (
            "metric",
            "num: PositiveInt = 128",
            "num: PositiveInt = 0",
            "does not fit its annotation: zoo_squares.metric:re",
        ),
        ("metric", "num: PositiveInt", "num: Positive", "settings cannot be read: name 'Positive' is not defined"),
        (
            "metric",
            "num: PositiveInt = 128",
            "num: set[int] = {1}",
            "default of 'num' cannot be written to config.json",
        ),
        (
            "dataset",
            '    return {"name": "squares"',
            '    return {1 / 0: "squares"',
            "info on an empty folder: ZeroDivi",
        ),
        ("dataset", '    return {"name"', '    return []\n    return {"name"', "info returned list, expected a dict"),
        (
            "converter",
            "dataset, out: Path)",
            "dataset)",
            "converter:Npy.dataset_to cannot be called with (source, out)",
        ),
        (
            "converter",
            "dataset, out: Path)",
            "dataset, out, zip=0)",
            "'zip' is no setting, since it is not keyword-only",
        ),
        ("converter", "    def dat", "    def __init__(self, x): 0\n    def dat", "Npy cannot be called with ()"),
        ("converter", "    def dat", "    def __init__(self): 1 / 0\n    def dat", "Npy() fails: ZeroDivisionError"),
        ("converter", "def dataset_to", "def to_dataset", "has none of the methods dataset_to, checkpoint_to, check"),
    ],
    ids=lambda value: value[-30:],
)
def test_a_defect_in_what_is_declared(squares: Make, file: str, old: str, new: str, told: str) -> None:
    message = found_in(squares(file, old, new), models=[])
    assert message.startswith("plugin 'zoo_squares.plugin' (not installed)") or "is registered by" in told
    assert told in message


def test_all_defects_of_a_kind_are_told_at_once(squares: Make) -> None:
    plugin = squares("plugin", '"npy"', '"n.py"')
    sys.modules["zoo_squares.presets"].PRESETS *= 2
    message = found_in(plugin)
    assert "'n.py'" in message
    assert "2 presets" in message
    assert len(message.splitlines()) == 3


@pytest.mark.parametrize(
    ("file", "old", "new", "told"),
    [
        ("trainer", "        self.optimiser.step()\n", "", "3 steps of training changed no weight"),
        (
            "trainer",
            "if parameter in self.optimiser.state",
            "if False",
            "paused and resumed ends with another model.safe",
        ),
        ("trainer", "generator=stream, ", "", "or it draws numbers that do not derive from (seed, step)"),
        ("trainer", "self.steps_done = values", "self.done = values", "paused and resumed ends with another"),
        ("trainer", "term.detach() for name, term in terms.items()", "0 for name in ()", "returns nothing to log"),
        ("trainer", "outputs = images,", "outputs = images[:3],", "The size of tensor a"),
        ("trainer", '{"steps_done": self.steps_done}', "{'at': {1}}", "TypeError: Object of type set is not JSON seri"),
        ("loss", ".mean()", ".mean() / 0", "squared_error became non-finite"),
        ("loss", ".square().mean()", ".square()", "grad can be implicitly created only for scalar"),
        ("model", "torch.sigmoid(self.decoder(codes))", "3 * self.decoder(codes)", "expected [0, 1]"),
        ("model", "self.decode(codes).cpu()", "self.decode(codes).mean(1)", "expected float32 (4, 1, 16, 16)"),
        ("model", "self.decode(codes).cpu()", "self.decode(codes).numpy()", "gave ndarray, expected a torch.Tensor"),
        (
            "model",
            "self.decode(codes).cpu()",
            "self.decode(codes).double()",
            "generate(4, seed=0) gave float64 (4, 1, 16",
        ),
        ("model", "torch_stream(seed,", "torch_stream(0,", "the same images for another seed"),
        ("model", ", generator=torch_stream(seed, 'generate')".replace("'", '"'), "", "other images for the same seed"),
        ("model", "device).flatten(1))", "device).flatten(1)).double()", "encode gave float64 (4, 6) for 4 images"),
        ("model", "device).flatten(1))", "device).flatten(1)).mean(1)", "encode gave float32 (4,) for 4 images"),
        ("model", "device).flatten(1))", "device).flatten(1)) / 0", "numbers that are not finite"),
        (
            "model",
            "    @torch.no_grad()\n    def encode",
            "    def encode",
            "encode gave a tensor that requires gradients",
        ),
        (
            "model",
            "device).flatten(1))",
            "device).flatten(1)) + torch.rand(1)",
            "encode gives other codes the second ti",
        ),
        ("model", "images.to(self.enc", "(images - images.mean(0)).to(self.enc", "another code beside other images"),
        (
            "model",
            "    def decode(self, codes: Tensor) -> Tensor:",
            "    def decode(self, codes):\n        self.eval()",
            "mode",
        ),
        (
            "model",
            "    def decode(self, codes: Tensor) -> Tensor:",
            "    def decode(self, codes):\n        torch.rand(1)",
            "global random state",
        ),
        (
            "model",
            "    def encode",
            "    def encodes",
            "AttributeError: 'LinearAutoencoder' object has no attribute 'enco",
        ),
    ],
    ids=lambda value: value[-30:],
)
def test_a_defect_in_what_a_model_does(squares: Make, file: str, old: str, new: str, told: str) -> None:
    message = found_in(squares(file, old, new))
    assert message.startswith("plugin 'zoo_squares.plugin' (not installed): model 'linear': ")
    assert told in message


class Normalising(torch.nn.Module):
    """A model whose first part is a BatchNorm, and what its methods do about the mode."""

    def __init__(self, mode: Callable[[torch.nn.Module], AbstractContextManager[None]]) -> None:
        super().__init__()
        self.norm, self.mode = torch.nn.BatchNorm2d(1), mode

    @torch.no_grad()
    def encode(self, images: torch.Tensor) -> torch.Tensor:
        brighter_below = images * torch.linspace(0, 1, 16)[:, None]
        with self.mode(self):
            return self.norm(brighter_below).flatten(1)  # type: ignore[no-any-return]  # a Module's call

    def decode(self, codes: torch.Tensor) -> torch.Tensor:
        return torch.full((len(codes), 1, 16, 16), 0.5)

    def generate(self, num: int, seed: int = 0) -> torch.Tensor:
        return torch.rand((num, 1, 16, 16), generator=torch.Generator().manual_seed(seed))


@contextmanager
def whole_mode_back(module: torch.nn.Module) -> Iterator[None]:
    module.eval()
    yield
    module.train()


def test_the_mode_of_every_part_is_looked_at() -> None:
    check_model(Normalising(evaluation_mode), (16, 16, 1))
    with pytest.raises(AssertionError, match="does it run in evaluation mode"):
        check_model(Normalising(lambda module: nullcontext()), (16, 16, 1))
    with pytest.raises(AssertionError, match="a part of the module that was frozen in another mode"):
        check_model(Normalising(whole_mode_back), (16, 16, 1))


def test_the_cause_is_kept_for_the_traceback(squares: Make) -> None:
    with pytest.raises(AssertionError) as raised:
        check_plugin(squares("trainer", "outputs = images,", "outputs = images[:3],"), image_shape=(16, 16, 1))
    assert isinstance(raised.value.__cause__, RuntimeError)


def test_the_images_have_the_shape_that_is_asked_for(squares: Make) -> None:
    check_plugin(squares(), image_shape=(9, 7, 3), steps=2, batch_size=2)
    check_dataset(TinyImages((9, 7, 3)))


def test_a_loss_for_a_model_of_someone_else(squares: Make) -> None:
    own = {"loss": "squared_error", "model.ngf": 4, "model.ndf": 4}
    with pytest.raises(AssertionError, match=r"model 'ibgan': .*unpack"):
        check_plugin(squares(), models={"ibgan": own})


def test_a_plugin_that_is_not_installed_or_broken() -> None:
    with pytest.raises(
        AssertionError, match=r"unknown plugin 'ibgn'; did you mean 'ibgan'.*entry point of group 'zoo'"
    ):
        check_plugin("ibgn")


def test_a_broken_installed_plugin(distribution: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(distribution("broken-one", "1 / 0"))
    with pytest.raises(AssertionError, match=r"'broken-one' \(broken-one 1.0\):\n- failed to load: ZeroDivisionError"):
        check_plugin("broken-one")


OBSERVE = "    def observe(self, indices, random_state):\n        return {}\n\n    def factors_of"


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("np.uint8)\n", "np.float32)\n", "images gave float32"),
        ("(len(indices), *self.image_shape)", "(len(indices), *self.image_shape[:2])", "expected uint8"),
        ("            raise IndexError", "            print", "raises nothing, expected IndexError|raises "),
        ("IndexError(f", "ValueError(f", "raises ValueError, expected IndexError"),
        ('("row", "column")', "None", "only one of factor_names and factor_sizes is None"),
        ('("row", "column")', '("row",)', "1 factor_names and 2 factor_sizes"),
        ("axis=1)", "axis=1).astype(np.int32)", "factors_of gave int32"),
        ("(factors).T)", "(factors).T // 2)", "index_of does not lead back from factors_of"),
        ("self.factor_sizes).astype", "self.factor_sizes, mode='clip').astype", "raises nothing, expected ValueError"),
        ("(size - 3, size - 3)", "(size - 3, 0)", "it is empty"),
        ("(size, size, 1)", "(size, size)", "expected (height, width, channels)"),
        ("= 255", "= np.random.randint(1, 256)", "another image the second time"),
        ('name = "squares"', 'name = ""', "it has no name"),
        ("    def factors_of", OBSERVE.format("self.images(indices)"), "observe gave uint8"),
        (
            "    def factors_of",
            OBSERVE.format("self.images(indices) * 1.0"),
            "expected floats (5, 16, 16, 1) in [0, 1]",
        ),
        (
            "    def factors_of",
            OBSERVE.format("self.images(indices) / np.random.uniform(300, 400)"),
            "something else for",
        ),
    ],
    ids=lambda value: value[-30:],
)
def test_a_defect_in_a_dataset(squares: Make, old: str, new: str, told: str) -> None:
    squares("dataset", old, new)
    with pytest.raises(AssertionError) as raised:
        check_dataset(sys.modules["zoo_squares.dataset"].squares(None))
    assert any(part in str(raised.value) for part in told.split("|"))


@pytest.mark.parametrize("name", ["dsprites", "color_dsprites", "color_dsprites_dlib", "noisy_dsprites"])
def test_our_datasets_keep_their_promises(drawn: Path, name: str) -> None:
    check_dataset(zoo.load_dataset(name, data_root=drawn))


def test_a_model_can_be_checked_alone(drawn: Path, small: dict[str, Any]) -> None:
    spec = default_registry().spec(ModelSpec, "ibgan")
    torch.manual_seed(0)
    check_model(resolve(spec.target)((64, 64, 1), ngf=4, ndf=4), (64, 64, 1))


def test_tiny_images_show_their_factors() -> None:
    data = TinyImages((8, 8, 1))
    images = data.images(np.arange(len(data)))[..., 0]
    rows, columns = images.max(axis=2).argmax(axis=1) // 2, images.max(axis=1).argmax(axis=1) // 2
    shades = images.max(axis=(1, 2)) // 85 - 1
    np.testing.assert_array_equal(np.stack([rows, columns, shades], axis=1), data.factors_of(np.arange(len(data))))


def test_it_needs_no_pytest() -> None:
    program = "import sys, zoo.testing; print(sorted({'pytest', '_pytest', 'torch'} & set(sys.modules)))"
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert printed == "[]\n"
