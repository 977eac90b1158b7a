"""The checkpoint files of IB-GAN's authors: what is in them, and reading one that nobody vouches for.

`solver.py` (dSprites, Color-dSprites) and `solver2.py` (3D Chairs, CelebA) of the authors' code write the same dict
with `torch.save`; their networks, `model/model.py` and `model/model2.py`, differ. `layout` describes both.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zoo.errors import CheckpointError, shown
from zoo.untrusted import open_file
from zoo.untrusted_tensors import load_tensors

LARGEST_FILE = 4 * 2**30  # bytes; the largest of theirs, CelebA's with its optimisers, is about 0.65 GB
_LARGEST = {"z_dim": 4096, "r_dim": 4096, "nc": 16, "ngf": 1024, "ndf": 1024, "iter": 2**40}

Shape = tuple[int, ...]
Layer = dict[str, Shape]
"""The tensors of one layer by name, with their shapes."""


@dataclass(frozen=True)
class Sizes:
    """What decides every shape in a checkpoint. `shares_front`: model2.py, where D and Q share their first half."""

    z_dim: int
    r_dim: int
    nc: int
    ngf: int
    ndf: int
    shares_front: bool

    @property
    def model(self) -> str:
        """The file of the authors' code that has these networks."""
        return "model2.py" if self.shares_front else "model.py"


@dataclass(frozen=True)
class Optimisers:
    """Their two RMSprops: the hyperparameters, and for each parameter, by its name, what has been gathered for it.

    `states` is None, and `why_fresh` says why, where there is nothing whole that training could go on from.
    """

    hyperparameters: dict[str, float]  # lr_discriminator, lr_generator and SHARED; empty where they are not known
    states: dict[str, dict[str, Tensor]] | None
    why_fresh: str = ""


SHARED = ("alpha", "eps", "momentum")


@dataclass(frozen=True)
class AuthorsCheckpoint:
    """One checkpoint, every tensor of it checked against `layout(sizes)`."""

    step: int
    sizes: Sizes
    tensors: dict[str, Tensor]  # by group, position and name: G.fe.0.weight, ...
    optimisers: Optimisers


def layout(sizes: Sizes) -> dict[str, dict[int, Layer]]:
    """Return the layers that have tensors: by the group they are in, then by their position in its `nn.Sequential`."""
    z, r, nc, g, d = sizes.z_dim, sizes.r_dim, sizes.nc, sizes.ngf, sizes.ndf
    half = [
        *(_conv(nc, d, 4, bias=True), None),
        *(_conv(d, d * 2, 4), _norm(d * 2), None),
        *(_conv(d * 2, d * 4, 4), _norm(d * 4), None),
    ]
    if sizes.shares_front:
        e = [
            *(_linear(z, 64), _norm(64), None),
            *(_linear(64, 64), _norm(64), None),
            *(_linear(64, 32), _norm(32), None),
            _linear(32, 2 * r),
        ]
        features = [
            *(_conv(d * 4, d * 4, 3), _norm(d * 4), None),
            *(_conv(d * 4, d * 4, 3), _norm(d * 4), None),
            *(_conv(d * 4, d * 16, 8), _norm(d * 16), None),
        ]
        discriminator = {
            "DR.front": half,
            "DR.encoder": [*features, _conv(d * 16, z, 1, bias=True)],
            "DR.disc": [*features, _conv(d * 16, 1, 1, bias=True)],
        }
    else:
        e = [_linear(z, 32), None, _linear(32, 32), None, _linear(32, 2 * r)]
        features = [
            *half,
            *(_conv(d * 4, d * 8, 3), _norm(d * 8), None),
            *(_conv(d * 8, d * 16, 8), _norm(d * 16), None),
        ]
        further = [_conv(d * 16, d * 16, 1, bias=True), _norm(d * 16), None]
        discriminator = {
            "DR.encoder": [*features, *further, _conv(d * 16, z, 1, bias=True)],
            "DR.disc": [*features, _conv(d * 16, 1, 1, bias=True)],
        }
    generator = {
        "G.emb": e,
        "G.fe": [
            *(_linear(r, g * 16), _norm(g * 16), None),
            *(_linear(g * 16, 8 * 8 * g * 4), _norm(8 * 8 * g * 4), None),
        ],
        "G.conv": [
            *(_upconv(g * 4, g * 4, 3), _norm(g * 4), None),
            *(_upconv(g * 4, g * 4, 3), _norm(g * 4), None),
            *(_upconv(g * 4, g * 2, 4), _norm(g * 2), None),
            *(_upconv(g * 2, g, 4), _norm(g), None),
            _upconv(g, nc, 4) | {"bias": (nc,)},
        ],
    }
    groups: dict[str, list[Layer | None]] = generator | discriminator
    return {
        group: {position: layer for position, layer in enumerate(layers) if layer} for group, layers in groups.items()
    }


