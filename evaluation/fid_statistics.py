"""Feature statistics in .npz files: our cache of the real side, and files that pytorch-fid wrote.

The arrays `mu` and `sigma` are pytorch-fid's, so that its script reads our files too; beside them, ours hold what the
statistics are of, a text or an integer a key. No file is ever unpickled.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ibgan_plugin.evaluation.frechet import Gaussian, one_blas_thread
from zoo.errors import DataError, shown
from zoo.files import writing
from zoo.untrusted import open_zip, said
from zoo.untrusted_arrays import open_array, shown_shape

About = Mapping[str, str | int]

# Files hold float32 now and then; rounding must not make their covariance a wrong one.
ROUNDING = 1e-5

LONGEST_TEXT = 64 * 2**10  # bytes of what a file says that its statistics are of
MOST_ARRAYS = 100


def write_statistics(path: Path, gaussian: Gaussian, about: About) -> None:
    """Write float64 mu (D,) and sigma (D, D), `n`, and what `about` says; the file appears whole or not at all."""
    if gaussian.count is None:
        raise ValueError("statistics of an unknown number of images are not written")
    with writing(path) as temporary, temporary.open("wb") as file:
        arrays: dict[str, Any] = {"mu": gaussian.mean, "sigma": gaussian.covariance, "n": gaussian.count, **about}
        np.savez(file, **arrays)


def read_statistics(path: Path, dims: int) -> tuple[Gaussian, dict[str, str | int]]:
    """Return the statistics in `path` and what the file says about them (nothing, for one that pytorch-fid wrote).

    Raises DataError, naming the file and what is wrong, where it is missing, cut short, no .npz, would have to be
    unpickled, or does not hold a mean (dims,) and a finite, symmetric, positive semi-definite covariance (dims, dims).
    """
    if not path.exists():
        raise DataError(f"there is no statistics file {path}; expected an .npz file with mu and sigma")
    try:
        with open_zip(path, DataError) as archive:
            names = set(archive.namelist())
            missing = [key for key in ("mu", "sigma") if f"{key}.npy" not in names]
            if missing:
                raise DataError(
                    f"{path} lacks {' and '.join(missing)}; expected mu and sigma, as `pytorch-fid --save-stats` writes"
                )
            if len(names) > MOST_ARRAYS:
                raise DataError(f"{path} holds {len(names):,} arrays; expected mu, sigma and what they are of")
            found = dict(_arrays(path, archive, sorted(names), dims))
    except DataError:
        raise
    except Exception as error:  # zipfile and zlib raise what they stumble over
        raise DataError(
            f"{path} cannot be read as .npz statistics ({said(error)}); it is damaged or of another kind, write it anew"
        ) from error
    mean, covariance = found.pop("mu"), found.pop("sigma")
    _check(path, mean, covariance)
    about = {key: value for key, value in found.items() if isinstance(value, str | int)}
    count = about.pop("n", None)
    if count is not None and (not isinstance(count, int) or count < 2):
        raise DataError(f"{path} says it is of {shown(count)} images; expected two or more, write it anew")
    return Gaussian(mean, covariance, count), about


def _arrays(path: Path, archive: zipfile.ZipFile, names: list[str], dims: int) -> Iterator[tuple[str, Any]]:
    """Yield what is under each key: mu and sigma as float64 arrays, texts and integers as such, None for all else.

    Shapes and types are looked at before anything is read.
    """
    for key in (name.removesuffix(".npy") for name in names):
        with open_array(archive, key) as array:
            expected = {"mu": (dims,), "sigma": (dims, dims)}.get(key)
            if expected is None:
                plain = array.shape == () and array.dtype.kind in "iuU" and array.size <= LONGEST_TEXT
                yield key, array.whole(LONGEST_TEXT).item() if plain else None
                continue
            if array.shape != expected:
                raise DataError(
                    f"{path} holds {key} {shown_shape(array.shape)}; expected {expected}, "
                    f"the statistics of the {dims} features (pytorch-fid's --dims {dims})"
                )
            if array.dtype.kind != "f":
                raise DataError(f"{path} holds {key} of {array.dtype}; expected floats")
            yield key, array.whole(array.size).astype(np.float64)


def _check(path: Path, mean: NDArray[np.float64], covariance: NDArray[np.float64]) -> None:
    if not (np.isfinite(mean).all() and np.isfinite(covariance).all()):
        raise DataError(f"{path} holds NaN or infinity; compute the statistics anew")
    slack = ROUNDING * max(float(np.abs(np.diagonal(covariance)).max()), np.finfo(np.float64).tiny)
    with np.errstate(over="ignore"):
        asymmetry = float(np.abs(covariance - covariance.T).max())
    if not asymmetry <= slack:
        raise DataError(f"{path}: sigma is not symmetric, so it is no covariance; compute the statistics anew")
    try:
        with one_blas_thread():
            np.linalg.cholesky(covariance + slack * np.eye(len(mean)))
    except np.linalg.LinAlgError:
        raise DataError(
            f"{path}: sigma has negative eigenvalues, so it is no covariance; compute the statistics anew"
        ) from None
