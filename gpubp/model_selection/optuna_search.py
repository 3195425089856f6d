"""A search whose candidates are suggested by Optuna, many at a time, and trained as stacks."""

import contextlib
import threading
from collections.abc import Iterator
from numbers import Integral
from typing import Any, NamedTuple, cast

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import HasMethods, Interval

from gpubp._core.optional_imports import import_optional
from gpubp._core.parameters import keep_parameters
from gpubp._core.user_warnings import warn
from gpubp.errors import DataError
from gpubp.model_selection.batched import CandidateEvaluation, StackedSearch

FAULTS_OF_CODE = (AttributeError, NameError, TypeError)
"""Errors of the user's own sampler or storage that are raised: they are not an end of the study."""


class BatchedOptunaSearchCV(StackedSearch):
    """A search whose candidates are suggested by Optuna, a batch at a time, each batch trained as stacks of networks.

    A batch is requested (``study.ask``), trained and scored as in :class:`BatchedSearchCV`, and reported
    (``study.tell``); the sampler suggests the next batch from what has been reported. Needs the extra ``optuna``.

    If ``study.stop()`` is called, by the sampler, the function or a callback, the search ends with what was found.
    GridSampler and BruteForceSampler call it after the last point; a point that they repeat is a pruned trial.

    Parameters
    ----------
    estimator : MLPClassifier, MLPRegressor, or a Pipeline that ends in one
    param_distributions : dict or callable
        Distributions of Optuna by the names of parameters; or a function that takes a trial of Optuna and returns a
        dict of parameters. It may raise :class:`optuna.TrialPruned`: such trials are not trained.
    study : optuna.Study, optional
        A study with the direction "maximize", since higher scores are better; it may already have trials. By default a
        new one in memory, with Optuna's TPE sampler.
    n_trials : int, default=100
    batch_size : int, default=64
        Trials of a batch: larger batches use the hardware better; with smaller ones the sampler learns more often.
    random_state : int, RandomState or None, default=None
        Seed of the sampler, if no study is given.
    scoring, refit, cv, verbose, error_score, return_train_score, n_jobs, callbacks, progress, executor
        See :class:`BatchedSearchCV`. With several scores ``refit`` names the one that is reported to Optuna.

    Attributes
    ----------
    study_ : optuna.Study
    cv_results_
        Also has ``trial``, the number of the trial in the study. If a score is not finite, the trial has failed.
    best_estimator_, best_score_, best_params_, best_index_, scorer_, n_splits_, refit_time_, multimetric_
        As in scikit-learn, of the trials of this search.

    Examples
    --------
    >>> from optuna.distributions import FloatDistribution
    >>> from sklearn.datasets import load_iris
    >>> from gpubp import BatchedOptunaSearchCV, MLPClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> model = MLPClassifier((8,), max_iter=20, tol=0.0, n_iter_no_change=20, random_state=0, device="cpu")
    >>> space = {"learning_rate_init": FloatDistribution(1e-4, 0.1, log=True)}
    >>> search = BatchedOptunaSearchCV(model, space, n_trials=12, batch_size=6, random_state=0)
    >>> import warnings
    >>> with warnings.catch_warnings(action="ignore"):
    ...     search = search.fit(X, y)
    >>> len(search.study_.trials), search.best_params_ == search.study_.best_params
    (12, True)
    """

    _parameter_constraints: dict[str, list[Any]] = {  # noqa: RUF012
        **StackedSearch._parameter_constraints,
        "param_distributions": [dict, callable],
        "study": [HasMethods(["ask", "tell"]), None],
        "n_trials": [Interval(Integral, 1, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        estimator: Any,
        param_distributions: Any,
        *,
        study: Any = None,
        n_trials: Any = 100,
        batch_size: Any = 64,
        random_state: Any = None,
        scoring: Any = None,
        n_jobs: Any = None,
        refit: Any = True,
        cv: Any = None,
        verbose: Any = 0,
        error_score: Any = np.nan,
        return_train_score: Any = False,
        callbacks: Any = None,
        progress: Any = True,
        executor: Any = None,
    ) -> None:
        keep_parameters(self, locals())

    def _check_parameters(self, evaluation: CandidateEvaluation) -> None:
        optuna = _optuna()
        if isinstance(self.scoring, list | tuple | dict) and not isinstance(self.refit, str):
            raise DataError(
                f"with several scores refit must name the one that is reported to Optuna, got {self.refit!r}"
            )
        self.study_ = self.study
        if self.study is None:
            seeds = None if self.random_state is None else check_random_state(self.random_state)
            sampler = optuna.samplers.TPESampler(
                seed=None if seeds is None else int(seeds.randint(2**31 - 1)),
                constant_liar=True,  # keeps the candidates of a batch apart
            )
            self.study_ = optuna.create_study(direction="maximize", sampler=sampler)
        directions = [direction.name.lower() for direction in self.study_.directions]
        if directions != ["maximize"]:
            raise DataError(
                f"study must have the direction 'maximize', since higher scores are better, got "
                f"{', '.join(directions)}; make it with optuna.create_study(direction='maximize')"
            )

    def _search(self, evaluation: CandidateEvaluation) -> dict[str, Any]:
        evaluation.announce(self.n_trials)
        batch, n_requested = StudyStep({}), 0
        with _stoppable(self.study_) as stopped:
            while n_requested < self.n_trials and not stopped.is_set() and batch.error is None:
                n = min(self.batch_size, self.n_trials - n_requested)
                batch = self._try(evaluation, n, batch.results, stopped)
                n_requested += batch.n_requested
        if batch.error is not None and not batch.results:
            error = batch.error
            raise DataError(f"the study ended before a trial was trained: {type(error).__name__}: {error}") from error
        if batch.error is not None:
            warn(
                f"the study ended after {n_requested} of {self.n_trials} trials, and so does the search, with what it "
                f"found: {type(batch.error).__name__}: {batch.error}",
                RuntimeWarning,
            )
        if not batch.results:
            raise DataError(
                f"the study was stopped after {n_requested} trials, and none was trained"
                if stopped.is_set()
                else f"all {n_requested} trials were pruned when they were suggested, and none was trained"
            )
        return batch.results

    def _try(
        self, evaluation: CandidateEvaluation, n: int, results: dict[str, Any], stopped: threading.Event
    ) -> "StudyStep":
        """Request a batch, evaluate it and report it."""
        requested, suggested = list[Any](), dict[int, dict[str, Any]]()
        try:
            error = self._request(evaluation, n, requested, suggested, stopped)
            if not suggested:
                return StudyStep(results, len(requested), error)
            candidates = list(suggested.values())
            trials = evaluation.trials_of(candidates)
            evaluation.trials.fit(trials)
            results = evaluation.score(trials, candidates, {"trial": list(suggested)})
            name = f"mean_test_{self.refit}"
            means = results[name if name in results else "mean_test_score"][-len(suggested) :].tolist()
            for number, mean in zip(suggested, means, strict=True):
                value = mean if np.isfinite(mean) else None
                error = self._tell(number, value, "COMPLETE" if value is not None else "FAIL") or error
        except BaseException:
            for trial in requested:
                with contextlib.suppress(Exception):
                    self._tell(trial, None, "FAIL")
            raise
        return StudyStep(results, len(requested), error)

    def _tell(self, trial: Any, value: float | None, state: str) -> Exception | None:
        """Report a trial, unless it is finished; return an error of the study's storage or sampler, if there is one."""
        try:
            self.study_.tell(trial, value, state=_optuna().trial.TrialState[state], skip_if_finished=True)
        except FAULTS_OF_CODE:
            raise
        except Exception as error:
            return error
        return None

    def _request(
        self,
        evaluation: CandidateEvaluation,
        n: int,
        requested: list[Any],
        suggested: dict[int, dict[str, Any]],
        stopped: threading.Event,
    ) -> Exception | None:
        """Request trials and their parameters; return the error with which the study ended, if it did."""
        optuna, seen = _optuna(), set(map(repr, evaluation.params))
        distributions = self.param_distributions if isinstance(self.param_distributions, dict) else None
        exhaustive = _is_exhaustive(getattr(self.study_, "sampler", None))
        while len(requested) < n and not stopped.is_set():
            try:
                trial = self.study_.ask(distributions)
            except FAULTS_OF_CODE:
                raise
            except Exception as raised:  # of the study's storage or sampler
                return raised
            requested.append(trial)
            try:
                params = self._suggested(trial)
            except optuna.TrialPruned:
                if error := self._tell(trial, None, "PRUNED"):
                    return error
                continue
            except optuna.exceptions.OptunaError as raised:
                self._tell(trial, None, "FAIL")
                return cast(Exception, raised)
            # the sampler has nothing new, at least until this batch is reported
            if exhaustive and repr(params) in seen:
                return self._tell(trial, None, "PRUNED")
            seen.add(repr(params))
            suggested[trial.number] = params
        return None

    def _suggested(self, trial: Any) -> dict[str, Any]:
        """Return the suggested parameters of a trial; the user's function may raise that it is pruned."""
        if isinstance(self.param_distributions, dict):
            return dict(trial.params)
        params = self.param_distributions(trial)
        if not isinstance(params, dict):
            raise DataError(f"param_distributions must return a dict of parameters, got {params!r}")
        return params


class StudyStep(NamedTuple):
    """The results so far, the number of trials that a batch requested, and the error with which the study ended."""

    results: dict[str, Any]
    n_requested: int = 0
    error: Exception | None = None


@contextlib.contextmanager
def _stoppable(study: Any) -> Iterator[threading.Event]:
    """Let ``study.stop()`` set an event; Optuna's own method raises, since ``study.optimize`` is not running."""
    stopped = threading.Event()
    study.stop = stopped.set
    try:
        yield stopped
    finally:
        del study.stop


def _is_exhaustive(sampler: Any) -> bool:
    """Return whether a sampler suggests each point of a finite space once."""
    samplers = _optuna().samplers
    while hasattr(sampler, "_base_sampler"):  # as PartialFixedSampler has
        sampler = sampler._base_sampler
    return isinstance(sampler, samplers.GridSampler | samplers.BruteForceSampler)


def _optuna() -> Any:
    """Import Optuna, which is an extra."""
    return import_optional("optuna", "BatchedOptunaSearchCV", "Optuna", "optuna", extra="optuna")