def shapes(sizes: Sizes) -> dict[str, Shape]:
    """Return the shape of each tensor of a checkpoint, by its name (`G.fe.0.weight`)."""
    return {
        f"{group}.{position}.{name}": shape
        for group, layers in layout(sizes).items()
        for position, layer in layers.items()
        for name, shape in layer.items()
    }


def read(path: Path) -> AuthorsCheckpoint:
    """Read a checkpoint file. Nothing in it is executed, and no network is taken for real that is larger than the file.

    Raises CheckpointError, one line, for anything but a whole checkpoint of the authors' code.
    """
    document = _Reader(path, _load(path), "")
    states = document.inside("model_states")
    tensors = {f"{net}.{name}": value for net in ("G", "DR") for name, value in states.inside(net).named().items()}
    sizes = Sizes(
        **{name: document.integer(name, 1) for name in ("z_dim", "r_dim")},
        **{name: states.integer(name, 4 if name != "nc" else 1) for name in ("nc", "ngf", "ndf")},
        shares_front=any(name.startswith("DR.front.") for name in tensors),
    )
    expected = shapes(sizes)
    # Each number of the networks is in the file, so this bounds all that is made from here on.
    if 4 * sum(map(prod, expected.values())) > path.stat().st_size:
        raise CheckpointError(f"{path} claims networks larger than itself ({sizes}); it is damaged")
    _check(path, tensors, expected)
    optimisers = _optimisers(document.content.get("optim_states"), expected)
    return AuthorsCheckpoint(document.integer("iter", 0), sizes, tensors, optimisers)


def _load(path: Path) -> Any:
    """Return what `torch.save` was given: containers, tensors and plain values, or a CheckpointError."""
    with open_file(path, CheckpointError) as file:
        size = file.seek(0, io.SEEK_END)
        if size > LARGEST_FILE:
            raise CheckpointError(f"{path} is {size:,} bytes, larger than any checkpoint of the authors' code")
        file.seek(0)
        return load_tensors(path, file, CheckpointError)


@dataclass(frozen=True)
class _Reader:
    """A dict of the file, and where in it that is, for messages."""

    path: Path
    content: Any
    where: str

    def __post_init__(self) -> None:
        if not isinstance(self.content, Mapping):
            self._refuse(self.where or "the document", "is no dict")

    def inside(self, key: str) -> _Reader:
        if key not in self.content:
            self._refuse(f"{self.where}{key}", "is missing")
        return _Reader(self.path, self.content[key], f"{self.where}{key}.")

    def integer(self, key: str, least: int) -> int:
        value = self.content.get(key)
        if type(value) is not int or not least <= value <= _LARGEST[key]:
            self._refuse(
                f"{self.where}{key}", f"is {_shown(value)}, expected an integer from {least} to {_LARGEST[key]:,}"
            )
        return int(value)

    def named(self) -> Mapping[str, Any]:
        if not all(isinstance(name, str) for name in self.content):
            self._refuse(self.where, "has keys that are no names")
        content: Mapping[str, Any] = self.content
        return content

    def _refuse(self, what: str, how: str) -> None:
        raise CheckpointError(f"{self.path} is no checkpoint of the authors' code: {what.rstrip('.')} {how}")


def _check(path: Path, tensors: Mapping[str, Any], expected: Mapping[str, Shape]) -> None:
    """Hold every tensor against the layout: its name, kind, type, shape and numbers."""
    problems = [f"{name} is missing" for name in expected.keys() - tensors.keys()]
    problems += [f"{_shown(name)} is unknown" for name in tensors.keys() - expected.keys()]
    for name in expected.keys() & tensors.keys():
        problem = _problem(tensors[name], expected[name], torch.int64 if name.endswith("tracked") else torch.float32)
        if problem:
            problems.append(f"{name} {problem}")
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise CheckpointError(f"{path} is no checkpoint of the authors' code: {sorted(problems)[0]}{more}")


def _problem(value: Any, shape: Shape, dtype: torch.dtype) -> str:
    """What keeps a value from being a plain tensor of a shape and type, or nothing."""
    if type(value) not in (Tensor, torch.nn.Parameter):
        return f"is {_shown(value)}, expected a tensor"
    if value.layout != torch.strided or value.is_nested or value.device.type != "cpu":
        return "is no plain tensor"
    if tuple(value.shape) != shape or value.dtype != dtype:
        return f"is {tuple(value.shape)} {value.dtype}, expected {shape} {dtype}"
    return "" if bool(torch.isfinite(value).all()) else "holds numbers that are not finite"


