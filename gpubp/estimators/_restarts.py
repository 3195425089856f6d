"""Fit several times from different initial weights, and keep the best fit."""

import copy
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from gpubp.estimators._members import fit_members
from gpubp.estimators._stackable import forget
from gpubp.estimators._validation import accept_arguments, validate_samples, validate_weights

PARAMETERS_NOT_ADOPTED = ("n_restarts", "random_state")
"""The parameters that an estimator does not take over from the best of its restarts."""


def fit_restarts(model: Any, X: Any, y: Any, sample_weight: Any, validation_data: Any) -> None:
    """Fit an estimator ``n_restarts`` times, together if possible, and keep the best fit.

    The first fit equals that of ``n_restarts=1``. The others differ in their initial weights, not in their held-out
    samples or the order of samples. The best fit has the best score on held-out samples; if there are none, or no score
    is a number, the smallest loss.
    """
    X, y, sample_weight, validation_data = accept_arguments(X, y, sample_weight, validation_data)
    members, seeds = _members(model)
    x, y_on_host = validate_samples(members[0], X, y, reset=True)
    weights = validate_weights(sample_weight, y_on_host)

    def fit_alone(k: int) -> None:
        members[k]._fit(X, y, sample_weight, validation_data, incremental=False, first_weights_seed=seeds[k])

    reason = "validation_data is given" if validation_data is not None else ""
    all_rows = [None] * len(members)
    errors = fit_members(members, x, y_on_host, weights, all_rows, fit_alone, seeds=seeds, reason=reason)
    succeeded = [k for k, error in enumerate(errors) if error is None]
    for error in errors:  # a fit may diverge; errors of the device or the memory must be raised
        if error is not None and not (succeeded and isinstance(error, ValueError)):
            raise error
    scores = [_score(member) if error is None else np.nan for member, error in zip(members, errors, strict=True)]
    if np.all(np.isnan(scores)):
        scores = [np.nan if error else -float(member.loss_) for member, error in zip(members, errors, strict=True)]
    best = max(succeeded, key=lambda k: -np.inf if np.isnan(scores[k]) else scores[k])
    adopted = {name: value for name, value in vars(members[best]).items() if name not in PARAMETERS_NOT_ADOPTED}
    forget(model)
    vars(model).update(adopted, restart_scores_=scores, best_restart_=best)


def _members(model: Any) -> tuple[list[Any], list[int | None]]:
    """Copy an estimator once for each restart; return the copies, and the seeds of their initial weights."""
    random_state = check_random_state(model.random_state)
    start = copy.deepcopy(random_state)
    seeds = [None, *random_state.randint(2**31 - 1, size=model.n_restarts - 1)]
    members = []
    for _ in seeds:
        member = copy.copy(model)
        member.n_restarts, member.random_state = 1, copy.deepcopy(start)
        forget(member)
        members.append(member)
    return members, seeds


def _score(member: Any) -> float:
    """Return the score of a fit on held-out samples, or else its negated loss; higher is better."""
    if member.early_stopping and member.solver != "lbfgs":
        return float(member.best_validation_score_)
    return float(member.validation_scores_[-1]) if member.validation_scores_ else -float(member.loss_)
