"""The loop: repeated and resumed bit for bit, stopped by signals, never past a number that is not finite."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import zoo
from ibgan_plugin.adapters.dsprites import dsprites
from ibgan_plugin.losses import IBGANLoss
from ibgan_plugin.model import IBGAN
from ibgan_plugin.trainer import AdversarialTrainer
from tests.processes import content, wait_for
from zoo.building import build_loss
from zoo.checkpoint import Checkpoint
from zoo.config import RunConfig
from zoo.device import Backend
from zoo.errors import CheckpointError, DataError, UsageError, ZooError
from zoo.randomness import derived_seed
from zoo.registry import default_registry
from zoo.run import RunDirectory, find_checkpoint

IMAGES = "zoo.testing:tiny_images"

MISBEHAVING = """
import os, time
import numpy as np
import torch
from pathlib import Path
from ibgan_plugin.losses import IBGANLoss
from ibgan_plugin.trainer import AdversarialTrainer

class Loss(IBGANLoss):
    step = 0
    def terms(self, judged):
        self.step += 1
        if self.step == int(os.environ.get("SLEEP_AT", 0)):
            print("sleeping", flush=True)
            time.sleep(120)
        terms = super().terms(judged)
        if self.step == int(os.environ.get("NAN_AT", 0)):
            terms["kl"] = terms["kl"] * torch.tensor([1.0] * 8 + [float("nan")] + [1.0] * 6)
        return terms

class Trainer(AdversarialTrainer):
    def state(self):
        tensors, values = super().state()
        if self.steps_done >= int(os.environ.get("INFINITE_FROM", 10**9)):
            tensors["generator/0.0.weight/square_avg"] = torch.tensor([1.0, float("inf")])
        return tensors, values

class Network(torch.nn.Linear):
    def __init__(self):
        super().__init__(5, 5)

def fails(model, data, seed=0):
    raise KeyError("lost")

def sleeps(model, data, seed=0):
    if "AWAKE" not in os.environ:
        print("sleeping", flush=True)
        time.sleep(120)
    return {"score": 0.5, "protocol": {}}

def slow_images(data_root=None):
    print("sleeping", flush=True)
    time.sleep(120)

class Floats:
    name, image_shape, factor_names, factor_sizes = "floats", (64, 64, 1), None, None
    def __len__(self):
        return 20
    def images(self, indices):
        return np.zeros((len(indices), 64, 64, 1), np.float32)

class ChannelsFirst(Floats):
    def images(self, indices):
        return np.zeros((len(indices), 1, 64, 64), np.uint8)

def floats(data_root=None):
    return Floats()

def from_a_file(data_root=None, *, file: Path):
    assert file.exists()
    return NoFactors()

def channels_first(data_root=None):
    return ChannelsFirst()

class NoFactors:
    name, image_shape, factor_names, factor_sizes = "noise", (64, 64, 1), None, None
    def __len__(self):
        return 20
    def images(self, indices):
        return np.random.RandomState(0).randint(0, 256, (len(indices), 64, 64, 1)).astype(np.uint8)

def no_factors(data_root=None):
    return NoFactors()

def says_nothing(model, data, seed=0):
    return {"protocol": {}}

class Clock:
    now = 1_000.0
    def monotonic(self):
        return self.now

CLOCK = Clock()

class Paced:
    done = 0
    def __init__(self, model, loss, *, seed, backend):
        pass
    def step(self, images):
        self.done += 1
        CLOCK.now += 0.5 if self.done <= 2 else 0.125
        return {"real": torch.tensor(0.5)}
    def state(self):
        return {}, {"done": self.done}
    def load(self, tensors, values):
        self.done = values["done"]

def takes_a_minute(model, data, seed=0):
    CLOCK.now += 60
    return {"score": 0.5, "protocol": {}}

SCORES = iter([0.1, 0.9, 0.4, 0.3, 0.9])
def scores(model, data, seed=0):
    return {"score": next(SCORES), "protocol": {}}
"""


@pytest.fixture
def misbehaving(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the path with a loss and a trainer that go wrong when the environment says so."""
    folder = tmp_path / "modules"
    folder.mkdir()
    (folder / "misbehaving.py").write_text(MISBEHAVING)
    monkeypatch.syspath_prepend(folder)
    return folder


