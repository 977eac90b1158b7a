"""disentanglement_lib's results folders: what each step of its pipeline leaves behind.

A folder has `gin/STEP.gin` (the configuration), `json/STEP_config.json` (the same, flat) and `json/STEP_results.json`
for each step up to its own, and `aggregate/STEP.json`, in which all of these are one flat dict. The aggregated files of
many models are what its studies are made of, one row of a table each.
"""

from __future__ import annotations

import json
import re
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Reference:
    """A gin reference to a function (`@mig`)."""

    name: str


@dataclass(frozen=True)
class Step:
    """One step ("train", "postprocess", "evaluation"): its gin bindings and its results, which are JSON values.

    `identity` names what was done, on what; the same identity gives the same uuid, so converting twice makes no two
    runs of one.
    """

    name: str
    bindings: Mapping[str, Any]
    results: Mapping[str, Any]
    identity: str

    def write(self, results: Path, before: Path | None = None) -> None:
        """Write the results folder `results` of this step; `before` is that of the step before it."""
        if before is not None:
            shutil.copytree(before, results)
        for folder in ("gin", "json", "aggregate"):
            (results / folder).mkdir(parents=True, exist_ok=True)
        config = {gin_key(key): gin_value(value) for key, value in sorted(self.bindings.items())}
        lines = "".join(f"{key} = {value}\n" for key, value in config.items())
        (results / "gin" / f"{self.name}.gin").write_text(lines, encoding="utf-8")
        identity = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{self.identity} {self.name}"))
        _write(results / "json" / f"{self.name}_config.json", config)
        _write(results / "json" / f"{self.name}_results.json", dict(self.results) | {"uuid": identity})
        _write(results / "aggregate" / f"{self.name}.json", _aggregate(results / "json"))


def gin_key(key: str) -> str:
    """Return the name of a binding with only what gin knows in names: a line of a file is one binding, and no more."""
    return re.sub(r"[^\w./]", "_", key, flags=re.ASCII)[:200]


def gin_value(value: Any) -> str:
    """Return a value as gin writes it. Strings are in single quotes, on one line, and hold no ` = `.

    disentanglement_lib reads these files line by line and splits each at ` = `, and looks for `'tanh'` with its quotes.
    """
    if isinstance(value, Reference):
        return f"@{value.name}"
    if isinstance(value, str):
        escaped = value.encode("unicode_escape").decode("ascii").replace("'", "\\'")
        text = f"'{escaped}'"
    else:
        text = repr(value)
    return text.replace(" = ", " \\x3d ")


def _aggregate(folder: Path) -> dict[str, Any]:
    """One flat dict of the JSON files of a folder: `evaluation_results.eval_accuracy`, `train_config.dataset.name`."""
    return {
        f"{path.stem}.{key}": value
        for path in sorted(folder.glob("*.json"))
        for key, value in json.loads(path.read_text(encoding="utf-8")).items()
    }


def _write(path: Path, document: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(document, indent=2, allow_nan=False), encoding="utf-8")
