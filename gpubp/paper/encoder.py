"""The encoder: the codes that its hidden units learn."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from gpubp.nn.network import Network
from gpubp.nn.passes import forward
from gpubp.paper.chance import reaches
from gpubp.paper.experiment import Condition, ConditionResult, Experiment, Runs, TrainMore
from gpubp.paper.study import Fact, StudyDrawing, StudyPicture
from gpubp.paper.words import NO_FIGURE, share_of
from gpubp.plotting import hidden_heat_map

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def codes(experiment: Experiment, runs: Runs) -> np.ndarray:
    """Compute the outputs of the hidden units in the networks that are done: (k, b, hidden units)."""
    x, _ = experiment.cases()
    y: np.ndarray = forward(np, experiment.network, runs.theta[runs.solved].astype(float), x)[0].y
    return y


def all_differ(of_hidden: np.ndarray) -> np.ndarray:
    """Return in which networks all codes differ, each rounded to 0 and 1: (k,) of bool.

    Examples
    --------
    >>> all_differ(np.asarray([[[0.1, 0.9], [0.8, 0.7]], [[0.1, 0.9], [0.2, 0.7]]]))
    array([ True, False])
    """
    rounded = of_hidden > 0.5
    same = np.all(rounded[:, :, None] == rounded[:, None], axis=-1)
    differ: np.ndarray = np.sum(same, axis=(1, 2)) == of_hidden.shape[1]
    return differ


def _most_differ(share: float, experiment: Experiment, runs: Runs) -> ConditionResult:
    differ = all_differ(codes(experiment, runs))
    return ConditionResult(reaches(share, differ), f"the codes differ in {share_of(differ)}")


BINARY = Condition(
    "in at least 50 % of those done, the codes of the patterns all differ when rounded to 0 and 1",
    partial(_most_differ, 0.5),
)


def find_facts(experiment: Experiment, runs: Runs, train_more: TrainMore) -> Iterator[Fact]:
    """Report how close the codes are to binary numbers."""
    of_hidden = codes(experiment, runs)
    yield Fact("codes rounded to 0 and 1 all differ", NO_FIGURE, share_of(all_differ(of_hidden)))
    between = np.abs(of_hidden - 0.5) < 0.25
    yield Fact("outputs of hidden units between 1/4 and 3/4", NO_FIGURE, share_of(between.ravel()))


def pictures(experiment: Experiment, runs: Runs) -> Iterator[StudyPicture]:
    """Yield the picture of the codes in the first network that was done."""
    if np.any(runs.solved):
        theta = runs.theta[np.flatnonzero(runs.solved)[0]]
        caption = (
            "The outputs of the three hidden units for each of the patterns, of one network that is done, and the code "
            "that they make, rounded to 0 and 1"
        )
        yield StudyPicture("codes", caption, {"sizes": experiment.network.sizes, "theta": theta})


def _draw_codes(ax: "Axes", sizes: Sequence[int], theta: ArrayLike) -> "Axes":
    network, weights = Network(tuple(sizes), activation="logistic"), np.asarray(theta, float)
    patterns = np.eye(sizes[0])
    y = forward(np, network, weights, patterns)[0].y
    coded = [", ".join(str(k + 1) for k in np.flatnonzero(of_unit > 0.5)) or "none" for of_unit in y.T]
    names = [f"hidden unit {k}:\non for {patterns_on}" for k, patterns_on in enumerate(coded, 1)]
    codes_of_patterns = ["".join(str(int(output > 0.5)) for output in of_pattern) for of_pattern in y]
    sample_names = [f"pattern {k}: {code}" for k, code in enumerate(codes_of_patterns, 1)]
    ax = hidden_heat_map((network, weights), patterns, ax, sample_names=sample_names, unit_names=names)
    ax.set_xlabel("")
    return ax


DRAWINGS = {"codes": StudyDrawing(_draw_codes)}
