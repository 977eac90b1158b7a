"""Weights: a model to pass on, metrics' files and foreign checkpoints."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

from tests.fuzz.readers.configurations import configuration

DIMS = 8


def safetensors(header: Any, data: bytes) -> bytes:
    """A safetensors file of a header and the bytes after it."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def build_weights_file(folder: Path) -> None:
    """A model to pass on."""
    from zoo.building import build_model
    from zoo.config import RunConfig
    from zoo.device import Backend
    from zoo.registry import default_registry
    from zoo.weights import write_weights

    config = RunConfig.model_validate(configuration())
    model = build_model(default_registry(), config, Backend.choose("cpu", "fp32"))
    write_weights(folder / "file.safetensors", model, config, 2)


def read_weights_file(folder: Path) -> None:
    import torch

    import zoo

    model = zoo.load("ibgan", folder / "file.safetensors", device="cpu")
    model.encode(torch.zeros(2, 1, 64, 64))


def build_statistics(folder: Path) -> None:
    import numpy as np

    from ibgan_plugin.evaluation.fid_statistics import write_statistics
    from ibgan_plugin.evaluation.frechet import Gaussian

    write_statistics(folder / "stats.npz", Gaussian(np.zeros(DIMS), np.eye(DIMS), 10), {"dataset": "x", "seed": 3})


def read_statistics(folder: Path) -> None:
    from ibgan_plugin.evaluation.fid_statistics import read_statistics as read

    read(folder / "stats.npz", DIMS)


def build_weights(folder: Path) -> None:
    import torch

    state = {"Conv2d_1a_3x3.conv.weight": torch.zeros(4, 3, 3, 3), "fc.bias": torch.zeros(4)}
    torch.save(state, folder / "weights.pth")
    torch.save(state, folder / "old.pth", _use_new_zipfile_serialization=False)


def read_weights(folder: Path) -> None:
    from ibgan_plugin.evaluation.inception import read_weights as read

    for file in ("weights.pth", "old.pth"):
        read(folder / file, allow_unverified=True, root=folder)


def authors_states() -> dict[str, Any]:
    """What the authors' solver hands to torch.save, for the smallest networks; the optimisers' state left out."""
    import torch

    from ibgan_plugin.adapters.ibgan_authors_format import Sizes, shapes

    sizes = Sizes(2, 2, 1, 4, 4, shares_front=False)
    nets: dict[str, Any] = {"G": {}, "DR": {}}
    for name, shape in shapes(sizes).items():
        net, _, own = name.partition(".")
        nets[net][own] = torch.zeros(shape, dtype=torch.int64 if own.endswith("tracked") else torch.float32)
    rmsprop = {"lr": 1e-4, "alpha": 0.99, "eps": 1e-8, "momentum": 0.9, "centered": False, "weight_decay": 0}
    optimiser = {"state": {}, "param_groups": [rmsprop | {"params": [0, 1]}]}
    return {
        "iter": 3,
        "z_dim": 2,
        "r_dim": 2,
        "win": None,
        "stat_dict": {500: [1.25, 3.5]},
        "model_states": {"nc": 1, "ngf": 4, "ndf": 4, **nets},
        "optim_states": {"GR_optim": optimiser, "D_optim": optimiser},
    }


def build_authors(folder: Path) -> None:
    import torch

    torch.save(authors_states(), folder / "new")
    torch.save(authors_states(), folder / "old", _use_new_zipfile_serialization=False)


def read_authors(folder: Path) -> None:
    from ibgan_plugin.adapters.ibgan_authors_format import read

    for file in ("new", "old"):
        read(folder / file)
