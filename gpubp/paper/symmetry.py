"""What the networks that tell symmetric vectors have in common: the paper's claims, measured."""

import numpy as np

from gpubp.network import views
from gpubp.paper.experiment import Experiment, Runs
from gpubp.paper.study import Fact

NEAR = 0.15
"""A ratio counts as the paper's when it is at most this part away from it."""


def facts(experiment: Experiment, runs: Runs) -> list[Fact]:
    """Compare the networks that were done with what the paper says of its one.

    Parameters
    ----------
    experiment : Experiment
        ``symmetry``.
    runs : Runs

    Returns
    -------
    list of Fact
    """
    solved = runs.theta[runs.solved].astype(float)
    if not len(solved):
        return []
    hidden, output = views(np, experiment.network, solved)
    w, hidden_biases = hidden[:, :-1], hidden[:, -1]  # (k, 6, 2), (k, 2)
    mirrored, sizes = _mirrored(w), _sizes(w)
    ratios = sizes / sizes[:, :1]
    median = np.median(ratios, axis=0)
    near = np.all(np.abs(ratios / np.asarray([1.0, 2.0, 4.0])[:, None] - 1.0) <= NEAR, axis=(1, 2))
    opposite = np.all(np.sign(w[:, :, 0]) == -np.sign(w[:, :, 1]), axis=1)
    return [
        Fact("weights mirrored about the middle are opposite in sign", "yes", _share(np.all(mirrored, axis=(1, 2)))),
        Fact("the two hidden units have opposite signs", "yes", _share(opposite)),
        Fact(
            "sizes on each side, smallest first",
            "1 : 2 : 4",
            f"1 : {np.median(median[1]):.2f} : {np.median(median[2]):.2f} (medians); within {NEAR:.0%}: {_share(near)}",
        ),
        Fact("both hidden biases are negative", "yes", _share(np.all(hidden_biases < 0.0, axis=1))),
        Fact("the output's bias is positive", "yes", _share(output[:, -1, 0] > 0.0)),
    ]


def _mirrored(w: np.ndarray) -> np.ndarray:
    mirrored: np.ndarray = np.sign(w[:, :3]) == -np.sign(w[:, :2:-1])
    return mirrored


def _sizes(w: np.ndarray) -> np.ndarray:
    """Average the sizes of mirrored weights, and sort them: (k, 3, 2)."""
    return np.sort((np.abs(w[:, :3]) + np.abs(w[:, :2:-1])) / 2.0, axis=1)


def _share(holds: np.ndarray) -> str:
    return f"{np.mean(holds):.0%} of {len(holds)}"
