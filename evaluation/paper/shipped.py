"""The shipped specifications: read, shortened and narrowed as a person asks, and held against what this machine has."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from zoo.data_root import data_root as resolved
from zoo.errors import UnknownNameError, ZooError, described, unknown
from zoo.registry import Registry, resolve
from zoo.specs import DatasetSpec
from zoo.sweep.spec import SweepSpec

TITLES = {
    "table1": "Table 1: FactorVAE score",
    "table2": "Table 2: FID",
    "fig3": "Figure 3: the bounds of the mutual information over beta",
    "fig4": "Figure 4: the bounds and the score over the iterations",
}
# The points of a curve over the iterations, where it is shortened: as many as 150,000 steps with one every 5,000 have.
CURVE_POINTS = 30


@dataclass(frozen=True)
class Reproduction:
    """What is to be reproduced: all of it, as the paper has it, and the part of it that can be done here."""

    name: str
    spec: SweepSpec  # all that was asked for
    possible: SweepSpec | None  # without what is missing; None: nothing is left
    missing: Mapping[str, str]  # dataset or metric -> why it is missing
    changed: tuple[str, ...] = ()  # the settings that are otherwise, as key=value

    @property
    def title(self) -> str:
        """What the paper calls it."""
        return TITLES[self.name]

    @property
    def notes(self) -> list[str]:
        """What is missing, a line each."""
        return [f"missing: {what}: {why}" for what, why in self.missing.items()]


def shipped(name: str) -> SweepSpec:
    """Read one of the shipped specifications."""
    if name not in TITLES:
        raise UnknownNameError(unknown("table or figure", name, TITLES))
    text = files(__package__).joinpath(f"{name}.toml").read_text(encoding="utf-8")
    return SweepSpec.checked(tomllib.loads(text), f"{name}.toml")


def asked(
    name: str,
    *,
    steps: int | None = None,
    seeds: int | None = None,
    models: Sequence[str] = (),
    datasets: Sequence[str] = (),
) -> SweepSpec:
    """A shipped specification with fewer steps, other numbers of seeds, or some of its models and datasets only."""
    spec = shipped(name)
    update: dict[str, Any] = {}
    if steps is not None:
        update["steps"] = steps
        if "eval_every" in spec.settings:
            every = max(steps // CURVE_POINTS, 1)
            update["settings"] = {**spec.settings, "eval_every": every, "log_every": min(every, 100)}
    if seeds is not None:
        update["seeds"] = tuple(range(seeds))
    for kind, names in (("models", models), ("datasets", datasets)):
        there = getattr(spec, kind)
        for wanted in names:
            if wanted not in there:
                raise UnknownNameError(unknown(f"{kind[:-1]} of {name}", wanted, there))
        if names:
            update[kind] = tuple(one for one in there if one in names)
    return spec.model_copy(update=update)


def reproduction(
    registry: Registry, name: str, spec: SweepSpec, words: Sequence[str], data_root: Path | None
) -> Reproduction:
    """Find out what this machine has of what a specification needs: datasets that are fetched, and FID's network.

    Raises ZooError for a file that `words`, those of `--set`, name and that is not there.
    """
    missing = {}
    for dataset in spec.datasets:
        why = missing_dataset(registry, dataset, data_root)
        if why:
            missing[dataset] = why
    datasets = tuple(dataset for dataset in spec.datasets if dataset not in missing)
    metrics = spec.metrics
    if "fid" in metrics and datasets:
        why = missing_weights(words, data_root)
        if why:
            missing["fid"] = f"{why} (the runs are trained; the same command scores them once it is there)"
            metrics = tuple(metric for metric in metrics if metric != "fid")
    possible = spec.model_copy(update={"datasets": datasets, "metrics": metrics}) if datasets else None
    return Reproduction(name, spec, possible, missing, tuple(words))


def missing_dataset(registry: Registry, name: str, data_root: Path | None) -> str:
    """Why a dataset is not to be had here: what has to be fetched. Nothing, where it is here or made by itself."""
    spec = registry.spec(DatasetSpec, name, typed=False)
    found = resolve(spec.info)(data_root) if spec.info else {}
    if not found.get("missing"):
        return ""
    return f"it is not on this machine; zoo data info {name} says what to fetch"


def missing_weights(words: Sequence[str], data_root: Path | None) -> str:
    """Why FID cannot be computed: its network is not here. Nothing, where it is."""
    from ibgan_plugin.evaluation.inception import find_weights

    named = [word.partition("=")[2] for word in words if word.startswith("fid.inception_weights=")]
    try:
        find_weights(Path(named[-1]) if named else None, resolved(data_root))
    except ZooError as error:
        if named:
            raise
        return described(error)
    return ""


def without(words: Sequence[str], metrics: Sequence[str]) -> list[str]:
    """The words of `--set` without those about metrics that are missing."""
    return [word for word in words if word.partition(".")[0] not in metrics]
