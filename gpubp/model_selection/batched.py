"""A grid or random search whose candidates times folds are trained as stacks."""

import copy
import time
from abc import abstractmethod
from collections import Counter, defaultdict
from collections.abc import Sequence
from numbers import Integral
from typing import Any, Self, cast

import numpy as np
from sklearn.base import _fit_context, clone, is_classifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics._scorer import _MultimetricScorer
from sklearn.model_selection import ParameterGrid, ParameterSampler, check_cv
from sklearn.model_selection._search import BaseSearchCV
from sklearn.model_selection._validation import _insert_error_scores, _warn_or_raise_about_fit_failures
from sklearn.utils import indexable
from sklearn.utils._param_validation import HasMethods, Interval
from sklearn.utils.validation import _check_method_params, _num_samples
from threadpoolctl import threadpool_limits

from gpubp._core.documentation import DocumentationLink
from gpubp._core.parameters import keep_parameters
from gpubp._core.user_warnings import held_back, warn
from gpubp.backends.inputs import accept_array, accept_on_host, as_labels
from gpubp.errors import DataError
from gpubp.model_selection._executors import ExecutorTrials
from gpubp.model_selection._scoring import ScoreTrial
from gpubp.model_selection._trials import Trial, Trials
from gpubp.model_selection.progress import Reporter

FEW_SAMPLES = 20_000  # up to this number, one thread scores faster than several


