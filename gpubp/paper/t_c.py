"""T or C, anywhere: units with small fields that share their weights, and the detectors that they learn."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from gpubp.nn.activations import get_activation
from gpubp.nn.architectures import transfer_weights, with_fields, with_sums
from gpubp.nn.network import Network, views
from gpubp.nn.passes import output_layer
from gpubp.paper.cases import t_c
from gpubp.paper.experiment import Experiment, Runs, TrainMore
from gpubp.paper.study import Fact, StudyDrawing, StudyPicture
from gpubp.paper.words import NO_FIGURE, share_of
from gpubp.plotting import hinton_diagram
from gpubp.training.fit import all_correct

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIDE, LARGER, FIELD, MARGIN = 7, 11, 3, 2

SAME = 0.15
"""A field counts as unchanged by a rotation or reflection if it changes by at most this fraction of its norm."""

TURNS = tuple((mirrored, quarters) for mirrored in (False, True) for quarters in range(4))

KINDS = {
    "the same in all turns and mirrors": set(TURNS),
    "mirrored in both axes": {TURNS[0], TURNS[2], TURNS[4], TURNS[6]},
    "mirrored in both diagonals": {TURNS[0], TURNS[2], TURNS[5], TURNS[7]},
    "the same in a half turn": {TURNS[0], TURNS[2]},
    "mirrored in one axis": {TURNS[0], TURNS[4]},
    "mirrored in one diagonal": {TURNS[0], TURNS[5]},
    "without symmetry": {TURNS[0]},
}
"""Kinds of fields by what leaves them unchanged, the most regular first; each turned any way.

Three by three weights that a quarter turn leaves unchanged are unchanged by mirrors too.
"""


def network(side: int = SIDE) -> Network:
    """Make the network for a plane of ``side`` by ``side`` cells.

    Examples
    --------
    >>> len(set(network().ties) - {-1})  # 9 weights and a bias of the field; one weight and a bias of the output
    12
    """
    n_fields = (side - FIELD + 1) ** 2
    plain = Network((side * side, n_fields, 1), activation="logistic", output_activation="logistic")
    return with_sums(with_fields(plain, 1, (side, side), (FIELD, FIELD)), 2, [n_fields])


def fields(experiment: Experiment, runs: Runs) -> np.ndarray:
    """Find the field of each network that is done: (k, 3, 3)."""
    block = views(np, experiment.network, runs.theta[runs.solved].astype(float))[0]
    first: np.ndarray = block[:, :-1, 0].reshape(-1, SIDE, SIDE)[:, :FIELD, :FIELD]
    return first


def turned(field: np.ndarray, mirrored: bool, quarters: int) -> np.ndarray:
    """Mirror a field left to right, if requested, and then turn it."""
    return np.rot90(field[..., ::-1] if mirrored else field, quarters, axes=(-2, -1))


def kind_of(field: np.ndarray) -> str:
    """Name the kind of a field, ``(3, 3)``: see :data:`KINDS`.

    Examples
    --------
    >>> kind_of(np.asarray([[-1, 2, -1], [2, 0, 2], [-1, 2, -1]]))
    'the same in all turns and mirrors'
    >>> kind_of(np.asarray([[1, 1, 0], [1, 0, 0], [0, 0, 5]]))
    'mirrored in one diagonal'
    """
    moved = [np.linalg.norm(field - turned(field, *turn)) for turn in TURNS]
    unchanged = {turn for turn, by in zip(TURNS, moved, strict=True) if by <= SAME * np.linalg.norm(field)}
    return next(kind for kind, turns in KINDS.items() if turns <= unchanged or _other_way(turns) <= unchanged)


def _other_way(turns: set[tuple[bool, int]]) -> set[tuple[bool, int]]:
    """Return the turns and mirrors that leave a quarter-turned field unchanged."""
    return {(mirrored, (quarters + 2) % 4 if mirrored else quarters) for mirrored, quarters in turns}


def find_facts(experiment: Experiment, runs: Runs, train_more: TrainMore) -> Iterator[Fact]:
    """Test the weights on a larger plane, and count the fields by their symmetries."""
    theta = runs.theta[runs.solved].astype(float)
    larger = network(LARGER)
    x, d = t_c((LARGER, LARGER), MARGIN)
    as_they_are = all_correct(d, output_layer(np, larger, transfer_weights(theta, experiment.network, larger), x).y)
    made_up = all_correct(d, output_layer(np, larger, on_a_larger_plane(theta), x).y)
    where = f"right anywhere on a plane of {LARGER} x {LARGER}, {MARGIN} cells from its edges"
    yield Fact(where, NO_FIGURE, share_of(np.asarray(as_they_are)))
    what = "and with the output's bias made up for what more empty fields send"
    yield Fact(what, NO_FIGURE, share_of(np.asarray(made_up)))
    kinds = np.asarray([kind_of(field) for field in fields(experiment, runs)])
    for kind in KINDS:
        if np.any(kinds == kind):
            yield Fact(f"the field is {kind}", "several kinds of detectors", share_of(kinds == kind))


def on_a_larger_plane(theta: np.ndarray) -> np.ndarray:
    """Transfer weights to a larger plane so that the outputs stay the same: (..., P) of the larger network.

    Fields over empty cells may still contribute to the output. There are more of them, which the output's bias
    compensates.
    """
    small, larger = network(), network(LARGER)
    carried = transfer_weights(theta, small, larger)
    hidden, output = views(np, larger, carried)
    sent = output[..., 0, :] * get_activation("logistic").value(np, hidden[..., -1, :1])  # by one empty field
    output[..., -1, :] -= (larger.sizes[1] - small.sizes[1]) * sent
    return carried


def pictures(experiment: Experiment, runs: Runs) -> Iterator[StudyPicture]:
    """Yield the picture of one field of each kind."""
    fields_of_runs = fields(experiment, runs)
    biases = views(np, experiment.network, runs.theta[runs.solved].astype(float))[0][:, -1, 0]
    kinds = [kind_of(field) for field in fields_of_runs]
    shown = [kinds.index(kind) for kind in KINDS if kind in kinds]
    if shown:
        names = [chr(ord("A") + k) for k in range(len(shown))]
        listed = "; ".join(f"{name} {kinds[which]}" for name, which in zip(names, shown, strict=True))
        caption = f"A learned field of each kind, its bias beside it: areas are sizes, as in the key; {listed}"
        columns = np.vstack([fields_of_runs[shown].reshape(-1, FIELD * FIELD).T, biases[shown]])
        yield StudyPicture("fields", caption, {"columns": columns, "names": names})


def _draw_fields(ax: "Axes", columns: ArrayLike, names: Sequence[str]) -> "Axes":
    detectors = Network((FIELD * FIELD, len(names)))
    return hinton_diagram((detectors, np.ravel(columns)), ax, input_shape=(FIELD, FIELD), unit_names=names)


DRAWINGS = {"fields": StudyDrawing(_draw_fields)}
