"""Statistics files: what is written is read, pytorch-fid's are read, and nothing damaged or foreign gets through."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ibgan_plugin.evaluation.fid_statistics import read_statistics, write_statistics
from ibgan_plugin.evaluation.frechet import Gaussian
from tests.exploding import Exploding
from zoo.errors import DataError

DIMS = 24


@pytest.fixture
def gaussian() -> Gaussian:
    data = np.random.default_rng(0).normal(size=(200, DIMS)) * np.linspace(0, 2, DIMS)
    return Gaussian(data.mean(axis=0), np.cov(data, rowvar=False), 200)


def test_what_is_written_is_read(tmp_path: Path, gaussian: Gaussian) -> None:
    file = tmp_path / "new" / "stats.npz"
    about = {"dataset": "chairs3d", "dataset_size": 86_366, "resize": "bilinear"}
    write_statistics(file, gaussian, about)
    found, said = read_statistics(file, DIMS)
    np.testing.assert_array_equal(found.mean, gaussian.mean)
    np.testing.assert_array_equal(found.covariance, gaussian.covariance)
    assert (found.count, said) == (200, about)
    assert [path.name for path in file.parent.iterdir()] == ["stats.npz"]


def test_pytorch_fid_reads_ours(tmp_path: Path, gaussian: Gaussian) -> None:
    from pytorch_fid.fid_score import compute_statistics_of_path

    write_statistics(tmp_path / "stats.npz", gaussian, {"dataset": "x"})
    mu, sigma = compute_statistics_of_path(str(tmp_path / "stats.npz"), None, 1, DIMS, "cpu")
    np.testing.assert_array_equal(mu, gaussian.mean)
    np.testing.assert_array_equal(sigma, gaussian.covariance)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_files_of_pytorch_fid_and_of_older_float32_tools_are_read(tmp_path, gaussian, save, dtype) -> None:
    file = tmp_path / "stats.npz"
    save(file, mu=gaussian.mean.astype(dtype), sigma=gaussian.covariance.astype(dtype))
    found, said = read_statistics(file, DIMS)
    assert found.covariance.dtype == np.float64
    np.testing.assert_allclose(found.covariance, gaussian.covariance, rtol=1e-6, atol=1e-7)
    assert (found.count, said) == (None, {})


def test_every_cut_of_a_file_is_told_in_one_line(tmp_path: Path, gaussian: Gaussian) -> None:
    whole = tmp_path / "stats.npz"
    write_statistics(whole, gaussian, {"dataset": "x"})
    content = whole.read_bytes()
    cut = tmp_path / "cut.npz"
    for end in (*range(0, len(content), 97), len(content) - 1):
        cut.write_bytes(content[:end])
        with pytest.raises(DataError, match=r"cut\.npz") as caught:
            read_statistics(cut, DIMS)
        assert "\n" not in str(caught.value)


def test_a_flipped_byte_in_the_arrays_is_noticed(tmp_path: Path, gaussian: Gaussian) -> None:
    file = tmp_path / "stats.npz"
    write_statistics(file, gaussian, {})
    content = bytearray(file.read_bytes())
    place = content.index(gaussian.covariance.tobytes()) + 1234
    content[place] ^= 1
    file.write_bytes(content)
    with pytest.raises(DataError, match="cannot be read"):
        read_statistics(file, DIMS)


def test_pickles_are_not_loaded(tmp_path: Path, gaussian: Gaussian) -> None:
    executed = tmp_path / "executed"
    evil = np.empty(1, dtype=object)
    evil[0] = Exploding(executed)
    np.savez(tmp_path / "stats.npz", mu=gaussian.mean, sigma=gaussian.covariance, more=evil)
    with pytest.raises(DataError, match="cannot be read"):
        read_statistics(tmp_path / "stats.npz", DIMS)
    # Only writing it takes allow_pickle; what reads it must refuse.
    np.save(tmp_path / "single.npy", evil, allow_pickle=True)
    (tmp_path / "single.npy").rename(tmp_path / "single.npz")
    with pytest.raises(DataError, match="cannot be read"):
        read_statistics(tmp_path / "single.npz", DIMS)
    assert not executed.exists()


def asymmetric(mu, sigma):
    sigma[3, 5] += 1
    return mu, sigma


def negative(mu, sigma):
    sigma[7, 7] *= -1
    return mu, sigma


def hidden_negative(mu, sigma):
    """Every variance positive, and yet a correlation above one."""
    sigma[7, 9] = sigma[9, 7] = 1.5 * np.sqrt(sigma[7, 7] * sigma[9, 9])
    return mu, sigma


def with_nan(mu, sigma):
    mu[0] = np.nan
    return mu, sigma


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (asymmetric, "not symmetric"),
        (negative, "negative eigenvalues"),
        (hidden_negative, "negative eigenvalues"),
        (with_nan, "NaN or infinity"),
        (lambda mu, sigma: (mu[:-1], sigma), rf"expected \({DIMS},\)"),
        (lambda mu, sigma: (mu[:-1], sigma[:-1, :-1]), rf"expected \({DIMS},\)"),
        (lambda mu, sigma: (mu.astype(str), sigma), "expected floats"),
        (lambda mu, sigma: (mu.astype(np.int64), sigma), "expected floats"),
    ],
)
def test_what_is_no_gaussian_of_these_features_is_refused(tmp_path, gaussian, broken, said) -> None:
    mu, sigma = broken(gaussian.mean.copy(), gaussian.covariance.copy())
    np.savez(tmp_path / "stats.npz", mu=mu, sigma=sigma)
    with pytest.raises(DataError, match=said):
        read_statistics(tmp_path / "stats.npz", DIMS)


def test_other_files_are_told_apart(tmp_path: Path, gaussian: Gaussian) -> None:
    with pytest.raises(DataError, match="there is no statistics file"):
        read_statistics(tmp_path / "none.npz", DIMS)
    with pytest.raises(DataError, match="it is a folder, expected a file"):
        read_statistics(tmp_path, DIMS)
    np.savez(tmp_path / "stats.npz", mu=gaussian.mean)
    with pytest.raises(DataError, match="lacks sigma"):
        read_statistics(tmp_path / "stats.npz", DIMS)
    np.save(tmp_path / "array.npy", gaussian.mean)
    with pytest.raises(DataError, match="cannot be read as a zip archive"):
        read_statistics(tmp_path / "array.npy", DIMS)
    np.savez(tmp_path / "count.npz", mu=gaussian.mean, sigma=gaussian.covariance, n="many")
    with pytest.raises(DataError, match="'many' images"):
        read_statistics(tmp_path / "count.npz", DIMS)
