"""Predictions of a matrix in which some inputs are replaced by those of other rows, many replacements in one call."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import array_api_compat
import numpy as np
from numpy.typing import NDArray

from gpubp._typing import Array
from gpubp.backends.backend import like

Predict = Callable[[Array], NDArray[np.float64]]
"""Predictions ``(n, j)`` of NumPy for inputs ``(n, i)``."""

NUMBERS_AT_ONCE = 1 << 23
"""Inputs that are predicted in one call, if one replacement has fewer."""


class Replacement(NamedTuple):
    """Inputs, and the rows they are taken from: ``(n,)``, or one row for all."""

    inputs: slice
    rows: NDArray[np.intp] | int


def replaced_predictions(
    predict: Predict, X: Array, replacements: Sequence[Replacement]
) -> Iterator[NDArray[np.float64]]:
    """Yield the predictions ``(n, j)`` of X for each replacement.

    X may be on a GPU, which must be the current device: its copies are made there.

    Examples
    --------
    >>> X = np.asarray([[1.0, 10.0], [2.0, 20.0]])
    >>> swap = Replacement(slice(0, 1), np.asarray([1, 0]))
    >>> [p.tolist() for p in replaced_predictions(lambda X: X.sum(axis=1, keepdims=True), X, [swap])]
    [[[12.0], [21.0]]]
    """
    n_copies = min(len(replacements), max(1, NUMBERS_AT_ONCE // X.size))
    copies = array_api_compat.array_namespace(X).repeat(X[None, ...], n_copies, axis=0)
    orders = {id(one.rows): like(one.rows, X) for one in replacements if isinstance(one.rows, np.ndarray)}
    for begin in range(0, len(replacements), n_copies):
        batch = replacements[begin : begin + n_copies]
        for copy, one in zip(copies, batch, strict=False):
            copy[:, one.inputs] = X[:, one.inputs][orders.get(id(one.rows), one.rows)]
        yield from predict(copies[: len(batch)].reshape(-1, X.shape[1])).reshape(len(batch), len(X), -1)
        for copy, one in zip(copies, batch, strict=False):
            copy[:, one.inputs] = X[:, one.inputs]
