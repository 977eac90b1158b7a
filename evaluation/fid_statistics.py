"""Feature statistics in .npz files: our cache of the real side, and files that pytorch-fid wrote.

The arrays `mu` and `sigma` are pytorch-fid's, so that its script reads our files too; beside them, ours hold what the
statistics are of, a text or an integer a key. No file is ever unpickled.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ibgan_plugin.evaluation.frechet import Gaussian, one_blas_thread
from zoo.errors import DataError
from zoo.files import writing

About = Mapping[str, str | int]

# Files hold float32 now and then; rounding must not make their covariance a wrong one.
ROUNDING = 1e-5


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
    try:
        with path.open("rb") as file:
            loaded = np.load(file, allow_pickle=False)
            if not isinstance(loaded, np.lib.npyio.NpzFile):
                raise DataError(f"{path} is one array; expected an .npz file with mu and sigma, as pytorch-fid writes")
            with loaded as archive:
                arrays = {key: archive[key] for key in archive.files}
    except FileNotFoundError:
        raise DataError(f"there is no statistics file {path}; expected an .npz file with mu and sigma") from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, RuntimeError, MemoryError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DataError(
            f"{path} cannot be read as .npz statistics ({reason}); it is cut short or of another kind, write it anew"
        ) from error
    missing = {"mu", "sigma"} - arrays.keys()
    if missing:
        raise DataError(
            f"{path} lacks {' and '.join(sorted(missing))}; expected mu and sigma, as `pytorch-fid --save-stats` writes"
        )
    mean, covariance = arrays.pop("mu"), arrays.pop("sigma")
    _check(path, mean, covariance, dims)
    about = {key: value.item() for key, value in arrays.items() if value.ndim == 0 and value.dtype.kind in "iuU"}
    count = about.pop("n", None)
    if count is not None and (not isinstance(count, int) or count < 2):
        raise DataError(f"{path} says it is of {count!r} images; expected two or more, write it anew")
    return Gaussian(mean.astype(np.float64), covariance.astype(np.float64), count), about


def _check(path: Path, mean: np.ndarray, covariance: np.ndarray, dims: int) -> None:
    if mean.shape != (dims,) or covariance.shape != (dims, dims):
        raise DataError(
            f"{path} holds mu {mean.shape} and sigma {covariance.shape}; expected ({dims},) and ({dims}, {dims}), "
            f"the statistics of the {dims} features (pytorch-fid's --dims {dims})"
        )
    if mean.dtype.kind != "f" or covariance.dtype.kind != "f":
        raise DataError(f"{path} holds mu of {mean.dtype} and sigma of {covariance.dtype}; expected floats")
    if not (np.isfinite(mean).all() and np.isfinite(covariance).all()):
        raise DataError(f"{path} holds NaN or infinity; compute the statistics anew")
    slack = ROUNDING * max(float(np.abs(np.diagonal(covariance)).max()), np.finfo(np.float64).tiny)
    if float(np.abs(covariance - covariance.T).max()) > slack:
        raise DataError(f"{path}: sigma is not symmetric, so it is no covariance; compute the statistics anew")
    try:
        with one_blas_thread():
            np.linalg.cholesky(covariance.astype(np.float64) + slack * np.eye(dims))
    except np.linalg.LinAlgError:
        raise DataError(
            f"{path}: sigma has negative eigenvalues, so it is no covariance; compute the statistics anew"
        ) from None
