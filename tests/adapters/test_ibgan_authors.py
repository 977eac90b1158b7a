"""Checkpoints made by a plain restatement of the authors' two models and their optimisers, imported."""

from __future__ import annotations

import copy
import hashlib
import io
import json
import os
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

import zoo
import zoo.cli
from ibgan_plugin.adapters import ibgan_authors_format
from ibgan_plugin.adapters.ibgan_authors import IBGANAuthors, usual_dataset
from ibgan_plugin.adapters.ibgan_authors_format import Sizes
from tests.exploding import Exploding
from zoo.building import build_loss, build_model, build_trainer
from zoo.device import Backend
from zoo.errors import CheckpointError, SettingError, UsageError
from zoo.registry import default_registry
from zoo.run import RunDirectory, find_checkpoint

SMALL = {"z_dim": 6, "r_dim": 3, "ngf": 4, "ndf": 4}
BOTH = pytest.mark.parametrize("file", ["model.py", "model2.py"])


# The authors' networks, stated again after their two files.


def leaky() -> nn.Module:
    return nn.LeakyReLU(0.2)


class TheirGenerator(nn.Module):
    def __init__(self, file: str, z_dim: int, r_dim: int, nc: int, ngf: int) -> None:
        super().__init__()
        hidden: list[nn.Module] = []
        widths = [z_dim, 32, 32] if file == "model.py" else [z_dim, 64, 64, 32]
        for width_in, width_out in pairwise(widths):
            hidden += [nn.Linear(width_in, width_out)]
            hidden += [nn.BatchNorm1d(width_out)] if file == "model2.py" else []
            hidden += [nn.ReLU()]
        self.emb = nn.Sequential(*hidden, nn.Linear(32, 2 * r_dim))
        self.fe = nn.Sequential(
            nn.Linear(r_dim, ngf * 16),
            nn.BatchNorm1d(ngf * 16),
            nn.ReLU(),
            nn.Linear(ngf * 16, 8 * 8 * ngf * 4),
            nn.BatchNorm1d(8 * 8 * ngf * 4),
            nn.ReLU(),
        )
        ups: list[nn.Module] = []
        for channels_in, channels_out, kernel, stride in [(4, 4, 3, 1), (4, 4, 3, 1), (4, 2, 4, 2), (2, 1, 4, 2)]:
            ups += [nn.ConvTranspose2d(ngf * channels_in, ngf * channels_out, kernel, stride, 1, bias=False)]
            ups += [nn.BatchNorm2d(ngf * channels_out), nn.ReLU()]
        self.conv = nn.Sequential(*ups, nn.ConvTranspose2d(ngf, nc, 4, 2, 1), nn.Tanh())

    def code(self, z: Tensor) -> tuple[Tensor, Tensor]:
        mu, logvar = self.emb(z).chunk(2, 1)
        return mu, logvar

    def draw(self, r: Tensor) -> Tensor:
        return self.conv(self.fe(r).view(len(r), -1, 8, 8))


