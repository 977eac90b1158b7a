"""`check_plugin` finds nothing in our own plugins, and each defect put into what docs/plugins.md's plugin does."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

import zoo.cli
from tests.zoo.squares import found_in, squares_with
from zoo import settings
from zoo.config import RunConfig
from zoo.device import evaluation_mode
from zoo.registry import default_registry, resolve
from zoo.specs import ModelSpec
from zoo.testing import TinyImages, check_dataset, check_model, check_plugin
from zoo.weights import write_weights

SMALL = {"model.ngf": 4, "model.ndf": 4}

Make = Callable[..., ModuleType]


@pytest.fixture
def squares(documented: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    return partial(squares_with, documented, monkeypatch)


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
        ("trainer", '{"steps_done": self.steps_done}', "{'at': {1}}", "set is not JSON serializable"),
        (
            "loss",
            'return {"squared_error": ',
            'self.n = getattr(self, "n", 0) + 1; return {"squared_error": self.n * ',
            "or the loss keeps something from step to step, which belongs into a buffer of an nn.Module",
        ),
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
            "it leaves the module in another mode",
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


BUILT = "        self.encoder = nn"
NORMALISING = (
    *("model", BUILT, f"        self.norm = nn.BatchNorm1d(code_dim)\n{BUILT}"),
    *("model", "self.encoder(images.flatten(1)))", "self.norm(self.encoder(images.flatten(1))))"),
)


def test_the_averages_of_a_batchnorm_are_no_training(squares: Make) -> None:
    check_plugin(squares(*NORMALISING), image_shape=(16, 16, 1))
    message = found_in(squares(*NORMALISING, "trainer", "self.optimiser.step()", "pass"))
    assert "3 steps of training changed no weight" in message


def test_a_loss_that_fails_in_bf16(squares: Make) -> None:
    message = found_in(
        squares(
            *("trainer", "self.model(noisy).float()", "self.model(noisy)"),
            *("loss", "(images - reconstructed).square().mean()", "binary_cross_entropy(reconstructed, images)"),
            *(
                "loss",
                "from torch import Tensor",
                "from torch import Tensor\nfrom torch.nn.functional import binary_cross_entropy",
            ),
        )
    )
    assert "model 'linear': with --precision bf16" in message
    assert "Found dtype Float but expected BFloat16" in message


# Weights files.

METHOD = "    def __init__"


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ('("encoder",)', "which lacks encoder, encode fails: it needs what training_only names"),
        ('("critic", "decoder")', "which lacks critic, decoder, decode fails: it needs what training_only names"),
        ('"encoder"', "training_only is 'encoder', expected a tuple of names of its submodules"),
        ('("decodr",)', "training_only is ('decodr',), expected a tuple of names of its submodules"),
    ],
)
def test_weights_that_a_weights_file_lacks(squares: Make, names: str, told: str) -> None:
    def named(names: str) -> ModuleType:
        critic = ("model", BUILT, f"        self.critic = nn.Linear(1, 1)\n{BUILT}")
        return squares(*critic, "model", METHOD, f"    training_only = {names}\n\n{METHOD}")

    check_plugin(named('("critic",)'), image_shape=(16, 16, 1))
    assert told in found_in(named(names))


def test_weights_that_half_precision_changes(squares: Make) -> None:
    message = found_in(
        squares(
            *("model", BUILT, f"        self.register_buffer('scale', torch.tensor(4097.0))\n{BUILT}"),
            *("model", "self.decoder(codes)).unflatten", "self.decoder(codes)).mul(self.scale - 4096).unflatten"),
        )
    )
    assert "which lacks nothing, decode fails: half precision changes what it gives by 100%" in message


@pytest.mark.parametrize(
    ("held", "code_dim", "told"),
    [
        ("linear", 6, ""),
        ("vae", 6, "model 'linear': pretrained 'best': its file holds a model 'vae', not 'linear'"),
        ("linear", 5, "model 'linear': pretrained:best cannot be loaded: "),
    ],
    ids=["sound", "of another model", "of older code"],
)
def test_a_pretrained_file(
    squares: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held: str, code_dim: int, told: str
) -> None:
    plugin = squares("plugin", 'default_preset="squares"', 'pretrained={"best": "zoo_squares.files:BEST"}')
    config = RunConfig(
        model=held,
        dataset="squares",
        loss="squared_error",
        trainer="denoising",
        preset="none",
        steps=1,
        image_shape=(16, 16, 1),
        settings={"model": {"code_dim": code_dim}},
    )
    model = sys.modules["zoo_squares.model"].LinearAutoencoder((16, 16, 1), code_dim=6)
    files = ModuleType("zoo_squares.files")
    vars(files)["BEST"] = write_weights(tmp_path / "best.safetensors", model, config, 1)
    monkeypatch.setitem(sys.modules, "zoo_squares.files", files)
    if told:
        assert told in found_in(plugin, models=[])
    else:
        check_plugin(plugin, models=[])


# What is given to the checks.


def test_the_models_may_be_one_name(squares: Make) -> None:
    check_plugin(squares(), image_shape=(16, 16, 1), models="linear")
    assert "unknown model 'linea'; did you mean 'linear'" in found_in(squares(), models="linea")


def test_one_step_is_too_few(squares: Make) -> None:
    assert found_in(squares(), steps=1) == "steps is 1, expected at least 2: a run is paused before its last step"


def test_what_is_no_model() -> None:
    with pytest.raises(AssertionError, match="AttributeError: 'ReLU' object has no attribute 'generate'"):
        check_model(torch.nn.ReLU(), (16, 16, 1))


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
    cause: BaseException | None = raised.value
    while cause is not None and not isinstance(cause, RuntimeError):
        cause = cause.__cause__
    assert "The size of tensor a" in str(cause)


@pytest.mark.parametrize(("raised", "told"), [("assert 0, 'oh\\nno'", "oh no"), ("assert 0", "AssertionError:")])
def test_what_a_plugin_asserts_is_told_in_one_line(squares: Make, raised: str, told: str) -> None:
    message = found_in(
        squares("model", "        return self.pictures(codes", f"        {raised}\n        return (codes")
    )
    assert message.endswith(f"model 'linear': {told}")


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


def test_a_model_can_be_checked_alone(drawn: Path, small: dict[str, Any]) -> None:
    spec = default_registry().spec(ModelSpec, "ibgan")
    torch.manual_seed(0)
    check_model(resolve(spec.target)((64, 64, 1), ngf=4, ndf=4), (64, 64, 1))


def test_it_needs_no_pytest() -> None:
    program = "import sys, zoo.testing; print(sorted({'pytest', '_pytest', 'torch'} & set(sys.modules)))"
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert printed == "[]\n"


def test_what_was_checked_is_in_the_mode_it_was_in() -> None:
    model = zoo.load("ibgan", dataset="dsprites")  # in evaluation mode
    check_model(model, (64, 64, 1))
    assert not any(module.training for module in model.modules())


def test_settings_that_the_check_makes_are_refused() -> None:
    with pytest.raises(AssertionError, match=r"steps is set by the check itself; leave it out of `models`$"):
        check_plugin("ibgan", models={"ibgan": {"steps": 5}})


def test_the_command_line_may_have_run_in_this_process_before() -> None:
    """Its commands are those of all plugins then; none of them is a name that is taken."""
    assert zoo.cli.run(["plugins"]) == 0
    check_plugin("evaluation", models=[])
