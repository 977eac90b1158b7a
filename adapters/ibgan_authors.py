"""The published checkpoints of IB-GAN's authors, read into a run directory that everything here goes on from.

Their networks are this project's: `model.py` is IB-GAN's variant "authors", `model2.py` its Table 4. Three things are
written differently, none of which changes what a network computes:

- The valid 8x8 convolution over an 8x8 map, and the 1x1 convolutions after it, are linear layers here.
- Some of their layers have a bias although a BatchNorm follows, which takes it away with the mean. Here it is taken
  from the running mean instead: W x + b - m = W x - (m - b). What the optimiser gathered for it has no use.
- They have one optimiser for G, e and Q, in two groups; what RMSprop gathers belongs to a parameter, not to a group.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from ibgan_plugin.adapters import ibgan_authors_format as authors
from ibgan_plugin.adapters.ibgan_authors_format import AuthorsCheckpoint, Sizes
from zoo import terminal
from zoo.building import build_loss, build_model, build_trainer
from zoo.config import RunConfig, resolve_config
from zoo.device import Backend
from zoo.errors import UsageError
from zoo.files import writing_folder
from zoo.provenance import provenance
from zoo.registry import Registry, default_registry
from zoo.run import RunDirectory

MODEL = "ibgan"

# Which groups of theirs make up which of our networks.
PARTS = {
    "encoder": ("G.emb",),
    "generator": ("G.fe", "G.conv"),
    "front": ("DR.front",),
    "reconstructor": ("DR.encoder",),
    "discriminator": ("DR.disc",),
}


class IBGANAuthors:
    """Reads the checkpoints that the authors' `solver.py` and `solver2.py` write."""

    def checkpoint_from(
        self,
        source: Path,
        out: Path,
        *,
        dataset: str | None = None,
        beta: float | None = None,
        gamma: float | None = None,
    ) -> Path:
        """Write the checkpoint file `source` as a new run directory `out`, and return that.

        The weights and, where they are whole, the optimisers are the file's, and so are the networks' sizes and the
        learning rates. The file does not say the rest: it comes from the preset of `dataset`, by default the one that
        the authors train such networks on; `beta` and `gamma`, where they are given, are the loss's (Eq. 11).

        Raises CheckpointError, one line, for a file that is no whole checkpoint of theirs; UsageError if `out` exists,
        or for a value that cannot be.
        """
        if out.is_file() or (out.is_dir() and any(out.iterdir())):
            raise UsageError(f"{out} exists already; choose another --out")
        foreign = authors.read(source)
        registry = default_registry()
        known = {f"loss.{name}": value for name, value in (("beta", beta), ("gamma", gamma)) if value is not None}
        config = configuration(registry, foreign, dataset or usual_dataset(foreign.sizes), known)
        backend = Backend.choose("cpu", "fp32")
        model = build_model(registry, config, backend)
        weights, origins = transplanted(model, foreign)
        model.load_state_dict(weights)
        trainer = build_trainer(registry, config, model, build_loss(registry, config, backend), backend)
        trainer.load(trainer_tensors(trainer, model, foreign, origins), {"steps_done": foreign.step})

        why_fresh = foreign.optimisers.why_fresh
        optimisers = f"fresh optimisers ({why_fresh})" if why_fresh else "their optimisers"
        with writing_folder(out) as folder:
            run = RunDirectory(folder)
            run.write_config(config.model_copy(update={"made_by": _made_by(source, foreign, optimisers, backend)}))
            run.save(foreign.step, model.state_dict(), *trainer.state())
        terminal.note(
            f"{source}: the authors' {foreign.sizes.model} at step {foreign.step:,}, taken to be of {config.dataset}, "
            f"with {optimisers}"
        )
        return out


def usual_dataset(sizes: Sizes) -> str:
    """Return the dataset that the authors train networks of these sizes on.

    Their solvers set nc, ngf and ndf from the dataset: 1, 16, 16 for dSprites in both; 3, 16, 16 for Color-dSprites and
    3, 64, 64 for CelebA in solver.py; and in solver2.py 1, 32, 16 for 3D Chairs, with CelebA's ngf and ndf as given.
    """
    if sizes.nc == 1:
        return "dsprites" if sizes.ngf <= 16 else "chairs3d"
    return "color_dsprites" if not sizes.shares_front and sizes.ngf <= 16 else "celeba"


