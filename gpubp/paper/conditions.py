"""Conditions that several studies name for their claims."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from gpubp._core.text import counted
from gpubp.paper.chance import between, near, reaches
from gpubp.paper.experiment import Condition, ConditionResult, Experiment, Runs
from gpubp.paper.words import in_words

USUAL = (0.05, 0.95)
"""A figure is typical if it lies between these quantiles of the sweeps that all networks took."""


def done(share: float, why: str) -> Condition:
    """Require that a share of the networks is done in time, with the reason for that share.

    Examples
    --------
    >>> done(0.5, "more likely than not").words
    'at least 50 % of the networks are done in time (more likely than not)'
    """
    words = f"at least {100 * share:.0f} % of the networks are done in time ({why})"
    return Condition(words, partial(_done, share))


def _done(share: float, experiment: Experiment, runs: Runs) -> ConditionResult:
    n, n_solved = len(runs.solved), int(np.sum(runs.solved))
    found = f"{n_solved:,} of {counted(n, 'network')} done within {counted(runs.limit, 'sweep')}"
    return ConditionResult(reaches(share, runs.solved), found)


def takes_as_long(reported: float) -> Condition:
    """Require that the number of sweeps reported for one network be typical.

    Examples
    --------
    >>> takes_as_long(558).words
    '558 sweeps lie between the 5 % and the 95 % quantile of the sweeps that all networks took'
    """
    low, high = (f"{100 * quantile:g} %" for quantile in USUAL)
    words = f"{reported:,.0f} sweeps lie between the {low} and the {high} quantile of the sweeps that all networks took"
    return Condition(words, partial(_takes_as_long, reported))


def _takes_as_long(reported: float, experiment: Experiment, runs: Runs) -> ConditionResult:
    taken = np.where(runs.solved, runs.sweeps, np.inf)
    low, high = np.quantile(taken, USUAL, method="inverted_cdf")
    (lowest, _), (_, highest) = (between(taken, quantile) for quantile in USUAL)
    return ConditionResult(
        bool(np.isfinite(low)) and lowest <= reported <= highest,
        f"these quantiles are {in_words(low)} and {in_words(high)}",
    )


def quartiles_near(wanted: Sequence[float], tolerance: float, whose: str) -> Condition:
    """Require that the quartiles of the sweeps agree with others' results within a relative tolerance.

    Examples
    --------
    >>> quartiles_near((1127, 2715, 7830), 0.15, "of other starts").words
    'the quartiles of the sweeps are within 15 % of 1,127, 2,715 and 7,830, those of other starts'
    """
    *first, last = (f"{figure:,.0f}" for figure in wanted)
    figures = f"{', '.join(first)} and {last}"
    words = f"the quartiles of the sweeps are within {100 * tolerance:.0f} % of {figures}, those {whose}"
    return Condition(words, partial(_quartiles_near, tuple(wanted), tolerance))


def _quartiles_near(wanted: tuple[float, ...], tolerance: float, experiment: Experiment, runs: Runs) -> ConditionResult:
    quartiles = runs.quartiles()
    taken = np.where(runs.solved, runs.sweeps, np.inf)
    are_near = all(near(taken, *each, tolerance) for each in zip((0.25, 0.5, 0.75), wanted, strict=True))
    *first, last = map(in_words, quartiles)
    return ConditionResult(
        bool(np.any(runs.solved)) and are_near, f"the quartiles are {', '.join(first)} and {last} sweeps"
    )
