"""A run's config.json: how one is made, and how it is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def configuration() -> dict[str, Any]:
    """A run's config.json."""
    from zoo.config import resolve_config
    from zoo.registry import default_registry

    words = ["model.ngf=4", "model.ndf=4", "batch_size=4", "device=cpu", "precision=fp32", "steps=9"]
    config = resolve_config(default_registry(), "ibgan", "dsprites", words=words)
    made_by = {"from step 1": {"command": ["zoo", "train"], "started": "2026-01-01T00:00:00+0000"}}
    return config.model_copy(update={"image_shape": (64, 64, 1), "made_by": made_by}).model_dump(mode="json")


def build_config(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps(configuration()))


def read_config(folder: Path) -> None:
    from zoo.config import RunConfig, resolve_config
    from zoo.errors import ZooError
    from zoo.registry import default_registry

    config = RunConfig.from_file(folder / "config.json")
    registry = default_registry()
    try:  # what a sound file says may still be nothing that can be run; these messages name the setting
        resolve_config(registry, "ibgan", "dsprites", base=config).rows()
    except ZooError as error:
        raise ZooError(f"{folder}: {error}") from error
