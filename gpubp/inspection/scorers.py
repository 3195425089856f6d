"""scikit-learn's scores, of predictions instead of an estimator."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.metrics import get_scorer, get_scorer_names

from gpubp._core.names import near_miss
from gpubp.errors import DataError


class _Classes(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A classifier whose samples are the probabilities that it predicts; classes are 0, 1, ..."""

    def __init__(self, n_classes: int = 2) -> None:
        self.n_classes = n_classes
        self.classes_ = np.arange(n_classes)

    def predict(self, X: NDArray[np.float64]) -> NDArray[np.intp]:
        classes: NDArray[np.intp] = X.argmax(axis=1)
        return classes

    def predict_proba(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        return X


class _Numbers(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """A regressor whose samples are the numbers that it predicts."""

    def predict(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        return X[:, 0] if X.shape[1] == 1 else X


OF_PREDICTED_CLASSES = (
    *("accuracy", "balanced_accuracy", "matthews_corrcoef"),
    *(f"{name}_{mean}" for name in ("f1", "precision", "recall", "jaccard") for mean in ("macro", "micro", "weighted")),
)
"""Scores that compare predicted classes, of which there may be any number."""

OF_SECOND_CLASS = ("f1", "precision", "recall", "jaccard")
"""Scores of the second of two classes; to them, all others are one."""


def scoring_problem(scoring: Any) -> str | None:
    """Say what is wrong with the name of a score."""
    if callable(scoring) or scoring in get_scorer_names():
        return None
    return (
        f"unknown scoring {scoring!r}{near_miss(str(scoring), get_scorer_names())}; it is a name of scikit-learn, such "
        "as accuracy, neg_log_loss, r2 or neg_root_mean_squared_error"
    )


def scorer_of(
    scoring: Any, targets: NDArray[Any], n_classes: int, sample_weight: NDArray[np.float64] | None
) -> Callable[[NDArray[np.float64]], float]:
    """Return the function that scores predictions ``(n, j)``.

    Parameters
    ----------
    scoring : str or callable
        A name of :func:`sklearn.metrics.get_scorer`, or a function of an estimator, its samples and their targets.
    targets : (n,) or (n, j) array
        The numbers of classes, from 0, or numbers.
    n_classes : int
        0 for regression.
    sample_weight : (n,) array, optional

    Examples
    --------
    >>> scorer_of("accuracy", np.asarray([0, 1]), 2, None)(np.asarray([[0.9, 0.1], [0.8, 0.2]]))
    0.5
    """
    estimator = _Classes(n_classes) if n_classes else _Numbers()
    scorer = get_scorer(scoring)
    options = {} if sample_weight is None else {"sample_weight": sample_weight}

    def score(predictions: NDArray[np.float64]) -> float:
        try:
            return float(scorer(estimator, predictions, targets, **options))
        except (ValueError, TypeError, AttributeError) as error:
            raise DataError(f"scoring={scoring!r} cannot score these predictions: {error}") from error

    return score