class TheirDiscriminator(nn.Module):
    def __init__(self, file: str, z_dim: int, nc: int, ndf: int) -> None:
        super().__init__()

        def convs(*layers: tuple[int, int, int, int, int]) -> list[nn.Module]:
            return [
                part
                for channels_in, channels_out, kernel, stride, padding in layers
                for part in (
                    nn.Conv2d(ndf * channels_in, ndf * channels_out, kernel, stride, padding, bias=False),
                    nn.BatchNorm2d(ndf * channels_out),
                    leaky(),
                )
            ]

        def half() -> list[nn.Module]:
            return [nn.Conv2d(nc, ndf, 4, 2, 1), leaky(), *convs((1, 2, 4, 2, 1), (2, 4, 4, 2, 1))]

        if file == "model2.py":
            self.front = nn.Sequential(*half())
            rest = (4, 4, 3, 1, 1), (4, 4, 3, 1, 1), (4, 16, 8, 1, 0)
            self.encoder = nn.Sequential(*convs(*rest), nn.Conv2d(ndf * 16, z_dim, 1))
            self.disc = nn.Sequential(*convs(*rest), nn.Conv2d(ndf * 16, 1, 1))
        else:
            rest = (4, 8, 3, 1, 1), (8, 16, 8, 1, 0)
            further = [nn.Conv2d(ndf * 16, ndf * 16, 1), nn.BatchNorm2d(ndf * 16), leaky()]
            self.encoder = nn.Sequential(*half(), *convs(*rest), *further, nn.Conv2d(ndf * 16, z_dim, 1))
            self.disc = nn.Sequential(*half(), *convs(*rest), nn.Conv2d(ndf * 16, 1, 1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.front(x) if hasattr(self, "front") else x
        return self.encoder(x).view(len(x), -1), self.disc(x).view(len(x), 1)


class Theirs:
    """Both networks and both optimisers, as their solvers make, train and save them."""

    def __init__(self, file: str = "model.py", *, nc: int = 1, seed: int = 0, **sizes: int) -> None:
        self.file, self.nc, self.sizes, self.iter = file, nc, SMALL | sizes, 0
        z_dim, r_dim, ngf, ndf = self.sizes.values()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.G = TheirGenerator(file, z_dim, r_dim, nc, ngf)
            self.DR = TheirDiscriminator(file, z_dim, nc, ndf)
            for buffers in (self.G.named_buffers(), self.DR.named_buffers()):
                for name, buffer in buffers:
                    if name.endswith("running_mean"):
                        buffer.normal_(0, 0.3)
                    elif name.endswith("running_var"):
                        buffer.uniform_(0.2, 2)
        d = [*self.DR.front.parameters()] if file == "model2.py" else []
        gr = [*self.G.fe.parameters(), *self.G.conv.parameters(), *self.DR.encoder.parameters()]
        self.D_optim = torch.optim.RMSprop([*d, *self.DR.disc.parameters()], lr=2e-3, momentum=0.8, alpha=0.98)
        self.GR_optim = torch.optim.RMSprop(
            [{"params": [*self.G.emb.parameters()]}, {"params": gr}], lr=3e-3, momentum=0.8, alpha=0.98
        )

    def step(self, images: Tensor, z: Tensor, eps: Tensor) -> None:
        """Their update, both gradients taken before either step, without instance noise."""
        mu, logvar = self.G.code(z)
        fake = self.G.draw(mu + torch.exp(logvar / 2) * eps)
        z_hat, fake_logits = self.DR(fake)
        real_logits = self.DR(images * 2 - 1)[1]
        bce = F.binary_cross_entropy_with_logits
        d_loss = bce(fake_logits, torch.zeros_like(fake_logits)) + bce(real_logits, torch.ones_like(real_logits))
        kl = 0.5 * (mu**2 + logvar.exp() - logvar - 1).sum(1).mean()
        lower = 0.5 * (z**2 - (z - z_hat) ** 2).sum(1).mean()
        g_loss = bce(fake_logits, torch.ones_like(fake_logits)) - lower + 0.141 * kl
        for optimiser, loss in ((self.D_optim, d_loss), (self.GR_optim, g_loss)):
            mine = [parameter for group in optimiser.param_groups for parameter in group["params"]]
            for parameter, gradient in zip(mine, torch.autograd.grad(loss, mine, retain_graph=True), strict=True):
                parameter.grad = gradient
        self.D_optim.step()
        self.GR_optim.step()
        self.iter += 1

    def trained(self, steps: int = 3) -> Theirs:
        stream = torch.Generator().manual_seed(1)
        for _ in range(steps):
            images = torch.rand(8, self.nc, 64, 64, generator=stream)
            z, eps = (torch.randn(8, dim, generator=stream) for dim in (self.sizes["z_dim"], self.sizes["r_dim"]))
            self.step(images, z, eps)
        return self

    def states(self) -> dict[str, Any]:
        """What their save_checkpoint hands to torch.save."""
        return {
            "iter": self.iter,
            "fixed_r": torch.zeros(4, self.sizes["r_dim"]),
            "fixed_z": torch.zeros(4, self.sizes["z_dim"]),
            "z_dim": self.sizes["z_dim"],
            "r_dim": self.sizes["r_dim"],
            "win": None,
            "mi_win": "window_36f",
            "stat_dict": {500: [1.25, 3.5]},
            "accurate_stat_dict": {500: [1.0, 2.0, 0.25]},
            "model_states": {
                "nc": self.nc,
                "ngf": self.sizes["ngf"],
                "ndf": self.sizes["ndf"],
                "G": self.G.state_dict(),
                "DR": self.DR.state_dict(),
            },
            "optim_states": {"GR_optim": self.GR_optim.state_dict(), "D_optim": self.D_optim.state_dict()},
        }

    def saved(self, path: Path, **changed: Any) -> Path:
        torch.save(self.states() | changed, path)
        return path


def imported(source: Path, out: Path, **settings: Any) -> Path:
    return IBGANAuthors().checkpoint_from(source, out, **settings)


def tensors_of(run: Path) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    checkpoint = find_checkpoint(run)
    return load_file(checkpoint.path / "model.safetensors"), load_file(checkpoint.path / "trainer.safetensors")


# The same networks.


@BOTH
@pytest.mark.parametrize("nc", [1, 3])
def test_codes_images_and_judgements_are_those_of_a_plain_forward(tmp_path: Path, file: str, nc: int) -> None:
    theirs = Theirs(file, nc=nc).trained()
    model = zoo.load("ibgan", imported(theirs.saved(tmp_path / "3"), tmp_path / "run"), device="cpu")
    theirs.G.eval(), theirs.DR.eval()
    images, r = torch.rand(7, nc, 64, 64), torch.randn(7, 3)
    with torch.no_grad():
        z_hat, logits = theirs.DR(images * 2 - 1)
        torch.testing.assert_close(model.encode(images), theirs.G.code(z_hat)[0], rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(model.decode(r), theirs.G.draw(r) / 2 + 0.5, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(model.discriminator(model.front(images * 2 - 1)), logits, rtol=1e-5, atol=1e-5)
        for ours, plain in zip(model.encoder(z_hat), theirs.G.code(z_hat), strict=True):
            torch.testing.assert_close(ours, plain, rtol=1e-5, atol=1e-5)
    assert model.encode(images).std(0).min() > 1e-4  # so the comparison had something to compare


def numbered(states: dict[str, Any]) -> dict[str, Any]:
    """The same checkpoint with every tensor of the networks filled with a number of its own: biases with thousands."""
    number = 0
    for net in ("G", "DR"):
        for name, tensor in states["model_states"][net].items():
            number += 1
            tensor.fill_(number * 1000 if name.endswith("bias") else number)
    assert number < 200
    return states


def numbers_in(constant: float) -> set[int]:
    """Which numbered tensors a tensor was made of: one, or a running mean and the bias that was taken from it."""
    if constant < 0:
        thousands = -(constant // 1000)
        return {int(thousands), int(constant + 1000 * thousands)}
    return {int(constant / 1000 if constant >= 1000 else constant)}


@BOTH
def test_every_tensor_is_used_exactly_once(tmp_path: Path, file: str) -> None:
    theirs = Theirs(file)
    states = numbered(theirs.states())
    torch.save(states, tmp_path / "3")
    weights, _ = tensors_of(imported(tmp_path / "3", tmp_path / "run"))
    used: list[int] = []
    for tensor in weights.values():
        assert (tensor == tensor.flatten()[0]).all()
        used += numbers_in(tensor.flatten()[0].item())
    count = sum(len(states["model_states"][net]) for net in ("G", "DR"))
    assert sorted(used) == list(range(1, count + 1))
    # Biases before a BatchNorm, counted by hand: G.fe.0, G.fe.3 and DR.encoder.14; in
    # model2.py G.emb.0, .3, .6 and G.fe.0, .3.
    assert count - len(weights) == {"model.py": 3, "model2.py": 5}[file]


@BOTH
def test_what_the_optimisers_gathered_goes_to_the_same_parameters(tmp_path: Path, file: str) -> None:
    """Weights and states both carry the number of the parameter they are of; both have to come out together."""
    theirs = Theirs(file).trained(1)
    numbers = {}
    for net in (theirs.G, theirs.DR):
        for parameter in net.parameters():
            numbers[parameter] = len(numbers) + 1
            parameter.data.fill_(numbers[parameter])
    for optimiser in (theirs.D_optim, theirs.GR_optim):
        for parameter, state in optimiser.state.items():
            state["square_avg"].fill_(numbers[parameter])
            state["momentum_buffer"].fill_(-numbers[parameter])
    weights, gathered = tensors_of(imported(theirs.saved(tmp_path / "1"), tmp_path / "run"))

    registry, config = default_registry(), RunDirectory(tmp_path / "run").config
    model = build_model(registry, config, Backend.choose("cpu", "fp32"))
    trainer = build_trainer(registry, config, model, build_loss(registry, config, Backend.choose("cpu", "fp32")), None)
    names = {parameter: name for name, parameter in model.named_parameters()}
    seen = set()
    for player, parameters in trainer.parameters.items():
        for own_name, parameter in parameters.items():
            number = weights[names[parameter]].flatten()[0].item()
            assert (gathered[f"{player}/{own_name}/square_avg"] == number).all()
            assert (gathered[f"{player}/{own_name}/momentum_buffer"] == -number).all()
            assert gathered[f"{player}/{own_name}/step"] == 1
            seen.add(number)
    assert len(gathered) == 3 * len(seen) == 3 * len(names)


@BOTH
@pytest.mark.parametrize("old", [False, True], ids=["as torch writes", "as torch 1.4 wrote"])
def test_the_next_step_is_the_same(tmp_path: Path, file: str, old: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """One step of theirs, and one of ours from the same images and noise, lead to the same networks."""
    theirs = Theirs(file).trained(3)
    for group in (*theirs.D_optim.param_groups, *theirs.GR_optim.param_groups):
        group["eps"] = 1e-3  # with 1e-8, gradients that are zero but for their rounding move weights by whole steps
    path = written_by_old_torch(theirs, tmp_path / "3") if old else theirs.saved(tmp_path / "3")
    checkpoint = find_checkpoint(imported(path, tmp_path / "run"))
    registry, backend = default_registry(), Backend.choose("cpu", "fp32")
    settings = copy.deepcopy(RunDirectory.of(checkpoint).config.settings)
    settings["trainer"] |= {"noise_start": 0.0, "noise_end": 0.0, "label_smoothing": False}
    settings["loss"] |= {"gamma": 1.0, "beta": 0.141}
    config = RunDirectory.of(checkpoint).config.model_copy(update={"settings": settings})
    model = build_model(registry, config, backend)
    model.load_state_dict(checkpoint.tensors("model.safetensors"))
    trainer = build_trainer(registry, config, model, build_loss(registry, config, backend), backend)
    trainer.load(checkpoint.tensors("trainer.safetensors"), checkpoint.state["trainer"])

    stream = torch.Generator().manual_seed(2)
    images = torch.rand(8, 1, 64, 64, generator=stream)
    z, eps = torch.randn(8, 6, generator=stream), torch.randn(8, 3, generator=stream)
    draws = iter([z, eps])
    monkeypatch.setattr(torch, "randn", lambda *_, **__: next(draws))
    trainer.step(images)
    theirs.step(images, z, eps)

    before, ours = checkpoint.tensors("model.safetensors"), model.state_dict()
    after = find_checkpoint(imported(theirs.saved(tmp_path / "4"), tmp_path / "next")).tensors("model.safetensors")
    for player, parameters in trainer.parameters.items():
        names = {name for name, tensor in model.named_parameters() if any(tensor is p for p in parameters.values())}
        moved = sum(float((after[name] - before[name]).square().sum()) for name in names)
        apart = sum(float((after[name] - ours[name]).square().sum()) for name in names)
        assert apart < 1e-8 * moved, player


def written_by_old_torch(theirs: Theirs, path: Path) -> Path:
    """The checkpoint as torch 1.4 wrote it on a GPU: no zip, parameters named by address, storages on cuda:0."""
    states = theirs.states()
    for key, optimiser in states["optim_states"].items():
        address = {index: 140_000_000_000_000 + 64 * index for index in optimiser["state"]}
        states["optim_states"][key] = {
            "state": {
                address[index]: state | {"step": int(state["step"])} for index, state in optimiser["state"].items()
            },
            "param_groups": [
                {k: group[k] for k in ("lr", "momentum", "alpha", "eps", "centered", "weight_decay")}
                | {"params": [address[index] for index in group["params"]]}
                for group in optimiser["param_groups"]
            ],
        }
    buffer = io.BytesIO()
    torch.save(states, buffer, _use_new_zipfile_serialization=False)
    content = buffer.getvalue()
    assert not zipfile.is_zipfile(io.BytesIO(content))
    for before, after in (
        (b"ctorch\nFloatStorage\n", b"ctorch.cuda\nFloatStorage\n"),
        (b"ctorch\nLongStorage\n", b"ctorch.cuda\nLongStorage\n"),
        (b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:0"),
    ):
        assert before in content
        content = content.replace(before, after)
    path.write_bytes(content)
    return path


# The run that it becomes.


def test_the_run_says_where_each_value_is_from(tmp_path: Path) -> None:
    path = Theirs("model.py").trained().saved(tmp_path / "150000", iter=150_000)
    run = RunDirectory(imported(path, tmp_path / "run"))
    assert run.steps() == [150_000]
    config = run.config
    assert (config.model, config.dataset, config.preset) == ("ibgan", "dsprites", "dsprites")
    assert config.image_shape == (64, 64, 1)
    model, trainer = config.settings["model"], config.settings["trainer"]
    assert model == SMALL | {"variant": "authors", "share_front": False, "init": "normal"}
    assert (trainer["lr_discriminator"], trainer["lr_generator"]) == (2e-3, 3e-3)
    assert (trainer["alpha"], trainer["momentum"], trainer["noise_steps"]) == (0.98, 0.8, 100_000)
    assert trainer["reconstructor_statistics"] == "both"  # DR(noisy_x) passes the reals through Q in every step
    assert config.settings["loss"] == {"gamma": 1.0, "beta": 0.141, "guard": True}
    assert config.sources["model.ngf"] == config.sources["trainer.lr_generator"] == "the authors' checkpoint"
    assert config.sources["model.variant"] == "authors' code, model.py"
    assert config.sources["loss.beta"].startswith("Table 7")
    made = config.made_by["imported at step 150000"]
    assert made["file"] == "150000"
    assert made["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert {"torch", "ibgan-plugin"} <= made["versions"].keys()


def test_the_second_model_is_table_4(tmp_path: Path) -> None:
    path = Theirs("model2.py", nc=3, z_dim=64, r_dim=15).trained().saved(tmp_path / "20000")
    config = RunDirectory(imported(path, tmp_path / "run")).config
    assert config.dataset == config.preset == "celeba"
    assert (config.settings["model"]["variant"], config.settings["model"]["share_front"]) == ("table4", True)
    assert config.settings["trainer"]["noise_end"] == 0.01  # Table 7: solver2.py takes it from the command line
    assert config.settings["trainer"]["label_smoothing"] is True
    assert config.settings["loss"] == {"gamma": 2.0, "beta": 0.325, "guard": True}


@pytest.mark.parametrize(
    ("nc", "ngf", "ndf", "shares_front", "dataset"),
    [
        (1, 16, 16, False, "dsprites"),  # solver.py
        (3, 16, 16, False, "color_dsprites"),
        (3, 64, 64, False, "celeba"),
        (1, 32, 16, False, "chairs3d"),
        (1, 16, 16, True, "dsprites"),  # solver2.py
        (1, 32, 16, True, "chairs3d"),
        (3, 64, 64, True, "celeba"),
        (3, 16, 16, True, "celeba"),
    ],
)
def test_the_dataset_is_the_one_their_solvers_set_such_sizes_for(
    nc: int, ngf: int, ndf: int, shares_front: bool, dataset: str
) -> None:
    assert usual_dataset(Sizes(16, 10, nc, ngf, ndf, shares_front)) == dataset


def test_another_dataset_can_be_named(tmp_path: Path) -> None:
    path = Theirs("model.py", nc=3).saved(tmp_path / "0")
    config = RunDirectory(imported(path, tmp_path / "run", dataset="color_dsprites_dlib")).config
    assert config.dataset == "color_dsprites_dlib"
    assert config.preset == "color_dsprites"  # which serves that dataset too
    assert config.settings["model"]["ngf"] == 4
    with pytest.raises(UsageError, match="unknown dataset 'celebs'; did you mean 'celeba'"):
        imported(path, tmp_path / "other", dataset="celebs")
    assert not (tmp_path / "other").exists()


def test_the_weights_of_the_loss_can_be_given(tmp_path: Path) -> None:
    path = Theirs("model.py").saved(tmp_path / "0")
    words = ["convert", "checkpoint", str(path), "--from", "ibgan_authors", "--out", str(tmp_path / "run")]
    assert zoo.cli.run([*words, "--set", "beta=0.212", "--set", "gamma=2"]) == 0
    config = RunDirectory(tmp_path / "run").config
    assert (config.settings["loss"]["beta"], config.settings["loss"]["gamma"]) == (0.212, 2.0)
    assert (config.sources["loss.beta"], config.dataset) == ("command line", "dsprites")
    with pytest.raises(SettingError, match=r"loss.beta=-1.*greater than or equal to 0"):
        imported(path, tmp_path / "other", beta=-1)


def test_evaluation_sampling_and_training_go_on_from_it(
    tmp_path: Path, drawn: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, run = Theirs("model.py").trained().saved(tmp_path / "3"), tmp_path / "run"

    def command(*words: object) -> str:
        capsys.readouterr()
        assert zoo.cli.run([str(word) for word in words]) == 0
        return capsys.readouterr().out

    assert command("convert", "checkpoint", path, "--from", "ibgan_authors", "--out", run) == f"{run}\n"
    few = ("--set", "factorvae.votes=10", "--set", "factorvae.variance_images=64", "--data-root", drawn)
    scores = json.loads(command("eval", "ibgan", run, "--metrics", "factorvae", "--json", "--device", "cpu", *few))
    assert (scores["step"], scores["dataset"], scores["errors"]) == (3, "dsprites", {})
    assert 0 <= scores["metrics"]["factorvae"]["score"] <= 1
    command("sample", "ibgan", run, "--num", 4, "--out", tmp_path / "four.png")
    assert (tmp_path / "four.png").stat().st_size > 0
    command("train", "ibgan", "--dataset", "dsprites", "--resume", "--out", run, "--steps", 5, "--data-root", drawn)
    assert find_checkpoint(run).step == 5
    _, gathered = tensors_of(run)
    assert {value.item() for name, value in gathered.items() if name.endswith("/step")} == {5}
    log = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert log[-1]["instance_noise"] == pytest.approx(1 - 4 / 100_000)  # at step 5 of the authors' schedule
    zoo.train("ibgan", "dsprites", out=run, steps=6, resume=True, data_root=drawn)
    assert find_checkpoint(run).step == 6


def test_an_existing_folder_is_not_touched(tmp_path: Path) -> None:
    path = Theirs().saved(tmp_path / "0")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    for out in (tmp_path / "run", path):
        with pytest.raises(UsageError, match="exists already; choose another --out"):
            imported(path, out)
    assert [entry.name for entry in (tmp_path / "run").iterdir()] == ["notes.txt"]
    (tmp_path / "empty").mkdir()
    assert find_checkpoint(imported(path, tmp_path / "empty")).step == 0


# Optimisers that do not fit.


def adam(states: dict[str, Any]) -> None:
    optimiser = torch.optim.Adam([torch.zeros(2, requires_grad=True)], lr=1e-4)
    states["optim_states"]["D_optim"] = optimiser.state_dict()


def set_in(*keys: Any, to: Any) -> Callable[[dict[str, Any]], None]:
    def change(states: dict[str, Any]) -> None:
        for key in keys[:-1]:
            states = states[key]
        states[keys[-1]] = to

    return change


OPTIMISERS = ("optim_states",)
FIRST = (*OPTIMISERS, "GR_optim", "state", 0)
GROUP = (*OPTIMISERS, "D_optim", "param_groups", 0)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda states: states.pop("optim_states"), "there are none in the file"),
        (set_in("optim_states", to=[1, 2]), "there are none in the file"),
        (adam, "'alpha' is missing in the file's"),
        (lambda states: states["optim_states"].pop("GR_optim"), "'GR_optim' is missing in the file's"),
        (set_in(*OPTIMISERS, "D_optim", "state", to={}), "they have no state of DR.disc.0.weight"),
        (set_in(*GROUP, "centered", to=True), "D_optim is no plain RMSprop"),
        (set_in(*GROUP, "weight_decay", to=0.1), "D_optim is no plain RMSprop"),
        (set_in(*GROUP, "momentum", to=0.5), "they have different hyperparameters"),
        (set_in(*GROUP, "lr", to=float("nan")), "D_optim has {'lr': nan"),
        (set_in(*GROUP, "params", to=[0]), "their groups have [1] parameters, expected [16]"),
        (set_in(*FIRST, "square_avg", to=torch.ones(3)), "square_avg of G.emb.0.weight is (3,)"),
        (set_in(*FIRST, "square_avg", to="x"), "square_avg of G.emb.0.weight is 'x', expected a tensor"),
        (set_in(*FIRST, "square_avg", to=-torch.ones(32, 6)), "square_avg of G.emb.0.weight is negative"),
        (set_in(*FIRST, "momentum_buffer", to=torch.full((32, 6), float("inf"))), "holds numbers that are not finite"),
        (set_in(*FIRST, "step", to=float("nan")), "step of G.emb.0.weight is nan"),
    ],
)
def test_training_begins_with_fresh_optimisers_where_theirs_do_not_fit(
    tmp_path: Path, change: Callable[[dict[str, Any]], Any], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    states = Theirs().trained(1).states()
    change(states)
    torch.save(states, tmp_path / "1")
    _, gathered = tensors_of(imported(tmp_path / "1", tmp_path / "run"))
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "with fresh optimisers (" in told
    assert why in told
    assert all((tensor == 0).all() for tensor in gathered.values())
    assert gathered
    made_by = RunDirectory(tmp_path / "run").config.made_by["imported at step 1"]
    assert why in made_by["optimisers"]


def test_fresh_optimisers_are_what_rmsprop_begins_with(tmp_path: Path) -> None:
    """A resumed step from the zeros equals the first step of optimisers that have no state yet."""
    states = Theirs().states()
    del states["optim_states"]
    torch.save(states, tmp_path / "0")
    checkpoint = find_checkpoint(imported(tmp_path / "0", tmp_path / "run"))
    registry, backend, config = default_registry(), Backend.choose("cpu", "fp32"), RunDirectory.of(checkpoint).config
    results = []
    for load in (True, False):
        model = build_model(registry, config, backend)
        model.load_state_dict(checkpoint.tensors("model.safetensors"))
        trainer = build_trainer(registry, config, model, build_loss(registry, config, backend), backend)
        if load:
            trainer.load(checkpoint.tensors("trainer.safetensors"), checkpoint.state["trainer"])
        trainer.step(torch.linspace(0, 1, 4 * 64 * 64).view(4, 1, 64, 64))
        results.append(model.state_dict())
    for name, tensor in results[0].items():
        assert torch.equal(tensor, results[1][name]), name


# Files that are not what they should be. None runs code, none makes anything, each is told in one line.


def weights(states: dict[str, Any]) -> dict[str, Any]:
    return states["model_states"]["G"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda states: states.pop("iter"), "iter is None, expected an integer from 0 to"),
        (set_in("iter", to=-1), "iter is -1, expected an integer from 0"),
        (set_in("iter", to=True), "iter is True, expected an integer"),
        (set_in("iter", to=10**30), "iter is 1000000"),
        (set_in("z_dim", to=torch.ones(2)), "z_dim is a tensor, expected an integer from 1 to 4,096"),
        (set_in("r_dim", to=0), "r_dim is 0, expected an integer from 1 to 4,096"),
        (lambda states: states.pop("model_states"), "model_states is missing"),
        (set_in("model_states", to=[1]), "model_states is no dict"),
        (set_in("model_states", "G", to=torch.ones(2)), "model_states.G is no dict"),
        (set_in("model_states", "DR", 7, to=torch.ones(2)), "model_states.DR has keys that are no names"),
        (
            set_in("model_states", "ngf", to=5),
            "claims networks larger than itself",
        ),
        (set_in("model_states", "ngf", to=1024), "claims networks larger than itself"),
        (set_in("model_states", "ndf", to=2), "model_states.ndf is 2, expected an integer from 4 to 1,024"),
        (lambda states: weights(states).pop("emb.0.weight"), "G.emb.0.weight is missing"),
        (lambda states: weights(states).pop("conv.1.num_batches_tracked"), "num_batches_tracked is missing"),
        (set_in("model_states", "G", "fe.9.weight", to=torch.ones(2)), "'G.fe.9.weight' is unknown"),
        (set_in("model_states", "G", "x" * 5000, to=torch.ones(2)), "'G.xxx"),
        (set_in("model_states", "G", "emb.0.weight", to=torch.ones(6, 32)), "emb.0.weight is (6, 32) torch.float32"),
        (set_in("model_states", "G", "emb.0.bias", to=torch.ones(32).half()), "emb.0.bias is (32,) torch.float16"),
        (set_in("model_states", "G", "emb.0.bias", to=torch.full((32,), torch.nan)), "numbers that are not finite"),
        (set_in("model_states", "G", "emb.0.bias", to=torch.ones(32).to_sparse()), "asks for torch."),
        (set_in("model_states", "G", "emb.0.bias", to="words"), "emb.0.bias is 'words', expected a tensor"),
    ],
)
def test_a_wrong_document_is_told_in_one_line(
    tmp_path: Path, change: Callable[[dict[str, Any]], Any], told: str
) -> None:
    states = Theirs().states()
    change(states)
    torch.save(states, tmp_path / "0")
    with pytest.raises(CheckpointError) as raised:
        imported(tmp_path / "0", tmp_path / "run")
    message = str(raised.value)
    assert told in message
    assert message.startswith(str(tmp_path / "0"))
    assert "\n" not in message
    assert len(message) < 300 + len(str(tmp_path))
    assert not (tmp_path / "run").exists()


def hostile(path: Path) -> None:
    torch.save(Theirs().states() | {"win": Exploding(path.parent / "executed")}, path)


def hostile_legacy(path: Path) -> None:
    states = Theirs().states() | {"win": Exploding(path.parent / "executed")}
    torch.save(states, path, _use_new_zipfile_serialization=False)


def hostile_pickle(path: Path) -> None:
    path.write_bytes(pickle.dumps(Exploding(path.parent / "executed")))


def pickled_module(path: Path) -> None:
    torch.save(Theirs().G, path)


def compressed(path: Path) -> None:
    """The same file, deflated: a way to make much of little."""
    Theirs().saved(path)
    with zipfile.ZipFile(path) as plain:
        members = {info.filename: plain.read(info) for info in plain.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in members.items():
            packed.writestr(name, content)


def truncated(path: Path) -> None:
    content = Theirs().saved(path).read_bytes()
    path.write_bytes(content[: len(content) // 2])


def truncated_legacy(path: Path) -> None:
    content = written_by_old_torch(Theirs().trained(1), path).read_bytes()
    path.write_bytes(content[: len(content) // 2])


def flipped(path: Path) -> None:
    """One byte of the zip's directory is another."""
    content = bytearray(Theirs().saved(path).read_bytes())
    content[content.rindex(b"PK\x01\x02") + 20] ^= 0xFF
    path.write_bytes(content)


def greedy_legacy(path: Path) -> None:
    """A storage that claims 2^50 numbers."""
    states = {"iter": 0, "tensor": torch.zeros(0x012345)}
    buffer = io.BytesIO()
    torch.save(states, buffer, _use_new_zipfile_serialization=False)
    claim = b"J" + struct.pack("<i", 0x012345)
    assert claim in buffer.getvalue()
    path.write_bytes(buffer.getvalue().replace(claim, b"\x8a\x07" + (2**50).to_bytes(7, "little")))


def expanded(path: Path) -> None:
    """Every tensor is one number, seen as often as the shape says: a small file that claims much."""
    sizes = Sizes(16, 10, 1, 1024, 1024, False)
    states: dict[str, Any] = {"G": OrderedDict(), "DR": OrderedDict(), "nc": 1, "ngf": 1024, "ndf": 1024}
    for name, shape in ibgan_authors_format.shapes(sizes).items():
        net, _, own = name.partition(".")
        kind = torch.int64 if own.endswith("tracked") else torch.float32
        states[net][own] = torch.zeros((), dtype=kind).expand(shape)
    torch.save({"iter": 1, "z_dim": 16, "r_dim": 10, "model_states": states}, path)


def scripted(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("data.pkl", "constants.pkl", "version", "code/__torch__.py"):
            archive.writestr(f"model/{name}", b"3\n")


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda path: None, "cannot read "),
        (Path.mkdir, "it is a folder, expected a file"),
        (lambda path: path.write_bytes(b""), "is no file of torch.save"),
        (lambda path: path.write_text("iter: 3\n" * 100), "is no file of torch.save"),
        (lambda path: torch.save([1, 2], path), "is no checkpoint of the authors' code: the document is no dict"),
        (
            hostile,
            f"asks for {os.mkdir.__module__}.mkdir, which is neither a tensor nor a plain value; nothing of it was",
        ),
        (hostile_legacy, f"asks for {os.mkdir.__module__}.mkdir, which is neither a tensor nor a plain value"),
        (hostile_pickle, "is no file of torch.save|asks for"),
        (pickled_module, "asks for "),
        (compressed, "holds compressed data, which torch.save never writes"),
        (truncated, "is no file of torch.save|is a damaged file"),
        (truncated_legacy, "is no file of torch.save"),
        (flipped, "holds compressed data|is a damaged file|is no file of torch.save"),
        (greedy_legacy, "is no file of torch.save"),
        (expanded, "claims networks larger than itself"),
        (scripted, "is no file of torch.save"),
    ],
)
def test_a_damaged_or_hostile_file_is_refused(tmp_path: Path, make: Callable[[Path], Any], told: str) -> None:
    path = tmp_path / "checkpoint"
    make(path)
    with pytest.raises(CheckpointError) as raised:
        imported(path, tmp_path / "run")
    message = str(raised.value)
    assert any(part in message for part in told.split("|")), message
    assert "\n" not in message
    assert not (tmp_path / "executed").exists()
    assert not (tmp_path / "run").exists()
    assert not list(tmp_path.glob(".run*"))


def test_a_file_larger_than_any_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = Theirs().saved(tmp_path / "0")
    monkeypatch.setattr(ibgan_authors_format, "LARGEST_FILE", path.stat().st_size - 1)
    with pytest.raises(CheckpointError, match="larger than any checkpoint of the authors' code"):
        imported(path, tmp_path / "run")


def test_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hostile(tmp_path / "bad")
    words = ["convert", "checkpoint", str(tmp_path / "bad"), "--from", "ibgan_authors", "--out", str(tmp_path / "run")]
    assert zoo.cli.run(words) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith(f"error: {tmp_path / 'bad'} asks for ")
    assert told.err.count("\n") == 1
    assert zoo.cli.run([*words, "--set", "seed=3"]) == 2
    assert zoo.cli.run(["convert", "checkpoint", "x", "--to", "ibgan_authors", "--out", "y"]) == 2
    assert "converter 'ibgan_authors' cannot write checkpoints" in capsys.readouterr().err


# The description of the format.


@BOTH
@pytest.mark.parametrize("sizes", [SMALL, {"z_dim": 64, "r_dim": 10, "ngf": 6, "ndf": 5}])
def test_the_layout_is_that_of_their_networks(file: str, sizes: Mapping[str, int]) -> None:
    theirs = Theirs(file, nc=3, **sizes)
    plain = {
        f"{net}.{name}": tuple(tensor.shape)
        for net, module in (("G", theirs.G), ("DR", theirs.DR))
        for name, tensor in module.state_dict().items()
    }
    assert ibgan_authors_format.shapes(Sizes(nc=3, shares_front=file == "model2.py", **sizes)) == plain
