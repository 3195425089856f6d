"""A search whose candidates Optuna suggests, many at a time, so that they can be trained as stacks."""

from numbers import Integral
from typing import Any

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import HasMethods, Interval

from gpubp.errors import DataError, GpubpError
from gpubp.model_selection.batched import Evaluation, StackedSearch


class BatchedOptunaSearchCV(StackedSearch):
    """A search whose candidates Optuna suggests, a batch at a time, each batch trained as stacks of networks.

    A batch is asked for (``study.ask``), trained and scored as :class:`BatchedSearchCV` trains and scores, and told
    (``study.tell``); the sampler suggests the next one by what has been told. It needs the extra ``optuna``.

    Parameters
    ----------
    estimator : MLPClassifier, MLPRegressor, or a Pipeline that ends in one
    param_distributions : dict or callable
        Distributions of Optuna by the names of parameters; or a function that suggests: it is given a trial of Optuna
        and returns a dict of parameters. It may raise :class:`optuna.TrialPruned`: such trials are not trained.
    study : optuna.Study, optional
        With the direction "maximize", since the higher a score the better. Without one it is made anew, in memory, with
        Optuna's TPE sampler. A study goes on with the trials that it has.
    n_trials : int, default=100
    batch_size : int, default=64
        Trials of a batch: the more, the better a machine is used; the fewer, the more often the sampler learns.
    random_state : int, RandomState or None, default=None
        For the seed of the sampler, where no study is given.
    scoring, refit, cv, verbose, error_score, return_train_score, n_jobs, callbacks, progress, executor
        See :class:`BatchedSearchCV`. With several scores ``refit`` names the one that is told.

    Attributes
    ----------
    study_ : optuna.Study
    cv_results_
        With ``trial``, the number of the trial in the study. A candidate whose score is not finite has failed, and its
        trial too.
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
        super().__init__(
            estimator,
            scoring=scoring,
            n_jobs=n_jobs,
            refit=refit,
            cv=cv,
            verbose=verbose,
            error_score=error_score,
            return_train_score=return_train_score,
        )
        self.param_distributions, self.study = param_distributions, study
        self.n_trials, self.batch_size, self.random_state = n_trials, batch_size, random_state
        self.callbacks, self.progress, self.executor = callbacks, progress, executor

    def _check_before(self, evaluation: Evaluation) -> None:
        optuna = _optuna()
        if isinstance(self.scoring, list | tuple | dict) and not isinstance(self.refit, str):
            raise DataError(f"with several scores refit must name the one that Optuna is told, got {self.refit!r}")
        self.study_ = self.study
        if self.study is None:
            seeds = None if self.random_state is None else check_random_state(self.random_state)
            sampler = optuna.samplers.TPESampler(
                seed=None if seeds is None else int(seeds.randint(2**31 - 1)),
                constant_liar=True,  # those of a batch do not crowd into one place
            )
            self.study_ = optuna.create_study(direction="maximize", sampler=sampler)
        directions = [direction.name.lower() for direction in self.study_.directions]
        if directions != ["maximize"]:
            raise DataError(
                f"study must have the direction 'maximize', since the higher a score the better, got "
                f"{', '.join(directions)}: optuna.create_study(direction='maximize') makes such a one"
            )

    def _search(self, evaluation: Evaluation) -> dict[str, Any]:
        evaluation.announce(self.n_trials)
        results: dict[str, Any] = {}
        for begin in range(0, self.n_trials, self.batch_size):
            results = self._try(evaluation, min(self.batch_size, self.n_trials - begin)) or results
        if not results:
            raise DataError(f"all {self.n_trials} trials were pruned when they were suggested: none was trained")
        return results

    def _try(self, evaluation: Evaluation, n: int) -> dict[str, Any]:
        """Ask for a batch, evaluate it, and tell; all results so far, or none where all of it was pruned."""
        failed = _optuna().trial.TrialState.FAIL
        distributions = self.param_distributions if isinstance(self.param_distributions, dict) else None
        asked, numbers, candidates = [], list[int](), list[dict[str, Any]]()
        try:
            for _ in range(n):
                asked.append(self.study_.ask(distributions))
                params = self._suggested(asked[-1])
                if params is not None:
                    numbers.append(asked[-1].number)
                    candidates.append(params)
            if not candidates:
                return {}
            trials = evaluation.trials_of(candidates)
            evaluation.trials.fit(trials)
            results = evaluation.score(trials, candidates, {"trial": numbers})
        except BaseException:
            for trial in asked:
                self.study_.tell(trial, state=failed, skip_if_finished=True)
            raise
        name = f"mean_test_{self.refit}"
        means = results[name if name in results else "mean_test_score"][-len(numbers) :].tolist()
        for number, mean in zip(numbers, means, strict=True):
            self.study_.tell(number, *((mean,) if np.isfinite(mean) else (None, failed)))
        return results

    def _suggested(self, trial: Any) -> dict[str, Any] | None:
        """Have the parameters of a trial suggested; None where it was pruned."""
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
        raise GpubpError('a search by Optuna needs it: pip install "gpubp[optuna]"') from error
    return optuna
