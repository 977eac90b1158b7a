"""A sweep's TOML file: what it may say, and one line for everything else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from zoo.errors import SettingError, UsageError, ZooError
from zoo.registry import default_registry
from zoo.sweep.spec import Override, SweepSpec

GOOD = """
models = ["ibgan", "vae"]
datasets = ["dsprites"]
seeds = [0, 1]
steps = 2000
metrics = ["factorvae"]
[grid]
"loss.beta" = [0.0, 0.1]
[settings]
batch_size = 64
[metric_settings.factorvae]
variance_images = 10000
[[overrides]]
models = ["vae"]
settings = {"trainer.lr" = 1e-3}
[slurm]
partition = "gpu"
"""


def read(path: Path, text: str) -> SweepSpec:
    path.write_text(text)
    return SweepSpec.read(default_registry(), path)


def test_what_it_says(tmp_path: Path) -> None:
    spec = read(tmp_path / "a.toml", GOOD)
    assert (spec.models, spec.datasets, spec.seeds) == (("ibgan", "vae"), ("dsprites",), (0, 1))
    assert (spec.steps, spec.metrics, spec.eval_seed, spec.preset) == (2000, ("factorvae",), 0, None)
    assert (spec.grid, spec.settings) == ({"loss.beta": (0.0, 0.1)}, {"batch_size": 64})
    assert spec.metric_settings == {"factorvae": {"variance_images": 10_000}}
    assert spec.overrides == (Override(models=("vae",), settings={"trainer.lr": 1e-3}),)
    assert (spec.slurm.partition, spec.slurm.timeout_min) == ("gpu", 1440)


def test_dots_need_no_quotes(tmp_path: Path) -> None:
    quoted = read(tmp_path / "a.toml", GOOD)
    assert read(tmp_path / "b.toml", GOOD.replace('"loss.beta"', "loss.beta")) == quoted


def test_the_least_that_is_a_sweep(tmp_path: Path) -> None:
    spec = read(tmp_path / "a.toml", 'models = ["vae"]\ndatasets = ["dsprites"]')
    assert (spec.seeds, spec.steps, spec.metrics, spec.grid) == ((0,), None, (), {})


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("steps =", "stpes =", "unknown key 'stpes'; did you mean 'steps'"),
        ("partition", "partitoin", "unknown key 'slurm.partitoin'; did you mean 'slurm.partition'"),
        ('models = ["vae"]', 'modles = ["vae"]', "unknown key 'overrides.0.modles'; did you mean 'overrides.0.models'"),
        ('models = ["vae"]', 'models = ["vaee"]', "unknown model of this sweep 'vaee'; did you mean 'vae'?"),
        (
            '[[overrides]]\nmodels = ["vae"]',
            '[[overrides]]\ndatasets = ["celeba"]',
            "overrides[0]: unknown dataset of this sweep 'celeba'; there are: dsprites",
        ),
        ('models = ["ibgan", "vae"]', 'models = ["ibgann", "vae"]', "unknown model 'ibgann'; did you mean 'ibgan'"),
        ('["dsprites"]', '["dsprite"]', "unknown dataset 'dsprite'; did you mean 'dsprites'"),
        ('models = ["ibgan", "vae"]', 'models = "ibgan"', 'models: expected a list of names, such as ["ibgan"]'),
        ('models = ["ibgan", "vae"]', 'models = "a, b"', 'models: expected a list of names, such as ["a", "b"]'),
        ('models = ["ibgan", "vae"]', "models = 3", 'models: expected a list of names, such as ["A", "B"]'),
        ('models = ["ibgan", "vae"]', "models = {}", 'models: expected a list of names, such as ["A", "B"]'),
        ('models = ["ibgan", "vae"]', "", "models is missing; expected a list of names"),
        ('models = ["ibgan", "vae"]', "models = []", "models: value should have at least 1 item"),
        ('["ibgan", "vae"]', '["vae", "os:path", "ibgan"]', "a file may only name what a plugin registered"),
        ("seeds = [0, 1]", "seeds = [0, -1]", "seeds.1: input should be greater than or equal to 0"),
        ("seeds = [0, 1]", "seeds = [0, 0]", "seeds: 0 stands there twice"),
        ("seeds = [0, 1]", "seeds = 3", "seeds: expected a list of integers, such as [0, 1, 2, 3, 4]"),
        ("seeds = [0, 1]", 'seeds = "0-4"', "seeds: expected a list of integers, such as [0, 1, 2, 3, 4]"),
        ("seeds = [0, 1]", 'seeds = ["0-4"]', "seeds: expected a list of integers, such as [0, 1, 2, 3, 4]"),
        ("seeds = [0, 1]", "seeds = [0.5]", "seeds: expected a list of integers, such as [0, 1, 2, 3, 4]"),
        ("steps = 2000", "steps = 0", "steps: input should be greater than 0"),
        ("steps = 2000", 'steps = "many"', "steps: input should be a valid integer"),
        ("[0.0, 0.1]", "0.1", "grid: loss.beta: expected a list of the values to try"),
        ("[0.0, 0.1]", "[]", "grid: loss.beta: expected a list of the values to try"),
        ("[0.0, 0.1]", "[0.1, 0.1]", "grid: 0.1 stands there twice"),
        ("[0.0, 0.1]", "[1979-05-27]", "expected a number, a word, true or false, not date"),
        ("batch_size = 64", "seed = 64", "settings: seed is no setting of a sweep; write seeds = ... at the top"),
        ("batch_size = 64", '"loss.beta" = 1', "loss.beta stands in settings and in grid; leave it out of one"),
        ("batch_size = 64", 'loss = "os:system"', "a file may only name what a plugin registered"),
        ("batch_size = 64", 'trainer = "os:system"', "a file may only name what a plugin registered"),
        ("batch_size = 64", 'eval_metrics = "mig,os:system"', "a file may only name what a plugin registered"),
        ('"loss.beta" = [0.0, 0.1]', 'loss = ["vae", "os:system"]', "a file may only name what a plugin registered"),
        ("metric_settings.factorvae", "metric_settings.mig", "mig is not among the metrics asked for (factorvae)"),
        ('["factorvae"]', '["factorvae", "mgi"]', "unknown metric 'mgi'; did you mean 'mig'"),
        ('partition = "gpu"', "timeout_min = 0", "slurm.timeout_min: input should be greater than 0"),
        ("[[overrides]]", "[overrides]", "overrides: expected a list of tables; write [[overrides]]"),
        ("models", "models = [", "is not TOML: "),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_line(tmp_path: Path, old: str, new: str, told: str) -> None:
    assert old in GOOD
    with pytest.raises(UsageError, match=re.escape(told)) as raised:
        read(tmp_path / "a.toml", GOOD.replace(old, new, 1))
    assert "\n" not in str(raised.value)
    if raised.type is SettingError:
        assert str(raised.value).startswith(str(tmp_path / "a.toml"))


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("grid = 1", "grid: expected a table"),
        ("settings = 1", "settings: expected a table"),
        ("metric_settings = 1", "metric_settings: expected a table"),
        ("slurm = 1", "slurm: expected a table"),
        ('slurm.setup = "module load"', "slurm.setup: expected a list"),
        ("slurm.additional_parameters = 1", "slurm.additional_parameters: expected a table"),
        ("overrides = 1", "overrides: expected a list of tables; write [[overrides]]"),
        ("overrides = [1]", "overrides.0: expected a table"),
        ("overrides = [{ models = 1 }]", 'overrides.0.models: expected a list of names, such as ["A", "B"]'),
    ],
)
def test_what_is_wanted_is_said_in_the_words_of_toml(tmp_path: Path, line: str, told: str) -> None:
    with pytest.raises(SettingError) as raised:
        read(tmp_path / "a.toml", f'models = ["vae"]\ndatasets = ["dsprites"]\n{line}')
    assert told in str(raised.value)


@pytest.mark.parametrize("content", [b"\xff\xfe", b"models = " + b"[" * 5_000])
def test_what_is_no_toml_is_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.toml").write_bytes(content)
    with pytest.raises(ZooError) as raised:
        SweepSpec.read(default_registry(), tmp_path / "a.toml")
    assert "\n" not in str(raised.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"there is no .*nowhere\.toml; name a TOML file"):
        SweepSpec.read(default_registry(), tmp_path / "nowhere.toml")


def test_what_is_typed_goes_over_it(tmp_path: Path) -> None:
    spec = read(tmp_path / "a.toml", GOOD)
    typed = spec.with_words(["batch_size=8", "loss.beta=0.3", "factorvae.votes=20"])
    assert typed.overrides == (*spec.overrides, Override(settings={"batch_size": "8", "loss.beta": "0.3"}))
    assert typed.metric_settings == {"factorvae": {"variance_images": 10_000, "votes": "20"}}
    assert spec.with_words([]) == spec
    for word, told in (
        ("beta", "expected key=value"),
        ("=1", "expected key=value"),
        ("seed=3", "is no setting of a sweep"),
    ):
        with pytest.raises(SettingError, match=told):
            spec.with_words([word])
