"""A shift register: units that see their own previous outputs, trained as a layered net with equal weights."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np

from gpubp.nn.architectures import transfer_weights, with_equal_layers
from gpubp.nn.network import Network
from gpubp.nn.passes import output_layer
from gpubp.paper.cases import shifted
from gpubp.paper.chance import reaches
from gpubp.paper.experiment import Condition, ConditionResult, Experiment, Runs, TrainMore
from gpubp.paper.study import Fact, StudyTable
from gpubp.paper.words import NO_FIGURE, NONE, share_of
from gpubp.training.fit import all_correct

N_STEPS = 2
"""The number of time steps in training, after which everything must have moved by as many places."""

MORE_STEPS = (2 * N_STEPS, 5 * N_STEPS, 50 * N_STEPS)

N_MORE = 200


def layered(n_units: int, n_steps: int) -> Network:
    """Make a layered net of as many layers as steps, whose weights are free."""
    return Network((n_units,) * (n_steps + 1), activation="logistic", output_activation="logistic")


def network(n_units: int, n_steps: int = N_STEPS) -> Network:
    """Make the layered form of units that are run for some steps.

    Examples
    --------
    >>> len(set(network(5).ties))  # 5 x 5 weights and 5 biases
    30
    """
    return with_equal_layers(layered(n_units, n_steps), range(1, n_steps + 1))


def after(experiment: Experiment, runs: Runs, n_steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Run the nets that are done for some steps: the desired outputs, (b, j), and the actual ones, (k, b, j)."""
    n_units = experiment.network.sizes[0]
    longer = network(n_units, n_steps)
    x, d = shifted(n_units, n_steps)
    theta = transfer_weights(runs.theta[runs.solved].astype(float), experiment.network, longer)
    return d, output_layer(np, longer, theta, x).y


def _twice_as_far(share: float, experiment: Experiment, runs: Runs) -> ConditionResult:
    right = np.asarray(all_correct(*after(experiment, runs, 2 * N_STEPS)))
    return ConditionResult(reaches(share, right), f"{2 * N_STEPS} places in {share_of(right)}")


RUNS_ON = Condition(
    f"at least 50 % of those done move everything by {2 * N_STEPS} places when they are run for "
    f"{2 * N_STEPS} steps, for which they were not trained",
    partial(_twice_as_far, 0.5),
)


def find_facts(experiment: Experiment, runs: Runs, train_more: TrainMore) -> Iterator[Fact | StudyTable]:
    """Report what the nets do in one step and in many, and compare them with free weights and with fewer units."""
    d, y = after(experiment, runs, 1)
    moved, negated = np.asarray(all_correct(d, y)), np.asarray(all_correct(1.0 - d, y))
    yield Fact("one step moves everything one place", NO_FIGURE, share_of(moved))
    yield Fact("one step moves everything one place and negates it", NO_FIGURE, share_of(negated))
    n_units, n_networks = experiment.network.sizes[0], min(N_MORE, len(runs.solved))
    rows = [(f"{n_units}, weights equal", share_of(runs.solved), *_of_more_steps(experiment, runs))]
    free = train_more(replace(experiment, network=layered(n_units, N_STEPS), wiring=""), n_networks)
    rows.append((f"{n_units}, weights free", share_of(free.solved), *(NONE for _ in MORE_STEPS)))
    fewer = replace(experiment, network=network(3), cases=partial(shifted, 3, N_STEPS))
    of_three = train_more(fewer, n_networks)
    rows.append(("3, weights equal", share_of(of_three.solved), *_of_more_steps(fewer, of_three)))
    headings = [f"right after {n_steps}" for n_steps in MORE_STEPS]
    yield StudyTable(
        f"Trained for {N_STEPS} steps, and run for more: free weights are good for as many steps as there are layers",
        ("units", "done", *headings),
        tuple(rows),
    )


def _of_more_steps(experiment: Experiment, runs: Runs) -> list[str]:
    """Format which fraction of the nets that are done have all right after the given number of further steps."""
    return [share_of(np.asarray(all_correct(*after(experiment, runs, n_steps)))) for n_steps in MORE_STEPS]
