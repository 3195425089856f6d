"""Labels: columns of them for several outputs, as groups of output units and back; how much each class counts."""

from typing import Any, Self

import numpy as np
import scipy
import scipy.sparse
from sklearn.metrics import accuracy_score
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import compute_sample_weight
from sklearn.utils.multiclass import type_of_target


class LabelColumns:
    """What scikit-learn's ``LabelBinarizer`` is for one column of labels, for several: a group of units for each.

    Attributes
    ----------
    classes_ : list of array
        The classes of each column.
    y_type_ : str
        As scikit-learn's ``type_of_target`` calls such targets.
    """

    y_type_ = "multiclass-multioutput"

    def fit(self, y: np.ndarray) -> Self:
        """Learn the classes from labels ``(n_samples, n_columns)``."""
        return self.of([np.unique(column) for column in y.T])

    def of(self, classes: Any) -> Self:
        """Take the classes of each column as given, sorted."""
        self.classes_ = [np.unique(np.asarray(of_column)) for of_column in classes]
        return self

    @property
    def sizes(self) -> list[int]:
        """How many classes each column has."""
        return [len(of_column) for of_column in self.classes_]

    def transform(self, y: np.ndarray) -> np.ndarray:
        """Mark each label's class with 1: ``(n_samples, sum of the sizes)``."""
        if y.ndim != 2 or y.shape[1] != len(self.classes_):
            raise ValueError(f"y must have {len(self.classes_)} columns of labels, got shape {y.shape}")
        columns = []
        for column, classes in zip(y.T, self.classes_, strict=True):
            unknown = np.setdiff1d(column, classes)
            if len(unknown):
                raise ValueError(f"`y` has classes not in `self.classes_`: {unknown}; a column has {classes}.")
            columns.append(column[:, None] == classes)
        return np.concatenate(columns, axis=1)

    def split(self, outputs: Any) -> list[Any]:
        """Cut the units into the group of each column."""
        stops = np.cumsum(self.sizes).tolist()
        return [outputs[:, start:stop] for start, stop in zip([0, *stops], stops, strict=False)]

    def inverse_transform(self, outputs: np.ndarray) -> np.ndarray:
        """Choose the class of the largest unit in each group: ``(n_samples, n_columns)``."""
        chosen = [
            classes[np.argmax(group, axis=1)] for group, classes in zip(self.split(outputs), self.classes_, strict=True)
        ]
        return np.stack(chosen, axis=1)


def has_columns(y: np.ndarray) -> bool:
    """Tell whether y has several columns of labels, rather than one, or marks of a multilabel target."""
    return bool(type_of_target(y, input_name="y") == LabelColumns.y_type_)


def learn_labels(y: np.ndarray) -> LabelBinarizer | LabelColumns:
    """Learn the classes of a target of whatever kind."""
    return LabelColumns().fit(y) if has_columns(y) else LabelBinarizer().fit(y)


def weights_by_class(class_weight: Any, y: Any, sample_weight: np.ndarray | None) -> np.ndarray:
    """Find how much each sample counts for its classes' sake; "balanced" heeds how much the samples count themselves.

    With several columns of labels the weights of a sample are multiplied.
    """
    y = y.toarray() if scipy.sparse.issparse(y) else np.asarray(y)
    weights: np.ndarray
    if class_weight != "balanced":
        weights = compute_sample_weight(class_weight, y)
        return weights
    weights = np.ones(y.shape[0])
    for column in y.reshape(y.shape[0], -1).T:
        _, class_of_sample = np.unique(column, return_inverse=True)
        counts = np.bincount(class_of_sample, weights=sample_weight).astype(float)
        share = counts.sum() / np.count_nonzero(counts)
        weights *= np.divide(share, counts, out=np.zeros_like(counts), where=counts > 0)[class_of_sample]
    return weights


def accuracy(y: Any, predicted: Any, sample_weight: Any) -> float:
    """Take the accuracy, over whole rows where there are several columns."""
    y = np.asarray(y)
    if y.ndim == 1 and y.shape == predicted.shape and y.dtype == predicted.dtype and y.dtype.kind in "biuU":
        return float(np.average(y == predicted, weights=sample_weight))  # without the checks, which take far longer
    if y.ndim == 2 and y.shape[1] > 1 and has_columns(y):
        return float(np.average(np.all(y == predicted, axis=1), weights=sample_weight))
    return float(accuracy_score(y, predicted, sample_weight=sample_weight))
