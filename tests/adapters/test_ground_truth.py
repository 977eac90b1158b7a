"""The data object against draws made here, one by one, in disentanglement_lib's order."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ibgan_plugin.adapters import as_ground_truth_data
from ibgan_plugin.adapters.color_dsprites import color_dsprites
from ibgan_plugin.adapters.color_dsprites_dlib import color_dsprites_dlib
from ibgan_plugin.adapters.dsprites import dsprites
from ibgan_plugin.adapters.noisy_dsprites import noisy_dsprites
from zoo.errors import DataError
from zoo.interfaces import Dataset


def same_state(one: np.random.RandomState, other: np.random.RandomState) -> bool:
    return one.randint(1 << 31) == other.randint(1 << 31)


@pytest.mark.parametrize("target", [dsprites, color_dsprites], ids=["dsprites", "color_dsprites"])
def test_the_same_state_gives_the_datasets_own_factors_and_images(drawn: Path, target: type) -> None:
    data = target(drawn)
    wrapped = as_ground_truth_data(data)
    ours, theirs = np.random.RandomState(3), np.random.RandomState(3)
    factors, observations = wrapped.sample(16, ours)
    expected = np.stack([theirs.randint(size, size=16) for size in data.factor_sizes], axis=1)
    np.testing.assert_array_equal(factors, expected)
    assert factors.dtype == np.int64
    assert observations.dtype == np.float32
    np.testing.assert_array_equal(
        np.round(observations.astype(np.float64) * 255), data.images(data.index_of(expected)).astype(np.float64)
    )
    assert same_state(ours, theirs)  # nothing more was drawn


def test_the_shape_of_the_data(drawn: Path) -> None:
    wrapped = as_ground_truth_data(color_dsprites(drawn))
    assert wrapped.num_factors == 6
    assert wrapped.factors_num_values == [512, 3, 6, 40, 32, 32]
    assert wrapped.observation_shape == [64, 64, 3]
    assert type(wrapped.factors_num_values) is list
    ours, theirs = np.random.RandomState(0), np.random.RandomState(0)
    np.testing.assert_array_equal(wrapped.sample_observations(5, ours), wrapped.sample(5, theirs)[1])
    assert set(np.unique(as_ground_truth_data(dsprites(drawn)).sample_observations(4, ours))) == {0.0, 1.0}


def test_random_colors_are_drawn_after_the_factors(drawn: Path) -> None:
    wrapped = as_ground_truth_data(color_dsprites_dlib(drawn))
    ours, theirs = np.random.RandomState(5), np.random.RandomState(5)
    factors, observations = wrapped.sample(12, ours)
    np.testing.assert_array_equal(factors, np.stack([theirs.randint(n, size=12) for n in (3, 6, 40, 32, 32)], axis=1))
    sprites = dsprites(drawn).images(dsprites(drawn).index_of(factors)) / 255.0
    colors = theirs.uniform(0.5, 1, [12, 1, 1, 3])
    assert observations.dtype == np.float64
    np.testing.assert_array_equal(observations, np.repeat(sprites, 3, axis=3) * colors)
    assert same_state(ours, theirs)


def test_noise_is_drawn_after_the_factors_and_clipped(drawn: Path) -> None:
    wrapped = as_ground_truth_data(noisy_dsprites(drawn))
    ours, theirs = np.random.RandomState(6), np.random.RandomState(6)
    factors, observations = wrapped.sample(12, ours)
    np.testing.assert_array_equal(factors, np.stack([theirs.randint(n, size=12) for n in (3, 6, 40, 32, 32)], axis=1))
    sprites = dsprites(drawn).images(dsprites(drawn).index_of(factors)) / 255.0
    noise = theirs.uniform(0, 1, [12, 64, 64, 3])
    assert observations.dtype == np.float64
    np.testing.assert_array_equal(observations, np.clip(np.repeat(sprites, 3, axis=3) + noise, None, 1))
    assert same_state(ours, theirs)


def test_a_factor_out_of_range_is_refused(drawn: Path) -> None:
    with pytest.raises(ValueError, match="posY"):
        as_ground_truth_data(dsprites(drawn)).sample_observations_from_factors(
            np.array([[0, 0, 0, 0, 32]]), np.random.RandomState(0)
        )


def test_a_dataset_without_factors_is_refused() -> None:
    class Photographs:
        name = "photographs"
        factor_names = factor_sizes = None
        image_shape = (64, 64, 3)

    with pytest.raises(DataError, match="photographs has no ground-truth factors"):
        as_ground_truth_data(Photographs())  # type: ignore[arg-type]  # what the test is about


@pytest.mark.parametrize("target", [color_dsprites_dlib, noisy_dsprites], ids=lambda target: target.__name__)
def test_the_noise_of_an_image_is_a_function_of_seed_and_index(drawn: Path, target: type) -> None:
    data = target(drawn)
    assert isinstance(data, Dataset)
    assert (data.name, len(data), data.image_shape) == (target.__name__, 737_280, (64, 64, 3))
    indices = np.random.default_rng(0).integers(len(data), size=20)
    images = data.images(indices)
    assert images.dtype == np.uint8
    np.testing.assert_array_equal(data.images(indices[::-1]), images[::-1])  # neither of order nor of company
    np.testing.assert_array_equal(data.images(indices[3:4]), images[3:4])
    np.testing.assert_array_equal(target(drawn, noise_seed=0).images(indices), images)
    assert not np.array_equal(target(drawn, noise_seed=1).images(indices), images)
    with pytest.raises(IndexError):
        data.images(np.array([len(data)]))


@pytest.mark.parametrize(
    ("noise_seed", "expected"),
    [
        (0, [[118, 209, 161, 249, 195, 248, 55, 208, 101], [183, 96, 46, 183, 210, 71, 23, 181, 138]]),
        (1, [[37, 158, 180, 54, 24, 27, 61, 19, 94], [251, 16, 30, 94, 249, 205, 24, 38, 253]]),
    ],
)
def test_the_noise_is_the_same_in_every_version(drawn: Path, noise_seed: int, expected: list[list[int]]) -> None:
    """Scores on these images are of this noise, so a noise seed has to stay the same images."""
    data = noisy_dsprites(drawn, noise_seed=noise_seed)
    assert data.noise(np.array([1, 737_279]), 9).tolist() == expected


def test_the_noise_of_images_is_spread_as_it_should_be(drawn: Path) -> None:
    indices = np.random.default_rng(1).integers(737_280, size=600)
    sprites = dsprites(drawn).images(indices)[..., 0] > 0
    noisy = noisy_dsprites(drawn).images(indices)
    assert (noisy[sprites] == 255).all()
    counts = np.bincount(noisy[~sprites].ravel(), minlength=256)
    expected = counts.sum() / 256
    chi_square = ((counts - expected) ** 2 / expected).sum()
    assert 170 < chi_square < 350  # 255 degrees of freedom: mean 255, standard deviation 22.6
    colored = color_dsprites_dlib(drawn).images(indices)
    assert (colored[~sprites] == 0).all()
    colors = np.array([np.unique(image[sprite], axis=0) for image, sprite in zip(colored, sprites, strict=True)])
    assert colors.shape == (600, 1, 3)  # one colour an image
    assert colors.min() >= 128
    assert colors.mean() == pytest.approx(191.5, abs=3 * 37 / np.sqrt(1800))
    assert np.corrcoef(colors[:, 0].T)[np.triu_indices(3, 1)] == pytest.approx(0, abs=0.15)


def test_the_package_is_light_until_it_is_used() -> None:
    program = (
        "import sys; import ibgan_plugin.adapters, ibgan_plugin.adapters.plugin as plugin; plugin.zoo_datasets()\n"
        "print(sorted({'numpy', 'torch', 'scipy', 'h5py', 'PIL', 'pydantic'} & set(sys.modules)))"
    )
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert printed.stdout.strip() == "[]"
