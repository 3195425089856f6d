"""Prepare the fits of an estimator for stacks, and decide which are fitted alone."""

from typing import Any

import numpy as np
import scipy
import scipy.sparse
from sklearn.base import clone

from gpubp.backends.backend import choose_backend
from gpubp.backends.memory import storage_backend
from gpubp.engine.argument_checks import choose_precision
from gpubp.estimators._stacked_fit import StackedFit
from gpubp.estimators._validation import validate_samples, validate_weights
from gpubp.training.callbacks import check_callbacks
from gpubp.training.stackable import EncodedTargets, ValidatedSamples

LEARNED_FROM_SAMPLES = ("n_features_in_", "feature_names_in_", "_fitted_with")
LEARNED_FROM_TARGETS = ("classes_", "_label_binarizer")
"""The attributes that an estimator learns when its samples are validated, and when its targets are encoded."""

LEAST_DENSITY = 0.1  # with more values than this share, a stack of dense samples is faster than sparse ones alone
MOST_DENSE_BYTES = 256 * 2**20  # of the dense array; larger samples stay sparse


class StackableModel:
    """An estimator that is fitted in a stack; see :class:`gpubp.model_selection._estimator_parts.Stackable`."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def validate_parameters(self) -> None:
        """Check the parameters as ``fit`` does."""
        self.model._validate_params()

    def reason_to_fit_alone(self, x: Any = None) -> str:
        """Return why the estimator cannot be fitted in a stack, or "" if it can."""
        return reason_to_fit_alone(self.model, x)

    def validate_samples(self, X: Any, y: Any) -> ValidatedSamples:
        """Validate samples as ``fit`` does, without changing the estimator; make small ones dense if that is faster."""
        template = clone(self.model)
        x, y = validate_samples(template, X, y, reset=True)
        if scipy.sparse.issparse(x):
            size = x.shape[0] * x.shape[1]
            if x.nnz >= LEAST_DENSITY * size and size * x.dtype.itemsize <= MOST_DENSE_BYTES:
                x = x.toarray()
        return ValidatedSamples(x, y, learned(template, LEARNED_FROM_SAMPLES))

    def validate_weights(self, sample_weight: Any, y: np.ndarray) -> np.ndarray | None:
        """Validate sample weights as ``fit`` does."""
        return validate_weights(sample_weight, y)

    def encode_targets(self, y: np.ndarray, weights: np.ndarray | None) -> EncodedTargets:
        """Learn the targets as ``fit`` does."""
        targets, train_weights = self.model._learn_targets(y, weights, False)
        return EncodedTargets(targets, train_weights, learned(self.model, LEARNED_FROM_TARGETS))

    def set_learned(self, learned: dict[str, Any]) -> None:
        """Set attributes that another copy of the estimator learned from the same samples."""
        vars(self.model).update(learned)

    def prepare(
        self, x: Any, rows: np.ndarray, encoded: EncodedTargets, weights: np.ndarray | None, seed: int | None = None
    ) -> StackedFit:
        """Prepare a fit: targets and weights are those of ``rows``, and ``seed`` is for separate initial weights."""
        targets, train_weights, _ = encoded
        given = (x, rows, targets, weights, train_weights, self.model.early_stopping)
        fit: StackedFit = self.model._prepare(*given, first_weights_seed=seed)
        return fit


def learned(model: Any, names: tuple[str, ...]) -> dict[str, Any]:
    """Return those of some attributes that an estimator has."""
    return {name: value for name, value in vars(model).items() if name in names}


def forget(model: Any) -> None:
    """Remove what an estimator has learned about its samples and targets, such as feature names."""
    for name in (*LEARNED_FROM_SAMPLES, *LEARNED_FROM_TARGETS):
        vars(model).pop(name, None)


def only_observes(callback: Any) -> bool:
    """Return whether a callback can be called in a stack: it has ``every``, but nothing that follows one fit."""
    follows_a_fit = any(hasattr(callback, name) for name in ("on_begin", "on_end", "on_error"))
    return hasattr(callback, "every") and not follows_a_fit


def reason_to_fit_alone(model: Any, x: Any = None) -> str:
    """Return why an estimator cannot be fitted together with others, or "" if it can."""
    if model.solver == "lbfgs":
        return "solver='lbfgs' does a line search for each network"
    if getattr(model, "_skl_callbacks", None) or not all(map(only_observes, check_callbacks(model.callbacks or ()))):
        return "its callbacks follow one fit at a time"
    if model.max_time is not None:
        return "max_time is for one fit"
    if model.n_restarts > 1:
        return "it is fitted several times"
    if model.parallel is not None:
        return "it is fitted by several processes"
    if scipy.sparse.issparse(x):
        return "X is sparse"
    if x is not None:
        backend = choose_backend(model.device, x)
        with backend.active():
            if storage_backend(backend, choose_precision(backend, model.dtype, x), x) is not backend:
                return f"{backend.name} has too little memory for X, which a single fit uses in parts"
    return ""
