"""A checkpoint on the disk -> a model in memory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.absent_plugins import naming_absent_plugins
from zoo.building import build_dataset, build_model, load_weights
from zoo.checkpoint import Checkpoint
from zoo.config import RunConfig, dataset_paths
from zoo.device import Backend
from zoo.errors import CheckpointError, UnknownNameError, UsageError, shown, unknown
from zoo.registry import Registry, resolve
from zoo.run import RunDirectory, find_checkpoint
from zoo.specs import ModelSpec
from zoo.untrusted import exists, user_path
from zoo.weights import WeightsFile

if TYPE_CHECKING:
    from zoo.interfaces import Dataset

PRETRAINED = "pretrained:"


@dataclass(frozen=True)
class Loaded:
    """A model with a checkpoint's weights, and where they came from; weights that are passed on have no run."""

    model: Any
    config: RunConfig
    path: Path
    name: str  # the path, or pretrained:NAME
    step: int
    weights_sha256: str  # of their file
    run: RunDirectory | None

    def open_dataset(
        self, registry: Registry, data_root: Path | None, typed: str | None = None, /, **places: Any
    ) -> Dataset:
        """Open the dataset that the model was trained on.

        `typed` is its name where a person typed it, which alone may be an import path; `places` are those of its
        settings that are paths, where its files lie elsewhere now. UsageError for another dataset or another setting,
        and where weights that were passed on tell no more of a folder than its name.
        """
        self.refuse_other_dataset(typed)
        with naming_absent_plugins(self.config):
            paths = dataset_paths(registry, self.config.dataset, typed=typed is not None)
        for name in places.keys() - paths:
            others = f"only where its files are may be said anew ({', '.join(sorted(paths)) or 'it has none'})"
            raise UsageError(f"dataset.{shown(name)[1:-1]} is that of {self.name}; {others}")
        values = self.config.settings.get("dataset", {}) | places
        for name in paths if self.run is None else ():
            value = values.get(name)
            if name not in places and isinstance(value, str) and not Path(value).is_absolute():
                raise UsageError(
                    f"{self.name} was trained on images of {shown(value)} and does not say where that was; name it: "
                    f"--set dataset.{name}=PATH on the command line, load_dataset({name}=PATH) from Python"
                )
        return build_dataset(registry, self.config.dataset, data_root, values, typed=typed is not None)

    def refuse_other_dataset(self, typed: str | None) -> None:
        """Raise UsageError if what a person typed is not the dataset that the model was trained on."""
        if typed not in (None, self.config.dataset):
            trained_on = shown(self.config.dataset)
            raise UsageError(f"{self.name} was trained on {trained_on}, not {shown(typed)}; leave the dataset out")


def load_checkpoint(
    registry: Registry, model_name: str | None, checkpoint: Path | str, *, device: str = "auto"
) -> Loaded:
    """Open a run directory (its newest whole checkpoint), one checkpoint, a weights file, or `pretrained:NAME`.

    `model_name` None stands for the registered model that the file names; `pretrained:NAME` needs it.
    Raises CheckpointError, one line, if it is none of these; UsageError if it is another model's; UnknownNameError for
    a `pretrained` that does not ship with the model, and for a model that is not registered.
    """
    if model_name is not None and str(checkpoint).startswith(PRETRAINED):
        spec = registry.spec(ModelSpec, model_name)
        path, shipped = _shipped(spec, str(checkpoint).removeprefix(PRETRAINED)), True
    else:
        path, shipped = user_path(checkpoint), False
    found: Checkpoint | WeightsFile
    if shipped or (exists(path) and path.is_file()):
        if not shipped and (path.name == "config.json" or exists(path.parent / "state.json")):
            raise CheckpointError(f"{path} is a file of a run or checkpoint; name its folder, {path.parent}")
        found, run = WeightsFile.open(path), None
        config = found.config
    else:
        found = find_checkpoint(path)
        run = RunDirectory.of(found)
        config = run.config
    with naming_absent_plugins(config):
        registry.spec(ModelSpec, model_name or config.model, typed=model_name is not None)
    if model_name not in (None, config.model):
        raise UsageError(f"{checkpoint} holds a model {config.model!r}, not {model_name!r}; name it instead")
    model = build_model(registry, config, Backend.choose(device, "fp32"), checkpoint=found)
    load_weights(model, found)
    name = str(checkpoint) if shipped else str(found.path)
    return Loaded(model.eval(), config, found.path, name, found.step, found.weights_sha256, run)


def _shipped(spec: ModelSpec, name: str) -> Path:
    """The weights file that a plugin ships under a name."""
    if name not in spec.pretrained:
        raise UnknownNameError(unknown(f"pretrained {spec.name}", name, spec.pretrained))
    return Path(resolve(spec.pretrained[name]))
