"""Symmetry: what the networks that recognise symmetric vectors have in common, and where the others end."""

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from gpubp.nn.network import Network, views
from gpubp.optim.first_order import momentum
from gpubp.paper.chance import near, reaches
from gpubp.paper.conditions import done, quartiles_near
from gpubp.paper.connections import CAPTION, N_MORE, done_by, ending_at, with_hidden_units
from gpubp.paper.experiment import Condition, ConditionResult, Experiment, Runs, TrainMore
from gpubp.paper.study import Fact, StudyDrawing, StudyPicture, StudyTable
from gpubp.paper.words import NONE, share_of
from gpubp.plotting import hinton_diagram

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SWEEPS = 1425
"""The sweeps that the paper's network took."""

OTHERS = (1127.0, 2715.0, 7830.0)
"""Quartiles of the sweeps from 1,000 other first weights, with the paper's settings and other programs."""

NEAR = 0.15
"""The relative tolerance for a ratio or a quartile."""

ALWAYS_NO = 4.0
"""The error, eq. (3), of a network that says no to all 64 vectors: half of one for each of the 8 symmetric ones."""

OTHER_SETTINGS = ((4, 0.1), (8, 0.1), (2, 0.03), (4, 0.03), (8, 0.03))
"""Hidden units and rates in addition to the paper's own."""


def _weights(experiment: Experiment, runs: Runs) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find the weights from inputs to hidden units, (k, 6, 2), the biases, (k, 2), and the block of the output."""
    hidden, output = views(np, experiment.network, runs.theta[runs.solved].astype(float))
    return hidden[:, :-1], hidden[:, -1], output


def _mirrored_signs(w: np.ndarray) -> np.ndarray:
    holds: np.ndarray = np.all(np.sign(w[:, :3]) == -np.sign(w[:, :2:-1]), axis=(1, 2))
    return holds


def _mirrored_sizes(w: np.ndarray) -> np.ndarray:
    one, other = np.abs(w[:, :3]), np.abs(w[:, :2:-1])
    holds: np.ndarray = np.all(np.abs(one - other) <= NEAR * np.maximum(one, other), axis=(1, 2))
    return holds


def _opposite_units(w: np.ndarray) -> np.ndarray:
    holds: np.ndarray = np.all(np.sign(w[:, :, 0]) == -np.sign(w[:, :, 1]), axis=1)
    return holds


def _ratios(w: np.ndarray) -> np.ndarray:
    """Average the sizes of mirrored weights, sort them, and divide them by the smallest: (k, 3, 2)."""
    sizes: np.ndarray = np.sort((np.abs(w[:, :3]) + np.abs(w[:, :2:-1])) / 2.0, axis=1)
    ratios: np.ndarray = sizes / sizes[:, :1]
    return ratios


def _median_ratios(w: np.ndarray) -> tuple[float, float]:
    _, second, third = np.median(_ratios(w), axis=(0, 2))
    return float(second), float(third)


def _signs_hold(share: float, experiment: Experiment, runs: Runs) -> ConditionResult:
    w, _, _ = _weights(experiment, runs)
    if not len(w):
        return ConditionResult(False, "no signs, since no network was done")
    holds = _mirrored_signs(w) & _opposite_units(w)
    return ConditionResult(reaches(share, holds), f"these signs are opposite in {share_of(holds)}")


def _ratios_hold(experiment: Experiment, runs: Runs) -> ConditionResult:
    w, _, _ = _weights(experiment, runs)
    if not len(w):
        return ConditionResult(False, "no ratios, since no network was done")
    second, third = _median_ratios(w)
    # one ratio for both hidden units, which are not independent
    _, of_second, of_third = np.mean(_ratios(w), axis=2).T
    are_near = near(of_second, 0.5, 2.0, NEAR) and near(of_third, 0.5, 4.0, NEAR)
    return ConditionResult(are_near, f"these medians are 1 : {second:.2f} : {third:.2f}")


CONDITIONS = (
    quartiles_near(OTHERS, NEAR, "of 1,000 other networks with the same settings"),
    done(0.95, "poor minima are rare, the paper says"),
    Condition(
        "in at least 90 % of those done, weights mirrored about the middle have opposite signs, and so have "
        "the two hidden units",
        partial(_signs_hold, 0.9),
    ),
    Condition("the medians of the sizes on each side are within 15 % of 1 : 2 : 4", _ratios_hold),
)


def find_facts(experiment: Experiment, runs: Runs, train_more: TrainMore) -> Iterator[Fact | StudyTable]:
    """Compare the networks that are done with the paper's, and report where the others end."""
    w, hidden_biases, output = _weights(experiment, runs)
    if len(w):
        second, third = _median_ratios(w)
        are_near = np.all(np.abs(_ratios(w) / np.asarray([1.0, 2.0, 4.0])[:, None] - 1.0) <= NEAR, axis=(1, 2))
        sizes = f"1 : {second:.2f} : {third:.2f} (medians); within 15 %: {share_of(are_near)}"
        yield Fact(f"took at most {SWEEPS:,} sweeps", "its one network", share_of(runs.sweeps[runs.solved] <= SWEEPS))
        yield Fact("weights mirrored about the middle have opposite signs", "yes", share_of(_mirrored_signs(w)))
        yield Fact("and are equal in size, within 15 %", "yes", share_of(_mirrored_sizes(w)))
        yield Fact("sizes on each side, smallest first", "1 : 2 : 4", sizes)
        yield Fact("the two hidden units have opposite signs", "yes", share_of(_opposite_units(w)))
        yield Fact("both hidden biases are negative", "yes", share_of(np.all(hidden_biases < 0.0, axis=1)))
        yield Fact("the output's bias is positive", "yes", share_of(output[:, -1, 0] > 0.0))
    yield minima(experiment, runs, train_more)


