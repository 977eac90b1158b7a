"""Whether runs were trained on the images that their dataset has now: a folder may change between two starts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from zoo import settings
from zoo.building import build_dataset
from zoo.config import RunConfig
from zoo.errors import ZooError, shown
from zoo.provenance import images_used, starts
from zoo.registry import Registry, resolve
from zoo.run import RunDirectory
from zoo.specs import DatasetSpec
from zoo.sweep.plan import Plan, SweepFolder


def trained_on_others(registry: Registry, plan: Plan, folder: SweepFolder, data_root: Path | None) -> list[str]:
    """A line for each run that was trained, if only for some of its steps, on other images than are there now.

    Nothing is prepared for that: of a dataset that is not ready nothing is said.
    """
    now: dict[str, str | None] = {}
    told = []
    for run in plan.runs:
        directory, config = folder.run(run), run.config
        before = _recorded(directory)
        if not before:
            continue
        key = json.dumps([config.dataset, config.settings.get("dataset", {})], default=str)
        if key not in now:
            now[key] = _there(registry, config, data_root)
        others = [images for images in before if images != now[key]]
        if now[key] is not None and others:
            told.append(
                f"{run.name} was trained on other images of {config.dataset}, {', '.join(map(shown, others))}; here "
                f"are {shown(now[key])} now; remove {directory.path} to have it trained on them"
            )
    return told


def _recorded(run: RunDirectory) -> list[str]:
    """The images that a run was begun and resumed with, as its configuration has them."""
    try:
        made = starts(run.config.made_by).values() if run.exists() else ()
    except ZooError:  # whoever goes on with the run says what is wrong with it
        return []
    return list(dict.fromkeys(images for one in made if isinstance(images := one.get("images"), str)))


def _there(registry: Registry, config: RunConfig, data_root: Path | None) -> str | None:
    """The images that a dataset has now; None where it is not ready, or cannot be read."""
    spec = registry.spec(DatasetSpec, config.dataset, typed=False)
    values = config.settings.get("dataset", {})
    try:
        if spec.prepare and not _is_ready(spec, values, data_root):
            return None
        return images_used(build_dataset(registry, config.dataset, data_root, values, typed=False))
    except Exception:  # whatever a dataset raises, it will cost the runs that still need it
        return None


def _is_ready(spec: DatasetSpec, values: dict[str, Any], data_root: Path | None) -> bool:
    """Whether opening a dataset prepares nothing; one that does not tell is taken to be not ready."""
    if not spec.info:
        return False
    info = resolve(spec.info)
    return info(data_root, **settings.validated(info, values, "dataset")).get("ready") is True