@pytest.fixture
def train(one_thread: None, small: dict[str, Any], drawn: Path) -> Callable[..., RunDirectory]:
    """Train a small IB-GAN in this process."""

    def call(out: Path, dataset: str = "dsprites", resume: bool = False, **settings: Any) -> RunDirectory:
        options = {"batch_size": 8, "device": "cpu", "precision": "fp32"} | small | settings
        return zoo.train("ibgan", dataset, out=out, resume=resume, settings=options, data_root=drawn)

    return call


def log(run: Path) -> list[dict[str, Any]]:
    """The log, but for the rates."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert all(line.pop("steps_per_second") > 0 for line in lines)
    return lines


def test_a_run_directory_has_what_it_promises(trained: Path) -> None:
    config = json.loads((trained / "config.json").read_text())
    assert config["image_shape"] == [64, 64, 1]
    assert (config["preset"], config["seed"], config["steps"], config["precision"]) == ("dsprites", 3, 6, "fp32")
    (made_by,) = config["made_by"].values()
    assert {"versions", "commit", "command", "machine", "backend", "started"} <= made_by.keys()
    assert {"ibgan-plugin", "numpy", "python"} <= made_by["versions"].keys()
    assert made_by["versions"]["torch"] == version("torch")
    assert [line["step"] for line in log(trained)] == [1, 2, 3, 4, 5, 6]
    for line in log(trained):
        assert {"real", "fake", "adversarial", "mi_lower", "mi_upper", "kl"} <= line.keys()
        assert sum(line["kl"]) == pytest.approx(line["mi_upper"], rel=1e-5)
        assert len(line["kl"]) == 10
    assert RunDirectory(trained).steps() == [2, 4, 6]
    assert {p.name for p in trained.iterdir()} <= {"config.json", "metrics.jsonl", "checkpoints", "run.lock"}


def test_a_seed_is_a_run(train: Callable[..., RunDirectory], trained: Path, tmp_path: Path) -> None:
    same = train(tmp_path / "same", seed=3, steps=2, log_every=1)
    other = train(tmp_path / "other", seed=4, steps=2, log_every=1)
    assert content(same.path, 2) == content(trained, 2)  # however often it is saved, however long it goes on
    assert log(same.path) == log(trained)[:2]
    assert content(other.path, 2) != content(trained, 2)


def test_which_draws_make_a_run(one_thread: None, drawn: Path, trained: Path) -> None:
    """Two steps by hand: initial weights from the seed, each batch from (seed, step), and the seed for the trainer."""
    run = RunDirectory(trained)
    settings, backend, data = run.config.settings, Backend.choose("cpu", "fp32"), dsprites(drawn)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(3, "initial weights"))
        model = IBGAN((64, 64, 1), **settings["model"])
    backend.place(model)
    trainer = AdversarialTrainer(model, IBGANLoss(**settings["loss"]), seed=3, backend=backend, **settings["trainer"])
    for step in (1, 2):
        stream = np.random.Generator(np.random.PCG64(derived_seed(3, "data", step)))
        trainer.step(backend.images(data.images(stream.integers(0, 737_280, 8))))
    checkpoint = Checkpoint.open(trained / "checkpoints" / "step-00000002")
    for by_hand, file in ((model.state_dict(), "model.safetensors"), (trainer.state()[0], "trainer.safetensors")):
        found = checkpoint.tensors(file)
        assert found.keys() == by_hand.keys()
        assert [name for name, tensor in by_hand.items() if not torch.equal(tensor, found[name])] == []


def test_which_draws_make_the_networks_of_a_loss(misbehaving: Path) -> None:
    """A stream of the seed's own, so that a loss with networks changes nothing in the model's first weights."""
    options = {"model": "ibgan", "dataset": "none", "trainer": "adversarial", "preset": "none", "steps": 1}
    config = RunConfig.model_validate(options | {"loss": "misbehaving:Network", "seed": 3})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(3, "initial weights of the loss"))
        expected = torch.nn.Linear(5, 5).weight
    before = torch.get_rng_state()
    loss = build_loss(default_registry(), config, Backend.choose("cpu", "fp32"))
    assert torch.equal(loss.weight, expected)
    assert torch.equal(torch.get_rng_state(), before)


def test_what_comes_from_a_configuration_says_so(cli: Callable[..., Any], trained: Path) -> None:
    out = cli("train", "ibgan", "--config", trained / "config.json", "--set", "loss.beta=0.5", "--dry-run").out
    rows = {words[0]: words[1:] for line in out.splitlines() if (words := line.split())}
    assert rows["loss.beta"] == ["0.5", "--set"]
    assert rows["trainer.alpha"] == ["0.99", "--config", "(Table", "7,", "RMSProp)"]
    assert rows["precision"][:2] == ["fp32", "--config"]


def test_the_configuration_of_a_run_repeats_it(cli: Callable[..., Any], drawn: Path, trained: Path) -> None:
    words = ["train", "ibgan", "--config", trained / "config.json"]
    outcome = cli(*words, "--out", "again", "--save-every", "0", "--data-root", drawn)
    assert (outcome.code, outcome.out) == (0, "again\n")
    assert RunDirectory(Path("again")).steps() == [6]
    assert content(Path("again"), 6) == content(trained, 6)
    assert log(Path("again")) == log(trained)


def test_resuming_changes_nothing(train: Callable[..., RunDirectory], trained: Path, tmp_path: Path) -> None:
    for steps in (1, 3, 6):
        train(tmp_path / "run", resume=True, seed=3, steps=steps, log_every=1)
    assert RunDirectory(tmp_path / "run").steps() == [1, 3, 6]
    assert list(RunDirectory(tmp_path / "run").config.made_by) == ["from step 1", "from step 2", "from step 4"]
    assert content(tmp_path / "run", 6) == content(trained, 6)
    assert log(tmp_path / "run") == log(trained)


@pytest.mark.parametrize("file", ["model.safetensors", "trainer.safetensors", "state.json"])
def test_resuming_goes_on_from_the_newest_whole_checkpoint(
    train: Callable[..., RunDirectory], trained: Path, run_copy: Path, capsys: pytest.CaptureFixture[str], file: str
) -> None:
    damaged = run_copy / "checkpoints" / "step-00000006" / file
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:100] + bytes([whole[100] ^ 4]) + whole[101:])
    (run_copy / "checkpoints" / "step-00000004" / file).unlink()
    train(run_copy, resume=True, seed=3, steps=6, log_every=1)
    assert content(run_copy, 6) == content(trained, 6)
    assert log(run_copy) == log(trained)
    told = capsys.readouterr().err
    assert "steps 3 to 6" in told
    assert told.count("warning: ") == 2


def test_a_damaged_checkpoint_takes_no_whole_ones_place(
    train: Callable[..., RunDirectory], run_copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = run_copy / "checkpoints" / "step-00000006" / "model.safetensors"
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:100] + bytes([whole[100] ^ 4]) + whole[101:])
    run = train(run_copy, resume=True, seed=3, steps=5, log_every=1, keep=1)
    assert run.steps() == [5]
    assert (run_copy / "checkpoints" / "damaged-step-00000006" / "model.safetensors").is_file()
    newest = run.newest()
    assert newest is not None
    assert newest.step == 5


def test_auto_is_the_precision_that_the_run_was_begun_with(train: Callable[..., RunDirectory], run_copy: Path) -> None:
    run = train(run_copy, resume=True, seed=3, steps=7, log_every=1, precision="auto")
    assert run.config.precision == "fp32"
    with pytest.raises(UsageError, match=r"^the run to resume has precision=fp32, not bf16; leave it out, or begin"):
        train(run_copy, resume=True, seed=3, steps=8, log_every=1, precision="bf16")


def test_every_step_is_in_the_backends_exact_context(
    train: Callable[..., RunDirectory], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What keeps TF32 out of fp32 on CUDA; nothing here needs a GPU."""
    inside, seen, step = [], [], AdversarialTrainer.step

    @contextmanager
    def exact(backend: Backend) -> Iterator[None]:
        inside.append(backend.precision)
        yield
        inside.clear()

    def watched(trainer: AdversarialTrainer, images: torch.Tensor) -> dict[str, torch.Tensor]:
        seen.append(list(inside))
        return step(trainer, images)

    monkeypatch.setattr(Backend, "exact", exact)
    monkeypatch.setattr(AdversarialTrainer, "step", watched)
    train(tmp_path / "run", IMAGES, steps=2)
    assert (seen, inside) == ([["fp32"], ["fp32"]], [])


