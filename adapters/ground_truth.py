"""disentanglement_lib's data object over any dataset here that has factors.

Locatello et al., "Challenging Common Assumptions in the Unsupervised Learning of Disentangled Representations", 2019,
and its library: metrics there draw everything from one legacy `numpy.random.RandomState`, so a data object has to draw
in the same order and the same types for scores to agree.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from zoo.interfaces import Dataset


class GroundTruthData:
    """What disentanglement_lib's metrics are handed as `ground_truth_data`.

    A dataset whose observations are random has `observe(indices, random_state)`, which returns float64 images in
    [0, 1] and draws from `random_state`; of any other, the images are float32, `images(indices) / 255`.
    """

    def __init__(self, data: Dataset) -> None:
        """Wrap a dataset; DataError where it has no factors."""
        if data.factor_sizes is None:
            raise DataError(f"{data.name} has no ground-truth factors; disentanglement_lib's data object needs them")
        self.data = data
        self._sizes = data.factor_sizes

    @property
    def num_factors(self) -> int:
        """How many factors there are."""
        return len(self._sizes)

    @property
    def factors_num_values(self) -> list[int]:
        """How many values each factor takes."""
        return list(self._sizes)

    @property
    def observation_shape(self) -> list[int]:
        """[height, width, channels]."""
        return list(self.data.image_shape)

    def sample_factors(self, num: int, random_state: np.random.RandomState) -> NDArray[np.int64]:
        """Draw int64 (num, F), each factor uniformly: one `randint(size, size=num)` a factor, in order."""
        factors = np.empty((num, len(self._sizes)), dtype=np.int64)
        for column, size in enumerate(self._sizes):
            factors[:, column] = random_state.randint(size, size=num)
        return factors

    def sample_observations_from_factors(
        self, factors: NDArray[np.int64], random_state: np.random.RandomState
    ) -> NDArray[Any]:
        """Return the images of these factors, NHWC in [0, 1]; ValueError for a factor out of range."""
        indices = self.data.index_of(np.asarray(factors))
        observe = getattr(self.data, "observe", None)
        if observe is not None:
            return observe(indices, random_state)
        return self.data.images(indices).astype(np.float32) / np.float32(255)

    def sample(self, num: int, random_state: np.random.RandomState) -> tuple[NDArray[np.int64], NDArray[Any]]:
        """Draw factors, then their observations: (factors, observations)."""
        factors = self.sample_factors(num, random_state)
        return factors, self.sample_observations_from_factors(factors, random_state)

    def sample_observations(self, num: int, random_state: np.random.RandomState) -> NDArray[Any]:
        """Draw observations; the factors are drawn as in `sample`, and dropped."""
        return self.sample(num, random_state)[1]


def as_ground_truth_data(data: Dataset) -> GroundTruthData:
    """Return disentanglement_lib's data object over `data`; DataError where it has no factors."""
    return GroundTruthData(data)
