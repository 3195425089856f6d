"""Copies of one model that are fitted to the same samples: as a stack where that can be, else one by one."""

import logging
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gpubp.estimators._stack import fit_together, reason_to_fit_alone

logger = logging.getLogger("gpubp")

LEARNED_OF_SAMPLES = ("n_features_in_", "feature_names_in_", "_fitted_with", "classes_", "_label_binarizer")
"""What a model learns where its samples and its targets are admitted."""


def fit_members(
    members: Sequence[Any],
    x: Any,
    y: np.ndarray,
    weights: np.ndarray | None,
    rows: Sequence[np.ndarray | None],
    fit_alone: Callable[[Any, np.ndarray | None], object],
    reason: str = "",
) -> list[Exception | None]:
    """Fit copies of one model, which differ in their seeds, and in the samples that each learns from.

    Parameters
    ----------
    members : sequence of MLPClassifier or MLPRegressor
        The first of which has admitted the samples.
    x, y, weights
        The samples as they were admitted.
    rows : sequence of arrays of int, or of None
        Which of them each member learns from; None for all.
    fit_alone : callable
        Given a member and its rows, fits it where it cannot be fitted with the others.
    reason : str
        Why they cannot, if that is known already.

    Returns
    -------
    list of Exception or None
        What each fit raised; of members fitted one by one errors alone that are a fit's own, ValueErrors.
    """
    if reason := reason or reason_to_fit_alone(members[0], x):
        logger.info("%d networks are fitted one by one, since %s", len(members), reason)
        return [_error_of(fit_alone, member, own) for member, own in zip(members, rows, strict=True)]
    targets, train_weights = members[0]._validate_targets(y, weights, False)
    learned = {name: value for name, value in vars(members[0]).items() if name in LEARNED_OF_SAMPLES}
    all_rows, ready = np.arange(targets.shape[0]), []
    for member, own in zip(members, rows, strict=True):
        vars(member).update(learned)
        own = all_rows if own is None else own
        given, learned_with = (None if array is None else array[own] for array in (weights, train_weights))
        ready.append(member._make_ready(x, own, targets[own], given, learned_with, member.early_stopping))
    return fit_together(ready)


def _error_of(fit_alone: Callable[[Any, np.ndarray | None], object], member: Any, rows: Any) -> Exception | None:
    try:
        fit_alone(member, rows)
    except ValueError as error:
        return error
    return None
