"""A search whose candidates are suggested by Optuna, many at a time, and trained as stacks."""

from numbers import Integral
from typing import Any

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import HasMethods, Interval

from gpubp.errors import DataError, GpubpError
from gpubp.model_selection.batched import CandidateEvaluation, StackedSearch


class BatchedOptunaSearchCV(StackedSearch):
    """A search whose candidates are suggested by Optuna, a batch at a time, each batch trained as stacks of networks.

    A batch is requested (``study.ask``), trained and scored as in :class:`BatchedSearchCV`, and reported
    (``study.tell``); the sampler suggests the next batch from what has been reported. Needs the extra ``optuna``.

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
        self._set_parameters(locals())

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
        results: dict[str, Any] = {}
        for begin in range(0, self.n_trials, self.batch_size):
            results = self._try(evaluation, min(self.batch_size, self.n_trials - begin)) or results
        if not results:
            raise DataError(f"all {self.n_trials} trials were pruned when they were suggested, and none was trained")
        return results

    def _try(self, evaluation: CandidateEvaluation, n: int) -> dict[str, Any]:
        """Request a batch, evaluate it and report it; return all results so far, or {} if all were pruned."""
        failed = _optuna().trial.TrialState.FAIL
        distributions = self.param_distributions if isinstance(self.param_distributions, dict) else None
        requested, numbers, candidates = [], list[int](), list[dict[str, Any]]()
        try:
            for _ in range(n):
                requested.append(self.study_.ask(distributions))
                params = self._suggested(requested[-1])
                if params is not None:
                    numbers.append(requested[-1].number)
                    candidates.append(params)
            if not candidates:
                return {}
            trials = evaluation.trials_of(candidates)
            evaluation.trials.fit(trials)
            results = evaluation.score(trials, candidates, {"trial": numbers})
        except BaseException:
            for trial in requested:
                self.study_.tell(trial, state=failed, skip_if_finished=True)
            raise
        name = f"mean_test_{self.refit}"
        means = results[name if name in results else "mean_test_score"][-len(numbers) :].tolist()
        for number, mean in zip(numbers, means, strict=True):
            self.study_.tell(number, *((mean,) if np.isfinite(mean) else (None, failed)))
        return results

    def _suggested(self, trial: Any) -> dict[str, Any] | None:
        """Return the suggested parameters of a trial, or None if it was pruned."""
        optuna = _optuna()
        if isinstance(self.param_distributions, dict):
            return dict(trial.params)
        try:
            params: dict[str, Any] = self.param_distributions(trial)
        except optuna.TrialPruned:
            self.study_.tell(trial, state=optuna.trial.TrialState.PRUNED)
            return None
        if not isinstance(params, dict):
            raise DataError(f"param_distributions must return a dict of parameters, got {params!r}")
        return params


def _optuna() -> Any:
    """Import Optuna, which is an extra."""
    try:
        import optuna
    except ImportError as error:
        raise GpubpError('BatchedOptunaSearchCV needs Optuna: pip install "gpubp[optuna]"') from error
    return optuna
