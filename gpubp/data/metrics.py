"""Scores of predictions in the units of the target, from all outputs together or from outputs in pieces."""

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import array_api_compat
import numpy as np

from gpubp._typing import Array, Namespace
from gpubp.backends.backend import to_numpy
from gpubp.data._running_statistics import RunningMoments
from gpubp.data.preprocessing import ClassTarget, Preprocessing, decode_predictions, decode_target

Scores = dict[str, float]
"""Figures by name.

Of classes: accuracy, balanced_accuracy, macro_f1, log_loss, roc_auc, calibration_error. Of numbers: r2, mae, rmse.
"""

MAX_RANKED = 20_000_000
"""Probabilities that :class:`RunningScores` keeps to rank them; with more there is no ``roc_auc``."""

N_BINS = 10
"""Bins of probabilities in ``calibration_error``."""


class Scored(NamedTuple):
    """The scores of each part of a table, and the targets and outputs ``(n, j)`` of held-out rows, if there are any."""

    scores: dict[str, Scores]
    held_out: tuple[np.ndarray, np.ndarray] | None


def score(preprocessing: Preprocessing, targets: np.ndarray, outputs: np.ndarray) -> Scores:
    """Score outputs against targets.

    Parameters
    ----------
    preprocessing : Preprocessing
        The preprocessing that decodes both.
    targets, outputs : (n, j) array
        Targets, and outputs of the network.

    Returns
    -------
    dict of str to float
        See `Scores`. ``roc_auc`` is the area under the receiver operating characteristic, for several classes the mean
        of one against the rest over the classes that occur. ``calibration_error`` is the expected calibration error:
        the mean distance between the probability of the predicted class and the share of correct predictions, in ten
        bins (Naeini, Cooper & Hauskrecht 2015). Several numeric targets share one R squared, their mean, and have
        separate errors: ``"mae weight"``, ... A single row has no R squared.
    """
    running = RunningScores(preprocessing)
    running.add(targets, outputs)
    return running.scores() or {}


def r_squared(true: Array, predicted: Array, sample_weight: Array | None = None) -> float:
    """Return the mean R squared of the columns of ``(n, j)`` arrays; of a constant one 1 if it is met, and otherwise 0.

    It is computed where they are, and is that of scikit-learn's ``r2_score``, without its checks, which take far longer
    than the sums; there a constant may seem to vary, by rounding.

    Parameters
    ----------
    true, predicted : (n, j) arrays
        Of one library, device and precision.
    sample_weight : (n,) array, optional

    Examples
    --------
    >>> r_squared(np.array([[1.0], [2.0], [3.0]]), np.array([[1.0], [2.0], [2.0]]))
    0.5
    """
    xp = array_api_compat.array_namespace(true, predicted)
    squares, spread = _squares_and_spread(xp, true, predicted, sample_weight)
    limits = np.finfo(squares.dtype)
    low, high = limits.tiny / limits.eps, limits.max * limits.eps
    if not np.all((low < spread) & (spread < high) & (squares < high)):
        largest = xp.max(xp.abs(true), axis=0)
        scale = xp.where(largest > 0.0, largest, xp.ones_like(largest))  # with it no square overflows or vanishes
        squares, spread = _squares_and_spread(xp, true / scale, predicted / scale, sample_weight)
    varies = spread != 0.0
    return float(np.mean(np.where(varies, 1.0 - squares / np.where(varies, spread, 1.0), squares == 0.0)))


@np.errstate(over="ignore", invalid="ignore")
def _squares_and_spread(xp: Namespace, true: Array, predicted: Array, sample_weight: Array | None) -> np.ndarray:
    """Return the mean squared error and the variance of each column, with one download."""
    # differences from a sample that counts are 0 for a constant, without rounding
    if sample_weight is None:
        squares = xp.mean(xp.square(predicted - true), axis=0)
        spread = xp.var(true - true[:1, :], axis=0)
    else:
        weights = sample_weight[:, None] / xp.sum(sample_weight)
        squares = xp.sum(weights * xp.square(predicted - true), axis=0)
        from_first = true - xp.take(true, xp.argmax(sample_weight, keepdims=True), axis=0)
        spread = xp.sum(weights * xp.square(from_first - xp.sum(weights * from_first, axis=0)), axis=0)
    return to_numpy(xp.stack([squares, spread]))


