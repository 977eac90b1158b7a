"""`--to weights`: a run's model as one small file, to pass on (`zoo.weights` says what is in it)."""

from __future__ import annotations

from pathlib import Path

from zoo.building import build_model, load_weights
from zoo.device import Backend
from zoo.errors import UsageError
from zoo.registry import default_registry
from zoo.run import find_checkpoint
from zoo.specs import ModelSpec
from zoo.weights import write_weights


class Weights:
    """Writes weights files. There is no way back into a run: what training needs is not in them."""

    def checkpoint_to(self, checkpoint: Path, out: Path) -> Path:
        """Write the weights file `out`, which `zoo eval`, `sample`, `traverse` and `zoo.load` open by its path.

        Raises UsageError if `out` exists; CheckpointError, one line, for what is no checkpoint.
        """
        if out.exists():
            raise UsageError(f"{out} exists already; choose another --out")
        found = find_checkpoint(checkpoint)
        registry, config = default_registry(), found.run.config
        registry.spec(ModelSpec, config.model, typed=False)
        model = build_model(registry, config, Backend.choose("cpu", "fp32"), checkpoint=found)
        load_weights(model, found)
        return write_weights(out, model, config, found.step)
