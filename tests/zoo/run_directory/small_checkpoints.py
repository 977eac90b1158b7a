"""What small checkpoints hold, and which a run has."""

from __future__ import annotations

import torch

from zoo.run import RunDirectory

Tensors = dict[str, torch.Tensor]


def some(step: int) -> tuple[Tensors, Tensors]:
    weights = {"w": torch.arange(12.0).reshape(3, 4) * step, "count": torch.tensor(step)}
    return weights, {"square": torch.full((5,), 0.5 * step)}


def names_in(run: RunDirectory) -> list[str]:
    return sorted(entry.name for entry in run.checkpoints_path.iterdir())