def _optimisers(stored: Any, expected: Mapping[str, Shape]) -> Optimisers:
    """Read the optimisers. They trained D with its front, and e, G and Q: the latter in two groups, e first."""
    hyperparameters: dict[str, float] = {}
    try:
        if not isinstance(stored, Mapping):
            raise ValueError("there are none in the file")
        d, g = _one_optimiser(stored, "D_optim"), _one_optimiser(stored, "GR_optim")
        if any(d[name] != g[name] for name in SHARED):
            raise ValueError("they have different hyperparameters")
        hyperparameters = {"lr_discriminator": d["lr"], "lr_generator": g["lr"]} | {name: g[name] for name in SHARED}
        d_groups = [_trained(expected, "DR.front", "DR.disc")]
        g_groups = [_trained(expected, "G.emb"), _trained(expected, "G.fe", "G.conv", "DR.encoder")]
        states = dict(_states(stored["D_optim"], d_groups, expected, d["momentum"] > 0))
        states |= dict(_states(stored["GR_optim"], g_groups, expected, g["momentum"] > 0))
    except KeyError as error:
        return Optimisers(hyperparameters, None, f"{_shown(error.args[0])} is missing in the file's")
    except Exception as error:  # whatever stands in their place, the networks are good
        return Optimisers(hyperparameters, None, _shown(str(error)).strip("'\""))
    return Optimisers(hyperparameters, states)


def _one_optimiser(stored: Mapping[str, Any], key: str) -> dict[str, float]:
    """Return the hyperparameters of the `state_dict()` of an RMSprop. KeyError or ValueError if it is none."""
    groups = stored[key]["param_groups"]
    found = [{name: float(group[name]) for name in ("lr", *SHARED)} for group in groups]
    if any(group["centered"] or group["weight_decay"] for group in groups) or any(one != found[0] for one in found):
        raise ValueError(f"{key} is no plain RMSprop")
    if not all(0 < found[0][name] <= 1 for name in ("lr", "eps")) or not all(
        0 <= found[0][name] < 1 for name in ("alpha", "momentum")
    ):
        raise ValueError(f"{key} has {found[0]}")
    return found[0]


def _trained(expected: Mapping[str, Shape], *groups: str) -> list[str]:
    """The names of the parameters in some groups, in the order of torch's `parameters()`."""
    names = [name for group in groups for name in expected if name.startswith(f"{group}.")]
    return [name for name in names if name.endswith((".weight", ".bias"))]


def _states(
    stored: Mapping[str, Any], groups: list[list[str]], expected: Mapping[str, Shape], with_momentum: bool
) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Yield each parameter's name and state. torch numbers parameters; before 1.5 it named them by their address."""
    counts = [len(group["params"]) for group in stored["param_groups"]]
    if counts != [len(names) for names in groups]:
        raise ValueError(f"their groups have {counts} parameters, expected {[len(names) for names in groups]}")
    quantities = ("square_avg", "momentum_buffer") if with_momentum else ("square_avg",)
    for group, names in zip(stored["param_groups"], groups, strict=True):
        for identity, name in zip(group["params"], names, strict=True):
            if identity not in stored["state"]:
                raise ValueError(f"they have no state of {name}")
            state = stored["state"][identity]
            for quantity in quantities:
                problem = _problem(state[quantity], expected[name], torch.float32)
                if problem:
                    raise ValueError(f"{quantity} of {name} {problem}")
            if bool((state["square_avg"] < 0).any()):
                raise ValueError(f"square_avg of {name} is negative")
            step = float(state["step"])
            if not 0 <= step <= _LARGEST["iter"]:
                raise ValueError(f"step of {name} is {step}")
            yield name, {"step": torch.tensor(step)} | {quantity: state[quantity] for quantity in quantities}


def _shown(value: Any) -> str:
    """A value of the file in a message: short, and on one line."""
    return "a tensor" if isinstance(value, Tensor) else shown(value)


def _linear(width_in: int, width_out: int) -> Layer:
    return {"weight": (width_out, width_in), "bias": (width_out,)}


def _conv(channels_in: int, channels_out: int, kernel: int, *, bias: bool = False) -> Layer:
    weight: Layer = {"weight": (channels_out, channels_in, kernel, kernel)}
    return weight | {"bias": (channels_out,)} if bias else weight


def _upconv(channels_in: int, channels_out: int, kernel: int) -> Layer:
    return {"weight": (channels_in, channels_out, kernel, kernel)}


def _norm(channels: int) -> Layer:
    each = ("weight", "bias", "running_mean", "running_var")
    return dict.fromkeys(each, (channels,)) | {"num_batches_tracked": ()}
