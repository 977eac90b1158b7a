"""Plugins of real second distributions: folders with a module and a dist-info, on the path of another process."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from zoo import hookimpl
from zoo.errors import PluginError
from zoo.plugins import HOOKS, PluginManager
from zoo.registry import use_registry
from zoo.specs import DatasetSpec, MetricSpec

HEAD = "from zoo import hookimpl\nfrom zoo.specs import DatasetSpec, LossSpec, MetricSpec, ModelSpec\n"
WORKING = f"{HEAD}@hookimpl\ndef zoo_metrics(): return [MetricSpec('works', 'm:f', 'it works')]\n"
OURS = {"adapters", "baselines", "evaluation", "ibgan"}


def plugins_of(outcome: Any) -> dict[str, dict[str, Any]]:
    assert outcome.code == 0, outcome.err
    return {plugin["name"]: plugin for plugin in json.loads(outcome.out)}


def warnings_of(outcome: Any) -> list[str]:
    return [line for line in outcome.err.splitlines() if line.startswith("warning: ")]


def test_a_working_one_adds_what_it_has(run: Callable[..., Any], documented: Path) -> None:
    listed = json.loads(run("list", "--json", path=[documented]).out)
    added = {
        kind: [entry["name"] for entry in entries if entry["plugin"] == "squares"] for kind, entries in listed.items()
    }
    assert added == {
        "models": ["linear"],
        "losses": ["annealed_ibgan", "squared_error"],
        "trainers": ["denoising"],
        "datasets": ["squares"],
        "metrics": ["reconstruction"],
        "converters": ["npy", "npz"],
    }
    helped = run("--help", path=[documented])
    assert "draw-square  Draw the first square" in helped.out
    assert helped.err == ""


def test_statuses(run: Callable[..., Any], distribution: Callable[..., Path], documented: Path) -> None:
    broken = distribution("broken-one", "import a_module_that_is_not_there\n", version="2.3")
    raising = distribution("raising", f"{HEAD}@hookimpl\ndef zoo_models(): raise KeyError('lost')\n")
    outcome = run(
        "plugins", "--json", path=[documented, broken, raising], env={"ZOO_DISABLE_PLUGINS": " baselines ,, nothing"}
    )
    found = plugins_of(outcome)
    assert "ZOO_DISABLE_PLUGINS: unknown plugin 'nothing'; there are: adapters, baselines," in outcome.err
    assert found.keys() == OURS | {"squares", "broken-one", "raising"}
    assert found["squares"] == {
        "name": "squares",
        "distribution": "zoo-squares",
        "version": "0.1.0",
        "hooks": list(HOOKS),
        "status": "ok",
        "error": None,
    }
    assert found["baselines"]["status"] == "disabled"
    assert found["baselines"]["hooks"] == []
    assert (found["broken-one"]["status"], found["broken-one"]["version"]) == ("broken", "2.3")
    assert "a_module_that_is_not_there" in found["broken-one"]["error"]
    assert found["raising"]["status"] == "broken"
    assert found["raising"]["error"] == "zoo_models failed: KeyError: 'lost'"
    assert {name for name in OURS if found[name]["status"] == "ok"} == OURS - {"baselines"}


@pytest.mark.parametrize(
    ("module", "told"),
    [
        ("import a_module_that_is_not_there", "failed to load: ModuleNotFoundError: .*a_module_that_is_not_there"),
        ("def broken(:", "failed to load: SyntaxError: "),
        ("raise RuntimeError('two\\nlines')", "failed to load: RuntimeError: two lines"),
        ("import sys; sys.exit(3)", "failed to load: SystemExit: 3"),
        (f"{HEAD}@hookimpl\ndef zoo_metrics(): raise ValueError('no')", "zoo_metrics failed: ValueError: no"),
        (f"{HEAD}@hookimpl\ndef zoo_metrics(): raise SystemExit", "zoo_metrics failed: SystemExit"),
        (
            f"{HEAD}@hookimpl\ndef zoo_metrics(): return 42",
            "zoo_metrics failed: TypeError: 'int' object is not iterable",
        ),
        (f"{HEAD}@hookimpl\ndef zoo_metrics(): return ['mig']", "returned str 'mig', expected MetricSpec"),
        (
            f"{HEAD}@hookimpl\ndef zoo_metrics(): return [LossSpec('a', 'b:c')]",
            "returned LossSpec .*expected MetricSpec",
        ),
        (
            f"{HEAD}@hookimpl\ndef zoo_metrics(): return [MetricSpec(3, 'b:c')]",
            "name, target and summary must be strings",
        ),
        (f"{HEAD}@hookimpl\ndef zoo_metrics(cli): return []", "cli"),
        (f"{HEAD}@hookimpl\ndef zoo_commands(cli): 1 / 0", "zoo_commands failed: ZeroDivisionError"),
        (
            f"{HEAD}@hookimpl\ndef zoo_commands(cli): cli.command('train')(print)",
            "cannot add the command 'train': zoo itself has one of that name",
        ),
    ],
    ids=lambda value: value[-40:],
)
def test_a_broken_one_costs_one_warning(
    run: Callable[..., Any], distribution: Callable[..., Path], module: str, told: str
) -> None:
    path = [distribution("broken-one", module, version="2.3")]
    outcome = run("list", "metrics", "--json", path=path)
    assert outcome.code == 0
    names = [metric["name"] for metric in json.loads(outcome.out)["metrics"]]
    assert "factorvae" in names
    (warning,) = warnings_of(outcome)
    assert outcome.err.splitlines() == [warning]
    assert re.search(rf"^warning: plugin 'broken-one' \(broken-one 2\.3\) .*{told}", warning), warning


def test_a_broken_command_leaves_the_hosts_own(run: Callable[..., Any], distribution: Callable[..., Path]) -> None:
    module = f"{HEAD}@hookimpl\ndef zoo_commands(cli):\n cli.commands.clear()\n cli.command('mine')(print)\n"
    outcome = run("--help", path=[distribution("clearing", module)])
    assert "  train " in outcome.out
    assert "mine" not in outcome.out
    assert len(warnings_of(outcome)) == 1


@pytest.mark.parametrize(
    "module", ["import a_module_that_is_not_there", "from zoo import hookimpl\n@hookimpl\ndef zoo_metric(): 0"]
)
def test_strict_makes_it_fatal(run: Callable[..., Any], distribution: Callable[..., Path], module: str) -> None:
    path = [distribution("broken-one", module)]
    outcome = run("list", path=path, env={"ZOO_STRICT_PLUGINS": "1"})
    assert outcome.code == 1
    assert outcome.error.startswith("plugin 'broken-one' (broken-one 1.0) ")
    assert "ZOO_DISABLE_PLUGINS" in outcome.error
    assert run("list", path=path, env={"ZOO_STRICT_PLUGINS": "0"}).code == 0
    off = run("list", path=path, env={"ZOO_STRICT_PLUGINS": "1", "ZOO_DISABLE_PLUGINS": "broken-one"})
    assert (off.code, off.err) == (0, "")


def test_a_misspelt_hook_is_reported_and_costs_nothing_else(
    run: Callable[..., Any], distribution: Callable[..., Path]
) -> None:
    path = [distribution("misspelt", f"{WORKING}@hookimpl\ndef zoo_trainer(): return []\n")]
    outcome = run("plugins", "--json", path=path)
    (warning,) = warnings_of(outcome)
    assert "plugin 'misspelt'" in warning
    assert "unknown hook 'zoo_trainer'; did you mean 'zoo_trainers'" in warning
    found = plugins_of(outcome)["misspelt"]
    assert (found["status"], found["hooks"]) == ("ok", ["zoo_metrics"])
    assert "zoo_trainers" in found["error"]
    assert "works" in run("list", "metrics", path=path).out


def test_an_implementation_may_have_a_name_of_its_own(
    run: Callable[..., Any], distribution: Callable[..., Path]
) -> None:
    """pluggy's `specname` says which hook it is of; a plugin may have several of one hook."""
    more = WORKING.replace("works", "too").replace(
        "@hookimpl\ndef zoo_metrics", "@hookimpl(specname='zoo_metrics')\ndef more"
    )
    more = more[more.index("@hookimpl") :]
    path = [distribution("renamed", f"{WORKING}{more}")]
    outcome = run("plugins", "--json", path=path)
    assert (outcome.err, plugins_of(outcome)["renamed"]["hooks"]) == ("", ["zoo_metrics"])
    listed = run("list", "metrics", path=path).out
    assert "works" in listed
    assert "too" in listed