# Stopped by signals, in a process of its own.


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_stopped_anywhere_a_run_goes_on_bit_for_bit(
    start: Callable[..., subprocess.Popen[str]],
    train: Callable[..., RunDirectory],
    small_words: tuple[str, ...],
    drawn: Path,
    tmp_path: Path,
    number: signal.Signals,
    code: int,
) -> None:
    out = tmp_path / "run"
    words = ["--steps", 100_000, "--save-every", "2", "--precision", "fp32", "--set", "log_every=1", "--out", out]
    process = start("train", "ibgan", "--dataset", "dsprites", *small_words, *words, "--data-root", drawn)
    wait_for((out / "checkpoints" / "step-00000004").exists, process)
    process.send_signal(number)
    printed, told = process.communicate(timeout=30)
    assert (process.returncode, printed) == (code, "")

    newest = RunDirectory(out).newest()
    assert newest is not None
    stopped = newest.step
    assert 4 <= stopped < 100_000
    if number != signal.SIGKILL:
        note, error = told.splitlines()[-2:]
        assert note == f"{number.name}: finishing this step and writing a checkpoint; again to stop at once"
        assert error == f"error: stopped by {number.name} after step {stopped:,}; go on with --resume --out {out}"
        assert log(out)[-1]["step"] == stopped

    more = {"steps": stopped + 3, "log_every": 1}
    train(out, resume=True, **more)
    straight = train(tmp_path / "straight", **more)
    assert content(out, stopped + 3) == content(straight.path, stopped + 3)
    assert log(out) == log(straight.path)


