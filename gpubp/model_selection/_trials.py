"""Candidates times folds: prepared, trained as stacks where possible, and fitted alone otherwise."""

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
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import Pipeline
from sklearn.utils.metaestimators import _safe_split
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import _check_method_params

from gpubp._core.user_warnings import held_back
from gpubp.model_selection._estimator_parts import PipelineParts, parts_of
from gpubp.training.callbacks import Callback
from gpubp.training.stackable import EncodedTargets, StackableFit, ValidatedSamples
from gpubp.training.stacks import StackOfFits, stacks_of

logger = logging.getLogger("gpubp")


@dataclass(eq=False)
class Trial:
    """One candidate on one split: its estimator, the error of a failed fit, and the scores."""

    candidate: int
    split: int
    estimator: Any
    train: np.ndarray
    test: np.ndarray
    error: Exception | None = None
    seconds: float = 0.0
    result: dict[str, Any] | None = None


TrialScorer = Callable[[Trial, Any, Any], dict[str, Any]]
"""Computes the scores of a fitted trial, given all X and y."""


class SharedSamples(NamedTuple):
    """Validated samples of several trials, and the fitted transformers that made them, if any."""

    samples: ValidatedSamples
    transformers: Pipeline | None


class Trials:
    """Fits and scores trials on samples that they share.

    Parameters
    ----------
    X, y
        The arguments of the user.
    fit_params : dict
        Further arguments of ``fit``.
    score : callable
        See :data:`TrialScorer`.
    callback : callable, optional
        See :func:`gpubp.training.stacks.fit_together`.
    n_jobs : int, optional
        The number of processes for estimators that are fitted alone.
    keeps_stacks : bool
        Whether to keep the stacks, so that training can continue.
    verbose : int
        Whether to print, beside the log, why estimators are fitted alone.

    Attributes
    ----------
    unconverged : list of str
        The messages of the fits that warned that they had not converged.
    """

    def __init__(
        self,
        X: Any,
        y: Any,
        fit_params: dict[str, Any],
        score: TrialScorer,
        callback: Callback | None = None,
        n_jobs: int | None = None,
        keeps_stacks: bool = False,
        verbose: int = 0,
    ) -> None:
        self.X, self.y, self.fit_params, self.score = X, y, fit_params, score
        self.callback, self.n_jobs = callback, n_jobs
        self.samples: dict[Any, SharedSamples] = {}
        self.rows: dict[Any, np.ndarray] = {}
        self.targets: dict[Any, EncodedTargets] = {}
        self.keeps_stacks, self.stacks = keeps_stacks, list[tuple[StackOfFits, list[Trial]]]()
        self.verbose, self.reasons_logged = verbose, set[str]()
        self.unconverged: list[str] = []

    def fit(self, trials: Sequence[Trial]) -> None:
        """Fit trials; an exception of a fit is stored in its trial."""
        fits: list[StackableFit] = []
        stacked: list[Trial] = []
        separate: list[Trial] = []
        for trial in trials:
            start = time.perf_counter()
            try:
                fit = self._prepare(trial)
            except Exception as raised:
                trial.error = raised
            else:
                (separate if fit is None else stacked).append(trial)
                fits += [] if fit is None else [fit]
            trial.seconds += time.perf_counter() - start
        errors: list[Exception | None] = [None] * len(fits)
        for stack in stacks_of(fits, errors, self.callback):
            logger.info("%d networks of sizes %s are trained as one stack", len(stack.members), stack.network.sizes)
            self._train(stack, stacked, errors)
            if self.keeps_stacks:
                self.stacks.append((stack, stacked))
        for trial, error in zip(stacked, errors, strict=True):
            trial.error = error
        self._fit_separately(separate)

    def continue_fits(self, trials: Sequence[Trial], epochs: int) -> list[Trial]:
        """Continue the networks of these trials up to `epochs` epochs, unless they have ended; drop all others.

        Return the trials that could not continue; they have to be fitted again.
        """
        requested, continued = {id(trial) for trial in trials}, set[int]()
        for stack, members in self.stacks:
            numbers = {k for k, trial in enumerate(members) if id(trial) in requested}
            errors: list[Exception | None] = [trial.error for trial in members]
            for member in stack.members:
                if member.number in numbers:
                    self._raise_max_iter(members[member.number], member.fit, epochs)
                    continued.add(id(members[member.number]))
            self._train(stack, members, errors, numbers)
            for trial, error in zip(members, errors, strict=True):
                trial.error = error
        return [trial for trial in trials if id(trial) not in continued]

    def scored(self, trials: Sequence[Trial]) -> Iterator[Trial]:
        """Score fitted trials one at a time."""
        for trial in trials:
            trial.result = self.score(trial, self.X, self.y)
            yield trial

    def close(self) -> None:
        """Do nothing: there are no resources to release."""

    @staticmethod
    def _raise_max_iter(trial: Trial, fit: StackableFit, epochs: int) -> None:
        parts = parts_of(trial.estimator)
        assert parts is not None
        parts.model.set_params(max_iter=epochs)
        fit.max_iter = epochs

    def _train(
        self,
        stack: StackOfFits,
        trials: list[Trial],
        errors: list[Exception | None],
        continuing: Container[int] | None = None,
    ) -> None:
        start = time.perf_counter()
        with held_back(ConvergenceWarning, self.unconverged):
            stack.train(errors, continuing)
        trained = [member for member in stack.members if continuing is None or member.number in continuing]
        seconds = (time.perf_counter() - start) / max(1, len(trained))
        for member in trained:
            trials[member.number].seconds += seconds

    # --- stacked ---

    def _prepare(self, trial: Trial) -> StackableFit | None:
        """Prepare a trial to train in a stack; return None, and log the reason, if it has to be fitted alone."""
        parts = parts_of(trial.estimator)
        reason, weights = self._reason_and_weights(parts)
        shared = None
        if not reason:
            assert parts is not None
            shared = self._samples_of(trial, parts)
            parts.stackable.validate_parameters()
            if shared is None:
                reason = "its samples cannot be shared"
            else:
                reason = parts.stackable.reason_to_fit_alone(shared.samples.x)
        if reason or shared is None or parts is None:
            if reason not in self.reasons_logged:
                self.reasons_logged.add(reason)
                line = f"fitted alone, not in a stack: {type(trial.estimator).__name__}, since {reason}"
                logger.info(line)
                if self.verbose > 0:
                    print(line)
            return None
        samples, fitted_transformers = shared
        parts.stackable.set_learned(samples.learned)
        if parts.transformers is not None:
            assert fitted_transformers is not None
            trial.estimator.steps = [*fitted_transformers.steps, (parts.name, parts.model)]
        rows = self.rows.setdefault((trial.split, parts.transformers is None), _rows_of(trial, shared))
        y = samples.y[rows]
        if weights is not None:
            selected = _check_method_params(self.X, params={"weights": weights}, indices=trial.train)
            weights = parts.stackable.validate_weights(selected["weights"], y)
        encoded = self._targets_of(trial, parts, y, weights)
        return parts.stackable.prepare(samples.x, rows, encoded, weights)

    def _reason_and_weights(self, parts: PipelineParts | None) -> tuple[str, Any]:
        """Return why an estimator has to be fitted alone, or "" and the sample weights."""
        if parts is None:
            return "it is neither a network of gpubp nor a pipeline that ends in one", None
        params = {name: value for name, value in self.fit_params.items() if value is not None}
        if params and parts.name and get_config()["enable_metadata_routing"]:
            return "metadata is routed through its pipeline", None
        weights = params.pop(f"{parts.name}__sample_weight" if parts.name else "sample_weight", None)
        if params:
            return f"fit is passed {', '.join(params)}", None
        return parts.stackable.reason_to_fit_alone(), weights

    def _samples_of(self, trial: Trial, parts: PipelineParts) -> SharedSamples | None:
        """Validate the samples of a trial, once for all trials that share them; None if they cannot be shared."""
        transformers = parts.transformers
        key = (type(parts.model), None if transformers is None else (trial.split, _fingerprint(transformers)))
        if key not in self.samples:
            X, y, fitted = self.X, self.y, None
            if transformers is not None:
                X, y = _safe_split(trial.estimator, X, y, trial.train)
                fitted = clone(transformers)
                X = fitted.fit_transform(X, y)
            try:
                samples = parts.stackable.validate_samples(X, y)
            except ValueError:
                if transformers is not None:
                    raise
                return None  # the invalid samples may be outside this fold
            self.samples[key] = SharedSamples(samples, fitted)
        return self.samples[key]

    def _targets_of(
        self, trial: Trial, parts: PipelineParts, y: np.ndarray, weights: np.ndarray | None
    ) -> EncodedTargets:
        """Encode the targets of a trial, once for all trials with the same encoding."""
        model = parts.model
        key = (type(model), trial.split, repr(getattr(model, "class_weight", None)), model.loss)
        if key not in self.targets:
            self.targets[key] = parts.stackable.encode_targets(y, weights)
        parts.stackable.set_learned(self.targets[key].learned)
        return self.targets[key]

    # --- separately ---

    def _fit_separately(self, trials: list[Trial]) -> None:
        calls = (delayed(_fit_one)(trial.estimator, self.X, self.y, trial.train, self.fit_params) for trial in trials)
        for trial, (estimator, error, seconds, unconverged) in zip(trials, Parallel(self.n_jobs)(calls), strict=True):
            trial.estimator, trial.error = estimator, error
            self.unconverged += unconverged
            trial.seconds += seconds


