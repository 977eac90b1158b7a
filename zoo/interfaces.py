"""The protocols between the rooms: what a dataset, a model, a loss, a trainer, a metric and a converter is.

Nothing here is inherited from; a plugin only has to have the methods. **A setting is a keyword-only parameter with a
type annotation** of the target: `def mig(model, data, seed=0, *, num_train: PositiveInt = 10_000)` can be set with
`--set mig.num_train=500`, is checked against its annotation (pydantic's rules: `Annotated[float, Field(ge=0)]`), is
shown by `--dry-run` and recorded with the run. See `zoo.settings`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray


@runtime_checkable
class Dataset(Protocol):
    """Images by index and, where there is ground truth, their factors.

    Indices are int64 in [0, len(dataset)). A dataset without ground truth has `factor_names` and `factor_sizes` None,
    and is never asked for `index_of` and `factors_of`. Images come as uint8 so that nothing between the file and the
    device is larger than it has to be. What opens a dataset raises `zoo.errors.DataError` where files are missing.
    """

    name: str

    def __len__(self) -> int: ...

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels)."""
        ...

    @property
    def factor_names(self) -> tuple[str, ...] | None: ...

    @property
    def factor_sizes(self) -> tuple[int, ...] | None: ...

    def images(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return uint8 (n, H, W, C) for int (n,); IndexError for an index outside [0, len)."""
        ...

    def index_of(self, factors: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return int64 (n,) from int (n, F); ValueError for a value out of range."""
        ...

    def factors_of(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return int64 (n, F) from int (n,)."""
        ...


class ObservedDataset(Dataset, Protocol):
    """A dataset whose observations are random, as disentanglement_lib's noisy ones are.

    `images` is a function of the index all the same. Where there is `observe`, the metrics of disentanglement_lib's
    protocol take their images from it, drawn from the metric's own generator right after the factors.
    """

    def observe(self, indices: NDArray[np.int64], random_state: np.random.RandomState) -> NDArray[np.floating[Any]]:
        """Return float (n, H, W, C) in [0, 1] for int (n,)."""
        ...


@runtime_checkable
class Encoder(Protocol):
    """All that a representation metric needs of a model."""

    def encode(self, images: torch.Tensor) -> torch.Tensor | NDArray[Any]:
        """Return (n, D) codes for float32 (n, C, H, W) images in [0, 1]."""
        ...


@runtime_checkable
class Generator(Protocol):
    """All that `fid` needs of a model."""

    def generate(self, num: int, seed: int = 0) -> torch.Tensor:
        """Return float32 (num, C, H, W) images in [0, 1]; the same seed gives the same images."""
        ...


@runtime_checkable
class Model(Encoder, Generator, Protocol):
    """A `torch.nn.Module` built as `target(image_shape, **settings)`, `image_shape` being (H, W, C).

    All three methods run in evaluation mode without gradients and leave the module's mode as it was. A model with
    submodules that only training needs names them in `training_only` (a tuple of names); a weights file lacks them.
    """

    def decode(self, codes: torch.Tensor) -> torch.Tensor:
        """Return float32 (n, C, H, W) images in [0, 1] for (n, D) codes."""
        ...


class HasBounds(Protocol):
    """A model that has bounds on its mutual information, which the metric `mi_bounds` and traversals ask for."""

    def mi_bounds(self, num: int, seed: int = 0) -> Mapping[str, Any]:
        """Return nats averaged over `num` draws: `mi_lower`; `mi_upper`, or None; `kl`, (D,) of each code, or None."""
        ...


class HasPlayers(Protocol):
    """A model whose parameters belong to players, as the trainers `adversarial` and `vae` need it."""

    def players(self) -> Mapping[str, list[torch.nn.Module]]:
        """Return, by name, the modules whose parameters each player owns; the loss has an objective for each."""
        ...


class Loss(Protocol):
    """The objective, built as `target(**settings)`: named terms, and each player's objective as a sum of them.

    A loss that brings networks of its own (FactorVAE's discriminator) is a `torch.nn.Module`; a loss whose networks
    depend on the model has `bind(model)`, called once by the trainer before it asks for parameters. A loss with players
    of its own has `players()`, as models have: by name, the modules whose parameters a player owns.

    What changes in the course of training is a function of the step, which the trainers here hand over with the rest
    (`outputs.step`, counted from 1). Whatever else a loss keeps between steps is a buffer of a `torch.nn.Module`, whose
    `state_dict` they save with their own state.
    """

    def terms(self, outputs: Any) -> dict[str, torch.Tensor]:
        """Return the named terms of one forward pass, averaged over the batch: tensors, 0-d or 1-d (as the KL of each
        dimension is), and finite.
        """
        ...

    def objectives(self, terms: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return what each player minimises, 0-d."""
        ...


class Trainer(Protocol):
    """One training step, built as `target(model, loss, seed=..., backend=..., **settings)`.

    It owns the optimisers and schedules. Everything random it uses derives from (seed, step), so that resuming needs
    no generator state.
    """

    def step(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """Do one update on float32 (n, C, H, W) images in [0, 1], which are on the backend's device.

        Return what to log, detached and not synchronised: tensors by name, 0-d or 1-d, and finite. The log has `step`
        and `steps_per_second` by itself.
        """
        ...

    def state(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """Return all that a bit-exact continuation needs beside the weights: finite tensors, and JSON values."""
        ...

    def load(self, tensors: Mapping[str, torch.Tensor], values: Mapping[str, Any]) -> None:
        """Take a `state()` back."""
        ...


class Metric(Protocol):
    """`metric(model, data, seed=0, **settings)`; every result has `score` (the headline, or None) and `protocol`.

    Results are plain JSON values: no NaN, no numpy scalars. Where there is a `reason` (a line), it says why the score
    is None, or of a part only; `caveats` (a list of lines) say what it cannot be compared with. A sweep tells both.
    Raises `zoo.errors.MetricError` where it is not defined.
    """

    def __call__(self, model: Any, data: Dataset, seed: int = 0, **settings: Any) -> dict[str, Any]: ...


class Converter(Protocol):
    """Speaks one foreign format, called by its name; the target is a class without parameters.

    It has those of these methods that the format allows, and `zoo convert` says which it lacks. The settings of the
    checkpoint methods (`zoo convert checkpoint ... --set key=value`) are their keyword-only parameters. Whether `out`
    is there already is for them to see; `zoo.files.writing` and `writing_folder` write it whole or not at all.
    """

    def dataset_to(self, dataset: Dataset, out: Path) -> Path:
        """Write a dataset in this format; return what was written."""
        ...

    def checkpoint_to(self, checkpoint: Path, out: Path) -> Path:
        """Write a checkpoint in this format; return what was written.

        `checkpoint` is what a person typed: a run, one checkpoint in it, a weights file, or `pretrained:NAME`.
        `ibgan_plugin.adapters.checkpoints.load` opens each of them.
        """
        ...

    def checkpoint_from(self, source: Path, out: Path) -> Path:
        """Read a checkpoint in this format and write it as a run directory that evaluation and training go on from."""
        ...
