"""Successive halving: the worst candidates are dropped after a few epochs, and the others continue."""

from math import ceil, floor, log
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions, validate_parameter_constraints

from gpubp._core.parameters import keep_parameters
from gpubp.errors import DataError
from gpubp.model_selection._estimator_parts import parts_of
from gpubp.model_selection._trials import Trial
from gpubp.model_selection.batched import CandidateEvaluation, StackedSearch
from gpubp.optim.schedules import SCHEDULES


class BatchedHalvingSearchCV(StackedSearch):
    """Successive halving over epochs (Jamieson & Talwalkar 2016), in which dropped networks leave their stack.

    All candidates are trained for a few epochs; the best of them continue to ``factor`` times the epochs, and so on,
    until fewer than ``factor`` are left or ``max_resources`` epochs are reached. The result is that of
    :class:`sklearn.model_selection.HalvingGridSearchCV` with the number of epochs as its resource, but networks
    continue training instead of starting again. Models whose learning rate depends on ``max_iter`` (such as "cosine"),
    models that are not trained in a stack, and all models of an executor are fitted again in each round.

    Parameters
    ----------
    estimator : MLPClassifier, MLPRegressor, or a Pipeline that ends in one
    param_grid, param_distributions, n_iter, random_state
        See :class:`BatchedSearchCV`.
    factor : float, default=3
        The fraction 1 / factor of the candidates continues, with ``factor`` times the epochs.
    max_resources : int or "auto", default="auto"
        The number of epochs of the last round; "auto" takes the ``max_iter`` of ``estimator``.
    min_resources : int or "exhaust", default="exhaust"
        The number of epochs of the first round; with "exhaust", the last round has ``max_resources`` epochs.
    scoring, refit, cv, verbose, error_score, return_train_score, n_jobs, callbacks, progress, executor
        See :class:`BatchedSearchCV`. There must be one score, and the splits must be the same in each round.

    Attributes
    ----------
    cv_results_
        Also has ``iter``, the round, and ``n_resources``, its epochs.
    best_estimator_, best_score_, best_params_, best_index_, scorer_, n_splits_, refit_time_
        The best candidate of the last round.
    n_resources_, n_candidates_ : list of int
        Epochs and candidates of each round.
    n_iterations_, n_remaining_candidates_ : int
        Rounds, and the candidates that would continue after the last.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from gpubp import BatchedHalvingSearchCV, MLPClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> model = MLPClassifier((8,), tol=0.0, n_iter_no_change=100, random_state=0, device="cpu")
    >>> import warnings
    >>> grid = {"learning_rate_init": [1e-5, 1e-4, 1e-3, 3e-2]}
    >>> with warnings.catch_warnings(action="ignore"):
    ...     search = BatchedHalvingSearchCV(model, grid, factor=2, max_resources=40).fit(X, y)
    >>> search.n_candidates_, search.n_resources_
    ([4, 2, 1], [10, 20, 40])
    >>> search.best_params_["learning_rate_init"]
    0.03
    """

    _parameter_constraints: dict[str, list[Any]] = {  # noqa: RUF012
        **StackedSearch._parameter_constraints,
        "factor": [Interval(Real, 1, None, closed="neither")],
        "max_resources": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "min_resources": [Interval(Integral, 1, None, closed="left"), StrOptions({"exhaust"})],
    }
    _keeps_stacks = True

    def __init__(
        self,
        estimator: Any,
        param_grid: Any = None,
        *,
        param_distributions: Any = None,
        n_iter: Any = 10,
        random_state: Any = None,
        factor: Any = 3,
        max_resources: Any = "auto",
        min_resources: Any = "exhaust",
        scoring: Any = None,
        n_jobs: Any = None,
        refit: Any = True,
        cv: Any = 5,
        verbose: Any = 0,
        error_score: Any = np.nan,
        return_train_score: Any = False,
        callbacks: Any = None,
        progress: Any = True,
        executor: Any = None,
    ) -> None:
        keep_parameters(self, locals())

    def _check_parameters(self, evaluation: CandidateEvaluation) -> None:
        if isinstance(self.scoring, list | tuple | dict):
            raise DataError(f"halving needs one score, got scoring={self.scoring!r}")
        if (parts := parts_of(self.estimator)) is None:
            raise DataError(
                "halving counts epochs: estimator must be an MLPClassifier or MLPRegressor of gpubp, or a Pipeline "
                f"that ends in one, got {type(self.estimator).__name__}"
            )
        self._resource = f"{parts.name}__max_iter" if parts.name else "max_iter"
        self._last_round = self._epochs_of_last_round(parts.model)

    def _epochs_of_last_round(self, model: Any) -> int:
        if self.max_resources != "auto":
            return int(self.max_resources)
        constraints, given = model._parameter_constraints, {"max_iter": model.max_iter}
        validate_parameter_constraints(constraints, given, caller_name=type(model).__name__)
        return int(model.max_iter)

    @staticmethod
    def _select_best_index(refit: Any, refit_metric: Any, results: dict[str, Any]) -> int:
        last = np.flatnonzero(results["iter"] == np.max(results["iter"]))
        scores = results["mean_test_score"][last]
        return int(last[0 if np.all(np.isnan(scores)) else np.nanargmax(scores)])

    def _search(self, evaluation: CandidateEvaluation) -> dict[str, Any]:
        candidates = self._candidates()
        if any(self._resource in candidate for candidate in candidates):
            raise DataError(f"{self._resource} is set to the epochs of a round: remove it from the searched parameters")
        rounds = self._rounds(len(candidates))
        self.n_resources_, self.n_candidates_ = rounds, list[int]()
        trials: list[Trial] = []
        results: dict[str, Any] = {}
        for number, epochs in enumerate(rounds):
            candidates = [{**candidate, self._resource: epochs} for candidate in candidates]
            self.n_candidates_.append(len(candidates))
            evaluation.announce(len(candidates))
            trials = self._train(evaluation, trials, candidates, epochs)
            extra = {"iter": [number] * len(candidates), "n_resources": [epochs] * len(candidates)}
            results = evaluation.score(trials, candidates, extra)
            scores = results["mean_test_score"][-len(candidates) :]
            best = _best(scores, ceil(len(candidates) / self.factor))
            trials = [trial for k in best for trial in trials if trial.candidate == k]
            for index, trial in enumerate(trials):
                trial.candidate = index // evaluation.n_splits
            candidates = [candidates[k] for k in best]
        self.n_iterations_, self.n_remaining_candidates_ = len(rounds), len(candidates)
        return results

    def _train(
        self, evaluation: CandidateEvaluation, trials: list[Trial], candidates: list[dict[str, Any]], epochs: int
    ) -> list[Trial]:
        """Train candidates up to `epochs` epochs: those of the previous round continue, the others are fitted."""
        new_trials = evaluation.trials_of(candidates)
        if not trials:
            evaluation.trials.fit(new_trials)
            return new_trials
        restarted_ids = {id(trial) for trial in trials if _follows_max_iter(trial)}
        not_continued = evaluation.trials.continue_fits(
            [trial for trial in trials if id(trial) not in restarted_ids], epochs
        )
        refitted_keys = {(trial.candidate, trial.split) for trial in not_continued}
        refitted_keys |= {(trial.candidate, trial.split) for trial in trials if id(trial) in restarted_ids}
        refitted = [trial for trial in new_trials if (trial.candidate, trial.split) in refitted_keys]
        evaluation.trials.fit(refitted)
        continued = [trial for trial in trials if (trial.candidate, trial.split) not in refitted_keys]
        return sorted(continued + refitted, key=lambda trial: (trial.candidate, trial.split))

    def _rounds(self, n_candidates: int) -> list[int]:
        """Return the epochs of each round, as in scikit-learn's halving."""
        n_required, last = 1 + floor(log(n_candidates, self.factor)), self._last_round
        if self.min_resources == "exhaust":
            first = max(1, int(last // self.factor ** (n_required - 1)))
        else:
            first = int(self.min_resources)
        if first > last:
            raise DataError(f"min_resources={first} is more than max_resources={last}")
        n_possible = 1 + floor(log(last // first, self.factor))
        return [min(int(self.factor**k * first), last) for k in range(min(n_possible, n_required))]


def _follows_max_iter(trial: Trial) -> bool:
    """Return whether the learning rate at an epoch depends on how many follow."""
    rate = parts_of(trial.estimator).model.learning_rate  # type: ignore[union-attr]
    return isinstance(rate, str) and rate in SCHEDULES


def _best(scores: np.ndarray, n: int) -> list[int]:
    """Return the candidates with the best scores, NaN being the worst, in scikit-learn's order."""
    in_order = np.roll(np.argsort(scores), np.count_nonzero(np.isnan(scores)))
    return [int(k) for k in in_order[-n:]]
