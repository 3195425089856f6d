"""The default scores of predictions; where the true values are on their device too, they are computed there.

Then sums are downloaded, not the values of each sample. Whatever is out of the ordinary goes to the host, where
scikit-learn's checks name it.
"""

import math
from functools import partial
from typing import Any

import array_api_compat
import numpy as np

from gpubp.backends.backend import Backend, choose_backend, to_backend, to_numpy
from gpubp.backends.inputs import accept_array
from gpubp.estimators._arrays import is_on_host, on_host
from gpubp.estimators._label_encoding import accuracy
from gpubp.estimators._validation import accept_targets, validate_weights

RELATIVE_SCORES = {
    "r2": "r2_score",
    "explained_variance": "explained_variance_score",
    "d2_absolute_error_score": "d2_absolute_error_score",
}
"""Scores that do not depend on the scale of the targets, and need two different ones; the function of each."""
SAFE_EXPONENT = 300  # float64 holds the squares of numbers from 2^-300 to 2^300 in magnitude


def accuracy_of(model: Any, y: Any, predicted: Any, sample_weight: Any) -> float:
    """Return the accuracy of predicted classes, the same to the last bit wherever it is computed."""
    y, weights = _accepted(y, predicted), validate_weights(sample_weight, predicted)
    backend = _backend_of_both(y, predicted)
    is_one_class_each = backend is not None and y.ndim == 1 and y.dtype == predicted.dtype
    if backend is None or not is_one_class_each or not backend.xp.isdtype(y.dtype, ("bool", "integral")):
        return accuracy(accept_targets(model, y), on_host(predicted), weights)
    with backend.active():
        correct = y == predicted
        if weights is None:
            n_correct = int(backend.xp.sum(backend.xp.astype(correct, backend.xp.int32)))
            return n_correct / int(y.shape[0])
    return float(np.average(to_numpy(correct), weights=weights))


def r2_of(model: Any, y: Any, predicted: Any, sample_weight: Any) -> float:
    """Return the coefficient of determination of predicted numbers, of several columns the mean."""
    y, weights = _accepted(y, predicted), validate_weights(sample_weight, predicted)
    backend = _backend_of_both(y, predicted)
    if backend is not None and y.shape[0] > 1 and _can_be_float64(backend, y):
        from gpubp.data.metrics import r_squared  # which loads what only tables need

        with backend.active():
            weights_there = None if weights is None else to_backend(backend, weights, "float64")
            true, outputs = (to_backend(backend, each, "float64") for each in (y, predicted))
            as_columns = partial(backend.xp.reshape, shape=(y.shape[0], -1))
            r2 = r_squared(as_columns(true), as_columns(outputs), weights_there)
        if math.isfinite(r2):
            return r2
    return relative_score("r2", accept_targets(model, y), on_host(predicted), weights)


def _accepted(y: Any, predicted: Any) -> Any:
    return y if is_on_host(predicted) else accept_array("y", y)


def _backend_of_both(y: Any, predicted: Any) -> Backend | None:
    """Return the backend of arrays of one shape that are on the same device; None on the host."""
    if is_on_host(y) or is_on_host(predicted) or y.shape != predicted.shape:
        return None
    xp, other = map(array_api_compat.array_namespace, (y, predicted))
    is_same = xp is other and array_api_compat.device(y) == array_api_compat.device(predicted)
    return choose_backend("auto", predicted) if is_same else None


def _can_be_float64(backend: Backend, y: Any) -> bool:
    is_real = backend.xp.isdtype(y.dtype, ("bool", "integral", "real floating"))
    return is_real and "float64" in backend.xp.__array_namespace_info__().dtypes(device=backend.device)


def relative_score(name: str, y: Any, predicted: np.ndarray, sample_weight: Any) -> float:
    """Compute a relative score; targets whose squares overflow or vanish are first scaled exactly, by powers of two."""
    import sklearn.metrics  # which loads slowly

    exponents = _exponents(y)
    if np.any(exponents):
        y = np.ldexp(np.asarray(y, np.float64), -exponents)
        limit = np.finfo(np.float64).max
        predicted = np.clip(np.ldexp(predicted.astype(np.float64), -exponents), -limit, limit)
    return float(getattr(sklearn.metrics, RELATIVE_SCORES[name])(y, predicted, sample_weight=sample_weight))


def _exponents(y: Any) -> np.ndarray:
    """Return the power of two above the magnitudes of each column, or 0 if it is near 1 or they are no real numbers."""
    y = np.asarray(y)
    if y.dtype.kind != "f" or not y.size:
        return np.zeros(y.shape[1:], int)
    largest = np.max(np.abs(y), axis=0)
    exponents: np.ndarray = np.frexp(largest)[1]
    return np.where(np.isfinite(largest) & (np.abs(exponents) > SAFE_EXPONENT), exponents, 0)
