"""Each defect put into what the plugin of docs/plugins.md declares is told, once."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest

from tests.zoo.squares import found_in, squares_with

Make = Callable[..., ModuleType]


@pytest.fixture
def squares(documented: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    return partial(squares_with, documented, monkeypatch)


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
        ("plugin", "draw-square", "train", "cannot add the command 'train': zoo itself has one"),
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
        ("plugin", 'default_preset="squares"', 'pretrained={"best": 3}', "pretrained 'best': "),
        ("plugin", 'default_preset="squares"', 'pretrained=["best"]', "pretrained is ['best'], expected Mapping"),
        (
            "plugin",
            'default_preset="squares"',
            "eval_metrics=(1,)",
            "eval_metrics is (1,), expected a tuple of strings",
        ),
        ("plugin", '"zoo_squares.presets:PRESETS"', "(1,)", "model 'linear': presets is (1,), expected str"),
        ("plugin", 'loss="squared_error"', "loss=int", "model 'linear': loss is <class 'int'>, expected str"),
        ("plugin", "needs_factors=False", "needs_factors='no'", "needs_factors is 'no', expected bool"),
        (
            "plugin",
            'default_preset="squares"',
            'eval_metrics=("reconstruction")',
            "eval_metrics is a string; write a tuple: ('reconstruction',)",
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
        (
            "presets",
            "Setting(400,",
            "Setting('sixty',",
            "preset 'squares': steps=sixty: input should be a valid integer",
        ),
        (
            "presets",
            '"a second on a laptop",',
            '"a second on a laptop", also_for="blobs", settings=',
            "preset 'squares': also_for is a string; write a tuple: ('blobs',)",
        ),
        ("presets", '"a second on a laptop"', "0", "preset 'squares': summary is 0, expected str"),
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


def test_presets_do_not_repeat_what_is_wrong_with_their_model(squares: Make) -> None:
    message = found_in(squares("plugin", 'loss="squared_error"', 'loss="cubed_error"'), models=[])
    assert message.count("cubed_error") == 1


def test_all_defects_of_a_kind_are_told_at_once(squares: Make) -> None:
    plugin = squares("plugin", '"npy"', '"n.py"')
    sys.modules["zoo_squares.presets"].PRESETS *= 2
    message = found_in(plugin)
    assert "'n.py'" in message
    assert "2 presets" in message
    assert len(message.splitlines()) == 3


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("[TrainerSpec(", "{}, [TrainerSpec(", "zoo_trainers returned dict {}, expected TrainerSpec"),
        ("return [TrainerSpec(", "[TrainerSpec(", "zoo_trainers returned nothing, expected a list of TrainerSpec"),
        ("def zoo_trainers", "def zoo_trainer", "unknown hook 'zoo_trainer'; did you mean 'zoo_trainers'"),
        ('default_preset="squares"', 'eval_metrics=("reconstruction")', "eval_metrics is a string; write a tuple"),
    ],
    ids=lambda value: value[-30:],
)
def test_one_defect_is_told_once(
    squares: Make, capsys: pytest.CaptureFixture[str], old: str, new: str, told: str
) -> None:
    message = found_in(squares("plugin", old, new), models=[])
    assert told in message
    assert len(message.splitlines()) == 2
    assert capsys.readouterr().err.count("warning: ") <= 1
