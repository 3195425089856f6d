"""One experiment from many first weights: trained as one stack of networks, each until it is done."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple, Protocol

import numpy as np

from gpubp.engine.prediction import predict
from gpubp.nn.initialization import initial_weights
from gpubp.nn.losses import get_loss
from gpubp.nn.network import Network
from gpubp.optim.first_order import Optimizer
from gpubp.paper.cases import Cases
from gpubp.paper.chance import ALLOWED
from gpubp.paper.study import (
    Callbacks,
    Fact,
    Findings,
    Reached,
    StudyDrawing,
    StudyPicture,
    StudyTable,
    Verdict,
    if_enough_networks,
    quartiles,
)
from gpubp.paper.words import seeds_in_words
from gpubp.training.fit import all_correct, train


class Runs(NamedTuple):
    """The results of K networks.

    ``solved`` (K,) says which were done in time, ``sweeps`` (K,) after how many sweeps of at most ``limit``; ``theta``
    (K, P) is from that sweep or from the last, and ``error`` (K,) is the error, eq. (3), with these weights.
    """

    solved: np.ndarray
    sweeps: np.ndarray
    theta: np.ndarray
    error: np.ndarray
    seconds: float
    stop_reason: str
    limit: int

    def quartiles(self) -> tuple[float, float, float]:
        """See :func:`gpubp.paper.study.quartiles`."""
        return quartiles(self.solved, self.sweeps)


class ConditionResult(NamedTuple):
    """Whether a condition holds, and what was found."""

    holds: bool
    found: str


class Condition(NamedTuple):
    """A part of a study's criterion: as text, and as ``check(experiment, runs) -> ConditionResult``."""

    words: str
    check: "Callable[[Experiment, Runs], ConditionResult]"


class TrainMore(Protocol):
    """Trains networks of an experiment like the first one, on the same device and for as many sweeps at most."""

    def __call__(self, experiment: "Experiment", n_networks: int) -> Runs:
        """Train the given number of networks."""
        ...


def nothing_more(experiment: "Experiment", runs: Runs, *_: Any) -> Iterator[Any]:
    """Report only the sweeps."""
    return iter(())


@dataclass(frozen=True)
class Experiment:
    """What is trained, on what, and how; a :class:`gpubp.paper.study.Study`.

    Attributes
    ----------
    name, title : str
    network : Network
    cases : callable
        Returns x and d.
    rule : Rule
    scale : float
        First weights are uniform in ``-scale`` to ``scale``.
    sweeps : int
        At most.
    says : str
        See :class:`gpubp.paper.study.Study`.
    conditions : tuple of Condition
        What must hold for the claim to count as reproduced, or as partly reproduced if only some hold.
    within : float
        A network is done when each of its outputs is less than this away from the desired one.
    settled : float, optional
        Networks that are done are trained further until their outputs are this near, for at most as many sweeps more,
        before anything but their sweeps is evaluated.
    wiring : str
        A description of the connections, if some are missing or equal.
    find_facts : callable
        ``find_facts(experiment, runs, train_more)`` yields Facts and Tables.
    pictures : callable
        ``pictures(experiment, runs)`` yields Pictures.
    drawings : dict of str to StudyDrawing
        How they are drawn, by their names.
    reported : int, optional
        The sweeps that the paper or the chapter reports.
    """

    name: str
    title: str
    network: Network
    cases: Callable[[], Cases]
    optimizer: Optimizer
    scale: float
    sweeps: int
    says: str
    conditions: tuple[Condition, ...]
    within: float = 0.5
    settled: float | None = None
    wiring: str = ""
    find_facts: "Callable[[Experiment, Runs, TrainMore], Iterable[Fact | StudyTable]]" = nothing_more
    pictures: "Callable[[Experiment, Runs], Iterable[StudyPicture]]" = nothing_more
    drawings: Mapping[str, StudyDrawing] = field(default_factory=dict)
    reported: int | None = None

    def setting(self, n_networks: int, sweeps: int) -> str:
        """Describe in one line what is trained and how, with the number of networks and the limit of sweeps."""
        sizes = "-".join(map(str, self.network.sizes))
        settings = ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in self.optimizer.settings.items())
        done = f"done when all outputs are within {self.within:g}"
        if self.settled is not None:
            done += f", looked at when within {self.settled:g}"
        parts = [sizes, self.wiring, f"first weights in ±{self.scale:g}", settings, "one change a sweep"]
        parts += [f"{sweeps:,} at most", done, seeds_in_words(n_networks)]
        return ", ".join(part for part in parts if part)

    @property
    def criterion(self) -> str:
        """Say what must hold for the claim to count as reproduced."""
        return "; ".join([*(condition.words for condition in self.conditions), ALLOWED])

    def judge(self, runs: Runs) -> Verdict:
        """Compare the results of the networks with the criterion."""
        findings = [condition.check(self, runs) for condition in self.conditions]
        n_held = sum(finding.holds for finding in findings)
        is_whole = n_held == len(findings)
        parts = (found if is_whole else f"{'met' if holds else 'not met'}: {found}" for holds, found in findings)
        why = "; ".join(parts)
        held: Reached = "reproduced" if is_whole else "partly" if n_held else "not reproduced"
        return if_enough_networks(len(runs.solved), Verdict(held, why))

    def run(
        self,
        n_networks: int = 1000,
        *,
        sweeps: int | None = None,
        device: str = "auto",
        callbacks: Callbacks = (),
    ) -> Findings:
        """Train the given number of networks and judge them: see :class:`gpubp.paper.study.Study`."""
        began = time.perf_counter()
        runs = _run(self, n_networks, sweeps=sweeps, device=device, callbacks=callbacks)
        results: list[Fact | StudyTable] = []
        stop_reason = runs.stop_reason
        train_more = partial(_train_more, stop_reason, sweeps=sweeps, device=device, callbacks=callbacks)
        try:
            for more in self.find_facts(self, runs, train_more):
                results.append(more)  # these results are kept if the rest is interrupted
        except KeyboardInterrupt:
            stop_reason = "interrupted"
        return Findings(
            setting=self.setting(n_networks, runs.limit),
            limit=runs.limit,
            solved=runs.solved,
            sweeps=runs.sweeps,
            seconds=time.perf_counter() - began,
            stop_reason=stop_reason,
            verdict=self.judge(runs),
            facts=[fact for fact in results if isinstance(fact, Fact)],
            pictures=tuple(self.pictures(self, runs)),
            tables=tuple(table for table in results if isinstance(table, StudyTable)),
            reported=self.reported,
        )


