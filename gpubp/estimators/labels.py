"""Classes of several outputs at once: from columns of labels to groups of output units, and back."""

from typing import Any, Self

import numpy as np
from sklearn.preprocessing import LabelBinarizer
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
