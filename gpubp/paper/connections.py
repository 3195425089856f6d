"""A few more connections: the paper says that they help where networks with just enough meet poor minima."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from gpubp.descent import Rule
from gpubp.paper.experiment import Experiment, Runs, TrainMore
from gpubp.paper.study import Fact
from gpubp.paper.words import in_words, share_of

N_MORE = 100
"""How many networks are tried with each other number of hidden units, at most."""

JUST_ENOUGH = "poor minima are met with just enough"

CLAIM = "a few more connections help"


def with_hidden_units(experiment: Experiment, n_hidden: int, rule: Rule | None = None) -> Experiment:
    """Change the number of units of the one hidden layer, and the rule where another is given."""
    n_inputs, _, n_outputs = experiment.network.sizes
    network = replace(experiment.network, sizes=(n_inputs, n_hidden, n_outputs))
    return replace(experiment, network=network, rule=rule or experiment.rule)


def of_more_units(
    n_hidden: tuple[int, ...], experiment: Experiment, runs: Runs, train_more: TrainMore
) -> Iterator[Fact]:
    """Try other numbers of hidden units.

    Parameters
    ----------
    n_hidden : tuple of int
        Up from the fewest; those that the experiment's own network has are told from its runs.
    experiment : Experiment
        With one hidden layer.
    runs : Runs
    train_more : TrainMore

    Yields
    ------
    Fact
    """
    own = experiment.network.sizes[1]
    for n in n_hidden:
        tried = runs
        if n != own:
            tried = train_more(with_hidden_units(experiment, n), min(N_MORE, len(runs.solved)))
        found = f"{share_of(tried.solved)}, half by sweep {in_words(tried.quartiles()[1])}"
        yield Fact(f"done with {n} hidden units", JUST_ENOUGH if n == n_hidden[0] else CLAIM, found)


def ending_at(error: float, runs: Runs) -> np.ndarray:
    """Tell which of the networks that are not done have come to an error, within 0.01: (k,) of bool."""
    near: np.ndarray = np.abs(runs.error[~runs.solved] - error) < 0.01
    return near