class StackedSearch(DocumentationLink, BaseSearchCV):  # type: ignore[misc]
    """Base class of the searches, which train candidates in stacks and fill ``cv_results_``."""

    _parameter_constraints: dict[str, list[Any]] = {  # noqa: RUF012
        **{name: kinds for name, kinds in BaseSearchCV._parameter_constraints.items() if name != "pre_dispatch"},
        "param_grid": [dict, list, None],
        "param_distributions": [dict, list, None],
        "n_iter": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
        "callbacks": [callable, "array-like", None],
        "progress": ["boolean"],
        "executor": [HasMethods("submit"), None],
    }
    _keeps_stacks = False

    # --- implemented by the searches ---

    @abstractmethod
    def _search(self, evaluation: "CandidateEvaluation") -> dict[str, Any]:
        """Evaluate candidates; return all results."""

    def _check_parameters(self, evaluation: "CandidateEvaluation") -> None:
        """Check parameters that can be checked only in ``fit``."""

    def _candidates(self) -> list[dict[str, Any]]:
        if (self.param_grid is None) == (self.param_distributions is None):
            raise DataError("pass one of param_grid, for all combinations, and param_distributions, for n_iter draws")
        if self.param_grid is not None:
            grids = [self.param_grid] if isinstance(self.param_grid, dict) else self.param_grid
            drawn = [name for grid in grids for name, values in grid.items() if hasattr(values, "rvs")]
            if drawn:
                raise DataError(
                    f"param_grid has a distribution for {', '.join(map(repr, drawn))}, but takes lists of values: "
                    "pass param_distributions=..., of which n_iter candidates are drawn"
                )
            return list(ParameterGrid(self.param_grid))
        return list(ParameterSampler(self.param_distributions, self.n_iter, random_state=self.random_state))

    # --- fitting ---

    @np.errstate(all="ignore")
    @_fit_context(prefer_skip_nested_validation=False)  # type: ignore[untyped-decorator]
    def fit(self, X: Any, y: Any = None, **params: Any) -> Self:
        """Run the search.

        Parameters
        ----------
        X : array, frame or sparse matrix of shape (n_samples, n_features)
        y : array of shape (n_samples,) or (n_samples, n_outputs)
        **params
            Passed to ``fit`` of the estimator, such as ``sample_weight``; ``groups`` is passed to the splitter.

        Returns
        -------
        self
        """
        scorers, refit_metric = self._get_scorers()
        y = None if y is None else accept_array("y", y)
        X, y = indexable(accept_array("X", X), as_labels("y", y) if is_classifier(self.estimator) else y)
        if params.get("sample_weight") is not None:
            params["sample_weight"] = accept_on_host("sample_weight", params["sample_weight"])
        params = _check_method_params(X, params=params)
        routed = self._get_routed_params_for_fit(params)
        callbacks = (self.callbacks,) if callable(self.callbacks) else tuple(self.callbacks or ())
        reporter = Reporter(callbacks, self.progress)
        evaluation = CandidateEvaluation(self, scorers, routed, X, y, reporter)
        self.n_splits_ = evaluation.n_splits
        self._check_parameters(evaluation)
        try:
            results = self._search(evaluation)
        finally:
            evaluation.trials.close()
            reporter.end()

        first = evaluation.results[0]["test_scores"]
        self.multimetric_ = isinstance(first, dict)
        if callable(self.scoring) and self.multimetric_:
            self._check_refit_for_multimetric(first)
            refit_metric = self.refit
        if self.refit or not self.multimetric_:
            self.best_index_ = self._select_best_index(self.refit, refit_metric, results)
            if not callable(self.refit):
                self.best_score_ = results[f"mean_test_{refit_metric}"][self.best_index_]
            self.best_params_ = results["params"][self.best_index_]
        self.scorer_ = scorers._scorers if isinstance(scorers, _MultimetricScorer) else scorers
        self.cv_results_ = results
        unconverged_refit = list[str]()
        if self.refit:
            self.best_estimator_ = clone(self.estimator).set_params(**clone(self.best_params_, safe=False))
            start = time.time()
            with held_back(ConvergenceWarning, unconverged_refit):
                self.best_estimator_.fit(X, *(() if y is None else (y,)), **routed.estimator.fit)
            self.refit_time_ = time.time() - start
            if hasattr(self.best_estimator_, "feature_names_in_"):
                self.feature_names_in_ = self.best_estimator_.feature_names_in_
        evaluation.warn_of_unconverged_fits(unconverged_refit)
        return self

    def __getstate__(self) -> dict[str, Any]:
        """Remove the executor, which belongs to this process."""
        return {**super().__getstate__(), "executor": None}

    def __sklearn_clone__(self) -> Any:
        """Clone everything but the executor, which the copy shares."""
        cloned = BaseSearchCV.__sklearn_clone__(copy.copy(self))
        cloned.executor = self.executor
        return cloned

    def plot_results(self, *, ax: Any = None, metric: str | None = None) -> Any:
        """Plot the mean test score of the candidates over the values of each parameter.

        Parameters
        ----------
        ax : Axes of matplotlib, or sequence of them, optional
            One for each parameter; by default those of a new figure.
        metric : str, optional
            The score to plot, if there are several.

        Returns
        -------
        Figure of matplotlib
        """
        from gpubp.model_selection._plot import plot_results

        return plot_results(self, ax=ax, metric=metric)


