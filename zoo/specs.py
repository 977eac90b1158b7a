"""What a plugin registers: small frozen records that name their implementation by string.

A target is written `package.module:attribute` and is imported only when it is used, so listing, help and completion
stay fast and import no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Setting:
    """A preset's value for one setting, and where the number comes from (a table, a figure, a file)."""

    value: Any
    source: str


@dataclass(frozen=True)
class Preset:
    """The settings of one model on one dataset.

    `settings` maps dotted keys (`model.z_dim`, `loss.beta`, `trainer.lr_discriminator`, `steps`, `batch_size`) to
    values with their sources. A preset named like a dataset is that dataset's default, and that of the datasets
    `also_for`.
    """

    name: str
    summary: str
    settings: Mapping[str, Setting]
    also_for: tuple[str, ...] = ()


@dataclass(frozen=True)
class Spec:
    """What all kinds share: a name, the target that implements it, and one line of help."""

    name: str
    target: str
    summary: str = ""


@dataclass(frozen=True)
class ModelSpec(Spec):
    """A generative model; `zoo.interfaces.Model` says what the target is.

    `presets` is the target of a tuple of `Preset`; `default_preset` serves datasets that have none of their own.
    `pretrained` maps names to targets, each the path of a weights file (`zoo.weights`) that ships with the plugin.
    `eval_metrics` names the metrics that score it while it trains (`--eval-every`), unless others are asked for.
    """

    loss: str = ""
    trainer: str = ""
    paper: str = ""
    presets: str = ""
    default_preset: str = ""
    pretrained: Mapping[str, str] = field(default_factory=dict)
    eval_metrics: tuple[str, ...] = ()


@dataclass(frozen=True)
class LossSpec(Spec):
    """A loss; `zoo.interfaces.Loss` says what the target is."""


@dataclass(frozen=True)
class TrainerSpec(Spec):
    """A trainer; `zoo.interfaces.Trainer` says what the target is."""


@dataclass(frozen=True)
class DatasetSpec(Spec):
    """A dataset; the target is called as `target(data_root, **settings)` and returns a `zoo.interfaces.Dataset`.

    `info` and `prepare` are targets too: `info(data_root, **settings) -> dict` tells what is there and what is missing,
    `prepare(data_root, **settings) -> Path` makes it ready. Empty where there is nothing to tell or to do.
    `has_factors` False lets a sweep refuse metrics that need ground truth before it trains.
    """

    info: str = ""
    prepare: str = ""
    has_factors: bool = True


@dataclass(frozen=True)
class MetricSpec(Spec):
    """A metric; `zoo.interfaces.Metric` says what the target is.

    `published` holds what the paper reports, as `(model, dataset) -> score`, shown beside the measured score.
    `lower_is_better` says which of two scores is the best.
    """

    needs_factors: bool = True
    lower_is_better: bool = False
    published: Mapping[tuple[str, str], float] = field(default_factory=dict)


@dataclass(frozen=True)
class ConverterSpec(Spec):
    """A foreign format, of datasets or checkpoints or both; `zoo.interfaces.Converter` says what the target is."""


KINDS: dict[str, type[Spec]] = {
    "models": ModelSpec,
    "losses": LossSpec,
    "trainers": TrainerSpec,
    "datasets": DatasetSpec,
    "metrics": MetricSpec,
    "converters": ConverterSpec,
}
