"""Permutation importance: how much of its score a model loses if the values of one column are shuffled."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gpubp._typing import Array
from gpubp.inspection.replaced_inputs import Predict, Replacement, replaced_predictions

LEAST_IMPORTANCE = 1e-3
"""What a score must lose before a column counts as important."""


@dataclass(frozen=True, eq=False)
class PermutationImportance:
    """How much of its score a model loses if the values of a column are shuffled.

    Attributes
    ----------
    columns : tuple of str
        The columns of the table, in its order.
    importances : (n_columns, n_repeats) array
        The score of the table minus that with the column shuffled.
    score : float
        The score of the table.
    scoring : str
        The name of the score.

    Examples
    --------
    >>> importance = PermutationImportance(("town", "area"), np.asarray([[0.1, 0.1], [0.4, 0.6]]), 0.9, "R2")
    >>> [importance.columns[k] for k in importance.order]
    ['area', 'town']
    """

    columns: tuple[str, ...]
    importances: NDArray[np.float64]
    score: float
    scoring: str

    @property
    def importances_mean(self) -> NDArray[np.float64]:
        """The mean over the repeats, ``(n_columns,)``."""
        mean: NDArray[np.float64] = self.importances.mean(axis=1)
        return mean

    @property
    def importances_std(self) -> NDArray[np.float64]:
        """The standard deviation over the repeats, ``(n_columns,)``."""
        deviation: NDArray[np.float64] = self.importances.std(axis=1)
        return deviation

    @property
    def order(self) -> NDArray[np.intp]:
        """The places of the columns, the most important first."""
        return np.argsort(-self.importances_mean, kind="stable")

    @property
    def important_columns(self) -> list[str]:
        """The columns without which the score is clearly worse, by more than a deviation, the most important first."""
        least = np.maximum(self.importances_std, LEAST_IMPORTANCE)
        return [self.columns[place] for place in self.order if self.importances_mean[place] > least[place]]


def permuted_scores(
    predict: Predict,
    X: Array,
    inputs: Mapping[str, slice],
    score: Callable[[NDArray[np.float64]], float],
    *,
    n_repeats: int = 5,
    seed: int = 0,
    progress: Callable[[int, int], object] | None = None,
) -> NDArray[np.float64]:
    """Score a table with each of its columns shuffled (Breiman 2001; Fisher, Rudin & Dominici 2019).

    All inputs of a column move together, so this is shuffling the column of the table. The orders are those that
    :func:`sklearn.inspection.permutation_importance` draws with the same seed, the same for all columns.

    Parameters
    ----------
    predict : callable
        Predictions ``(n, j)`` for inputs ``(n, i)``.
    X : (n, i) array
    inputs : mapping of str to slice
        The inputs of each column.
    score : callable
        The score of predictions.
    n_repeats : int
    seed : int
    progress : callable, optional
        Called with the number of scores that are known, and of all.

    Returns
    -------
    (n_columns, n_repeats) array

    Examples
    --------
    >>> X = np.arange(8.0).reshape(4, 2)
    >>> scores = permuted_scores(lambda X: X[:, :1], X, {"used": slice(0, 1), "unused": slice(1, 2)},
    ...                          lambda predictions: 9.0 - np.abs(predictions - X[:, :1]).sum())
    >>> scores.shape, scores[1].tolist()
    ((2, 5), [9.0, 9.0, 9.0, 9.0, 9.0])
    """
    orders = _orders(len(X), n_repeats, seed)
    replacements = [Replacement(place, order) for place in inputs.values() for order in orders]
    scores = np.empty(len(replacements))
    for index, predictions in enumerate(replaced_predictions(predict, X, replacements)):
        scores[index] = score(predictions)
        if progress is not None:
            progress(index + 1, len(replacements))
    return scores.reshape(len(inputs), n_repeats)


def _orders(n: int, n_repeats: int, seed: int) -> list[NDArray[np.intp]]:
    """Draw orders of rows as scikit-learn does, which shuffles a column that is already shuffled."""
    random = np.random.RandomState(np.random.RandomState(seed).randint(np.iinfo(np.int32).max + 1))
    shuffled, order, orders = np.arange(n), np.arange(n), []
    for _ in range(n_repeats):
        random.shuffle(shuffled)
        order = order[shuffled]
        orders.append(order)
    return orders