class RunningScores:
    """The scores of :func:`score` for outputs that arrive in pieces."""

    def __init__(self, preprocessing: Preprocessing) -> None:
        self.preprocessing, self.n, self.finite = preprocessing, 0, True
        target = preprocessing.target
        self.classes = _ClassScores(len(target.classes)) if isinstance(target, ClassTarget) else None
        self.numbers: dict[str, _NumberScores] = {}

    def add(self, targets: np.ndarray, outputs: np.ndarray) -> None:
        """Add more targets and outputs, both ``(n, j)``."""
        self.n += len(targets)
        self.finite = self.finite and bool(np.isfinite(outputs).all())
        if not self.finite or not len(targets):
            return
        if self.classes is not None:
            self.classes.add(targets.argmax(axis=1), outputs)
            return
        true, predictions = decode_target(self.preprocessing, targets), decode_predictions(self.preprocessing, outputs)
        for name in true:
            self.numbers.setdefault(name, _NumberScores()).add(true[name], predictions[name])

    def add_unseen(self, classes: Iterable[str], outputs: np.ndarray) -> None:
        """Add rows of classes that training did not see, ``(n, j)``; their predictions are wrong.

        As in scikit-learn, `accuracy`, `balanced_accuracy` and `macro_f1` count them. So does `calibration_error`.
        `log_loss` and `roc_auc` leave them out, as the network has no probability of their class.
        """
        assert self.classes is not None
        self.finite = self.finite and bool(np.isfinite(outputs).all())
        if self.finite:
            self.classes.add_unseen(classes, outputs)

    def scores(self) -> Scores | None:
        """Return the scores; None if there were no outputs, or any that are not finite."""
        if not self.n or not self.finite:
            return None
        if self.classes is not None:
            return self.classes.scores()
        scores = {"r2": float(np.mean([one.r2() for one in self.numbers.values()]))} if self.n > 1 else {}
        for name, one in self.numbers.items():
            suffix = f" {name}" if len(self.numbers) > 1 else ""
            scores[f"mae{suffix}"] = one.absolute / self.n
            scores[f"rmse{suffix}"] = math.sqrt(one.squares / self.n)
        return scores


class _ClassScores:
    """Confusion matrix (true classes by predicted ones) and log loss."""

    def __init__(self, n_classes: int) -> None:
        self.confusion = np.zeros((n_classes, n_classes), np.int64)
        self.log_loss = 0.0
        self.calibration = _Calibration()
        self.labels: list[np.ndarray] = []
        self.probabilities: list[np.ndarray] = []
        self.n_ranked = 0
        self.unseen: set[str] = set()
        self.predicted_unseen = np.zeros(n_classes, np.int64)  # what was predicted for unseen classes

    def add_unseen(self, classes: Iterable[str], outputs: np.ndarray) -> None:
        self.unseen.update(classes)
        self.predicted_unseen += np.bincount(outputs.argmax(axis=1), minlength=len(self.predicted_unseen))
        self.calibration.add(np.full(len(outputs), -1), _normalized(outputs))

    def add(self, labels: np.ndarray, outputs: np.ndarray) -> None:
        pairs = labels * len(self.confusion) + outputs.argmax(axis=1)
        self.confusion += np.bincount(pairs, minlength=self.confusion.size).reshape(self.confusion.shape)
        probabilities = _normalized(outputs)
        smallest = np.finfo(np.float64).eps  # scikit-learn's bound for probabilities that are 0
        of_true_class = np.clip(probabilities[np.arange(len(labels)), labels], smallest, 1.0 - smallest)
        self.log_loss -= float(np.sum(np.log(of_true_class)))
        self.calibration.add(labels, probabilities)
        self.n_ranked += probabilities.size
        if self.n_ranked <= MAX_RANKED:
            self.labels.append(labels)
            self.probabilities.append(probabilities)
        else:
            self.labels, self.probabilities = [], []

    def scores(self) -> Scores:
        correct, true = np.diag(self.confusion), self.confusion.sum(axis=1)
        predicted = self.confusion.sum(axis=0) + self.predicted_unseen
        occurring, present, of_unseen = true + predicted > 0, true > 0, np.zeros(len(self.unseen))
        recalls, f1 = correct[present] / true[present], 2.0 * correct[occurring] / (true + predicted)[occurring]
        return {
            "accuracy": float(correct.sum() / (true.sum() + self.predicted_unseen.sum())),
            "balanced_accuracy": float(np.mean([*recalls, *of_unseen])),
            "macro_f1": float(np.mean([*f1, *of_unseen])),
            "log_loss": self.log_loss / int(true.sum()),
            **(_roc_auc(np.concatenate(self.labels), np.concatenate(self.probabilities)) if self.labels else {}),
            "calibration_error": self.calibration.error(),
        }


