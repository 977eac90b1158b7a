"""`--to weights`: a run's model as one small file, to pass on (`zoo.weights` says what is in it)."""

from __future__ import annotations

from pathlib import Path

from ibgan_plugin.adapters import checkpoints
from zoo.errors import UsageError
from zoo.weights import write_weights


class Weights:
    """Writes weights files. There is no way back into a run: what training needs is not in them."""

    def checkpoint_to(self, checkpoint: Path, out: Path, *, model: str | None = None) -> Path:
        """Write the weights file `out`, which `zoo eval`, `sample`, `traverse` and `zoo.load` open by its path.

        `model` is needed where that is one given by its import path, since no file may name code to import. A weights
        file, or `pretrained:NAME`, is written again as it is. Raises UsageError if `out` exists;
        CheckpointError, one line, for what is no checkpoint.
        """
        if out.exists():
            raise UsageError(f"{out} exists already; choose another --out")
        loaded = checkpoints.load(checkpoint, model)
        return write_weights(out, loaded.model, loaded.config, loaded.step)
