"""The scores of a fitted trial, as scikit-learn's searches compute them."""

import time
import traceback
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.metrics._scorer import _MultimetricScorer
from sklearn.model_selection._validation import _score
from sklearn.utils.metaestimators import _safe_split
from sklearn.utils.validation import _check_method_params, _num_samples

from gpubp.model_selection._trials import Trial


@dataclass(frozen=True)
class ScoreTrial:
    """Scores trials.

    Attributes
    ----------
    scorers : callable
        A scorer of scikit-learn, for one score or several.
    error_score : float or "raise"
        The score of a fit that failed.
    with_train_score : bool
        Whether the training samples are scored too.
    params : dict
        Arguments of the scorers, such as sample weights.
    """

    scorers: Any
    error_score: Any
    with_train_score: bool
    params: dict[str, Any]

    def __call__(self, trial: Trial, X: Any, y: Any) -> dict[str, Any]:
        """Score a trial; return what scikit-learn needs for a row of ``cv_results_``."""
        if trial.error is not None and self.error_score == "raise":
            raise trial.error
        x_test, y_test = _safe_split(trial.estimator, X, y, trial.test, trial.train)
        result: dict[str, Any] = {"n_test_samples": _num_samples(x_test), "fit_time": trial.seconds}
        start = time.perf_counter()
        result["fit_error"] = None
        if trial.error is not None:
            result["fit_error"] = "".join(traceback.format_exception(trial.error))
            error_scores: Any = self.error_score
            if isinstance(self.scorers, _MultimetricScorer):
                error_scores = dict.fromkeys(self.scorers._scorers, self.error_score)
            result["test_scores"] = error_scores
            if self.with_train_score:
                result["train_scores"] = error_scores.copy() if isinstance(error_scores, dict) else error_scores
        else:
            result["test_scores"] = self._scores(trial, trial.test, X, x_test, y_test)
        result["score_time"] = time.perf_counter() - start
        if trial.error is None and self.with_train_score:
            x_train, y_train = _safe_split(trial.estimator, X, y, trial.train)
            result["train_scores"] = self._scores(trial, trial.train, X, x_train, y_train)
        return result

    def _scores(self, trial: Trial, rows: np.ndarray, X: Any, x: Any, y: Any) -> Any:
        params = _check_method_params(X, params=self.params, indices=rows)
        return _score(trial.estimator, x, y, self.scorers, params, self.error_score)