def test_one_name_from_two_plugins_is_an_error_when_it_is_used(
    cli: Callable[..., Any], distribution: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(distribution("first", WORKING, version="1.1"))
    monkeypatch.syspath_prepend(distribution("second", WORKING.replace("m:f", "n:g"), version="2.2"))
    listed = cli("list", "metrics", "--json")
    assert (listed.code, listed.err) == (0, "")
    providers = [m["plugin"] for m in json.loads(listed.out)["metrics"] if m["name"] == "works"]
    assert providers == ["first", "second"]
    used = cli("eval", "ibgan", "nowhere", "--metrics", "works")
    assert used.code == 1
    for part in ("metric 'works'", "plugin 'first' (first 1.1)", "plugin 'second' (second 2.2)", "ZOO_DISABLE_PLUGINS"):
        assert part in used.error
    monkeypatch.setenv("ZOO_DISABLE_PLUGINS", "second")
    use_registry(None)
    assert "nowhere does not exist" in cli("eval", "ibgan", "nowhere", "--metrics", "works").error


def test_one_command_from_two_plugins_costs_the_second_this_one_only(
    run: Callable[..., Any], distribution: Callable[..., Path]
) -> None:
    adds = "\n@hookimpl\ndef zoo_commands(cli):\n cli.command('{}')(print)\n cli.command('same')(print)\n"
    path = [
        distribution("first", f"{HEAD}{adds.format('one')}", version="1.1"),
        distribution("second", f"{WORKING}{adds.format('two')}", version="2.2"),
    ]
    outcome = run("--help", path=path)
    assert [name for name in ("one", "two", "same") if f"  {name} " in outcome.out] == ["one", "two", "same"]
    assert warnings_of(outcome) == [
        "warning: plugin 'second' (second 2.2) cannot add the command 'same': plugin 'first' (first 1.1) has one of "
        "that name"
    ]
    assert "works" in run("list", "metrics", path=path).out


def test_two_plugins_of_one_name(run: Callable[..., Any], distribution: Callable[..., Path]) -> None:
    path = [
        distribution("one", WORKING, plugin="same", version="1.1"),
        distribution("two", WORKING.replace("works", "lost"), plugin="same", version="2.2"),
    ]
    outcome = run("list", "metrics", path=path)
    (warning,) = warnings_of(outcome)
    assert "plugin 'same' (two 2.2) its name is taken by one 1.1" in warning
    assert "works" in outcome.out
    assert "lost" not in outcome.out
    found = json.loads(run("plugins", "--json", path=path).out)
    assert [(p["distribution"], p["status"]) for p in found if p["name"] == "same"] == [
        ("one", "ok"),
        ("two", "broken"),
    ]


def test_two_plugins_of_one_name_the_first_of_them_broken(
    run: Callable[..., Any], distribution: Callable[..., Path]
) -> None:
    wrong = f"{HEAD}@hookimpl\ndef zoo_metrics(cli): return []\n"
    path = [distribution("one", wrong, plugin="same"), distribution("two", WORKING, plugin="same")]
    outcome = run("list", "metrics", path=path)
    (warning,) = warnings_of(outcome)
    assert "plugin 'same' (one 1.0) PluginValidationError" in warning
    assert "works" in outcome.out


def test_switched_off_before_it_is_imported(
    run: Callable[..., Any], distribution: Callable[..., Path], tmp_path: Path
) -> None:
    trace = tmp_path / "imported"
    path = [distribution("tracing", f"open({str(trace)!r}, 'w').close()\n{WORKING}")]
    for words, env in (
        (["plugins", "--json"], {"ZOO_DISABLE_PLUGINS": "tracing"}),
        (["--no-plugins", "plugins", "--json"], {}),
        (["--no-plugins", "--help"], {}),
        (["--no-plugins", "list"], {}),
        (["--no-plugins", "train", "ibgan", "--dataset", "dsprites"], {}),
    ):
        outcome = run(*words, path=path, env=env)
        assert not trace.exists(), words
        if "plugins" in words:
            assert plugins_of(outcome)["tracing"] == {
                "name": "tracing",
                "distribution": "tracing",
                "version": "1.0",
                "hooks": [],
                "status": "disabled",
                "error": None,
            }
    assert outcome.code == 2
    assert outcome.error == "unknown model 'ibgan'; none is registered"
    assert run("plugins", path=path).code == 0
    assert trace.exists()


def test_a_hook_is_asked_for_only_when_it_is_needed(
    run: Callable[..., Any], distribution: Callable[..., Path], tmp_path: Path
) -> None:
    trace = tmp_path / "asked"
    module = f"{HEAD}@hookimpl\ndef zoo_models():\n open({str(trace)!r}, 'w').close()\n return []\n"
    path = [distribution("tracing", module)]
    assert run("list", "metrics", path=path).code == 0
    assert not trace.exists()
    assert run("list", "models", path=path).code == 0
    assert trace.exists()


REPLACING = f"""{HEAD}from zoo.specs import TrainerSpec
@hookimpl
def zoo_datasets(): return [DatasetSpec('grey', 'zoo.testing:tiny_images')]
@hookimpl
def zoo_losses(): return [LossSpec('squared', 'replacing_parts:Squared')]
@hookimpl
def zoo_trainers(): return [TrainerSpec('counting', 'replacing_parts:Counting')]
"""
PARTS = """
import torch
from ibgan_plugin.losses import IBGANLoss
from ibgan_plugin.trainer import AdversarialTrainer
class Squared(IBGANLoss):
    def __init__(self, *, gamma: float = 1.0, power: int = 2) -> None:
        super().__init__(gamma=gamma)
        self.power = power
    def terms(self, judged):
        return super().terms(judged) | {'powered': judged.z_hat.abs().pow(self.power).mean()}
    def weights(self):
        weights = super().weights()
        weights['generator']['powered'] = 0.5
        return weights
class Counting(AdversarialTrainer):
    def step(self, images):
        return super().step(images) | {'counted': torch.tensor(float(self.steps_done))}
"""


def replacing(make: Callable[..., Path]) -> Path:
    path = make("replacing", REPLACING)
    (path / "replacing_parts.py").write_text(PARTS)
    return path


def assert_trained_with(out: Path, loss: str, trainer: str) -> None:
    config = json.loads((out / "config.json").read_text())
    assert (config["loss"], config["trainer"], config["settings"]["loss"]) == (
        loss,
        trainer,
        {"gamma": 2.0, "power": 3},
    )
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [line["counted"] for line in lines] == [1.0, 2.0, 3.0]
    assert all({"mi_lower", "powered"} <= line.keys() for line in lines)


TRAIN = ("train", "ibgan", "--dataset", "grey", "--steps", "3", "--out", "run", "--set", "log_every=1")


def test_another_loss_and_trainer_for_a_model_of_someone_else(
    run: Callable[..., Any], distribution: Callable[..., Path], small_words: tuple[str, ...], tmp_path: Path
) -> None:
    words = ["--set", "loss=squared", "--set", "loss.power=3", "--set", "trainer=counting"]
    outcome = run(*TRAIN, *small_words, *words, path=[replacing(distribution)])
    assert (outcome.code, outcome.out) == (0, "run\n"), outcome.err
    assert_trained_with(tmp_path / "run", "squared", "counting")


def test_the_same_by_their_import_paths(
    cli: Callable[..., Any],
    distribution: Callable[..., Path],
    small_words: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(replacing(distribution))
    names = ("replacing_parts:Squared", "replacing_parts:Counting")
    words = ["--set", f"loss={names[0]}", "--set", "loss.power=3", "--set", f"trainer={names[1]}"]
    outcome = cli(*TRAIN, *small_words, *words)
    assert (outcome.code, outcome.out) == (0, "run\n"), outcome.err
    assert_trained_with(tmp_path / "run", *names)


def test_a_run_whose_plugin_is_gone(run: Callable[..., Any], documented: Path, tmp_path: Path) -> None:
    words = ("train", "linear", "--dataset", "squares", "--steps", "2", "--out", "run")
    assert run(*words, path=[documented]).code == 0
    assert run("eval", "linear", "run", "--metrics", "reconstruction", path=[documented]).code == 0
    gone = r"; the run was made with zoo-squares 0\.1\.0, not installed here"
    for again in (
        ("train", "linear", "--resume", "--out", "run"),
        ("eval", "linear", "run", "--metrics", "mi_bounds"),
        ("sample", "linear", "run", "--out", "samples.png"),
    ):
        outcome = run(*again)
        assert outcome.code == 2
        assert re.fullmatch(f"unknown (model 'linear'|dataset 'squares').*{gone}", outcome.error), outcome.error
    page = run("report", "run", "--out", "page.html")
    assert page.code == 0
    assert "zoo-squares 0.1.0, not installed here" in (tmp_path / "page.html").read_text("utf-8")


class Metrics:
    @hookimpl
    def zoo_metrics(self) -> list[MetricSpec]:
        return [MetricSpec("mine", "m:f")]


def test_an_object_can_be_registered_by_a_program() -> None:
    manager = PluginManager([])
    plugin = manager.register(Metrics(), "mine", "my program", "3")
    assert (plugin.status, plugin.hooks, plugin.origin) == ("ok", ("zoo_metrics",), "plugin 'mine' (my program 3)")
    assert [(found.name, spec.name) for found, spec in manager.specs("zoo_metrics")] == [("mine", "mine")]
    assert list(manager.specs("zoo_models")) == []


def test_a_hook_that_breaks_later_is_left_out_from_then_on(capsys: pytest.CaptureFixture[str]) -> None:
    class Moody:
        calls = 0

        @hookimpl
        def zoo_datasets(self) -> list[DatasetSpec]:
            self.calls += 1
            raise OSError("not today")

    manager, moody = PluginManager([]), Moody()
    plugin = manager.register(moody, "moody")
    assert list(manager.specs("zoo_datasets")) == []
    assert list(manager.specs("zoo_datasets")) == []
    assert (plugin.status, moody.calls) == ("broken", 1)
    assert capsys.readouterr().err.count("warning") == 1
    strict = PluginManager([], strict=True)
    strict.register(Moody(), "moody")
    with pytest.raises(PluginError, match=r"moody.*zoo_datasets failed: OSError: not today"):
        list(strict.specs("zoo_datasets"))
