"""The Fréchet distance against closed forms, SVDs of the data and scipy's sqrtm; statistics that stream by."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st

from ibgan_plugin.evaluation.frechet import Gaussian, RunningGaussian, frechet_distance
from tests.processes import PEAK
from zoo.errors import MetricError


def gaussian_of(vectors: np.ndarray) -> Gaussian:
    return Gaussian(vectors.mean(axis=0), np.cov(vectors, rowvar=False), len(vectors))


def from_data(first: np.ndarray, second: np.ndarray) -> float:
    """Without a covariance: tr (C1 C2)^(1/2) is the nuclear norm of X1 X2ᵀ, their rows being deviations."""
    x1 = (first - first.mean(axis=0)) / np.sqrt(len(first) - 1)
    x2 = (second - second.mean(axis=0)) / np.sqrt(len(second) - 1)
    r1, r2 = np.linalg.qr(x1, mode="r"), np.linalg.qr(x2, mode="r")
    overlap = np.linalg.svd(r1 @ r2.T, compute_uv=False).sum()
    shift = first.mean(axis=0) - second.mean(axis=0)
    return float(shift @ shift + (x1**2).sum() + (x2**2).sum() - 2 * overlap)


def vectors(seed: int, num: int, dims: int, smallest: float = 0.01) -> np.ndarray:
    """Correlated vectors whose scales span from 1 to `smallest`."""
    rng = np.random.default_rng(seed)
    mixed = rng.normal(size=(num, dims)) @ rng.normal(size=(dims, dims)) / np.sqrt(dims)
    return mixed * np.geomspace(1, smallest, dims) + rng.normal(size=dims)


def test_diagonal_gaussians_by_hand() -> None:
    # (1-4)² + (2-2)² + (1-2)² + (3-5)² = 14: the means apart, then the standard deviations
    first = Gaussian(np.array([1.0, 2.0]), np.diag([1.0, 9.0]))
    second = Gaussian(np.array([4.0, 2.0]), np.diag([4.0, 25.0]))
    assert frechet_distance(first, second) == pytest.approx(14, rel=1e-14)


def test_one_dimension_with_no_variance() -> None:
    first = Gaussian(np.array([0.0, 0.0]), np.diag([0.0, 4.0]))
    second = Gaussian(np.array([0.0, 3.0]), np.diag([9.0, 1.0]))
    assert frechet_distance(first, second) == pytest.approx(9 + 9 + 1, rel=1e-14)


def test_two_points() -> None:
    first, second = (Gaussian(np.full(3, value), np.zeros((3, 3)), 10) for value in (1.0, 3.0))
    assert frechet_distance(first, second) == 12


def test_commuting_gaussians_that_are_not_diagonal() -> None:
    rotation = scipy.linalg.expm(np.array([[0, -0.7, 0.2], [0.7, 0, 0.4], [-0.2, -0.4, 0]]))
    first = Gaussian(np.zeros(3), rotation @ np.diag([1.0, 4.0, 9.0]) @ rotation.T)
    second = Gaussian(np.zeros(3), rotation @ np.diag([4.0, 16.0, 100.0]) @ rotation.T)
    assert frechet_distance(first, second) == pytest.approx(1 + 4 + 49, rel=1e-13)


@pytest.mark.parametrize("num", [2, 20, 64, 500])
def test_identical_gaussians_are_at_zero(num: int) -> None:
    same = gaussian_of(vectors(0, num, 64))
    # 64 vectors of 64 dimensions: an eigenvalue so close to 0 that its root is known to 1e-8 only
    assert frechet_distance(same, same) == pytest.approx(0, abs=1e-8 * np.trace(same.covariance))


def test_a_shifted_mean_adds_its_square() -> None:
    data = vectors(0, 500, 32)
    shift = np.linspace(-1, 1, 32)
    assert frechet_distance(gaussian_of(data), gaussian_of(data + shift)) == pytest.approx(shift @ shift, rel=1e-10)


def test_a_scaled_distribution() -> None:
    data = vectors(0, 500, 32)
    data -= data.mean(axis=0)
    trace = np.trace(np.cov(data, rowvar=False))
    # C2 = 9 C1, so tr(C1 + C2 - 2·3 C1) = 4 tr C1
    assert frechet_distance(gaussian_of(data), gaussian_of(3 * data)) == pytest.approx(4 * trace, rel=1e-11)


@pytest.mark.parametrize("smallest", [1, 1e-2, 1e-4])
def test_full_rank_agrees_with_sqrtm_and_with_the_data(smallest: float) -> None:
    first, second = vectors(1, 1500, 256, smallest), vectors(2, 1500, 256, smallest)
    a, b = gaussian_of(first), gaussian_of(second)
    root = scipy.linalg.sqrtm(a.covariance @ b.covariance)
    shift = a.mean - b.mean
    by_sqrtm = shift @ shift + np.trace(a.covariance + b.covariance - 2 * root.real)
    found = frechet_distance(a, b)
    assert found == pytest.approx(by_sqrtm, rel=1e-10)
    assert found == pytest.approx(from_data(first, second), rel=1e-12)


@pytest.mark.parametrize(("num_first", "num_second"), [(20, 20), (3, 60), (128, 128), (20, 700), (700, 20)])
def test_fewer_vectors_than_dimensions(num_first: int, num_second: int) -> None:
    """Singular covariances: the rounding in their zero eigenvalues must not reach the sum of square roots."""
    first, second = vectors(1, num_first, 128), vectors(2, num_second, 128)
    found = frechet_distance(gaussian_of(first), gaussian_of(second))
    assert found == pytest.approx(from_data(first, second), rel=1e-11)


def test_dimensions_that_never_vary_are_no_noise() -> None:
    first, second = vectors(1, 400, 128), vectors(2, 400, 128)
    first[:, 7:40], second[:, 30:90] = 0.25, -2
    found = frechet_distance(gaussian_of(first), gaussian_of(second))
    assert found == pytest.approx(from_data(first, second), rel=1e-10)


@settings(max_examples=60)
@given(seed=st.integers(0, 10**6), dims=st.integers(1, 12), num_first=st.integers(2, 30), num_second=st.integers(2, 30))
def test_it_is_symmetric_not_negative_and_right_at_any_rank(
    seed: int, dims: int, num_first: int, num_second: int
) -> None:
    first, second = vectors(seed, num_first, dims), vectors(seed + 1, num_second, dims)
    a, b = (Gaussian(v.mean(0), np.cov(v, rowvar=False).reshape(dims, dims), len(v)) for v in (first, second))
    found = frechet_distance(a, b)
    assert found >= 0
    scale = 1 + np.trace(a.covariance + b.covariance)
    assert found == pytest.approx(frechet_distance(b, a), abs=1e-7 * scale)
    assert found == pytest.approx(from_data(first, second), abs=1e-7 * scale)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_is_refused(bad: float) -> None:
    fine = gaussian_of(vectors(0, 50, 4))
    with pytest.raises(MetricError, match="NaN or infinity"):
        frechet_distance(fine, Gaussian(np.array([0, 0, bad, 0]), fine.covariance))
    broken = fine.covariance.copy()
    broken[1, 2] = bad
    with pytest.raises(MetricError, match="NaN or infinity"):
        frechet_distance(Gaussian(fine.mean, broken), fine)


def test_other_dimensions_are_refused() -> None:
    with pytest.raises(MetricError, match="of 4 and of 5 dimensions"):
        frechet_distance(gaussian_of(vectors(0, 50, 4)), gaussian_of(vectors(0, 50, 5)))


@pytest.mark.parametrize("blocks", [[300], [1] * 300, [7, 100, 0, 193], [299, 1]])
def test_streaming_gives_what_numpy_gives(blocks: list[int]) -> None:
    data = vectors(3, 300, 40).astype(np.float32)
    running = RunningGaussian(40)
    for block in np.split(data, np.cumsum(blocks)[:-1]):
        running.add(block)
    found = running.gaussian()
    exact = data.astype(np.float64)
    assert found.count == 300
    np.testing.assert_allclose(found.mean, exact.mean(axis=0), rtol=1e-13)
    expected = np.cov(exact, rowvar=False)
    np.testing.assert_allclose(found.covariance, expected, rtol=0, atol=1e-14 * expected.max())
    assert found.covariance.dtype == np.float64


def test_a_small_variance_around_a_large_mean_survives() -> None:
    """E[xxᵀ] - mmᵀ would lose eight digits here, and has no correct one left at a mean of 1e8."""
    deviations = np.random.default_rng(0).normal(size=(4000, 6))
    running = RunningGaussian(6)
    for block in np.split(deviations + 1e6, 10):
        running.add(block)
    np.testing.assert_allclose(running.gaussian().covariance, np.cov(deviations, rowvar=False), rtol=0, atol=1e-8)


def test_one_vector_has_no_covariance() -> None:
    running = RunningGaussian(3)
    running.add(np.ones((1, 3)))
    with pytest.raises(MetricError, match="two images at least"):
        running.gaussian()


def test_memory_does_not_grow_with_the_count() -> None:
    """40,000 vectors of 1,024 float64 are 328 MB; the process must stay far below that beside 4,000 of them."""
    script = (
        "import sys, numpy as np\n"
        "from ibgan_plugin.evaluation.frechet import RunningGaussian\n"
        "running, rng = RunningGaussian(1024), np.random.default_rng(0)\n"
        "for _ in range(int(sys.argv[1])): running.add(rng.random((400, 1024), dtype=np.float32))\n"
        "assert running.gaussian().count == 400 * int(sys.argv[1])\n"
        f"print({PEAK})\n"
    )
    peaks = [
        int(subprocess.run([sys.executable, "-c", script, n], check=True, capture_output=True, text=True).stdout)
        for n in ("10", "100")
    ]
    assert peaks[1] - peaks[0] < 20_000  # kB
