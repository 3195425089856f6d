"""The targets of a classifier: classes as columns of outputs and back, and the weight of each class."""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, cast

import array_api_compat
import numpy as np
import scipy
import scipy.sparse
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import compute_sample_weight
from sklearn.utils.multiclass import type_of_target, unique_labels

from gpubp._typing import Array
from gpubp.backends.backend import Backend, like, to_numpy
from gpubp.backends.inputs import as_labels
from gpubp.estimators._arrays import is_on_host
from gpubp.nn.losses import smoothed_labels

if TYPE_CHECKING:
    from gpubp.io.onnx.predictions import AddPredictions

TEXT = "OSUT"  # the kinds of NumPy's types that other libraries lack
MARKS = "multilabel-indicator"  # the value of scikit-learn's type_of_target for columns that mark labels
OF_ALL_CLASSES = ("neg_log_loss", "d2_log_loss_score", "neg_brier_score", "d2_brier_score", "top_k_accuracy")
"""Scores, besides areas under ROC curves, for which scikit-learn requires all classes to be in the true values."""


class LabelColumns:
    """scikit-learn's ``LabelBinarizer`` for several columns of labels: a group of outputs for each.

    Attributes
    ----------
    classes_ : list of array
        The classes of each column.
    y_type_ : str
        The value of scikit-learn's ``type_of_target`` for such targets.
    """

    y_type_ = "multiclass-multioutput"

    def fit(self, y: np.ndarray) -> Self:
        """Learn the classes from labels ``(n_samples, n_columns)``."""
        return self.set_classes([np.unique(column) for column in y.T])

    def set_classes(self, classes: Any) -> Self:
        """Use the given classes of each column, sorted."""
        self.classes_ = [np.unique(np.asarray(column_classes)) for column_classes in classes]
        return self

    @property
    def sizes(self) -> list[int]:
        """The number of classes of each column."""
        return [len(column_classes) for column_classes in self.classes_]

    def transform(self, y: np.ndarray) -> np.ndarray:
        """Encode labels as zeros and ones: ``(n_samples, sum of the sizes)``."""
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
        """Split outputs into the group of each column."""
        stops = np.cumsum(self.sizes).tolist()
        return [outputs[:, start:stop] for start, stop in zip([0, *stops], stops, strict=False)]

    def inverse_transform(self, outputs: np.ndarray) -> np.ndarray:
        """Return the class of the largest output in each group: ``(n_samples, n_columns)``."""
        predicted = [
            classes[np.argmax(group, axis=1)] for group, classes in zip(self.split(outputs), self.classes_, strict=True)
        ]
        return np.stack(predicted, axis=1)


def is_one_column(y: Any) -> bool:
    """Return whether y is an array of a class for each sample, which needs no more of scikit-learn's slow checks."""
    return isinstance(y, np.ndarray) and y.ndim == 1 and y.dtype.kind in "biuU"


def marks_labels(y: Any) -> bool:
    """Return whether y has several columns of zeros and ones, or is sparse, which mark the labels of each sample.

    scikit-learn accepts any two integers, such as 1 and 2, and its classifier learns that each of them marks a label.
    """
    if is_one_column(y):
        return False
    is_indicator = type_of_target(y, input_name="y") == MARKS
    return is_indicator and (scipy.sparse.issparse(y) or not len(np.setdiff1d(y, [0, 1])))


def has_columns(y: Any) -> bool:
    """Return whether y has several columns of classes."""
    if is_one_column(y):
        return False
    return type_of_target(y, input_name="y") in (MARKS, LabelColumns.y_type_) and not marks_labels(y)


def learn_labels(y: Any) -> LabelBinarizer | LabelColumns:
    """Learn the classes of a target of any kind."""
    if is_one_column(y) and len(y):
        labels = LabelBinarizer()
        classes = np.unique(y)
        labels.classes_ = np.array(classes.tolist()) if classes.dtype.kind == "U" else classes  # as long as the longest
        labels.sparse_input_ = False
        labels.y_type_ = "binary" if len(labels.classes_) <= 2 else "multiclass"
        return labels
    return LabelColumns().fit(y) if has_columns(y) else LabelBinarizer().fit(y)


def check_same_classes(labels: LabelBinarizer | LabelColumns, y: Any) -> None:
    """Check that y has the classes that were learned, all of them; marks may be all zeros."""
    before = labels.classes_
    if isinstance(labels, LabelColumns):
        y = _dense(y)
        labels.transform(y)
        classes: Any = LabelColumns().fit(y).classes_
        is_same = all(map(np.array_equal, before, classes))
    else:
        classes = unique_labels(y)
        is_same = {*classes} == {*before}
    if not is_same:
        raise ValueError(
            "warm_start can only be used where `y` has the same classes as in the previous call to fit. "
            f"Previously got {before}, `y` has {classes}. partial_fit also trains on samples that lack a class"
        )


