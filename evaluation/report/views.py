"""One run as the page shows it, and what its model shows of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from ibgan_plugin.evaluation import figures
from ibgan_plugin.evaluation.report import pictures
from ibgan_plugin.evaluation.report.pictures import Picture, Sliders
from ibgan_plugin.evaluation.report.reading import Run, Score
from zoo import terminal
from zoo.building import build_dataset
from zoo.config import dataset_paths
from zoo.errors import described
from zoo.loading import Loaded, load_checkpoint
from zoo.registry import Registry

if TYPE_CHECKING:
    from zoo.interfaces import Dataset

T = TypeVar("T")


@dataclass
class View:
    """One run as the page shows it."""

    run: Run
    number: int
    step: int | None = None  # of the checkpoint that the pictures are of
    checkpoint_sha256: str = ""
    samples: Picture | None = None
    sliders: Sliders | None = None
    reconstructed: Picture | None = None
    problems: list[str] = field(default_factory=list)
    scores: list[Score] = field(default_factory=list)
    best: dict[str, Score] = field(default_factory=dict)
    paper: dict[str, float] = field(default_factory=dict)
    departures: dict[str, str] = field(default_factory=dict)  # of the best scores' settings from the defaults

    def attempt(self, what: str, make: Callable[[], T]) -> T | None:
        """Make one part of the page; a failure costs that part only, and the page says so."""
        try:
            return make()
        except Exception as error:  # the model may be another plugin's: any failure, and the rest still shows
            self.problems.append(f"{what}: {described(error)}")
            terminal.warn(f"{self.run.name}: {self.problems[-1]}")
            return None


@dataclass(frozen=True)
class Real:
    """Images of a dataset, for all runs that have it."""

    dataset: str
    picture: Picture


@dataclass
class ModelPictures:
    """Asks models for all that they can show; datasets are opened once for all runs."""

    registry: Registry
    seed: int
    images: int
    steps: int
    device: str
    typed_dataset: str | None
    data_root: Path | None
    places: Mapping[str, Path | str]  # of the datasets' settings that are paths, those that are said anew
    datasets: dict[str, Dataset] = field(default_factory=dict)
    real: dict[str, Real] = field(default_factory=dict)

    def draw(self, view: View) -> None:
        """Load the model of a run and fill in what it shows."""
        loaded = view.attempt("no pictures", lambda: self._load(view.run))
        if loaded is None:
            return
        model = loaded.model
        view.step, view.checkpoint_sha256 = loaded.step, loaded.weights_sha256
        shape = loaded.config.image_shape
        view.samples = view.attempt("no samples", lambda: pictures.samples(model, self.images, self.seed, shape))
        dataset = view.attempt("no real images", lambda: self._dataset(view.run))
        view.sliders = view.attempt("no traversal", lambda: self._sliders(loaded, dataset))
        if dataset is not None:
            view.reconstructed = view.attempt(
                "no reconstructions", lambda: pictures.reconstructed(model, dataset, self.seed)
            )

    def _load(self, run: Run) -> Loaded:
        # The name comes from a file, so it must be a registered one: nothing in a file may name code to import.
        return load_checkpoint(self.registry, None, run.given, device=self.device)

    def _dataset(self, run: Run) -> Dataset:
        """Open the run's dataset, and show some of it where no run before did."""
        typed = run.config.dataset == self.typed_dataset
        paths = dataset_paths(self.registry, run.config.dataset, typed=typed) if self.places else set()
        moved = {name: str(place) for name, place in self.places.items() if name in paths}
        values = run.config.settings.get("dataset", {}) | moved
        key = json.dumps([run.config.dataset, values], sort_keys=True)
        if key not in self.datasets:
            dataset = build_dataset(self.registry, run.config.dataset, self.data_root, values, typed=typed)
            self.real[key] = Real(run.config.dataset, pictures.real_images(dataset, self.images, self.seed))
            self.datasets[key] = dataset
        return self.datasets[key]

    def _sliders(self, loaded: Loaded, dataset: Dataset | None) -> Sliders:
        codes, names = pictures.base_codes(loaded.model, dataset, self.seed)
        kl = figures.kl_of_loaded(loaded, codes.shape[1], self.seed)
        return pictures.sliders(loaded.model, codes, names, self.steps, kl, loaded.config.image_shape)