def minima(experiment: Experiment, runs: Runs, train_more: TrainMore) -> StudyTable:
    """Try more hidden units, and smaller steps: the paper says that a few more connections help past poor minima."""
    rows = [("2", "0.1", *_endings(runs))]
    for n_hidden, rate in OTHER_SETTINGS:
        changed = with_hidden_units(experiment, n_hidden, momentum(rate, 0.9))
        rows.append((str(n_hidden), f"{rate:g}", *_endings(train_more(changed, min(N_MORE, len(runs.solved))))))
    return StudyTable(
        f"{CAPTION}; and smaller steps. E is 4.00 where the answer to all is no",
        ("hidden units", "rate", "done", "half by sweep", "of the others at E = 4.00"),
        tuple(rows),
    )


def _endings(runs: Runs) -> tuple[str, str, str]:
    others = NONE if np.all(runs.solved) else share_of(ending_at(ALWAYS_NO, runs))
    return *done_by(runs), others


def pictures(experiment: Experiment, runs: Runs) -> Iterator[StudyPicture]:
    """Yield the paper's picture for the first network that was done."""
    if np.any(runs.solved):
        weights, _ = views(np, experiment.network, runs.theta[np.flatnonzero(runs.solved)[0]])
        caption = (
            "The weights from the six inputs to the two hidden units of a network that tells symmetric vectors, and "
            "the units' biases apart from them: white is above 0, and areas are sizes, as in the key"
        )
        yield StudyPicture("weights", caption, {"weights": weights})


def _draw_weights(ax: "Axes", weights: ArrayLike) -> "Axes":
    names, bits = ([f"{what} {k + 1}" for k in range(n)] for what, n in (("hidden unit", 2), ("input", 6)))
    return hinton_diagram((Network((6, 2)), np.ravel(weights)), ax, across=1, unit_names=names, input_names=bits)


DRAWINGS = {"weights": StudyDrawing(_draw_weights)}
