"""One experiment from many first weights: trained as one stack of networks, each until it is done."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from gpubp.descent import Rule, momentum
from gpubp.initialization import initial_weights
from gpubp.network import Network
from gpubp.paper import cases
from gpubp.training import all_right, train


@dataclass(frozen=True)
class Experiment:
    """What is trained, on what, and how.

    Attributes
    ----------
    name, title : str
    network : Network
    cases : callable
        Gives x and d.
    rule : Rule
    scale : float
        First weights are uniform in ``-scale`` to ``scale``.
    sweeps : int
        At most.
    within : float
        A network is done when each of its outputs is less than this away from the desired one.
    says : str
        What the paper, or the chapter, reports.
    """

    name: str
    title: str
    network: Network
    cases: Callable[[], cases.Cases]
    rule: Rule
    scale: float
    sweeps: int
    says: str
    within: float = 0.5


class Runs(NamedTuple):
    """What became of K networks.

    ``solved`` (K,) tells which were done in time, ``sweeps`` (K,) after how many sweeps, ``theta`` (K, P) is from that
    sweep or from the last, ``error`` (K,) is the error, eq. (3), there.
    """

    experiment: Experiment
    solved: np.ndarray
    sweeps: np.ndarray
    theta: np.ndarray
    error: np.ndarray
    seconds: float

    def quartiles(self) -> tuple[float, float, float]:
        """Find after how many sweeps a quarter, a half and three quarters of all networks were done, if they were."""
        after = np.where(self.solved, self.sweeps, np.inf)
        first, median, third = np.quantile(after, (0.25, 0.5, 0.75), method="inverted_cdf")
        return float(first), float(median), float(third)


CHAPTER = "Rumelhart, Hinton & Williams (1986), Parallel Distributed Processing 1, chapter 8"

UNCONFIRMED = f"an example of the chapter; no figure of it was found in a text that could be checked ({CHAPTER})"


EXPERIMENTS = {
    experiment.name: experiment
    for experiment in (
        Experiment(
            "symmetry",
            "Is a vector its own mirror image?",
            Network((6, 2, 1), hidden="logistic", output="logistic"),
            cases.symmetry,
            momentum(0.1, 0.9),
            scale=0.3,
            sweeps=30_000,
            says="1,425 sweeps, from one set of first weights (Nature 323, figure 1)",
        ),
        Experiment(
            "xor",
            "Exclusive or, two hidden units",
            Network((2, 2, 1), hidden="logistic", output="logistic"),
            partial(cases.parity, 2),
            momentum(0.5, 0.9),
            scale=0.5,
            sweeps=10_000,
            says=f"two of hundreds of runs met a local minimum ({CHAPTER})",
        ),
        Experiment(
            "parity",
            "Is the number of ones odd? Four inputs",
            Network((4, 4, 1), hidden="logistic", output="logistic"),
            partial(cases.parity, 4),
            momentum(0.5, 0.9),
            scale=0.5,
            sweeps=30_000,
            says=f"2,825 presentations of each pattern, rate 0.5 ({CHAPTER})",
        ),
        Experiment(
            "encoder",
            "Eight patterns through three units",
            Network((8, 3, 8), hidden="logistic", output="logistic"),
            partial(cases.encoder, 8),
            momentum(0.5, 0.9),
            scale=0.5,
            sweeps=10_000,
            says=f"three units suffice for eight patterns ({CHAPTER})",
        ),
        Experiment(
            "addition",
            "The sum of two numbers of two bits",
            Network((4, 3, 3), hidden="logistic", output="logistic"),
            cases.addition,
            momentum(0.5, 0.9),
            scale=0.5,
            sweeps=10_000,
            says=UNCONFIRMED,
        ),
        Experiment(
            "negation",
            "Three bits, negated where a fourth says so",
            Network((4, 6, 3), hidden="logistic", output="logistic"),
            cases.negation,
            momentum(0.5, 0.9),
            scale=0.5,
            sweeps=10_000,
            says=UNCONFIRMED,
        ),
    )
}


def run_seeds(
    experiment: Experiment,
    n_seeds: int = 1000,
    *,
    sweeps: int | None = None,
    first_seed: int = 0,
    device: str = "auto",
    dtype: str = "float32",
    callbacks: tuple[Callable[[Any], Any], ...] = (),
) -> Runs:
    """Train an experiment's network from many first weights, as one stack.

    Parameters
    ----------
    experiment : Experiment
    n_seeds : int
        How many networks; their weights are drawn from the seeds ``first_seed`` on.
    sweeps : int, optional
        At most so many; without it the experiment's own number.

    Returns
    -------
    Runs

    Examples
    --------
    >>> runs = run_seeds(EXPERIMENTS["xor"], 3, sweeps=5, device="cpu")
    >>> runs.theta.shape
    (3, 9)
    """
    network, (x, d) = experiment.network, experiment.cases()
    seeds = range(first_seed, first_seed + n_seeds)
    theta = initial_weights(network, seeds, scheme="uniform", scale=experiment.scale, dtype=dtype)
    began = time.perf_counter()
    fit = train(
        network,
        x,
        d,
        theta=theta,
        rule=experiment.rule,
        epochs=sweeps or experiment.sweeps,
        batch_size="sweep",
        mean=False,
        until=partial(all_right, within=experiment.within),
        callbacks=callbacks,
        device=device,
    )
    errors = np.asarray(fit.history.error)
    error = errors[fit.best_epoch - 1, np.arange(n_seeds)]
    return Runs(experiment, fit.solved, fit.best_epoch, np.asarray(fit.theta), error, time.perf_counter() - began)
