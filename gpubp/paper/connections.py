"""A few more connections: the paper says that they help past poor minima."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from gpubp.optim.first_order import Optimizer
from gpubp.paper.experiment import Experiment, Runs, TrainMore
from gpubp.paper.study import StudyTable
from gpubp.paper.words import in_words, share_of

N_MORE = 100
"""The maximum number of networks that are tried with each other number of hidden units."""

CAPTION = "With other numbers of hidden units: the paper says that a few more connections help past poor minima"


def with_hidden_units(experiment: Experiment, n_hidden: int, optimizer: Optimizer | None = None) -> Experiment:
    """Change the number of units of the one hidden layer, and the rule if another is given."""
    n_inputs, _, n_outputs = experiment.network.sizes
    network = replace(experiment.network, sizes=(n_inputs, n_hidden, n_outputs))
    return replace(experiment, network=network, optimizer=optimizer or experiment.optimizer)


def try_more_units(
    n_hidden: tuple[int, ...], experiment: Experiment, runs: Runs, train_more: TrainMore
) -> Iterator[StudyTable]:
    """Try other numbers of hidden units in the one hidden layer; the runs are those of the experiment's own number."""
    own, n_networks = experiment.network.sizes[1], min(N_MORE, len(runs.solved))
    rows = []
    for n in n_hidden:
        tried = runs if n == own else train_more(with_hidden_units(experiment, n), n_networks)
        rows.append((str(n), *done_by(tried)))
    yield StudyTable(CAPTION, ("hidden units", "done", "half by sweep"), tuple(rows))


def done_by(runs: Runs) -> tuple[str, str]:
    """Write how many networks are done, and by which sweep half are."""
    return share_of(runs.solved), in_words(runs.quartiles()[1])


def ending_at(error: float, runs: Runs) -> np.ndarray:
    """Return which of the networks that are not done ended at a given error, within 0.01: (k,) of bool."""
    near: np.ndarray = np.abs(runs.error[~runs.solved] - error) < 0.01
    return near
