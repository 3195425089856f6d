"""Exclusive or: its local minima, how much more hidden units help, and what one hidden unit with skips does."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from gpubp.descent import momentum
from gpubp.network import error_and_gradient, forward
from gpubp.paper.connections import ending_at, with_hidden_units
from gpubp.paper.experiment import Condition, Experiment, Finding, Runs, TrainMore
from gpubp.paper.study import Fact
from gpubp.paper.words import NO_FIGURE, in_words, share_of

N_MORE = 100
"""How many networks are tried with each number of hidden units, at most."""

UNITS = (2, 4, 8, 16, 32)

LEVEL = 0.01
"""A network stands still where no part of dE/dw is larger."""


def presentations(n_hidden: int) -> float:
    """Say how many presentations of each pattern the chapter gives for so many hidden units, at a rate of 0.25.

    Examples
    --------
    >>> presentations(8)
    181.0
    """
    return float(280.0 - 33.0 * np.log2(n_hidden))


def _stand_still(experiment: Experiment, runs: Runs) -> Finding:
    if np.all(runs.solved):
        return Finding(True, "all were done")
    _, gradient = error_and_gradient(
        np, experiment.network, runs.theta[~runs.solved].astype(float), *experiment.cases()
    )
    still = np.max(np.abs(gradient), axis=1) < LEVEL
    return Finding(bool(np.all(still)), f"{share_of(still)} of those not done stand still")


AT_MINIMA = Condition(
    f"those that are not done stand still, at a local minimum: no part of dE/dw is {LEVEL:g} or more", _stand_still
)


def facts(experiment: Experiment, runs: Runs, train_more: TrainMore) -> Iterator[Fact]:
    """Look where the networks that are not done end, and how long those with more hidden units take.

    Parameters
    ----------
    experiment : Experiment
        ``xor``.
    runs : Runs
    train_more : TrainMore

    Yields
    ------
    Fact
    """
    if not np.all(runs.solved):
        yield Fact("those not done end at E = 1/4: 1/2 for two cases", NO_FIGURE, share_of(ending_at(1 / 4, runs)))
        yield Fact("or at E = 1/3: one answer for three cases", NO_FIGURE, share_of(ending_at(1 / 3, runs)))
    n_networks = min(N_MORE, len(runs.solved))
    medians = []
    for n_hidden in UNITS:
        changed = with_hidden_units(experiment, n_hidden, momentum(0.25, 0.9))
        tried, nearer = (train_more(replace(changed, within=within), n_networks) for within in (0.5, 0.1))
        medians.append([tried.quartiles()[1], nearer.quartiles()[1]])
        yield Fact(
            f"half are done with {n_hidden} hidden units at rate 0.25",
            f"by sweep {presentations(n_hidden):.0f}, about",
            f"by {in_words(medians[-1][0])}, and within 0.1 by {in_words(medians[-1][1])}",
        )
    if np.all(np.isfinite(medians)):
        tried, nearer = -np.polyfit(np.log2(UNITS), np.asarray(medians), 1)[0]
        yield Fact(
            "sweeps that twice as many hidden units save",
            "33, about",
            f"{tried:.0f}, and {nearer:.0f} until within 0.1",
        )


def facts_of_skips(experiment: Experiment, runs: Runs, train_more: TrainMore) -> Iterator[Fact]:
    """Look what the one hidden unit detects where the inputs reach the output past it.

    Parameters
    ----------
    experiment : Experiment
        ``xor-skips``.
    runs : Runs
    train_more : TrainMore

    Yields
    ------
    Fact
    """
    nearer = train_more(replace(experiment, within=0.1), len(runs.solved))
    first, median, third = map(in_words, nearer.quartiles())
    yield Fact("sweeps until all outputs are within 0.1", "558", f"quartiles {first}, {median} and {third}")
    x, _ = experiment.cases()
    on = forward(np, experiment.network, runs.theta[runs.solved].astype(float), x)[0].y[..., 0] > 0.5
    odd_one = on == (np.sum(on, axis=1, keepdims=True) == 1)  # the case that it treats unlike the other three
    of_one = np.sum(odd_one, axis=1) == 1
    n_on = np.sum(x, axis=1)
    for what, cases in (("both inputs on", n_on == 2.0), ("both off", n_on == 0.0), ("one on", n_on == 1.0)):
        told_apart = of_one & np.any(odd_one & cases, axis=1)
        yield Fact(f"the hidden unit tells the case of {what} from the others", NO_FIGURE, share_of(told_apart))
