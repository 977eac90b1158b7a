"""Small runs in this process, and a folder on the path with parts of a run that go wrong when they are told to."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import zoo
from zoo.run import RunDirectory

MISBEHAVING = """
import os, sys, time
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
        print("sleeping", file=sys.__stdout__, flush=True)  # what a metric prints otherwise goes to stderr
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
    monkeypatch.delitem(sys.modules, "misbehaving", raising=False)  # another test's may have given scores already
    return folder


@pytest.fixture
def train(one_thread: None, small: dict[str, Any], drawn: Path) -> Callable[..., RunDirectory]:
    """Train a small IB-GAN in this process."""

    def call(out: Path, dataset: str = "dsprites", resume: bool = False, **settings: Any) -> RunDirectory:
        options = {"batch_size": 8, "device": "cpu", "precision": "fp32"} | small | settings
        return zoo.train("ibgan", dataset, out=out, resume=resume, settings=options, data_root=drawn)

    return call
