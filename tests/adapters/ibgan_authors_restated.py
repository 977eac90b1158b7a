"""A plain restatement of the authors' two models and their optimisers, and the checkpoints that they save."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from ibgan_plugin.adapters.ibgan_authors import IBGANAuthors
from zoo.run import find_checkpoint

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


# Their checkpoints.


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


def set_in(*keys: Any, to: Any) -> Callable[[dict[str, Any]], None]:
    def change(states: dict[str, Any]) -> None:
        for key in keys[:-1]:
            states = states[key]
        states[keys[-1]] = to

    return change


def imported(source: Path, out: Path, **settings: Any) -> Path:
    return IBGANAuthors().checkpoint_from(source, out, **settings)


def tensors_of(run: Path) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    checkpoint = find_checkpoint(run)
    return load_file(checkpoint.path / "model.safetensors"), load_file(checkpoint.path / "trainer.safetensors")