def test_a_second_signal_stops_at_once(
    start: Callable[..., subprocess.Popen[str]], misbehaving: Path, small_words: tuple[str, ...], tmp_path: Path
) -> None:
    words = ["train", "ibgan", "--dataset", IMAGES, "--set", "loss=misbehaving:Loss", "--out", "run", *small_words]
    process = start(*words, "--save-every", "1", path=[misbehaving], env={"SLEEP_AT": "3"})
    assert process.stdout is not None
    assert process.stdout.readline() == "sleeping\n"
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    assert any(line.startswith("SIGINT: finishing this step") for line in process.stderr)
    assert process.poll() is None
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    process.wait(10)
    assert time.monotonic() - began < 5
    assert process.returncode == -signal.SIGINT
    assert find_checkpoint(tmp_path / "run").step == 2
    with RunDirectory(tmp_path / "run").locked():
        pass


def test_a_signal_before_the_first_step_ends_it_there(
    start: Callable[..., subprocess.Popen[str]], misbehaving: Path, tmp_path: Path
) -> None:
    """Making a dataset ready can take hours; nobody waits for that, nor for a step after it."""
    process = start("train", "ibgan", "--dataset", "misbehaving:slow_images", "--out", "run", path=[misbehaving])
    assert process.stdout is not None
    assert process.stdout.readline() == "sleeping\n"
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=10)
    assert (process.returncode, told) == (130, "\ninterrupted\n")
    assert not (tmp_path / "run").exists()