def weights_by_class(class_weight: Any, y: Any, sample_weight: np.ndarray | None) -> np.ndarray:
    """Compute the weight of each sample from the weight of its class; "balanced" takes ``sample_weight`` into account.

    With several columns of labels the weights of a sample are multiplied.
    """
    y = _dense(y)
    weights: np.ndarray
    if class_weight != "balanced":
        weights = compute_sample_weight(class_weight, y)
        return weights
    weights = np.ones(y.shape[0])
    for column in y.reshape(y.shape[0], -1).T:
        _, class_of_sample = np.unique(column, return_inverse=True)
        counts = np.bincount(class_of_sample, weights=sample_weight).astype(float)
        balanced = counts.sum() / np.count_nonzero(counts)
        weights *= np.divide(balanced, counts, out=np.zeros_like(counts), where=counts > 0)[class_of_sample]
    return weights


def accuracy(y: Any, predicted: Any, sample_weight: Any) -> float:
    """Compute the accuracy; with several columns a row is correct if all its columns are."""
    if not scipy.sparse.issparse(y):
        y = as_labels("y", np.asarray(y), predicted)
    if y.ndim == 1 and y.shape == predicted.shape and y.dtype == predicted.dtype and y.dtype.kind in "biuU":
        return float(np.average(y == predicted, weights=sample_weight))  # without scikit-learn's checks, which are slow
    if y.ndim == 2 and y.shape == predicted.shape:
        kinds = {type_of_target(y, input_name="y"), type_of_target(predicted)}
        if LabelColumns.y_type_ in kinds and kinds <= {MARKS, LabelColumns.y_type_}:
            return float(np.average(np.all(_dense(y) == _dense(predicted), axis=1), weights=sample_weight))
    from sklearn.metrics import accuracy_score  # which loads slowly, and is seldom needed

    return float(accuracy_score(y, predicted, sample_weight=sample_weight))


def _one_hot(classes: np.ndarray, n_classes: int) -> np.ndarray:
    """Mark the class of each sample, as ``LabelBinarizer`` does: two classes have one column, for the second."""
    columns = np.arange(n_classes) if n_classes > 2 else np.array([1])
    marks: np.ndarray = classes[:, None] == columns
    return marks


def _dense(y: Any) -> np.ndarray:
    dense: np.ndarray = y.toarray() if scipy.sparse.issparse(y) else np.asarray(y)
    return dense


