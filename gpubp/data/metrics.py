"""How well outputs match targets, in the units of the target: at once, or piece by piece."""

import math
from typing import Any

import numpy as np

from gpubp.data.preprocessing import ClassTarget, Preprocessing, decode_target
from gpubp.data.survey import Moments

Scores = dict[str, float]


def score(preprocessing: Preprocessing, targets: np.ndarray, y: np.ndarray) -> Scores:
    """Score outputs against targets, both ``(n, j)``: see :class:`gpubp.tabular.TableFit`.

    Several targets share one R squared, their mean, and have errors of their own, ``"mae weight"``, ...
    """
    from sklearn import metrics

    if isinstance(preprocessing.target, ClassTarget):
        labels, predicted = targets.argmax(axis=1), y.argmax(axis=1)
        probabilities = y.astype(np.float64)
        probabilities /= probabilities.sum(axis=1, keepdims=True)  # rounded to float32 they sum to almost 1
        present = np.unique(labels)
        return {
            "accuracy": float(metrics.accuracy_score(labels, predicted)),
            # by its definition, as scikit-learn's own warns where a class is only predicted
            "balanced_accuracy": float(metrics.recall_score(labels, predicted, labels=present, average="macro")),
            "macro_f1": float(metrics.f1_score(labels, predicted, average="macro", zero_division=0)),
            "log_loss": float(metrics.log_loss(labels, probabilities, labels=np.arange(targets.shape[1]))),
        }
    wanted, predictions = decode_target(preprocessing, targets), decode_target(preprocessing, y)
    scores = {"r2": float(metrics.r2_score(np.stack([*wanted.values()], 1), np.stack([*predictions.values()], 1)))}
    for name in wanted:
        suffix = f" {name}" if len(wanted) > 1 else ""
        scores[f"mae{suffix}"] = float(metrics.mean_absolute_error(wanted[name], predictions[name]))
        scores[f"rmse{suffix}"] = math.sqrt(metrics.mean_squared_error(wanted[name], predictions[name]))
    return scores


class RunningScores:
    """The scores that :func:`score` gives, of outputs that come in pieces."""

    def __init__(self, preprocessing: Preprocessing) -> None:
        self.preprocessing, self.n, self.finite = preprocessing, 0, True
        target = preprocessing.target
        self.found: Any = _OfClasses(len(target.classes)) if isinstance(target, ClassTarget) else {}

    def add(self, targets: np.ndarray, y: np.ndarray) -> None:
        """Take in more outputs ``(n, j)``, and what they should be."""
        self.n += len(targets)
        self.finite = self.finite and bool(np.isfinite(y).all())
        if not self.finite or not len(targets):
            return
        if isinstance(self.found, _OfClasses):
            self.found.add(targets.argmax(axis=1), y)
            return
        wanted, predictions = decode_target(self.preprocessing, targets), decode_target(self.preprocessing, y)
        for name in wanted:
            self.found.setdefault(name, _OfNumbers()).add(wanted[name], predictions[name])

    def scores(self) -> Scores | None:
        """Give the scores, or None where there were no outputs, or some that are not finite."""
        if not self.n or not self.finite:
            return None
        if isinstance(self.found, _OfClasses):
            return self.found.scores()
        scores = {"r2": float(np.mean([found.r2() for found in self.found.values()]))}
        for name, found in self.found.items():
            suffix = f" {name}" if len(self.found) > 1 else ""
            scores[f"mae{suffix}"] = found.absolute / self.n
            scores[f"rmse{suffix}"] = math.sqrt(found.squares / self.n)
        return scores


class _OfClasses:
    def __init__(self, n_classes: int) -> None:
        self.confusion = np.zeros((n_classes, n_classes), np.int64)  # true classes by predicted ones
        self.log_loss = 0.0

    def add(self, labels: np.ndarray, y: np.ndarray) -> None:
        np.add.at(self.confusion, (labels, y.argmax(axis=1)), 1)
        probabilities = y.astype(np.float64)
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        least = np.finfo(np.float64).eps  # as scikit-learn's, for probabilities that are 0
        of_truth = np.clip(probabilities[np.arange(len(labels)), labels], least, 1.0 - least)
        self.log_loss -= float(np.sum(np.log(of_truth)))

    def scores(self) -> Scores:
        right, true, predicted = (
            np.diag(self.confusion),
            self.confusion.sum(axis=1),
            self.confusion.sum(axis=0),
        )
        found, present = true + predicted > 0, true > 0
        return {
            "accuracy": float(right.sum() / true.sum()),
            "balanced_accuracy": float(np.mean(right[present] / true[present])),
            "macro_f1": float(np.mean(2.0 * right[found] / (true + predicted)[found])),
            "log_loss": self.log_loss / int(true.sum()),
        }


class _OfNumbers:
    def __init__(self) -> None:
        self.moments, self.squares, self.absolute = Moments(), 0.0, 0.0

    def add(self, wanted: np.ndarray, predicted: np.ndarray) -> None:
        self.moments.add(wanted)
        self.squares += float(np.sum((predicted - wanted) ** 2))
        self.absolute += float(np.sum(np.abs(predicted - wanted)))

    def r2(self) -> float:
        if self.moments.squares == 0.0:  # scikit-learn's choice for what does not vary
            return 1.0 if self.squares == 0.0 else 0.0
        return 1.0 - self.squares / self.moments.squares
