"""The paper's caveat, measured: gradient descent and methods that use second derivatives, from equal first weights."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, NamedTuple

import numpy as np

from gpubp._core.text import counted
from gpubp.nn.initialization import initial_weights
from gpubp.optim.first_order import Optimizer, adam, gradient_descent, momentum, nesterov
from gpubp.optim.second_order import Problem, SecondOrder, lbfgs, levenberg_marquardt
from gpubp.paper.experiment import Experiment, run_seeds
from gpubp.paper.solver_pictures import DRAWINGS, Result
from gpubp.paper.study import Callbacks, Fact, Findings, StudyDrawing, StudyPicture, StudyTable, Verdict, quartiles
from gpubp.paper.words import NONE, from_to, in_words
from gpubp.training.fit import all_correct, train

RATES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
"""The step sizes that are tried for each rule on each experiment."""
NETWORKS_PER_RATE = 25
"""The number of networks that try each step size."""
FIRST_SEED_OF_RATES = 1_000_000
"""The first seed of these networks, none of which is among those that are measured."""

EQUATION_9 = "momentum, eq. (9)"
OPTIMIZERS: dict[str, Callable[[Any], Optimizer]] = {
    "plain, eq. (8)": gradient_descent,
    EQUATION_9: momentum,
    "Nesterov": nesterov,
    "Adam": adam,
}
METHODS: dict[str, Callable[[], SecondOrder]] = {"L-BFGS": lbfgs, "Levenberg-Marquardt": levenberg_marquardt}


ENOUGH_BOTH = 5
"""The minimum number of first weights from which both solvers must get there to be compared."""


class Race(NamedTuple):
    """The results of K networks that one solver trained on one experiment.

    ``gradients`` (K,) is how often the error and its gradient over all cases were asked for; ``sweeps`` (K,) are
    changes of the weights. ``rate`` is None if a method finds its steps itself.
    """

    experiment: str
    solver: str
    rate: float | None
    solved: np.ndarray
    sweeps: np.ndarray
    gradients: np.ndarray
    seconds: float


class Interrupted(Exception):
    """Raised if the user pressed Ctrl-C during a comparison, which is then incomplete."""


@dataclass(frozen=True)
class Solvers:
    """Every rule and method on every experiment; a :class:`gpubp.paper.study.Study`.

    Attributes
    ----------
    experiments : tuple of Experiment
    stacked, singly : int
        The maximum number of networks for a first-order rule, which trains them as a stack, and for a second-order
        method, which trains one after another.
    sweeps, single_sweeps : int
        The maximum number of sweeps of each.
    """

    experiments: tuple[Experiment, ...]
    drawings: ClassVar[dict[str, StudyDrawing]] = DRAWINGS
    stacked: int = 100
    singly: int = 25
    sweeps: int = 5_000
    single_sweeps: int = 1_000
    name: str = "solvers"
    title: str = "How fast are descent and methods that use second derivatives?"
    says: str = (
        "slower than methods that use second derivatives, but simpler, and done by local computations (Nature 323)"
    )
    criterion: str = (
        f"on every experiment that eq. (9) learns from at least {ENOUGH_BOTH} of the first weights, L-BFGS and "
        f"Levenberg-Marquardt get there from at least {ENOUGH_BOTH} of the same, and from these in fewer sweeps "
        f"(medians)"
    )

    def setting(self, n_networks: int, sweeps: int) -> str:
        """Describe in one line what is compared, with the number of networks and the limit of sweeps."""
        stacked, singly, single_sweeps = self.limits(n_networks, sweeps)
        return (
            f"{', '.join(experiment.name for experiment in self.experiments)}, each with its own network and first "
            f"weights, in float64; for each rule {counted(stacked, 'network')} of {counted(sweeps, 'sweep')} at most, "
            f"for each method of second order {singly:,} of {single_sweeps:,}; momentum 0.9; the step of a rule is the "
            f"one of {', '.join(f'{rate:g}' for rate in RATES)} with the fewest sweeps on average over "
            f"{NETWORKS_PER_RATE} other networks, where those that are not done count with all they had; among equals, "
            f"the one with the smallest error"
        )

    def limits(self, n_networks: int, sweeps: int) -> tuple[int, int, int]:
        """Limit the request: networks in a stack, and networks trained singly with their sweeps."""
        return min(n_networks, self.stacked), min(n_networks, self.singly), min(sweeps, self.single_sweeps)

    def run(
        self,
        n_networks: int = 1000,
        *,
        sweeps: int | None = None,
        device: str = "auto",
        callbacks: Callbacks = (),
    ) -> Findings:
        """Compare them, with at most the given number of networks: see :class:`gpubp.paper.study.Study`."""
        began, races, stop_reason, sweeps = time.perf_counter(), [], "epochs", sweeps or self.sweeps
        try:
            for race in self.races(n_networks, sweeps, device=device, callbacks=callbacks):
                races.append(race)
        except Interrupted:
            stop_reason = "interrupted"
        return Findings(
            setting=self.setting(n_networks, sweeps),
            limit=sweeps,
            solved=np.zeros(0, dtype=bool),
            sweeps=None,
            seconds=time.perf_counter() - began,
            stop_reason=stop_reason,
            verdict=judge(races),
            facts=facts(races),
            pictures=pictures(races) if races else (),
            tables=(table(races),) if races else (),
        )

    def races(self, n_networks: int, sweeps: int, **options: Any) -> Iterator[Race]:
        """Run every race, one after another, with the device and the callbacks; raise Interrupted on Ctrl-C."""
        stacked, singly, single_sweeps = self.limits(n_networks, sweeps)
        for experiment in self.experiments:
            for name, optimizer in OPTIMIZERS.items():
                rate = search_rate(experiment, optimizer, sweeps, **options)
                yield race_stacked(experiment, name, optimizer, rate, stacked, sweeps, **options)
            for name, method in METHODS.items():
                yield race_singly(experiment, name, method(), singly, single_sweeps, **options)


# --- the races ---


def search_rate(
    experiment: Experiment,
    optimizer: Callable[[Any], Optimizer],
    sweeps: int,
    **options: Any,
) -> float:
    """Choose the step size with the fewest sweeps on average, then the smallest error; all are tried in one stack."""
    rates = np.repeat(RATES, NETWORKS_PER_RATE)
    tried = replace(experiment, optimizer=optimizer(rates[:, None]))
    runs = run_seeds(tried, len(rates), sweeps=sweeps, first_seed=FIRST_SEED_OF_RATES, dtype="float64", **options)
    if runs.stop_reason == "interrupted":
        raise Interrupted
    needed = np.where(runs.solved, runs.sweeps, sweeps)
    cost, error = (figures.reshape(len(RATES), NETWORKS_PER_RATE).mean(axis=1) for figures in (needed, runs.error))
    return RATES[int(np.lexsort((error, cost))[0])]


def race_stacked(
    experiment: Experiment,
    name: str,
    optimizer: Callable[[Any], Optimizer],
    rate: float,
    n_networks: int,
    sweeps: int,
    **options: Any,
) -> Race:
    """Train a stack of networks by a first-order rule, which evaluates one gradient a sweep."""
    racing = replace(experiment, optimizer=optimizer(rate))
    runs = run_seeds(racing, n_networks, sweeps=sweeps, dtype="float64", **options)
    if runs.stop_reason == "interrupted":
        raise Interrupted
    return Race(experiment.name, name, rate, runs.solved, runs.sweeps, runs.sweeps, runs.seconds)


def race_singly(
    experiment: Experiment,
    name: str,
    method: SecondOrder,
    n_networks: int,
    sweeps: int,
    **options: Any,
) -> Race:
    """Train networks one after another by a second-order method, and count the gradients that it asks for."""
    network, (x, d) = experiment.network, experiment.cases()
    first = initial_weights(network, range(n_networks), scheme="uniform", scale=experiment.scale, dtype="float64")
    solved, done_after, gradients = np.zeros(n_networks, bool), np.zeros(n_networks, int), np.zeros(n_networks, int)
    began = time.perf_counter()
    for k, theta in enumerate(first):
        evaluated: list[None] = []
        fit = train(
            network,
            x,
            d,
            theta=theta,
            optimizer=_counted(method, evaluated),
            epochs=sweeps,
            reduction="sum",
            stop_when=partial(all_correct, within=experiment.within),
            **options,
        )
        if fit.stop_reason == "interrupted":
            raise Interrupted
        solved[k], done_after[k], gradients[k] = fit.solved, fit.best_epoch, len(evaluated)
    return Race(experiment.name, name, None, solved, done_after, gradients, time.perf_counter() - began)


def _counted(method: SecondOrder, evaluated: list[None]) -> SecondOrder:
    """Append one entry to a list whenever the error and its gradient are asked for."""

    def update(xp: Any, theta: Any, state: Any, problem: Problem) -> Any:
        def loss_and_gradient(at: Any) -> Any:
            evaluated.append(None)
            return problem.loss_and_gradient(at)

        return method.update(xp, theta, state, problem._replace(loss_and_gradient=loss_and_gradient))

    return replace(method, update=update)


# --- findings ---


class Pair(NamedTuple):
    """A second-order method compared with eq. (9): medians over the first weights from which both get there.

    Infinity where these are too few.
    """

    experiment: str
    method: str
    sweeps: tuple[float, float]  # of the method, of eq. (9)
    gradients: tuple[float, float]


def pairs(races: list[Race]) -> list[Pair]:
    """Compare the second-order methods with eq. (9) if it learns from enough of their first weights."""
    descent = {race.experiment: race for race in races if race.solver == EQUATION_9}
    compared = []
    for race in races:
        if race.solver in METHODS:
            n, other = len(race.solved), descent[race.experiment]
            if np.sum(other.solved[:n]) >= ENOUGH_BOTH:
                both = race.solved & other.solved[:n]
                compared.append(
                    Pair(
                        race.experiment,
                        race.solver,
                        (_median(race.sweeps[both]), _median(other.sweeps[:n][both])),
                        (_median(race.gradients[both]), _median(other.gradients[:n][both])),
                    )
                )
    return compared


def _median(figures: np.ndarray) -> float:
    return float(np.median(figures)) if len(figures) >= ENOUGH_BOTH else np.inf


def judge(races: list[Race]) -> Verdict:
    """Judge by the criterion of :class:`Solvers`."""
    compared = pairs(races)
    if not compared:
        return Verdict("undecided", f"eq. (9) learns no experiment from at least {ENOUGH_BOTH} of the first weights")
    fewer = sum(pair.sweeps[0] < pair.sweeps[1] for pair in compared)
    seldom = sum(pair.sweeps[0] == np.inf for pair in compared)
    raced = dict.fromkeys(race.experiment for race in races if race.solver in METHODS)
    left_out = [name for name in raced if name not in {pair.experiment for pair in compared}]
    why = (
        f"fewer sweeps in {fewer} of {counted(len(compared), 'comparison')} with eq. (9); in {seldom} the method gets "
        f"there from fewer than {ENOUGH_BOTH} of the same first weights"
    )
    if left_out:
        why += f"; not compared, since eq. (9) does: {', '.join(left_out)}"
    return Verdict("not reproduced" if not fewer else "reproduced" if fewer == len(compared) else "partly", why)


def facts(races: list[Race]) -> list[Fact]:
    """Say for each method how many times fewer sweeps and gradients it needs, and how often each solver gets there."""
    compared, needs = pairs(races), []
    for method in METHODS:
        own = [pair for pair in compared if pair.method == method]
        for what, paper in (("sweeps", "yes"), ("gradients", NONE)):
            both = [getattr(pair, what) for pair in own if np.isfinite(pair.sweeps[0])]
            if both:
                times = np.asarray([of_equation_9 / of_method for of_method, of_equation_9 in both])
                how_often = f"on {np.sum(times > 1.0)} of {counted(len(own), 'experiment')}"
                needs.append(
                    Fact(
                        f"{method} needs fewer {what} than eq. (9)",
                        paper,
                        f"{how_often}; eq. (9) needs {from_to(times)} times as many where both get there",
                    )
                )
    shares = [
        f"{name} {100 * np.mean(np.concatenate(solved)):.0f} %"
        for name in (*OPTIMIZERS, *METHODS)
        if (solved := [race.solved for race in races if race.solver == name])
    ]
    return [*needs, Fact("networks that get there", NONE, "; ".join(shares))] if shares else needs


def table(races: list[Race]) -> StudyTable:
    """Lay out all figures of all races."""
    return StudyTable(
        "Done, and sweeps until ¼, ½ and ¾ of all networks are; gradients evaluated in a sweep, which is one change of "
        "the weights; milliseconds for each network that was done. Levenberg-Marquardt also takes the derivatives of "
        "each output for each case, and solves equations. Rules train stacks on all cores, methods one network after "
        "another.",
        ("experiment", "solver", "step", "done", "¼", "½", "¾", "gradients", "ms"),
        tuple(_row(race) for race in races),
        n_text=2,
    )


def _row(race: Race) -> tuple[str, ...]:
    parts = quartiles(race.solved, race.sweeps)
    milliseconds = 1000.0 * seconds_each(race)
    return (
        race.experiment,
        race.solver,
        NONE if race.rate is None else f"{race.rate:g}",
        f"{np.sum(race.solved)}/{len(race.solved)}",
        *map(in_words, parts),
        f"{np.sum(race.gradients) / np.sum(race.sweeps):.2f}",
        NONE if not np.any(race.solved) else f"{milliseconds:,.{0 if milliseconds >= 100 else 1}f}",
    )


def seconds_each(race: Race) -> float:
    """Share the seconds of all networks among those that got there."""
    return race.seconds / max(int(np.sum(race.solved)), 1)


# --- pictures ---


def pictures(races: list[Race]) -> tuple[StudyPicture, ...]:
    """Return the pictures of the sweeps and of the milliseconds of each solver on each experiment."""
    results = [
        Result(
            race.experiment,
            race.solver,
            int(np.sum(race.solved)),
            len(race.solved),
            tuple(part if np.isfinite(part) else None for part in quartiles(race.solved, race.sweeps)),
            1000.0 * seconds_each(race) if np.any(race.solved) else None,
        )
        for race in races
    ]
    return (
        StudyPicture(
            "quartiles",
            "Sweeps until a quarter, half (the mark) and three quarters of all networks are done; a line that runs out "
            "on the right belongs to a quarter that never is, and a hollow mark to a solver by which less than half "
            "are, with how many are",
            {"results": results},
        ),
        StudyPicture(
            "seconds",
            "Milliseconds for each network that is done, the time of all shared among them; a hollow mark belongs to a "
            "solver by which none is",
            {"results": results},
        ),
    )
