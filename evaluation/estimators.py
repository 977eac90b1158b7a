"""scikit-learn's classifiers as the metrics use them: what a warning would say becomes a value of the result."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning


def fitted(
    estimator: Any, points: NDArray[np.floating], labels: NDArray[np.integer], **arguments: Any
) -> tuple[Any, bool]:
    """Fit `estimator` on (n, D) points and (n,) labels; return it, and whether its solver converged.

    The other warnings that codes can cause (overflow in a solver, more classes than scikit-learn expects of so few
    points) are not shown: the score tells. Warnings about scikit-learn's own future are.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        estimator.fit(points, labels, **arguments)
    for warning in caught:
        if issubclass(warning.category, FutureWarning | DeprecationWarning):
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    return estimator, not any(issubclass(warning.category, ConvergenceWarning) for warning in caught)