class CandidateEvaluation:
    """Evaluates candidates on the splits of one search, and collects the results."""

    def __init__(self, search: StackedSearch, scorers: Any, routed: Any, X: Any, y: Any, reporter: Reporter) -> None:
        self.search, self.routed, self.X, self.y, self.reporter = search, routed, X, y, reporter
        self.cv = check_cv(search.cv, y, classifier=is_classifier(search.estimator))
        self.n_splits = self.cv.get_n_splits(X, y, **routed.splitter.split)
        self.splits: list[tuple[np.ndarray, np.ndarray]] | None = None
        score = ScoreTrial(scorers, search.error_score, search.return_train_score, dict(routed.scorer.score))
        self.trials: Trials | ExecutorTrials
        if search.executor is None:
            options = {"keeps_stacks": search._keeps_stacks, "verbose": search.verbose}
            self.trials = Trials(
                X, y, dict(routed.estimator.fit), score, reporter.follow_stack, search.n_jobs, **options
            )
        else:
            self.trials = ExecutorTrials(search.executor, X, y, dict(routed.estimator.fit), score)
        self.n_scored = 0  # fits; of the last round, if there are several
        self.params: list[dict[str, Any]] = []
        self.results: list[dict[str, Any]] = []
        self.extra: dict[str, list[Any]] = defaultdict(list)

    def trials_of(self, candidates: Sequence[dict[str, Any]]) -> list[Trial]:
        """Create a trial for each candidate and split."""
        if self.splits is None:
            splits = list(self.cv.split(self.X, self.y, **self.routed.splitter.split))
            if len(splits) != self.n_splits:
                raise ValueError(
                    "cv.split and cv.get_n_splits return inconsistent results. "
                    f"Expected {self.n_splits} splits, got {len(splits)}"
                )
            self.splits = [(np.asarray(train), np.asarray(test)) for train, test in splits]
        trials = []
        for number, params in enumerate(candidates):
            estimator = clone(self.search.estimator).set_params(**clone(params, safe=False))
            for split, (train, test) in enumerate(self.splits):
                copied = copy.deepcopy(estimator)  # copies parameters as clone() does, but 20 times as fast
                trials.append(Trial(number, split, copied, train, test))
        if not trials:
            raise ValueError("No fits were performed. Was the CV iterator empty? Were there no candidates?")
        return trials

    def announce(self, n_candidates: int) -> None:
        """Report the number of fits to do."""
        n_fits = n_candidates * self.n_splits
        self.n_scored = 0
        self.trials.unconverged.clear()  # rounds before the last are short on purpose
        self.reporter.begin(n_fits)
        if self.search.verbose > 0:
            print(f"Fitting {self.n_splits} folds for each of {n_candidates} candidates, totalling {n_fits} fits")

    def warn_of_unconverged_fits(self, refit: list[str]) -> None:
        """Issue one warning about all fits that did not converge; ``refit`` has the messages of the refit."""
        unconverged, sentences = self.trials.unconverged, list[str]()
        if unconverged:
            sentences.append(
                f"{len(unconverged)} of the {self.n_scored} fits of the search did not converge, so the scores of "
                "their candidates may be lower than they could be."
            )
        if refit:
            sentences.append(f"The refit of the best candidate did not converge{' either' if unconverged else ''}.")
        if sentences:
            messages = [message.partition("\n")[0] for message in unconverged or refit]
            ((reason, count),) = Counter(messages).most_common(1)
            which = "" if count == len(messages) else f", of {count} of them"
            warn(f"{' '.join(sentences)} The reason{which}: {reason}", ConvergenceWarning)

    def score(
        self, trials: list[Trial], candidates: Sequence[dict[str, Any]], extra: dict[str, list[Any]] | None = None
    ) -> dict[str, Any]:
        """Score fitted trials; return all results so far, in the form of ``cv_results_``."""
        search, trials_by_candidate = self.search, defaultdict[int, list[Trial]](list)
        with threadpool_limits(1 if _num_samples(self.X) < FEW_SAMPLES else None, "blas"):
            for trial in self.trials.scored(trials):
                candidate_trials = trials_by_candidate[trial.candidate]
                candidate_trials.append(trial)
                self.n_scored += 1
                if len(candidate_trials) == self.n_splits:
                    self._report(candidate_trials, candidates[trial.candidate])
        trial_results = [trial.result for trial in sorted(trials, key=lambda trial: (trial.candidate, trial.split))]
        _warn_or_raise_about_fit_failures(trial_results, search.error_score)
        if callable(search.scoring):
            _insert_error_scores(trial_results, search.error_score)
        self.params.extend(candidates)
        self.results.extend(cast(list[dict[str, Any]], trial_results))
        for key, values in (extra or {}).items():
            self.extra[key].extend(values)
        results: dict[str, Any] = search._format_results(self.params, self.n_splits, self.results, self.extra)
        return results

    def _report(self, candidate_trials: list[Trial], params: dict[str, Any]) -> None:
        """Report a scored candidate."""
        scores = [cast(dict[str, Any], trial.result)["test_scores"] for trial in candidate_trials]
        name = self.search.refit if isinstance(self.search.refit, str) else None
        values = [score.get(name) if isinstance(score, dict) else score for score in scores]
        mean = None if None in values else float(np.mean(np.asarray(values, float)))
        self.reporter.follow_score(len(candidate_trials), mean, params)
        if self.search.verbose > 1:
            print(f"[CV] {params}: score={'several' if mean is None else format(mean, '.3f')}")