def _fingerprint(transformers: Pipeline) -> Any:
    """Return a key that is equal for transformers with the same settings, and unique if they cannot be pickled."""
    try:
        return hashlib.sha256(pickle.dumps(transformers)).digest()
    except Exception:
        return object()


def _fit_one(
    estimator: Any, X: Any, y: Any, train: np.ndarray, fit_params: dict[str, Any]
) -> tuple[Any, Exception | None, float, list[str]]:
    """Fit an estimator alone; return it, its exception, its duration, and why it did not converge, if it says so."""
    start, error, unconverged = time.perf_counter(), None, list[str]()
    train_params = _check_method_params(X, params=fit_params, indices=train)
    x_train, y_train = _safe_split(estimator, X, y, train)
    try:
        with held_back(ConvergenceWarning, unconverged):
            estimator.fit(x_train, *(() if y_train is None else (y_train,)), **train_params)
    except Exception as raised:
        error = raised
    return estimator, error, time.perf_counter() - start, unconverged


def _rows_of(trial: Trial, shared: SharedSamples) -> np.ndarray:
    """Return the training rows of a trial: all rows if transformers made the samples for its split."""
    if shared.transformers is not None:
        return np.arange(shared.samples.y.shape[0])
    return np.flatnonzero(trial.train) if trial.train.dtype == bool else trial.train