def _train_more(stop_reason: str, experiment: Experiment, n_networks: int, **options: Any) -> Runs:
    """Train more networks, unless the user has interrupted."""
    if stop_reason == "interrupted":
        raise KeyboardInterrupt
    runs = _run(experiment, n_networks, **options)
    if runs.stop_reason == "interrupted":
        raise KeyboardInterrupt
    return runs


def _run(experiment: Experiment, n_networks: int, *, sweeps: int | None, device: str, callbacks: Callbacks) -> Runs:
    """Train networks until they are done, and further until they settle; the latter sweeps are not counted."""
    runs = run_seeds(experiment, n_networks, sweeps=sweeps, device=device, callbacks=callbacks)
    if runs.stop_reason == "interrupted" or experiment.settled is None or not np.any(runs.solved):
        return runs
    nearer = replace(experiment, within=experiment.settled)
    further = run_from(nearer, runs.theta[runs.solved], sweeps=runs.limit, device=device, callbacks=callbacks)
    theta, error = runs.theta.copy(), runs.error.copy()
    theta[runs.solved], error[runs.solved] = further.theta, further.error
    stop_reason = "interrupted" if further.stop_reason == "interrupted" else runs.stop_reason
    return runs._replace(theta=theta, error=error, seconds=runs.seconds + further.seconds, stop_reason=stop_reason)


def run_seeds(
    experiment: Experiment,
    n_seeds: int = 1000,
    *,
    sweeps: int | None = None,
    first_seed: int = 0,
    device: str = "auto",
    dtype: str = "float32",
    callbacks: Callbacks = (),
) -> Runs:
    """Train an experiment's network from many first weights, as one stack.

    Parameters
    ----------
    experiment : Experiment
    n_seeds : int
        How many networks; their weights are drawn from the seeds ``first_seed`` on.
    sweeps : int, optional
        The limit; by default, the experiment's own.

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
    seeds = range(first_seed, first_seed + n_seeds)
    theta = initial_weights(experiment.network, seeds, scheme="uniform", scale=experiment.scale, dtype=dtype)
    return run_from(experiment, theta, sweeps=sweeps, device=device, callbacks=callbacks)


def run_from(
    experiment: Experiment,
    theta: np.ndarray,
    *,
    sweeps: int | None = None,
    device: str = "auto",
    callbacks: Callbacks = (),
) -> Runs:
    """Train an experiment's network from given weights, ``(K, P)``, as :func:`run_seeds` does from drawn ones."""
    (x, d), limit = experiment.cases(), sweeps or experiment.sweeps
    began = time.perf_counter()
    fit = train(
        experiment.network,
        x,
        d,
        theta=theta,
        optimizer=experiment.optimizer,
        epochs=limit,
        batch_size="full",
        reduction="sum",
        stop_when=partial(all_correct, within=experiment.within),
        callbacks=callbacks,
        device=device,
        history=False,
    )
    theta, seconds = np.asarray(fit.theta), time.perf_counter() - began
    y = predict(experiment.network, theta, x, device=device)
    error = np.sum(get_loss(experiment.network.loss).value(np, y, d), axis=(1, 2))
    return Runs(fit.solved, fit.best_epoch, theta, error, seconds, fit.stop_reason, limit)
