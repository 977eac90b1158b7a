"""What made a run: versions, commit, command, machine. Written into config.json, once for every start and resume."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from zoo.device import Backend
from zoo.errors import shown

_PACKAGES = ("ibgan-plugin", "torch", "numpy", "safetensors", "scikit-learn", "scipy")
_FROM = "from step "
_STARTS = 100
_IMAGES_HASHED = 64


def with_start(
    made_by: Mapping[str, Any], step: int, backend: Backend, data: Any = None, plugins: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Add what begins or resumes a run at a step to what made it so far; `plugins` are the versions of distributions.

    A file that grows for ever would end as one that is too large to be read, so of very many starts the first and the
    latest are kept.
    """
    about_data = {} if data is None else {"data": data_used(data), "images": images_used(data)}
    abandoned = {f"{_FROM}{other}" for other in starts(made_by) if other >= step}  # by going back to an earlier step
    before = {name: made for name, made in made_by.items() if name not in abandoned}
    all_starts = {**before, f"{_FROM}{step}": provenance(backend, plugins) | about_data}
    names = list(all_starts)
    kept = names if len(names) <= _STARTS else [names[0], *names[1 - _STARTS :]]
    return {name: all_starts[name] for name in kept}


def starts(made_by: Mapping[str, Any]) -> dict[int, Mapping[str, Any]]:
    """What made a run from which step on; what a file from elsewhere has beside that is left out."""
    found = {}
    for name, made in made_by.items():
        step = name.removeprefix(_FROM)
        if name.startswith(_FROM) and step.isdecimal() and len(step) < 20 and isinstance(made, Mapping):
            found[int(step)] = made
    return found


def machine() -> str:
    """This machine, in words."""
    return f"{platform.node()}, {platform.machine()}, {os.cpu_count()} CPUs"


def provenance(backend: Backend, plugins: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return it as a JSON document."""
    return {
        "versions": {package: _version(package) for package in _PACKAGES}
        | dict(plugins or {})
        | {"python": platform.python_version()},
        "commit": commit(Path(__file__)),
        "command": sys.argv,
        "machine": machine(),
        "threads": torch.get_num_threads(),
        "backend": str(backend),
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def data_used(data: Any) -> str:
    """Say how many images there are, and where they come from, as far as the dataset tells."""
    told = (getattr(data, name, None) for name in ("source", "preparation"))
    return ", ".join([f"{len(data):,} images", *(str(part) for part in told if part)])


def images_used(data: Any) -> str:
    """Tell a dataset from others of its name, wherever its files lie: a hash of some images, spread over all."""
    indices = np.unique(np.linspace(0, len(data) - 1, _IMAGES_HASHED).astype(np.int64))
    images = np.ascontiguousarray(data.images(indices))
    digest = hashlib.sha256(f"{len(data)} {images.shape} {images.dtype}".encode() + images.tobytes())
    return f"{len(data):,} with hash {digest.hexdigest()[:16]}"


def differences(made_by: Mapping[str, Any], backend: Backend, data: Any = None) -> list[str]:
    """Say what is not as at a run's last start, so that it cannot go on bit for bit: other images, or what rounds sums
    in another order.
    """
    last = list(made_by.values())[-1] if made_by else None
    if not isinstance(last, dict):
        return []
    versions = last.get("versions")
    before = {
        "torch": versions.get("torch") if isinstance(versions, dict) else None,
        "threads": last.get("threads"),
        "device": last.get("backend"),
        "images": last.get("images") if data is not None else None,
    }
    now = {"torch": _version("torch"), "threads": torch.get_num_threads(), "device": str(backend)}
    now |= {} if data is None else {"images": images_used(data)}
    return [
        f"{what} {shown(was)} before and {shown(now[what])} now"
        for what, was in before.items()
        if was is not None and was != now[what]
    ]


def commit(file: Path) -> str | None:
    """Return the commit that a source file is of, with "-dirty" after it where the checkout was edited since.

    None where the file is in no checkout, as after an installation from a wheel, whose version says it all. (That
    git knows the file itself is asked first: an environment may lie inside somebody else's checkout.)
    """
    if _git(file.parent, "ls-files", "--error-unmatch", file.name) is None:
        return None
    return _git(file.parent, "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty")


def _git(folder: Path, *words: str) -> str | None:
    try:
        ended = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return ended.stdout.strip() if ended.returncode == 0 else None


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