def test_a_signal_ends_an_evaluation_and_the_resumed_run_makes_up_for_it(
    start: Callable[..., subprocess.Popen[str]],
    train: Callable[..., RunDirectory],
    misbehaving: Path,
    small_words: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    metric = "misbehaving:sleeps"
    words = ["train", "ibgan", "--dataset", IMAGES, "--out", "run", *small_words, "--precision", "fp32"]
    process = start(*words, "--eval-every", "2", "--set", f"eval_metrics={metric}", path=[misbehaving])
    assert process.stdout is not None
    assert process.stdout.readline() == "sleeping\n"
    process.send_signal(signal.SIGTERM)
    _, told = process.communicate(timeout=10)
    assert process.returncode == 143
    assert "SIGTERM: leaving the evaluation and writing a checkpoint" in told
    assert "stopped by SIGTERM after step 2; go on with --resume --out run" in told
    assert RunDirectory(tmp_path / "run").steps() == [2]
    monkeypatch.setenv("AWAKE", "1")
    run = train(tmp_path / "run", IMAGES, resume=True, steps=5, eval_metrics=[metric])
    assert [record["step"] for record in run.records("evaluations.jsonl")] == [2, 4]


def test_in_another_thread_signals_are_left_alone(train: Callable[..., RunDirectory], tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT)
    finished: list[RunDirectory] = []
    thread = threading.Thread(target=lambda: finished.append(train(tmp_path / "run", IMAGES, steps=2)))
    thread.start()
    thread.join(60)
    assert [run.steps() for run in finished] == [[2]]
    assert signal.getsignal(signal.SIGINT) is before


def test_the_handlers_of_the_program_come_back(train: Callable[..., RunDirectory], tmp_path: Path) -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    train(tmp_path / "run", IMAGES, steps=1)
    with pytest.raises(UsageError):
        train(tmp_path / "run", IMAGES, steps=1)
    assert {number: signal.getsignal(number) for number in before} == before


# Numbers that are not finite.


def test_an_absurd_learning_rate_stops_with_the_step_and_the_terms(
    train: Callable[..., RunDirectory], tmp_path: Path
) -> None:
    with pytest.raises(ZooError, match=r"^step 2: .*mi_lower.* became non-finite; the last good checkpoint is ") as e:
        train(tmp_path / "run", IMAGES, steps=9, save_every=1, log_every=1, **{"trainer.lr_generator": 1.0})
    assert f"{tmp_path / 'run' / 'checkpoints' / 'step-00000001'}; try --precision fp32 or smaller" in str(e.value)
    assert RunDirectory(tmp_path / "run").steps() == [1]
    assert [line["step"] for line in log(tmp_path / "run")] == [1]


@pytest.mark.parametrize(
    ("environment", "settings", "told", "kept"),
    [
        ({"NAN_AT": "5"}, {"log_every": 1, "save_every": 2}, "step 5: kl became non-finite", [2, 4]),
        ({"NAN_AT": "4"}, {"log_every": 100, "save_every": 2}, "step 4: kl became non-finite", [2]),
        ({"NAN_AT": "6"}, {"log_every": 100, "save_every": 0}, "step 6: kl became non-finite", []),
        (
            {"INFINITE_FROM": "3"},
            {"log_every": 1, "save_every": 2, "trainer": "misbehaving:Trainer"},
            "step 4: the trainer's state generator/0.0.weight/square_avg became non-finite",
            [2],
        ),
    ],
    ids=["logged", "saved, not logged", "at the end", "trainer"],
)
def test_nothing_good_is_followed_by_something_broken(
    train: Callable[..., RunDirectory],
    misbehaving: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    environment: dict[str, str],
    settings: dict[str, Any],
    told: str,
    kept: list[int],
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ZooError) as raised:
        train(tmp_path / "run", IMAGES, steps=6, loss="misbehaving:Loss", **settings)
    good = f"the last good checkpoint is {tmp_path / 'run' / 'checkpoints'}/step-{kept[-1]:08d}" if kept else ""
    assert str(raised.value).startswith(f"{told}; {good or 'there is no checkpoint yet'}; try ")
    assert RunDirectory(tmp_path / "run").steps() == kept


# When what is written.


def test_when_it_logs_and_saves(train: Callable[..., RunDirectory], tmp_path: Path) -> None:
    run = train(tmp_path / "run", IMAGES, steps=7, log_every=3, save_every=4)
    assert [line["step"] for line in log(run.path)] == [3, 6, 7]
    assert run.steps() == [4, 7]
    only = train(tmp_path / "only", IMAGES, steps=3, save_every=0)
    assert only.steps() == [3]


def test_the_rate_is_of_the_training_since_the_last_line(
    train: Callable[..., RunDirectory], misbehaving: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """By a clock of the test's own: two steps of half a second each, then of an eighth, evaluations of a minute."""
    monkeypatch.setattr("zoo.training.time", import_module("misbehaving").CLOCK)
    options = {"log_every": 2, "trainer": "misbehaving:Paced"}
    options |= {"eval_every": 2, "eval_metrics": ["misbehaving:takes_a_minute"]}
    train(tmp_path / "run", IMAGES, steps=6, **options)
    run = train(tmp_path / "run", IMAGES, resume=True, steps=9, **options)
    rates = {line["step"]: line["steps_per_second"] for line in run.records("metrics.jsonl")}
    assert rates == {2: 2.0, 4: 8.0, 6: 8.0, 8: 8.0, 9: 8.0}


def test_evaluations_on_the_way_have_a_seed_that_every_metric_takes(
    train: Callable[..., RunDirectory], tmp_path: Path
) -> None:
    """NumPy's older generator, which the published metrics draw from, takes 32 bits; a run's seed may have 63."""
    few = {"factorvae.votes": 5, "factorvae.samples_per_vote": 2}
    seed, kept = 2**32 + 2**31 + 5, 2**31 + 5
    run = train(tmp_path / "run", IMAGES, seed=seed, steps=1, eval_every=1, eval_metrics=["factorvae"], **few)
    (record,) = run.records("evaluations.jsonl")
    assert record["errors"] == {}
    assert (record["seed"], record["metrics"]["factorvae"]["protocol"]["seed"]) == (kept, kept)
    assert run.config.seed == seed


def test_evaluating_on_the_way_changes_nothing_and_a_failing_metric_costs_a_warning(
    train: Callable[..., RunDirectory], misbehaving: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    metrics = ("mi_bounds", "misbehaving:fails", "misbehaving:says_nothing")
    more = {"eval_every": 2, "eval_metrics": metrics, "mi_bounds.num": 50}
    run = train(tmp_path / "run", IMAGES, steps=5, **more)
    told = capsys.readouterr().err
    plain = train(tmp_path / "plain", IMAGES, steps=5)
    assert content(run.path, 5) == content(plain.path, 5)
    records = [json.loads(line) for line in (run.path / "evaluations.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records] == [2, 4]
    for record in records:
        assert record["metrics"].keys() == {"mi_bounds"}
        assert record["metrics"]["mi_bounds"]["protocol"]["num"] == 50
        assert record["errors"]["misbehaving:fails"] == "KeyError: 'lost'"
        assert "expected a dict with score and protocol" in record["errors"]["misbehaving:says_nothing"]
    assert told.count("warning: step 2: misbehaving:fails: KeyError: 'lost'") == 1
    assert "step 4: mi_bounds " in told


# Refusals.


def test_the_newest_and_the_best_checkpoints_are_kept(
    train: Callable[..., RunDirectory], misbehaving: Path, tmp_path: Path
) -> None:
    """The scores are 0.1, 0.9, 0.4, ... at the steps 2, 4, 6, ...; what is evaluated is saved: it may be the best."""
    path = "misbehaving:scores"
    more = {"eval_every": 2, "eval_metrics": [path], "save_every": 5}
    train(tmp_path / "run", IMAGES, keep=2, steps=9, **more)
    assert RunDirectory(tmp_path / "run").steps() == [4, 8, 9]
    train(tmp_path / "run", IMAGES, resume=True, keep=1, steps=10, eval_metrics=[path])
    assert RunDirectory(tmp_path / "run").steps() == [4, 10], (
        "how many are kept may change; the first of equals is the best"
    )


@pytest.mark.parametrize(("keep_best", "best"), [("", 6), ("mig", 6), ("fid", 4)])
def test_the_best_is_by_the_metric_asked_for_in_its_direction(
    train: Callable[..., RunDirectory], run_copy: Path, keep_best: str, best: int
) -> None:
    """Of an FID the lowest is the best; without a choice, it is the first metric that counts."""
    for step, fid, mig in ((2, 90, 0.1), (4, 80, 0.2), (6, 95, 0.9)):
        scores = {name: {"score": score, "protocol": {}} for name, score in (("fid", fid), ("mig", mig))}
        RunDirectory(run_copy).append("evaluations.jsonl", {"step": step, "metrics": scores})
    options = {"keep": 1, "keep_best": keep_best, "eval_metrics": ["mig", "fid"]}
    assert train(run_copy, resume=True, seed=3, steps=7, **options).steps() == [best, 7]


def test_a_metric_that_needs_what_the_dataset_lacks_is_refused_at_the_start(
    train: Callable[..., RunDirectory], misbehaving: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=r"^factorvae needs ground-truth factors, which misbehaving:no_factors does "):
        train(tmp_path / "run", "misbehaving:no_factors", steps=1, eval_every=1)
    run = train(tmp_path / "run", "misbehaving:no_factors", steps=1, eval_every=1, eval_metrics=["mi_bounds"])
    assert [record["step"] for record in run.records("evaluations.jsonl")] == [1]


def test_the_metric_to_keep_the_best_by_is_one_of_those_evaluated(
    train: Callable[..., RunDirectory], tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=r"^unknown metric to keep the best by 'mgi'; did you mean 'mig'\?$"):
        train(tmp_path / "run", IMAGES, keep=1, keep_best="mgi", eval_metrics=["factorvae", "mig"])


def test_a_start_that_failed_leaves_nothing_behind(cli: Callable[..., Any], tmp_path: Path) -> None:
    outcome = cli("train", "ibgan", "--dataset", "celeba", "--out", tmp_path / "run", "--data-root", tmp_path / "data")
    assert outcome.code == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("dataset", ["floats", "channels_first"])
def test_images_that_are_no_pixels_are_refused(
    train: Callable[..., RunDirectory], misbehaving: Path, tmp_path: Path, dataset: str
) -> None:
    """As floats in [0, 1] they would be divided by 255, and metrics would see other images than the model did."""
    with pytest.raises(DataError, match=r"^floats gives images of type .* expected uint8 \(8, 64, 64, 1\): "):
        train(tmp_path / "run", f"misbehaving:{dataset}", steps=1)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("settings", [{"trainer": "vae"}, {"loss": "vae"}])
def test_what_does_not_go_together_leaves_nothing_behind(
    train: Callable[..., RunDirectory], tmp_path: Path, settings: dict[str, str]
) -> None:
    with pytest.raises(UsageError, match=r"^trainer '\w+' with loss '\w+' does not go with model 'ibgan' \(") as raised:
        train(tmp_path / "run", IMAGES, steps=1, **settings)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "run").exists()
    assert train(tmp_path / "run", IMAGES, steps=1).steps() == [1]


def test_a_run_is_resumed_without_naming_its_dataset(cli: Callable[..., Any], drawn: Path, run_copy: Path) -> None:
    """As the line says that a signal leaves behind: --resume --out RUN."""
    words = ["train", "ibgan", "--resume", "--out", run_copy, "--data-root", drawn]
    assert cli(*words, "--steps", "7").out == f"{run_copy}\n"
    assert RunDirectory(run_copy).steps()[-1] == 7
    document = json.loads((run_copy / "config.json").read_text())
    (run_copy / "config.json").write_text(json.dumps(document | {"dataset": "somebodys:code"}))
    told = "unknown dataset 'somebodys:code'; there are: "
    outcome = cli(*words, "--steps", "8")
    assert (outcome.code, outcome.error.startswith(told)) == (2, True)
    assert outcome.error.endswith("type the name yourself, a dataset's as --dataset)")


def test_a_run_is_resumed_without_naming_its_dataset_from_python_too(
    drawn: Path, run_copy: Path, tmp_path: Path
) -> None:
    run = zoo.train("ibgan", out=run_copy, steps=7, resume=True, data_root=drawn)
    assert run.steps()[-1] == 7
    with pytest.raises(UsageError, match=r"^zoo.train\('ibgan'\) needs a dataset, or resume=True and out= a run that"):
        zoo.train("ibgan", out=tmp_path / "none", resume=True)


def test_the_files_of_a_run_that_is_finished_can_be_named_anew(
    train: Callable[..., RunDirectory], misbehaving: Path, tmp_path: Path
) -> None:
    for name in ("here", "there"):
        (tmp_path / name).touch()
    run = train(tmp_path / "run", "misbehaving:from_a_file", steps=1, **{"dataset.file": str(tmp_path / "here")})
    (tmp_path / "here").unlink()
    before = content(run.path, 1)
    train(run.path, "misbehaving:from_a_file", resume=True, steps=1, **{"dataset.file": str(tmp_path / "there")})
    assert run.config.settings["dataset"] == {"file": str(tmp_path / "there")}
    assert (list(run.config.made_by), content(run.path, 1)) == (["from step 1"], before)


def test_a_checkpoint_is_no_run_to_go_on_with(
    train: Callable[..., RunDirectory], run_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = run_copy / "checkpoints" / "step-00000002"
    before = sorted(path.name for path in step.iterdir())
    monkeypatch.chdir(step)
    for out in (step, Path()):
        with pytest.raises(UsageError, match=rf"is a checkpoint, not a run; go on with .* --out {run_copy}$"):
            train(out, resume=True, steps=9)
    assert sorted(path.name for path in step.iterdir()) == before


def test_other_images_than_before_are_told(
    train: Callable[..., RunDirectory], run_copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = json.loads((run_copy / "config.json").read_text())
    made = config["made_by"]["from step 1"]
    assert (made["data"], made["images"].partition(" ")[0]) == ("737,280 images, drawn", "737,280")
    made["images"] = "737,280 with hash 0123"
    (run_copy / "config.json").write_text(json.dumps(config))
    train(run_copy, resume=True, seed=3, steps=7, log_every=1)
    assert "images '737,280 with hash 0123' before and '737,280 with hash " in capsys.readouterr().err


def test_a_run_is_not_begun_in_another(train: Callable[..., RunDirectory], run_copy: Path, trained: Path) -> None:
    with pytest.raises(UsageError, match="holds a run already; go on with --resume, or choose another --out"):
        train(run_copy, steps=1)
    assert content(run_copy, 6) == content(trained, 6)
    assert (run_copy / "config.json").read_bytes() == (trained / "config.json").read_bytes()


def test_resuming_a_run_that_was_not_begun_begins_it(train: Callable[..., RunDirectory], tmp_path: Path) -> None:
    assert train(tmp_path / "new", IMAGES, resume=True, steps=1).steps() == [1]


def test_nothing_is_written_before_all_of_it_stands(train: Callable[..., RunDirectory], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"this model needs 64x64 images, the dataset has 32x32"):
        train(tmp_path / "run", IMAGES, steps=1, **{"dataset.height": 32, "dataset.width": 32})
    assert not RunDirectory(tmp_path / "run").exists()
    assert train(tmp_path / "run", IMAGES, steps=1).steps() == [1]


def test_weights_of_another_model_are_refused(train: Callable[..., RunDirectory], run_copy: Path) -> None:
    other = train(run_copy.parent / "other", seed=3, steps=1, **{"model.ngf": 8})
    shutil.copytree(other.path / "checkpoints" / "step-00000001", run_copy / "checkpoints" / "step-00000009")
    with pytest.raises(ZooError, match=r"step-00000009 holds another model's weights: .*expected .*\(and \d+ more\)"):
        train(run_copy, resume=True, seed=3, steps=10, log_every=1)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(
    train: Callable[..., RunDirectory], run_copy: Path, value: float
) -> None:
    """A checkpoint that is whole, of whatever wrote it: its hashes are those of its files."""
    run = RunDirectory(run_copy)
    newest = run.newest()
    assert newest is not None
    weights = newest.weights()
    weights["generator.0.weight"][0, 0] = value
    run.save(6, weights, newest.tensors("trainer.safetensors"), newest.state["trainer"])
    told = r"step-00000006 holds weights that are not finite: generator\.0\.weight$"
    with pytest.raises(CheckpointError, match=told):
        train(run_copy, resume=True, seed=3, steps=7)
    with pytest.raises(CheckpointError, match=told):
        zoo.load("ibgan", run_copy, device="cpu")
