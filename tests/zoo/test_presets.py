"""A preset that is wrong in itself: the plugin's mistake, and told as such."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from zoo import hookimpl
from zoo.config import resolve_config
from zoo.errors import PluginError, SettingError
from zoo.plugins import PluginManager
from zoo.registry import Registry
from zoo.specs import ModelSpec, Preset, Setting


def with_presets(settings: dict[str, Setting], monkeypatch: pytest.MonkeyPatch) -> Registry:
    """What is installed, and a model `mine` whose one preset has these settings beside its steps."""
    module = ModuleType("my_presets")
    module.PRESETS = (Preset("mine", "of a test", {"steps": Setting(5, "a test")} | settings),)
    monkeypatch.setitem(sys.modules, "my_presets", module)
    spec = ModelSpec(
        "mine",
        "ibgan_plugin.model:IBGAN",
        loss="ibgan",
        trainer="adversarial",
        presets="my_presets:PRESETS",
        default_preset="mine",
    )
    plugin = ModuleType("my_plugin")
    plugin.zoo_models = hookimpl(lambda: [spec])
    manager = PluginManager.from_environment()
    manager.register(plugin, "my_plugin")
    return Registry(manager)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"model.code_dmi": Setting(3, "a typo")}, r"^preset 'mine' of model 'mine': unknown setting 'model.code_dmi'"),
        ({"trainer.lr_generator": Setting(-1, "a slip")}, r"^preset 'mine' of model 'mine': trainer.lr_generator=-1: "),
        ({"loss": Setting("ibgn", "a typo")}, r"^preset 'mine' of model 'mine': unknown loss 'ibgn'"),
        ({"steps": Setting("sixty", "a slip")}, r"^preset 'mine' of model 'mine': steps=sixty: input should be"),
    ],
    ids=str,
)
def test_a_mistake_of_a_preset_is_not_told_as_if_it_had_been_typed(
    settings: dict[str, Setting], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(PluginError, match=told):
        resolve_config(with_presets(settings, monkeypatch), "mine", "dsprites", words=["batch_size=8"])


def test_what_was_typed_is_blamed_where_the_preset_is_sound(monkeypatch: pytest.MonkeyPatch) -> None:
    sound = with_presets({"loss.beta": Setting(0.5, "mine")}, monkeypatch)
    with pytest.raises(SettingError, match=r"^loss.beta=-1: "):
        resolve_config(sound, "mine", "dsprites", words=["loss.beta=-1"])


def test_presets_that_are_none_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = with_presets({}, monkeypatch)
    monkeypatch.setattr(sys.modules["my_presets"], "PRESETS", Preset("mine", "no tuple", {}))
    with pytest.raises(PluginError, match=r"^the presets of model 'mine', my_presets:PRESETS, are no tuple of Preset$"):
        resolve_config(broken, "mine", "dsprites")


def test_a_mistake_that_was_typed_in_the_place_of_a_wrong_default_is_the_typed_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The preset names a loss that is none; with another one typed, its misspelt setting is what is wrong."""
    wrong = with_presets({"loss": Setting("ibgn", "a typo")}, monkeypatch)
    with pytest.raises(SettingError, match=r"^unknown setting 'loss.gama'; did you mean 'loss.gamma'"):
        resolve_config(wrong, "mine", "dsprites", words=["loss=ibgan", "loss.gama=1"])


def test_a_preset_chosen_for_another_dataset_is_no_mistake_of_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    of_celeba = with_presets({"dataset.size": Setting(64, "of photographs")}, monkeypatch)
    with pytest.raises(SettingError, match=r"^unknown setting 'dataset.size'"):
        resolve_config(of_celeba, "mine", "dsprites", preset="mine")
