"""Recognize, move and split arrays of any library, data frames and sparse matrices."""

from typing import Any

import array_api_compat
import numpy as np
import scipy
import scipy.sparse
from sklearn.utils import gen_batches

from gpubp._typing import Array
from gpubp.backends.backend import Backend, like, move_together, to_backend, to_numpy
from gpubp.backends.libraries import is_of_other_library
from gpubp.backends.memory import SAMPLES_AT_ONCE, storage_backend
from gpubp.backends.sparse_matmul import for_samples, samples_of
from gpubp.engine.plain.minibatches import take_rows
from gpubp.engine.prediction import last_layer, outputs
from gpubp.nn.network import Network

HOST_LIBRARY = "numpy"


def is_on_host(X: Any) -> bool:
    """Return whether X is in the memory of the host: anything except an array of a library other than NumPy."""
    return not is_of_other_library(X)


def library_name(X: Any) -> str:
    """Return the name of the array library of X; lists, data frames and sparse matrices count as NumPy's."""
    if is_on_host(X):
        return HOST_LIBRARY
    return str(array_api_compat.array_namespace(X).__name__.removeprefix("array_api_compat."))


def on_host(array: Any) -> Any:
    """Copy arrays of other libraries to the host; return anything else unchanged."""
    return array if is_on_host(array) else to_numpy(array)


def rows_of(x: Any, rows: np.ndarray | None) -> Any:
    """Return rows of samples, dense or sparse, where they are; all of them if ``rows`` is None."""
    if rows is None:
        return x
    if scipy.sparse.issparse(x):
        return x[rows]
    return take_rows(array_api_compat.array_namespace(x), x, like(rows, x))


def outputs_in_parts(backend: Backend, precision: str, network: Network, theta: Array, x: Any) -> Array:
    """Compute the outputs for x, dense or sparse, in parts that bound the memory."""
    if not scipy.sparse.issparse(x):
        theta, x = move_together(precision, (backend, theta), (storage_backend(backend, precision, x), x))
        return outputs(backend, network, theta, x)
    theta = to_backend(backend, theta, precision)
    on_samples = for_samples(backend, x)
    parts = [
        last_layer(on_samples, network, theta, samples_of(x, rows, precision)).y
        for rows in gen_batches(x.shape[0], SAMPLES_AT_ONCE)
    ]
    return parts[0] if len(parts) == 1 else on_samples.xp.concat(parts, axis=-2)
