"""Candidates times folds: made ready, trained as stacks where that can be, and fitted alone where it cannot."""

import hashlib
import logging
import pickle
import time
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from sklearn import get_config
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from sklearn.utils.metaestimators import _safe_split
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import _check_method_params

from gpubp.estimators import MLPClassifier, MLPRegressor
from gpubp.estimators._members import LEARNED_OF_SAMPLES
from gpubp.estimators._stack import Ready, StackOfFits, reason_to_fit_alone, stacks_of
from gpubp.estimators._validation import validate_samples, validate_weights
from gpubp.training.loop import Callback

logger = logging.getLogger("gpubp")


@dataclass(eq=False)
class Trial:
    """One candidate on one split: its estimator, which is fitted in the end, or what its fit raised; and its scores."""

    candidate: int
    split: int
    estimator: Any
    train: np.ndarray
    test: np.ndarray
    error: Exception | None = None
    seconds: float = 0.0
    result: dict[str, Any] | None = None


Score = Callable[[Trial, Any, Any], dict[str, Any]]
"""Gives the scores of a fitted trial, from all X and y."""


class Parts(NamedTuple):
    """An estimator taken apart: the network's model, the transformers before it, and its name in a pipeline."""

    model: Any
    before: Pipeline | None = None
    name: str = ""


class Samples(NamedTuple):
    """Samples as the models were given them: admitted, with what a model learns of them at the door."""

    x: Any
    y: np.ndarray
    learned: dict[str, Any]
    before: Pipeline | None


def parts_of(estimator: Any) -> Parts | None:
    """Take an estimator apart; None where there is no network of ours at its end."""
    parts = Parts(estimator)
    if type(estimator) is Pipeline and not getattr(estimator, "transform_input", None):
        name, model = estimator.steps[-1]
        parts = Parts(model, estimator[:-1] if len(estimator.steps) > 1 else None, name)
    return parts if type(parts.model) in (MLPClassifier, MLPRegressor) else None