@dataclass(frozen=True)
class ClassTargets:
    """The targets of a fitted classifier; see :class:`gpubp.estimators._targets.TargetCoding`."""

    labels: LabelBinarizer | LabelColumns
    classes: Any
    loss: str
    label_smoothing: float
    is_classifier = True
    default_scoring = "accuracy"

    def encode(self, y: np.ndarray) -> np.ndarray:
        """Encode labels as zeros and ones, a column for each output."""
        if isinstance(self.labels, LabelColumns):
            return self.labels.transform(_dense(y))
        if self.labels.y_type_ == MARKS and not marks_labels(y):
            raise ValueError(
                f"y must mark the {len(self.classes)} labels of each sample with zeros and ones, as in fit, got "
                f"{type_of_target(y)} targets of shape {y.shape}"
            )
        if is_one_column(y) and self.classes.dtype.kind == y.dtype.kind:
            places = np.minimum(np.searchsorted(self.classes, y), len(self.classes) - 1)
            if np.array_equal(self.classes[places], y):
                return _one_hot(places, len(self.classes))
        labels_in_y = unique_labels(y)
        if len(np.setdiff1d(labels_in_y, self.classes, assume_unique=True)):
            raise ValueError(
                f"`y` has classes not in `self.classes_`. `self.classes_` has {self.classes}. 'y' has {labels_in_y}."
            )
        encoded: np.ndarray = self.labels.transform(y).astype(bool)
        return encoded

    def check_learnable(self, targets: np.ndarray, precision: str, *, is_first: bool) -> None:
        """Do nothing: zeros and ones can be learned in any precision."""

    def to_learn(self, targets: np.ndarray) -> np.ndarray:
        """Smooth the labels, each over the classes of its group."""
        if isinstance(self.labels, LabelColumns):
            n_classes = np.repeat(self.labels.sizes, self.labels.sizes)
        else:
            n_classes = np.asarray(targets.shape[1] if self.labels.y_type_ == "multiclass" else 2)
        smooth: np.ndarray = smoothed_labels(targets, self.label_smoothing, n_classes)
        return smooth

    def predictions(self, outputs: Array, X: Any = None) -> Any:
        """Return the class of each sample, as scikit-learn's ``LabelBinarizer`` does, but without its checks.

        They are in the library and on the device of X, except text and sparse labels, which stay on the host.
        """
        kind, classes = self.labels.y_type_, cast(Any, self.labels.classes_)
        if kind == "multiclass":
            places = array_api_compat.array_namespace(outputs).argmax(outputs, axis=1)
        elif kind == "binary" and len(classes) == 2:
            places = outputs[:, 0] > 0.5
        else:
            outputs = to_numpy(outputs)
            predicted = self.labels.inverse_transform(outputs.ravel() if outputs.shape[1] == 1 else outputs)
            stays = is_on_host(X) or predicted.dtype.kind in TEXT or scipy.sparse.issparse(predicted)
            return predicted if stays else like(predicted, X)
        if not is_on_host(X) and classes.dtype.kind in "bif":  # torch takes nothing from unsigned integers
            xp = array_api_compat.array_namespace(X)
            return xp.take(like(classes, X), xp.astype(like(places, X), xp.int32), axis=0)
        predicted = classes[to_numpy(places).astype(np.intp, copy=False)]
        return predicted if is_on_host(X) or predicted.dtype.kind in TEXT else like(predicted, X)

    def probabilities(self, backend: Backend, outputs: Array, X: Any, complement: Array | None = None) -> Any:
        """Return outputs in the library of X: one output is paired with its complement, several targets are a list."""
        if isinstance(self.labels, LabelColumns):
            return [like(group, X) for group in self.labels.split(outputs)]
        if len(self.classes) == 1 and self.labels.y_type_ != MARKS:  # the only class is certain
            certain = backend.xp.ones_like(outputs) if complement is None else backend.xp.zeros_like(outputs)
            return like(certain, X)
        if outputs.shape[-1] == 1:
            outputs = backend.xp.concat([1.0 - outputs if complement is None else complement, outputs], axis=1)
        return like(outputs, X)

    def for_scoring(self, targets: np.ndarray) -> np.ndarray:
        """Return the classes of targets, for a scorer; dense, since many scorers do not take sparse ones."""
        return _dense(self.predictions(targets))

    def score(self, name: str, y: np.ndarray, outputs: np.ndarray, sample_weight: np.ndarray | None) -> float | None:
        """Compute the accuracy, and no other score."""
        return accuracy(y, self.for_scoring(outputs), sample_weight) if name == self.default_scoring else None

    def reason_undefined(self, scoring: Any, targets: np.ndarray) -> str:
        """Return which classes a score of probabilities lacks: it needs all classes, or both values in each column."""
        is_area = isinstance(scoring, str) and scoring.startswith("roc_auc")
        if not is_area and scoring not in OF_ALL_CLASSES:
            return ""
        y = self.for_scoring(targets)
        if scoring == "neg_brier_score" and len(self.classes) == 2:
            return ""
        if y.ndim == 1:
            present = np.unique(y)
            is_defined = len(present) == max(2, len(self.classes))
            return "" if is_defined else f"it needs all classes, {self.classes}, but they have {present}"
        if not is_area:
            return ""
        constant = np.flatnonzero(np.all(y == y[:1], axis=0))
        return f"it needs both values in each column, but column {constant[0]} has one" if len(constant) else ""

    def stratify(self, targets: np.ndarray) -> np.ndarray | None:
        """Return the classes by which held-out samples are drawn."""
        return targets if targets.shape[1] == 1 else None

    def output_and_loss(self) -> tuple[str, str]:
        """Return the names of the output activation and of the loss in :mod:`gpubp.nn.losses`."""
        activation, loss = "logistic", "binary_cross_entropy"
        if isinstance(self.labels, LabelColumns):
            groups = ",".join(map(str, self.labels.sizes))
            activation, loss = f"softmax({groups})", f"cross_entropy({groups})"
        elif self.labels.y_type_ == "multiclass":
            activation, loss = "softmax", "cross_entropy"
        return activation, "squared" if self.loss == "squared_error" else loss

    def onnx_predictions(self) -> "AddPredictions":
        """Return the function that adds predictions to an exported model."""
        from gpubp.io.onnx.predictions import add_multilabel, binary_class, class_of_each_column, class_of_largest

        if isinstance(self.labels, LabelColumns):
            return class_of_each_column(self.labels.classes_)
        if self.labels.y_type_ == "multiclass":
            return class_of_largest(self.labels.classes_)
        return binary_class(self.labels.classes_) if self.labels.y_type_ == "binary" else add_multilabel

    @property
    def key(self) -> Hashable:
        """A key that is equal for targets that are encoded, smoothed and scored in the same way."""
        classes = self.labels.classes_ if isinstance(self.labels, LabelColumns) else [self.labels.classes_]
        return (
            type(self).__name__,
            self.label_smoothing,
            self.labels.y_type_,
            repr([np.asarray(column_classes).tolist() for column_classes in classes]),
        )
