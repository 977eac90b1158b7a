"""Words -> one configuration: precedence, sources, dry runs, refusals."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from zoo.config import RESUMABLE, RunConfig, resolve_config, resumed_config
from zoo.errors import CheckpointError, SettingError, UnknownNameError, UsageError
from zoo.registry import Registry, default_registry, use_registry

IMAGES = "zoo.testing:tiny_images"


@pytest.fixture
def registry() -> Registry:
    return default_registry()


def made(registry: Registry, *words: str, dataset: str = "dsprites", **options: Any) -> RunConfig:
    return resolve_config(registry, "ibgan", dataset, words=words, **options)


def test_a_preset_goes_before_the_defaults(registry: Registry) -> None:
    config = made(registry)
    assert (config.preset, config.steps, config.batch_size) == ("dsprites", 150_000, 64)
    assert config.settings["loss"]["beta"] == 0.141  # the default of the dSprites column of Table 7
    assert config.settings["trainer"]["noise_steps"] == 100_000
    assert config.sources["loss.beta"].startswith("Table 7")
    assert config.settings["loss"]["guard"] is True
    assert "loss.guard" not in config.sources  # a default
    assert (config.save_every, config.sources.get("save_every")) == (5_000, None)
    assert (config.loss, config.trainer) == ("ibgan", "adversarial")


@pytest.mark.parametrize(
    ("dataset", "typed", "preset", "source"),
    [
        ("color_dsprites", None, "color_dsprites", "default"),
        (IMAGES, None, "celeba", "default"),  # it has none of its own
        (IMAGES, "demo", "demo", "command line"),
    ],
)
def test_which_preset(registry: Registry, dataset: str, typed: str | None, preset: str, source: str) -> None:
    config = made(registry, dataset=dataset, preset=typed)
    assert (config.preset, config.sources["preset"]) == (preset, source)


def test_every_layer_goes_before_the_one_below(registry: Registry) -> None:
    base = made(registry, "trainer.alpha=0.5", "loss.gamma=3", "loss.beta=0.3", "steps=11", "batch_size=16")
    config = made(
        registry, "loss.beta=0.4", "batch_size=17", base=base, typed={"steps": 12, "batch_size": 18, "seed": 5}
    )
    assert config.settings["trainer"]["eps"] == 1e-8  # preset
    assert config.settings["trainer"]["alpha"] == 0.5  # file over preset
    assert config.settings["loss"] == {"gamma": 3.0, "beta": 0.4, "guard": True}  # file, --set, default
    assert (config.steps, config.seed) == (12, 5)  # option over file
    assert config.batch_size == 17  # --set over option
    assert config.sources["steps"] == "command line"
    assert config.sources["loss.beta"] == config.sources["batch_size"] == "--set"
    assert config.sources["trainer.eps"] == "authors' code, RMSProp"
    assert (config.preset, config.sources["preset"]) == ("dsprites", "default")


def test_the_file_of_a_run_repeats_its_configuration(registry: Registry, tmp_path: Path) -> None:
    first = made(registry, "loss.beta=0.4", "model.share_front=none", "eval_metrics=factorvae,mig", "mig.num_train=77")
    (tmp_path / "config.json").write_text(json.dumps(first.model_dump(mode="json")))
    again = RunConfig.from_file(tmp_path / "config.json")
    assert again == first
    assert made(registry, base=again).rows() == first.rows()  # settings, values and sources
    assert first.settings["mig"]["num_train"] == 77
    assert first.eval_metrics == ("factorvae", "mig")


def test_a_preset_beside_a_file_is_refused(registry: Registry) -> None:
    with pytest.raises(UsageError, match="leave the preset out"):
        made(registry, base=made(registry), preset="demo")


def test_what_a_file_says_of_its_dataset_is_nothing_to_another(registry: Registry) -> None:
    base = made(registry, dataset="celeba")
    assert base.settings["dataset"]["crop"] == 148
    assert made(registry, base=base, dataset="dsprites").settings["dataset"] == {}
    chairs = made(registry, base=base, dataset="chairs3d").settings["dataset"]
    assert chairs == made(registry, dataset="chairs3d").settings["dataset"]
    with pytest.raises(SettingError, match=r"unknown setting 'dataset\.crop'"):
        made(registry, "dataset.crop=148", base=base, dataset="dsprites")  # typed, so never dropped


def test_the_configuration_of_another_model_is_refused(registry: Registry) -> None:
    """A beta-VAE with the loss and the trainer of a VAE's file would be a VAE under another name."""
    with pytest.raises(UsageError, match=r"^the configuration is of 'vae', not of 'beta_vae'; begin with a preset"):
        resolve_config(registry, "beta_vae", "dsprites", base=resolve_config(registry, "vae", "dsprites"))