class Trials:
    """Fits and scores trials on samples that they share.

    Parameters
    ----------
    X, y
        As the user gave them.
    fit_params : dict
        For ``fit``, as the user gave them.
    score : callable
        See :data:`Score`.
    callback : callable, optional
        See :func:`gpubp.estimators._stack.fit_together`.
    n_jobs : int, optional
        Processes for what is fitted alone.
    keeps_stacks : bool
        Whether networks may go on later.
    n_in_all : int
        How many trials there are, if others have more of them.
    """

    def __init__(
        self,
        X: Any,
        y: Any,
        fit_params: dict[str, Any],
        score: Score,
        callback: Callback | None = None,
        n_jobs: int | None = None,
        keeps_stacks: bool = False,
        n_in_all: int = 0,
    ) -> None:
        self.X, self.y, self.fit_params, self.score = X, y, fit_params, score
        self.callback, self.n_jobs, self.n_in_all = callback, n_jobs, n_in_all
        self.samples: dict[Any, Samples] = {}
        self.rows: dict[Any, np.ndarray] = {}
        self.targets: dict[Any, tuple[dict[str, Any], np.ndarray, np.ndarray | None]] = {}
        self.keeps_stacks, self.stacks = keeps_stacks, list[tuple[StackOfFits, list[Trial]]]()
        self.reasons_told: set[str] = set()

    def fit(self, trials: Sequence[Trial]) -> None:
        """Fit trials; what a fit raises is noted in its trial."""
        ready: list[Ready] = []
        together: list[Trial] = []
        alone: list[Trial] = []
        for trial in trials:
            began = time.perf_counter()
            try:
                made = self._made_ready(trial)
            except Exception as fault:
                trial.error = fault
            else:
                (alone if made is None else together).append(trial)
                ready += [] if made is None else [made]
            trial.seconds += time.perf_counter() - began
        errors: list[Exception | None] = [None] * len(ready)
        for stack in stacks_of(ready, errors, self.callback, self.n_in_all):
            logger.info("%d networks of sizes %s are trained as one stack", len(stack.members), stack.network.sizes)
            self._train(stack, together, errors)
            if self.keeps_stacks:
                self.stacks.append((stack, together))
        for trial, error in zip(together, errors, strict=True):
            trial.error = error
        self._fit_alone(alone)

    def go_on(self, trials: Sequence[Trial], epochs: int) -> list[Trial]:
        """Let the networks of trials go on to as many epochs, where they have not ended, and all others leave.

        The trials that could not go on come back: they are to be fitted anew.
        """
        wanted, went_on = {id(trial) for trial in trials}, set[int]()
        for stack, members in self.stacks:
            numbers = {k for k, trial in enumerate(members) if id(trial) in wanted}
            errors: list[Exception | None] = [trial.error for trial in members]
            for member in stack.members:
                if member.number in numbers:
                    member.fit.model.max_iter = epochs
                    went_on.add(id(members[member.number]))
            self._train(stack, members, errors, numbers)
            for trial, error in zip(members, errors, strict=True):
                trial.error = error
        return [trial for trial in trials if id(trial) not in went_on]

    def scored(self, trials: Sequence[Trial]) -> Iterator[Trial]:
        """Score fitted trials, one after the other."""
        for trial in trials:
            trial.result = self.score(trial, self.X, self.y)
            yield trial

    def close(self) -> None:
        """Let go of what is not memory: nothing."""

    def _train(
        self,
        stack: StackOfFits,
        trials: list[Trial],
        errors: list[Exception | None],
        kept: Container[int] | None = None,
    ) -> None:
        began = time.perf_counter()
        stack.train(errors, kept)
        trained = [member for member in stack.members if kept is None or member.number in kept]
        share = (time.perf_counter() - began) / max(1, len(trained))
        for member in trained:
            trials[member.number].seconds += share

    # --- together ---

    def _made_ready(self, trial: Trial) -> Ready | None:
        """Make a trial's model ready to train in a stack; None where it is to be fitted alone, which is logged."""
        parts = parts_of(trial.estimator)
        reason, weights = self._reason_and_weights(parts)
        samples = None
        if not reason:
            assert parts is not None
            samples = self._samples_of(trial, parts)
            parts.model._validate_params()
            reason = "its samples cannot be shared" if samples is None else reason_to_fit_alone(parts.model, samples.x)
        if reason or samples is None or parts is None:
            if reason not in self.reasons_told:
                self.reasons_told.add(reason)
                logger.info("fitted alone, not in a stack: %s, since %s", type(trial.estimator).__name__, reason)
            return None
        model, before, name = parts
        model._hidden_layer_sizes()
        vars(model).update(samples.learned)
        if before is not None:
            assert samples.before is not None
            trial.estimator.steps = [*samples.before.steps, (name, model)]
        rows = self.rows.setdefault((trial.split, before is None), _rows_of(trial, samples))
        y = samples.y[rows]
        if weights is not None:
            given = _check_method_params(self.X, params={"weights": weights}, indices=trial.train)
            weights = validate_weights(given["weights"], y)
        targets, train_weights = self._targets_of(trial, model, y, weights)
        ready: Ready = model._make_ready(samples.x, rows, targets, weights, train_weights, model.early_stopping)
        return ready

    def _reason_and_weights(self, parts: Parts | None) -> tuple[str, Any]:
        """Say why an estimator is fitted alone, if it is; and how much the samples count."""
        if parts is None:
            return "it is neither a network of gpubp nor a pipeline that ends in one", None
        given = {name: value for name, value in self.fit_params.items() if value is not None}
        if given and parts.name and get_config()["enable_metadata_routing"]:
            return "metadata is routed through its pipeline", None
        weights = given.pop(f"{parts.name}__sample_weight" if parts.name else "sample_weight", None)
        if given:
            return f"fit is given {', '.join(given)}", None
        return reason_to_fit_alone(parts.model), weights

    def _samples_of(self, trial: Trial, parts: Parts) -> Samples | None:
        """Admit the samples of a trial, once for all trials that share them; None where they cannot be shared."""
        model, before, _ = parts
        key = (type(model), None if before is None else (trial.split, _fingerprint(before)))
        if key not in self.samples:
            X, y, fitted = self.X, self.y, None
            if before is not None:
                X, y = _safe_split(trial.estimator, X, y, trial.train)
                fitted = clone(before)
                X = fitted.fit_transform(X, y)
            template = clone(model)
            try:
                x, validated = validate_samples(template, X, y, reset=True)
            except ValueError:
                if before is not None:
                    raise
                return None  # one fold may do without what is wrong
            learned = {name: value for name, value in vars(template).items() if name in LEARNED_OF_SAMPLES}
            self.samples[key] = Samples(x, validated, learned, fitted)
        return self.samples[key]

    def _targets_of(
        self, trial: Trial, model: Any, y: np.ndarray, weights: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Have a model learn what targets there are, once for all models that learn the same."""
        key = (type(model), trial.split, repr(getattr(model, "class_weight", None)), model.loss)
        if key not in self.targets:
            targets, train_weights = model._validate_targets(y, weights, False)
            learned = {name: value for name, value in vars(model).items() if name in LEARNED_OF_SAMPLES}
            self.targets[key] = (learned, targets, train_weights)
        learned, targets, train_weights = self.targets[key]
        vars(model).update(learned)
        return targets, train_weights

    # --- alone ---

    def _fit_alone(self, trials: list[Trial]) -> None:
        calls = (delayed(_fit_one)(trial.estimator, self.X, self.y, trial.train, self.fit_params) for trial in trials)
        for trial, (estimator, fault, seconds) in zip(trials, Parallel(self.n_jobs)(calls), strict=True):
            trial.estimator, trial.error = estimator, fault
            trial.seconds += seconds


def _fingerprint(transformers: Pipeline) -> Any:
    """Tell transformers with the same settings by the same bytes; those that cannot be told are like no others."""
    try:
        return hashlib.sha256(pickle.dumps(transformers)).digest()
    except Exception:
        return id(transformers)


def _fit_one(
    estimator: Any, X: Any, y: Any, train: np.ndarray, fit_params: dict[str, Any]
) -> tuple[Any, Exception | None, float]:
    """Fit an estimator alone; it, what it raised, and how long it took."""
    began, error = time.perf_counter(), None
    of_train = _check_method_params(X, params=fit_params, indices=train)
    x_train, y_train = _safe_split(estimator, X, y, train)
    try:
        if y_train is None:
            estimator.fit(x_train, **of_train)
        else:
            estimator.fit(x_train, y_train, **of_train)
    except Exception as fault:
        error = fault
    return estimator, error, time.perf_counter() - began


def _rows_of(trial: Trial, samples: Samples) -> np.ndarray:
    """Give the rows of the samples that a trial learns from: all of those that transformers have made for it."""
    if samples.before is not None:
        return np.arange(len(samples.y))
    return np.flatnonzero(trial.train) if trial.train.dtype == bool else trial.train