def configuration(
    registry: Registry, foreign: AuthorsCheckpoint, dataset: str, known: Mapping[str, Any] = MappingProxyType({})
) -> RunConfig:
    """Return the dataset's preset, with what the checkpoint holds, the authors' code fixes or is known in its place."""
    sizes = foreign.sizes
    held: dict[str, Any] = {name: getattr(sizes, name) for name in ("z_dim", "r_dim", "ngf", "ndf")}
    held = {f"model.{name}": value for name, value in held.items()}
    held |= {f"trainer.{name}": value for name, value in foreign.optimisers.hyperparameters.items()}
    fixed: dict[str, Any] = {
        "model.variant": "table4" if sizes.shares_front else "authors",
        "model.share_front": sizes.shares_front,
        "trainer.shared_front": "discriminator",
        "trainer.reconstructor_statistics": "both",
    }
    if not sizes.shares_front:  # solver2.py takes these from the command line
        fixed |= {
            "trainer.noise_start": 1.0,
            "trainer.noise_end": 0.0,
            "trainer.noise_steps": 100_000,
            "trainer.label_smoothing": False,
        }
    config = resolve_config(registry, MODEL, dataset, typed=held | fixed | dict(known))
    sources = dict.fromkeys(held, "the authors' checkpoint") | dict.fromkeys(fixed, f"authors' code, {sizes.model}")
    return config.model_copy(
        update={"image_shape": (64, 64, sizes.nc), "sources": config.sources | sources, "precision": "fp32"}
    )


def transplanted(model: nn.Module, foreign: AuthorsCheckpoint) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the weights of `model` by name, and the name in the checkpoint that each of them was made from."""
    weights, origins = {}, {}
    state = model.state_dict()
    unused = dict(foreign.tensors)
    for part, groups in PARTS.items():
        layers = _layers(foreign, groups)
        bias = None  # of the layer before, where ours has none
        for (prefix, ours), theirs in zip(_own_layers(model, part), layers, strict=True):
            for name in ours.state_dict():
                origins[f"{prefix}.{name}"] = theirs[name]
                weights[f"{prefix}.{name}"] = unused.pop(theirs[name]).reshape(state[f"{prefix}.{name}"].shape)
            if bias is not None:
                weights[f"{prefix}.running_mean"] = weights[f"{prefix}.running_mean"] - bias
            has_one_more = "bias" in theirs and theirs["bias"] in unused
            bias = unused.pop(theirs["bias"]) if has_one_more else None
    assert not unused, f"no place for {sorted(unused)}: the layout and our networks have come apart"
    return weights, origins


def trainer_tensors(
    trainer: Any, model: nn.Module, foreign: AuthorsCheckpoint, origins: dict[str, str]
) -> dict[str, Tensor]:
    """Return the optimisers' state as our trainer reads it: theirs, or zeros, as RMSprop begins, if some is missing."""
    states = foreign.optimisers.states
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    tensors = {}
    for player, parameters in trainer.parameters.items():
        for own_name, parameter in parameters.items():
            if states is None:
                zeros = torch.zeros_like(parameter)
                state = {"step": torch.zeros(()), "square_avg": zeros, "momentum_buffer": zeros}
            else:
                state = states[origins[names[id(parameter)]]]
            for quantity, value in state.items():
                shaped = value.reshape(parameter.shape) if value.dim() else value
                tensors[f"{player}/{own_name}/{quantity}"] = shaped
    return tensors


def _layers(foreign: AuthorsCheckpoint, groups: tuple[str, ...]) -> list[dict[str, str]]:
    """The layers of some groups in order; each maps a tensor's own name to its name in the checkpoint."""
    expected = authors.layout(foreign.sizes)
    return [
        {name: f"{group}.{position}.{name}" for name in layer}
        for group in groups
        for position, layer in expected.get(group, {}).items()
    ]


def _own_layers(model: nn.Module, part: str) -> Iterator[tuple[str, nn.Module]]:
    """Our layers that have tensors, in order, with their names."""
    for name, module in model.get_submodule(part).named_modules(prefix=part):
        if not any(True for _ in module.children()) and module.state_dict():
            yield name, module


def _made_by(source: Path, foreign: AuthorsCheckpoint, optimisers: str, backend: Backend) -> dict[str, Any]:
    with source.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        f"imported at step {foreign.step}": {
            "file": source.name,
            "sha256": digest,
            "networks": f"the authors' {foreign.sizes.model}",
            "optimisers": optimisers,
            **provenance(backend),
        }
    }
