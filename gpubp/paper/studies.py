"""All studies by name: their settings, what is reported of them, and what must be found."""

from collections.abc import Callable
from functools import partial
from typing import Any

from gpubp.descent import momentum
from gpubp.network import Network
from gpubp.paper import cases, symmetry
from gpubp.paper.experiment import Experiment, Runs
from gpubp.paper.family_trees import FamilyTrees
from gpubp.paper.study import Study, Verdict

CHAPTER = "Rumelhart, Hinton & Williams (1986), Parallel Distributed Processing 1, chapter 8"

UNCONFIRMED = f"an example of the chapter; no figure of it was found in a text that could be checked ({CHAPTER})"


def _most_solve(share: float) -> tuple[str, Callable[[Runs, int], Verdict]]:
    """Word the criterion that a share of the networks is done in time, and make what judges by it."""

    def judge(runs: Runs, n_sweeps: int) -> Verdict:
        n, n_solved = len(runs.solved), int(runs.solved.sum())
        why = f"{n_solved} of {n} networks were done within {n_sweeps:,} sweeps"
        return Verdict("reproduced" if n_solved >= share * n else "partly" if n_solved else "not reproduced", why)

    return f"at least {share:.0%} of the networks are done in time", judge


def _made(*, share: float = 0.5, **settings: Any) -> Experiment:
    criterion, judge = _most_solve(share)
    return Experiment(criterion=criterion, judge=judge, **settings)


STUDIES: dict[str, Study] = {
    study.name: study
    for study in (
        _made(
            name="symmetry",
            title="Is a vector its own mirror image?",
            network=Network((6, 2, 1), hidden="logistic", output="logistic"),
            cases=cases.symmetry,
            rule=momentum(0.1, 0.9),
            scale=0.3,
            sweeps=30_000,
            says="1,425 sweeps, from one set of first weights (Nature 323, figure 1)",
            facts=symmetry.facts,
        ),
        _made(
            name="xor",
            title="Exclusive or, two hidden units",
            network=Network((2, 2, 1), hidden="logistic", output="logistic"),
            cases=partial(cases.parity, 2),
            rule=momentum(0.5, 0.9),
            scale=0.5,
            sweeps=10_000,
            says=f"two of hundreds of runs met a local minimum ({CHAPTER})",
        ),
        _made(
            name="parity",
            title="Is the number of ones odd? Four inputs",
            network=Network((4, 4, 1), hidden="logistic", output="logistic"),
            cases=partial(cases.parity, 4),
            rule=momentum(0.5, 0.9),
            scale=0.5,
            sweeps=30_000,
            says=f"2,825 presentations of each pattern, rate 0.5 ({CHAPTER})",
        ),
        _made(
            name="encoder",
            title="Eight patterns through three units",
            network=Network((8, 3, 8), hidden="logistic", output="logistic"),
            cases=partial(cases.encoder, 8),
            rule=momentum(0.5, 0.9),
            scale=0.5,
            sweeps=10_000,
            says=f"three units suffice for eight patterns ({CHAPTER})",
        ),
        _made(
            name="addition",
            title="The sum of two numbers of two bits",
            network=Network((4, 3, 3), hidden="logistic", output="logistic"),
            cases=cases.addition,
            rule=momentum(0.5, 0.9),
            scale=0.5,
            sweeps=10_000,
            says=UNCONFIRMED,
        ),
        _made(
            name="negation",
            title="Three bits, negated where a fourth says so",
            network=Network((4, 6, 3), hidden="logistic", output="logistic"),
            cases=cases.negation,
            rule=momentum(0.5, 0.9),
            scale=0.5,
            sweeps=10_000,
            says=UNCONFIRMED,
        ),
        FamilyTrees(),
    )
}
