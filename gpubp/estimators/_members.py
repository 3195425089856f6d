"""Fit copies of one estimator to the same samples: as a stack if possible, else one at a time."""

import logging
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gpubp.estimators._stackable import LEARNED_FROM_SAMPLES, StackableModel, learned
from gpubp.training.stackable import EncodedTargets
from gpubp.training.stacks import fit_together

logger = logging.getLogger("gpubp")


def fit_members(
    members: Sequence[Any],
    x: Any,
    y: np.ndarray,
    weights: np.ndarray | None,
    rows: Sequence[np.ndarray | None],
    fit_alone: Callable[[int], object],
    *,
    seeds: Sequence[int | None] | None = None,
    reason: str = "",
) -> list[Exception | None]:
    """Fit copies of one estimator, which differ in their seeds and in their training samples.

    Parameters
    ----------
    members : sequence of MLPClassifier or MLPRegressor
        The samples were validated for the first member.
    x, y, weights
        The validated samples.
    rows : sequence of arrays of int, or of None
        The training rows of each member; None for all.
    fit_alone : callable
        Fits one member, given its number, if it cannot be fitted with the others.
    seeds : sequence of int or None, optional
        Seeds of initial weights that differ from those of ``random_state``.
    reason : str
        Why the members cannot be fitted together, if known.

    Returns
    -------
    list of Exception or None
        The exception of each fit. Of members fitted one at a time, only ValueErrors; others are raised.
    """
    first = StackableModel(members[0])
    if reason := reason or first.reason_to_fit_alone(x):
        logger.info("%d networks are fitted one at a time, since %s", len(members), reason)
        return [_fit_and_catch(fit_alone, k) for k in range(len(members))]
    targets, train_weights, from_targets = first.encode_targets(y, weights)
    from_samples = learned(members[0], LEARNED_FROM_SAMPLES)
    all_rows, fits = np.arange(targets.shape[0]), []
    for member, member_rows, seed in zip(members, rows, seeds or [None] * len(members), strict=True):
        stackable = StackableModel(member)
        stackable.set_learned(from_samples | from_targets)
        member_rows = all_rows if member_rows is None else member_rows
        member_weights, member_train_weights = (
            None if array is None else array[member_rows] for array in (weights, train_weights)
        )
        encoded = EncodedTargets(targets[member_rows], member_train_weights, from_targets)
        fits.append(stackable.prepare(x, member_rows, encoded, member_weights, seed))
    return fit_together(fits)


def _fit_and_catch(fit_alone: Callable[[int], object], k: int) -> Exception | None:
    try:
        fit_alone(k)
    except ValueError as error:
        return error
    return None
