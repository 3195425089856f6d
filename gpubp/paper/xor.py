"""Exclusive or: its local minima, the effect of more hidden units, and of one hidden unit with skips."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from gpubp.nn.passes import forward, loss_and_gradient
from gpubp.optim.first_order import momentum
from gpubp.paper.connections import N_MORE, ending_at, with_hidden_units
from gpubp.paper.experiment import Condition, ConditionResult, Experiment, Runs, TrainMore
from gpubp.paper.study import Fact, StudyTable
from gpubp.paper.words import NO_FIGURE, NONE, in_words, share_of

UNITS = (2, 4, 8, 16, 32)

LEVEL = 0.01
"""A network stands still if no element of dE/dw is larger."""


def presentations(n_hidden: int) -> float:
    """Return how many presentations of each pattern the chapter reports for a number of hidden units, at rate 0.25.

    Examples
    --------
    >>> presentations(8)
    181.0
    """
    return float(280.0 - 33.0 * np.log2(n_hidden))


def _stand_still(experiment: Experiment, runs: Runs) -> ConditionResult:
    if np.all(runs.solved):
        return ConditionResult(True, "all were done")
    _, gradient = loss_and_gradient(np, experiment.network, runs.theta[~runs.solved].astype(float), *experiment.cases())
    still = np.max(np.abs(gradient), axis=1) < LEVEL
    return ConditionResult(bool(np.all(still)), f"of those not done {share_of(still)} stand still")


AT_MINIMA = Condition(
    f"those that are not done stand still, at a local minimum: no part of dE/dw is {LEVEL:g} or more", _stand_still
)


def find_facts(experiment: Experiment, runs: Runs, train_more: TrainMore) -> Iterator[StudyTable]:
    """Report where unsolved networks end, and how long networks with more hidden units take."""
    quarter, third = ending_at(1 / 4, runs), ending_at(1 / 3, runs)
    if len(quarter):
        ends = (("1/4", "1/2 for two cases", quarter), ("1/3", "the same for three cases", third))
        rows = [(error, what, share_of(which)) for error, what, which in ends]
        rows.append(("another", NONE, share_of(~(quarter | third))))
        yield StudyTable(
            "Where the networks end that are not done", ("E", "outputs", "networks"), tuple(rows), n_text=2
        )
    yield from more_units(experiment, min(N_MORE, len(runs.solved)), train_more)


def more_units(experiment: Experiment, n_networks: int, train_more: TrainMore) -> Iterator[StudyTable]:
    """Try the numbers of hidden units of the chapter's formula, at its rate."""
    medians, rows = {}, []
    for n_hidden in UNITS:
        changed = with_hidden_units(experiment, n_hidden, momentum(0.25, 0.9))
        tried, nearer = (train_more(replace(changed, within=within), n_networks) for within in (0.5, 0.1))
        medians[n_hidden] = tried.quartiles()[1], nearer.quartiles()[1]
        rows.append((str(n_hidden), f"{presentations(n_hidden):.0f}", *map(in_words, medians[n_hidden])))
    yield StudyTable(
        "Sweeps until half are done, at rate 0.25: the chapter has about 280 − 33 log₂ H presentations",
        ("hidden units", "chapter, about", "here", "here, until within 0.1"),
        tuple(rows),
    )
    saved = [
        (f"{few} to {many}", "33", *_saved_by_doubling(medians[few], medians[many], np.log2(many / few)))
        for few, many in zip(UNITS[:-1:2], UNITS[2::2], strict=True)
    ]
    yield StudyTable(
        "Sweeps that doubling the hidden units saves",
        ("hidden units", "chapter, about", "here", "here, until within 0.1"),
        tuple(saved),
    )


def _saved_by_doubling(with_few: Sequence[float], with_many: Sequence[float], doublings: float) -> list[str]:
    pairs = zip(with_few, with_many, strict=True)
    return [_signed((few - many) / doublings) if np.isfinite([few, many]).all() else NONE for few, many in pairs]


def _signed(number: float) -> str:
    return f"{number:.0f}".replace("-", "−")


def find_facts_of_skips(experiment: Experiment, runs: Runs, train_more: TrainMore) -> Iterator[Fact]:
    """Report what the one hidden unit detects if the inputs also reach the output directly."""
    nearer = train_more(replace(experiment, within=0.1), len(runs.solved))
    first, median, third = map(in_words, nearer.quartiles())
    yield Fact(
        "sweeps until all outputs are within 0.1",
        "558",
        f"of all networks a quarter by {first}, half by {median}, three quarters by {third}",
    )
    x, _ = experiment.cases()
    on = forward(np, experiment.network, runs.theta[runs.solved].astype(float), x)[0].y[..., 0] > 0.5
    odd_one = on == (np.sum(on, axis=1, keepdims=True) == 1)  # the case that it treats differently from the other three
    of_one = np.sum(odd_one, axis=1) == 1
    n_on = np.sum(x, axis=1)
    for what, cases in (("both inputs on", n_on == 2.0), ("both off", n_on == 0.0), ("one on", n_on == 1.0)):
        told_apart = of_one & np.any(odd_one & cases, axis=1)
        yield Fact(f"the hidden unit tells the case of {what} from the others", NO_FIGURE, share_of(told_apart))