class _Calibration:
    """Correct predictions and probabilities of the predicted class, in bins of the probability."""

    def __init__(self) -> None:
        self.correct, self.confidence, self.n = np.zeros(N_BINS), np.zeros(N_BINS), 0

    def add(self, labels: np.ndarray, probabilities: np.ndarray) -> "_Calibration":
        predicted = probabilities.argmax(axis=1)
        confidence = probabilities[np.arange(len(labels)), predicted]
        bins = np.minimum((confidence * N_BINS).astype(np.intp), N_BINS - 1)
        self.correct += np.bincount(bins, predicted == labels, N_BINS)
        self.confidence += np.bincount(bins, confidence, N_BINS)
        self.n += len(labels)
        return self

    def error(self) -> float:
        return float(np.abs(self.correct - self.confidence).sum() / self.n)


class _NumberScores:
    """Moments of the target, and sums of squared and absolute errors of the predictions."""

    def __init__(self) -> None:
        self.moments, self.squares, self.absolute = RunningMoments(), 0.0, 0.0

    def add(self, true: np.ndarray, predicted: np.ndarray) -> None:
        self.moments.add(true)
        self.squares += float(np.sum((predicted - true) ** 2))
        self.absolute += float(np.sum(np.abs(predicted - true)))

    def r2(self) -> float:
        if self.moments.minimum == self.moments.maximum or self.moments.squares == 0.0:  # as in scikit-learn
            return 1.0 if self.squares == 0.0 else 0.0
        return 1.0 - self.squares / self.moments.squares


def _roc_auc(labels: np.ndarray, probabilities: np.ndarray) -> Scores:
    """Return the area under the ROC curve; nothing if fewer than two classes occur."""
    present = np.unique(labels)
    if len(present) < 2:
        return {}
    classes = present[1:] if probabilities.shape[1] == 2 else present
    return {"roc_auc": float(np.mean([_area(labels == one, probabilities[:, one]) for one in classes]))}


def _area(is_class: np.ndarray, scores: np.ndarray) -> float:
    """Return how often a sample of the class has a higher score than one of the others, half of that where they tie.

    This is scikit-learn's ``roc_auc_score``; to import it would take several times as long as to predict a table.
    """
    _, places, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2.0  # from 1, the mean rank of equal scores
    n = int(np.count_nonzero(is_class))
    return float((np.sum(ranks[places[is_class]]) - n * (n + 1) / 2.0) / (n * (len(scores) - n)))


def _normalized(outputs: np.ndarray) -> Any:
    """Return probabilities as float64; rounded to float32 their sum may differ from 1."""
    probabilities = outputs.astype(np.float64)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    return probabilities
