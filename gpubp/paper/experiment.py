"""One experiment from many first weights: trained as one stack of networks, each until it is done."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from gpubp.descent import Rule
from gpubp.initialization import initial_weights
from gpubp.losses import loss
from gpubp.network import Network
from gpubp.paper.cases import Cases
from gpubp.paper.study import Fact, Findings, Picture, Verdict, quartiles
from gpubp.prediction import predict
from gpubp.training import all_right, train


class Runs(NamedTuple):
    """What became of K networks.

    ``solved`` (K,) tells which were done in time, ``sweeps`` (K,) after how many sweeps, ``theta`` (K, P) is from that
    sweep or from the last, ``error`` (K,) is the error, eq. (3), with these weights.
    """

    solved: np.ndarray
    sweeps: np.ndarray
    theta: np.ndarray
    error: np.ndarray
    seconds: float
    stop_reason: str

    def quartiles(self) -> tuple[float, float, float]:
        """See :func:`gpubp.paper.study.quartiles`."""
        return quartiles(self.solved, self.sweeps)


def nothing_more(experiment: "Experiment", runs: Runs) -> list[Any]:
    """Find no facts, or no pictures, beside the sweeps."""
    return []


@dataclass(frozen=True)
class Experiment:
    """What is trained, on what, and how; a :class:`gpubp.paper.study.Study`.

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
    says, criterion : str
        See :class:`gpubp.paper.study.Study`.
    judge : callable
        ``judge(runs, n_sweeps) -> Verdict``, by the criterion.
    within : float
        A network is done when each of its outputs is less than this away from the desired one.
    facts : callable
        ``facts(experiment, runs) -> list of Fact``
    pictures : callable
        ``pictures(experiment, runs) -> list of Picture``
    """

    name: str
    title: str
    network: Network
    cases: Callable[[], Cases]
    rule: Rule
    scale: float
    sweeps: int
    says: str
    criterion: str
    judge: Callable[[Runs, int], Verdict]
    within: float = 0.5
    facts: "Callable[[Experiment, Runs], list[Fact]]" = nothing_more
    pictures: "Callable[[Experiment, Runs], list[Picture]]" = nothing_more

    @property
    def setting(self) -> str:
        """Say in a line what is trained, and how."""
        sizes, skips = "-".join(map(str, self.network.sizes)), self.network.skips
        wiring = f", connections from layer {skips[0][0]} to {skips[0][1]}" if skips else ""
        settings = ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in self.rule.settings.items())
        return f"{sizes}{wiring}, first weights in ±{self.scale:g}, {settings}, one change a sweep"

    def run(
        self,
        n_networks: int = 1000,
        *,
        sweeps: int | None = None,
        device: str = "auto",
        callbacks: tuple[Callable[[Any], Any], ...] = (),
    ) -> Findings:
        """Train so many networks and judge them: see :class:`gpubp.paper.study.Study`."""
        runs = run_seeds(self, n_networks, sweeps=sweeps, device=device, callbacks=callbacks)
        return Findings(
            runs.solved,
            runs.sweeps,
            runs.seconds,
            runs.stop_reason,
            self.judge(runs, sweeps or self.sweeps),
            self.facts(self, runs),
            tuple(self.pictures(self, runs)),
        )


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
    >>> from gpubp.paper.studies import STUDIES
    >>> runs = run_seeds(STUDIES["xor"], 3, sweeps=5, device="cpu")
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
    theta, seconds = np.asarray(fit.theta), time.perf_counter() - began
    error = np.sum(loss(network.loss).value(np, predict(network, theta, x, device=device), d), axis=(1, 2))
    return Runs(fit.solved, fit.best_epoch, theta, error, seconds, fit.stop_reason)
