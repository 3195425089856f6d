"""Predictions of a few samples, whose time is that of checks: what was checked of a model is remembered.

The samples are checked in every call. Of the model nothing is remembered but what can be compared in no time: a change
of a parameter, of an attribute or of an array of weights makes the next prediction check everything again.
"""

import weakref
from operator import is_
from typing import Any, NamedTuple

import numpy as np

from gpubp._typing import Array
from gpubp.backends.backend import Backend, choose_backend
from gpubp.engine.prediction import outputs_on_numpy
from gpubp.nn.network import Network

FEW = 1 << 12  # numbers in the samples, above which other checks need less memory
SMALL = 1 << 20  # bytes of parameters, which may be remembered until the next prediction after a fit

_ATTRIBUTES = (
    *("activation", "loss", "device", "dtype", "matmul_precision", "n_features_in_", "n_outputs_", "classes_"),
    *("_label_binarizer", "feature_names_in_", "_fitted_with", "coefs_", "intercepts_"),
)
"""What the network, the place and the checks of samples follow from."""


class Checked(NamedTuple):
    """A model that was checked, with views of ``theta`` as its weights."""

    model: weakref.ref[Any]
    attributes: list[Any]
    parts: list[np.ndarray]
    backend: Backend
    network: Network
    theta: np.ndarray

    def is_still(self, model: Any) -> bool:
        """Return whether a model is the one that was checked, and unchanged."""
        given = model.__dict__
        if self.model() is not model or not all(map(is_, map(given.get, _ATTRIBUTES), self.attributes)):
            return False
        parts = [*given["coefs_"], *given["intercepts_"]]
        is_same = len(parts) == len(self.parts) and all(map(is_, parts, self.parts))
        return is_same and self.theta.shape == (self.network.n_parameters,)


_checked: dict[int, Checked] = {}


def remember(model: Any, X: Any, backend: Backend, network: Network, theta: np.ndarray) -> None:
    """Remember a model for which the outputs of X were computed, if its next predictions are to be fast."""
    given, key = vars(model), id(model)
    _checked.pop(key, None)
    is_simple = isinstance(given["activation"], str) and "feature_names_in_" not in given
    if not is_simple or not backend.is_numpy or backend.matmul_precision != "float32" or theta.nbytes > SMALL:
        return
    parts = [*given["coefs_"], *given["intercepts_"]]
    if not _is_simple(X, theta.dtype) or not all(part.base is theta for part in parts):
        return
    reference = weakref.ref(model, lambda _: _checked.pop(key, None))
    _checked[key] = Checked(reference, [given.get(name) for name in _ATTRIBUTES], parts, backend, network, theta)


def outputs_of_few(model: Any, X: Any) -> tuple[Backend, Array] | None:
    """Compute the outputs for a few samples that pass every check; None if all of the checks are needed."""
    checked = _checked.get(id(model))
    if checked is None or not _is_simple(X, checked.theta.dtype) or X.shape[1] != checked.network.sizes[0]:
        return None
    if not checked.is_still(model) or not np.logical_and.reduce(np.isfinite(X), axis=None):
        return None
    if model.device == "auto" and not choose_backend().is_numpy:  # it depends on the environment
        return None
    outputs = outputs_on_numpy(checked.network, checked.theta, X)
    return None if outputs is None else (checked.backend, outputs)


def _is_simple(X: Any, dtype: np.dtype) -> bool:
    """Return whether X is a matrix of NumPy with few numbers of this type."""
    return type(X) is np.ndarray and X.ndim == 2 and X.dtype == dtype and 0 < X.size <= FEW