class BatchedSearchCV(StackedSearch):
    """A grid or random search that trains its candidates times folds as stacks of networks, many at a time.

    It takes the arguments of :class:`sklearn.model_selection.GridSearchCV` or, with the keywords
    ``param_distributions`` and ``n_iter``, of :class:`~sklearn.model_selection.RandomizedSearchCV`, and gives their
    results with the same estimator: each network has its own samples, order, initial weights, settings and end, as if
    trained alone. The samples are not copied.

    Networks that differ in learning rate, momentum, betas, epsilon, penalty, class weights, seed, ``max_iter``, ``tol``
    or ``n_iter_no_change``, and in their folds, train in one stack; networks that differ in layers, activation, solver,
    batch size, dropout or precision train in stacks one after the other. Some models are fitted alone, as the log and
    ``verbose=1`` say: those with ``solver="lbfgs"``, ``max_time``, or callbacks that do more than monitor, those on
    sparse X of which less than a tenth is stored or whose dense array exceeds 256 MiB, and estimators that are
    neither a network of gpubp nor a pipeline that ends in one. The estimators for tables are fitted alone too: for them
    :class:`~sklearn.model_selection.GridSearchCV` does the same, and ``preset="best"`` searches by itself.

    Parameters
    ----------
    estimator : MLPClassifier, MLPRegressor, or a Pipeline that ends in one
        The transformers of a pipeline are fitted once for each of their settings on each fold.
    param_grid : dict or list of dict, optional
        Values of each parameter; all combinations are tried.
    param_distributions : dict or list of dict, optional
        Values, or distributions of SciPy, of which ``n_iter`` combinations are drawn.
    n_iter : int, default=10
    random_state : int, RandomState or None, default=None
        Seed of the drawn combinations.
    scoring, refit, cv, verbose, error_score, return_train_score
        See :class:`sklearn.model_selection.GridSearchCV`.
    n_jobs : int or None, default=None
        The number of processes for models that are fitted alone; a stack always uses all cores.
    callbacks : callable, sequence of callables or None, default=None
        Each is called with a :class:`~gpubp.model_selection.progress.SearchProgress` after each epoch of a stack and
        after each score; returning True ends the training of the current stack, whose networks are then scored.
    progress : bool, default=True
        Whether to show a progress bar with the best score so far, if standard error is a terminal.
    executor : object with a method ``submit``, or None, default=None
        A Dask Client or a process pool, whose workers fit and score instead of this process, with the same results. The
        best estimator is fitted in this process. Callbacks are then called only after each score and cannot end the
        training; ``n_jobs`` is not used. Copies of a search share its executor; pickled searches have none.

    Attributes
    ----------
    cv_results_, best_estimator_, best_score_, best_params_, best_index_, scorer_, n_splits_, refit_time_, multimetric_
        As in scikit-learn; the time of a fit is that of its stack divided by the number of networks.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from gpubp import BatchedSearchCV, MLPClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> model = MLPClassifier((8,), max_iter=50, tol=0.0, n_iter_no_change=50, random_state=0, device="cpu")
    >>> import warnings
    >>> with warnings.catch_warnings(action="ignore"):
    ...     search = BatchedSearchCV(model, {"learning_rate_init": [1e-4, 3e-2], "alpha": [0.0, 0.1]}).fit(X, y)
    >>> search.best_params_["learning_rate_init"]
    0.03
    """

    def __init__(
        self,
        estimator: Any,
        param_grid: Any = None,
        *,
        param_distributions: Any = None,
        n_iter: Any = 10,
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

    def _search(self, evaluation: CandidateEvaluation) -> dict[str, Any]:
        candidates = self._candidates()
        trials = evaluation.trials_of(candidates)
        evaluation.announce(len(candidates))
        evaluation.trials.fit(trials)
        return evaluation.score(trials, candidates)