def test_a_path_is_the_same_from_every_folder(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/somebody")
    config = made(registry, "dataset.source=my faces", dataset="image_folder")
    assert config.settings["dataset"]["source"] == str(tmp_path / "my faces")
    monkeypatch.chdir("/")
    again = resumed_config(registry, config, "ibgan", "image_folder")
    assert again.settings["dataset"]["source"] == str(tmp_path / "my faces")
    config = made(registry, "dataset.source=~/faces", dataset="image_folder")
    assert config.settings["dataset"]["source"] == "/home/somebody/faces"


def test_files_that_were_moved_are_named_anew_when_a_run_is_resumed(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A path says where the images are, not what is computed; how they are prepared does."""
    monkeypatch.chdir(tmp_path)
    stored = made(registry, "dataset.source=faces", dataset="image_folder")
    moved = {"dataset.source": str(tmp_path / "elsewhere")}
    resumed = resumed_config(registry, stored, "ibgan", "image_folder", typed=moved)
    assert resumed.settings["dataset"]["source"] == str(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match=r"has dataset\.size=64, not 32"):
        resumed_config(registry, stored, "ibgan", "image_folder", typed={"dataset.size": 32})
    stored.settings["dataset"]["source"] = "faces"  # as runs were once written
    resumed = resumed_config(registry, stored, "ibgan", "image_folder")
    assert resumed.settings["dataset"]["source"] == str(tmp_path / "faces")


def test_the_names_of_metrics_may_stand_apart(registry: Registry) -> None:
    assert made(registry, "eval_metrics=mig, sap").eval_metrics == ("mig", "sap")


def test_a_loss_takes_the_place_of_the_presets(registry: Registry) -> None:
    config = made(registry, "loss=infogan")
    assert config.settings["loss"] == {"gamma": 1.0}  # beta is dropped: infogan has none
    assert config.sources["loss"] == "--set"
    back = made(registry, "loss=ibgan", base=config)
    assert back.settings["loss"] == {"gamma": 1.0, "beta": 0.141, "guard": True}
    with pytest.raises(SettingError, match=r"unknown setting 'loss\.beta'"):
        made(registry, "loss=infogan", "loss.beta=0.2")  # typed, so never dropped


def test_typed_import_paths_are_used_and_those_of_a_file_refused(registry: Registry) -> None:
    config = made(registry, "loss=ibgan_plugin.losses:InfoGANLoss", dataset=IMAGES)
    assert (config.loss, config.settings["loss"]) == ("ibgan_plugin.losses:InfoGANLoss", {"gamma": 2.0})
    with pytest.raises(UnknownNameError, match="type the name yourself"):
        made(registry, base=config, dataset=IMAGES)
    again = made(registry, "loss=ibgan_plugin.losses:InfoGANLoss", base=config, dataset=IMAGES)
    assert again.settings == config.settings


def test_metrics_named_by_an_import_path_have_settings_too(registry: Registry) -> None:
    path = "ibgan_plugin.evaluation.mig:mig"
    config = made(registry, f"eval_metrics={path}", f"{path}.num_train=50")
    assert config.settings[path]["num_train"] == 50


def test_the_metrics_of_a_file_can_be_replaced(registry: Registry) -> None:
    base = made(registry, "eval_every=5", "factorvae.votes=7")
    config = made(registry, "eval_metrics=mig", base=base)
    assert "factorvae" not in config.settings
    assert config.settings["mig"]["num_train"] == 10_000
    assert made(registry, base=base).settings["factorvae"]["votes"] == 7


def test_a_model_brings_the_metrics_that_score_it_and_one_that_brings_none_asks_for_them(registry: Registry) -> None:
    assert made(registry).eval_metrics == ("factorvae",)
    model = "ibgan_plugin.model:IBGAN"  # named by its import path, so nobody said what scores it
    words = ["loss=ibgan", "trainer=adversarial", "steps=1"]
    assert resolve_config(registry, model, "dsprites", words=words).eval_metrics == ()
    with pytest.raises(SettingError, match=r"eval_every=5: nothing to evaluate; add --set eval_metrics=NAME,NAME$"):
        resolve_config(registry, model, "dsprites", words=[*words, "eval_every=5"])
    named = resolve_config(registry, model, "dsprites", words=[*words, "eval_every=5", "eval_metrics=mig"])
    assert named.eval_metrics == ("mig",)


def test_what_a_model_without_presets_lacks_is_told(registry: Registry) -> None:
    words = ["loss=ibgan", "trainer=adversarial"]
    with pytest.raises(SettingError, match=r"^steps: no preset of '.*:IBGAN' for 'dsprites' says it; add --steps N$"):
        resolve_config(registry, "ibgan_plugin.model:IBGAN", "dsprites", words=words)
    assert resolve_config(registry, "ibgan_plugin.model:IBGAN", "dsprites", words=words, untrained=True).steps == 1


@pytest.mark.parametrize("key", ["loss", "trainer"])
@pytest.mark.parametrize("value", ["", None, 5])
def test_a_part_that_is_no_name_is_told(registry: Registry, key: str, value: Any) -> None:
    with pytest.raises(SettingError, match=rf"^{key}={value or ''}.*: expected the name of a {key}$"):
        made(registry, typed={key: value})


@pytest.mark.parametrize("value", [None, 5, ["mig", 5]])
def test_metrics_that_are_no_names_are_told(registry: Registry, value: Any) -> None:
    with pytest.raises(SettingError, match=r"^eval_metrics=.*: expected names of metrics$"):
        made(registry, typed={"eval_metrics": value})


def test_a_default_may_be_typed_when_a_run_is_resumed(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However it is written in the signature: 1 is the float 1.0 there."""
    module = "from ibgan_plugin.losses import IBGANLoss\nclass Loss(IBGANLoss):\n"
    (tmp_path / "with_default.py").write_text(module + "    def __init__(self, *, extra: float = 1) -> None: ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    stored = made(registry, "loss=with_default:Loss")
    assert stored.settings["loss"] == {"extra": 1.0}
    as_older_versions_wrote_it = stored.model_copy(update={"settings": stored.settings | {"loss": {"extra": 1}}})
    for config in (stored, as_older_versions_wrote_it):
        again = resumed_config(registry, config, "ibgan", words=["loss=with_default:Loss", "loss.extra=1"])
        assert again.settings["loss"] == {"extra": 1.0}
        with pytest.raises(UsageError, match=r"has loss\.extra=1(\.0)?, not 2\.0"):
            resumed_config(registry, config, "ibgan", words=["loss=with_default:Loss", "loss.extra=2"])


def test_a_folder_has_one_name_however_it_was_reached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or its images would be prepared twice, and a sweep would take its own folder for another one's."""
    (tmp_path / "faces").mkdir()
    (tmp_path / "runs").mkdir()
    found = []
    for here, written in ((tmp_path, "faces"), (tmp_path / "runs", "../faces"), (tmp_path, "runs/../faces")):
        monkeypatch.chdir(here)
        config = resolve_config(default_registry(), "ibgan", "image_folder", words=[f"dataset.source={written}"])
        found.append(config.settings["dataset"]["source"])
    assert found == [str(tmp_path / "faces")] * 3


def test_metrics_that_are_never_computed_need_not_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    base = made(default_registry())
    monkeypatch.setenv("ZOO_DISABLE_PLUGINS", "evaluation")
    use_registry(None)
    assert made(default_registry(), base=base).settings == base.settings
    of_file = base.model_copy(update={"sources": {key: f"--config ({source})" for key, _, source in base.rows()}})
    assert made(default_registry(), base=of_file).settings == base.settings
    with pytest.raises(UnknownNameError, match="unknown metric 'factorvae'"):
        made(default_registry(), "eval_every=5", base=base)


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("steps=0", "steps=0: input should be greater than 0"),
        ("steps=many", "steps=many: input should be a valid integer"),
        ("batch_size=1", "batch_size=1: input should be greater than or equal to 2"),
        ("batch_size=65537", "batch_size=65537: input should be less than or equal to 65536"),
        ("log_every=0", "log_every=0: input should be greater than 0"),
        ("save_every=-1", "save_every=-1: input should be greater than or equal to 0"),
        ("eval_every=-1", "eval_every=-1: input should be greater than or equal to 0"),
        ("eval_metrics=factorvea", "unknown metric 'factorvea'; did you mean 'factorvae'"),
        ("seed=-1", "seed=-1: input should be greater than or equal to 0"),
        ("seed=9223372036854775808", "seed=9223372036854775808: input should be less than 9223372036854775808"),
        ("precision=fp8", "precision=fp8: input should be 'auto', 'fp32' or 'bf16'"),
        ("loss=ibgn", "unknown loss 'ibgn'; did you mean 'ibgan'"),
        ("loss=", "loss=: expected the name of a loss"),
        ("trainer=adversary", "unknown trainer 'adversary'; did you mean 'adversarial'"),
        ("model.ngf=3", "model.ngf=3: input should be greater than or equal to 4"),
        ("model.variant=table6", "model.variant=table6: input should be 'table4', 'table5' or 'authors'"),
        ("model.share_front=perhaps", "model.share_front=perhaps: input should be a valid boolean"),
        ("loss.beta=-0.1", "loss.beta=-0.1: input should be greater than or equal to 0"),
        ("loss.beta=nan", "loss.beta=nan: input should be a finite number"),
        ("trainer.lr_generator=0", "trainer.lr_generator=0: input should be greater than 0"),
        ("factorvae.votes=0", "factorvae.votes=0: input should be greater than 0"),
        ("dataset.size=3", "unknown setting 'dataset.size'"),
        ("loss.bta=1", "unknown setting 'loss.bta'; did you mean 'loss.beta'"),
        ("optimizer.lr=1", "unknown setting 'optimizer.lr'"),
        ("betta=1", "unknown setting 'betta'"),
        ("lr=1e-4", "unknown setting 'lr'; there are: trainer.lr_discriminator, trainer.lr_generator"),
        ("mig.num_train=5", "mig.num_train is a setting of a metric that this run does not evaluate; add --eval-every"),
        ("preset=demo", "preset is no setting; choose it by --preset NAME"),
        ("model=gan", "model is no setting; choose it by zoo train MODEL"),
        ("dataset=celeba", "dataset is no setting; choose it by --dataset NAME"),
        ("image_shape=1", "unknown setting 'image_shape'"),
        ("format=2", "unknown setting 'format'"),
        ("made_by=me", "unknown setting 'made_by'"),
        ("loss.beta", "--set 'loss.beta': expected key=value, such as --set loss.beta=0.2"),
        ("=3", "--set '=3': expected key=value"),
    ],
)
def test_a_bad_word_is_one_line(registry: Registry, word: str, told: str) -> None:
    with pytest.raises(UsageError) as raised:
        made(registry, word)
    assert str(raised.value).startswith(told)
    assert "\n" not in str(raised.value)
    assert raised.value.exit_code == 2


def test_unknown_names(registry: Registry) -> None:
    with pytest.raises(UnknownNameError, match="unknown model 'ibgann'; did you mean 'ibgan'"):
        resolve_config(registry, "ibgann", "dsprites")
    with pytest.raises(UnknownNameError, match="unknown dataset 'dsprite'; did you mean 'dsprites'"):
        made(registry, dataset="dsprite")
    with pytest.raises(UnknownNameError, match="unknown preset 'dem'; did you mean 'demo'"):
        made(registry, preset="dem")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"steps": 300}, None),
        ({"save_every": 0}, None),
        ({"eval_every": 7}, None),
        ({"log_every": 1}, None),
        ({"device": "cpu"}, None),
        ({"factorvae.votes": 5, "eval_metrics": "factorvae"}, None),
        ({"seed": 0}, None),  # as it was
        ({"loss.beta": 0.141}, None),
        ({"seed": 1}, "has seed=0, not 1"),
        ({"batch_size": 65}, "has batch_size=64, not 65"),
        ({"precision": "bf16"}, "has precision=fp32, not bf16"),
        ({"loss": "infogan"}, "has loss=ibgan, not infogan"),
        ({"loss.beta": 0.2}, "has loss.beta=0.141, not 0.2"),
        ({"model.ngf": 32}, "has model.ngf=16, not 32"),
        ({"trainer.lr_generator": 1e-3}, "has trainer.lr_generator=5e-05, not 0.001"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_may_change_when_a_run_is_resumed(registry: Registry, change: dict[str, Any], told: str | None) -> None:
    stored = made(registry, typed={"precision": "fp32"})
    if told is None:
        resumed = resumed_config(registry, stored, "ibgan", "dsprites", typed=change)
        differing = {k for k, v in dict(resumed).items() if dict(stored)[k] != v} - {"sources", "settings"}
        assert differing <= RESUMABLE
        assert differing <= set(change)
        return
    with pytest.raises(UsageError, match=re.escape(f"the run to resume {told}; leave it out")):
        resumed_config(registry, stored, "ibgan", "dsprites", typed=change)


def test_a_run_from_before_a_setting_goes_on_with_its_default(registry: Registry) -> None:
    stored = made(registry)
    del stored.settings["trainer"]["shared_front"]
    assert resumed_config(registry, stored, "ibgan", "dsprites").settings["trainer"]["shared_front"] == "discriminator"
    with pytest.raises(UsageError, match=r"has trainer\.shared_front=None, not both"):
        resumed_config(registry, stored, "ibgan", "dsprites", typed={"trainer.shared_front": "both"})


def test_another_model_dataset_or_preset_is_no_resuming(registry: Registry) -> None:
    stored = made(registry)
    with pytest.raises(UsageError, match="has model 'ibgan', not 'gan'"):
        resumed_config(registry, stored, "gan", "dsprites")
    with pytest.raises(UsageError, match="has dataset 'dsprites', not 'color_dsprites'"):
        resumed_config(registry, stored, "ibgan", "color_dsprites")
    with pytest.raises(UsageError, match="has preset 'dsprites', not 'demo'"):
        resumed_config(registry, stored, "ibgan", "dsprites", preset="demo")
    assert resumed_config(registry, stored, "ibgan", "dsprites", preset="dsprites").rows() == stored.rows()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "is missing; a run directory holds a config.json"),
        (b"", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b"{" * 100_000, "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"1" * 10_000, "is not JSON"),
        (b"[]", "is no run configuration: the document: input should be a valid dictionary"),
        (b"{}", "is no run configuration: model: field required"),
        (b'{"format": 2}', "is no run configuration: format: input should be 1"),
        ("steps", "is no run configuration: steps: input should be greater than 0"),
        ("extra", "is no run configuration: surprise: extra inputs are not permitted"),
        ("nan", "is not JSON: it holds NaN"),
    ],
    ids=str,
)
def test_a_file_that_is_no_configuration(registry: Registry, tmp_path: Path, content: Any, told: str) -> None:
    file = tmp_path / "config.json"
    if isinstance(content, str):
        document = made(registry).model_dump(mode="json")
        document |= {"steps": {"steps": 0}, "extra": {"surprise": 1}, "nan": {"batch_size": float("nan")}}[content]
        content = json.dumps(document).encode()
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(CheckpointError) as raised:
        RunConfig.from_file(file)
    message = str(raised.value)
    assert message.startswith(str(file))
    assert told in message
    assert "\n" not in message
    assert raised.value.exit_code == 1


def test_a_configuration_is_frozen(registry: Registry) -> None:
    with pytest.raises(ValueError, match="frozen"):
        made(registry).steps = 3  # type: ignore[misc]  # that is what is tried


def test_a_dry_run_tells_each_value_and_its_source_and_writes_nothing(
    cli: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    words = ["--set", "loss.beta=0.25", "--steps", "7", "--dry-run", "--out", "run"]
    outcome = cli("train", "ibgan", "--dataset", "dsprites", *words)
    assert (outcome.code, outcome.err) == (0, "")
    rows = {}
    for line in outcome.out.splitlines():
        if match := re.match(r"^ ?(\S+)\s{2,}(\S.*?)\s{2,}(\S.*?)\s*$", line):
            rows[match[1]] = match.groups()[1:]
    assert rows["loss.beta"] == ("0.25", "--set")
    assert rows["steps"] == ("7", "command line")
    assert rows["model"] == ("ibgan", "command line")
    assert rows["preset"] == ("dsprites", "default")
    assert rows["loss.guard"] == ("True", "default")
    assert rows["model.share_front"] == ("none", "default")
    assert rows["trainer.eps"] == ("1e-08", "authors' code, RMSProp")
    assert rows["trainer.momentum"] == ("0.9", "Table 7, RMSProp")
    assert list(tmp_path.iterdir()) == []
