"""Pictures of the family trees' networks: the weights from the people, their codes, the held-out cases."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from gpubp.nn.network import Network, views
from gpubp.paper import family
from gpubp.paper.family_codes import N_UNITS, codes_of_people, codes_of_relations, explained
from gpubp.paper.family_recipe import N_HELD_OUT, Trained
from gpubp.paper.study import StudyDrawing, StudyPicture
from gpubp.plotting import hinton_diagram
from gpubp.plotting.figure import STYLES

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def pictures(network: Network, networks: Trained) -> list[StudyPicture]:
    """Make the pictures of a study: the held-out cases, and one network that has them all right, if there is one."""
    n_networks = len(networks.theta)
    caption = f"How many of {N_HELD_OUT} held-out cases each of {n_networks:,} networks has right"
    counts = np.bincount(networks.generalized, minlength=N_HELD_OUT + 1)
    held_out_picture = StudyPicture("held-out", caption, {"counts": counts})
    solved = np.flatnonzero(networks.generalized == N_HELD_OUT)
    if not len(solved):
        return [held_out_picture]
    theta = networks.theta[solved[clearest(network, networks.theta[solved])]]
    chosen = (
        "in the network, of those with all held-out cases right, whose units code the most clearly; a unit is named by "
        "the attribute that explains most of its variance, and by how much"
    )
    weights = f"The weights from the people to their six units, English above Italian, {chosen}"
    codes = f"The outputs of the six units for each person, {chosen}"
    relations = f"The outputs of the six units for each relation, {chosen}"
    of_people, of_relations = codes_of_people(network, theta), codes_of_relations(network, theta)
    return [
        held_out_picture,
        StudyPicture("weights", weights, {"weights": weights_of_people(network, theta), "codes": of_people}),
        StudyPicture("codes", codes, {"codes": of_people}),
        StudyPicture("relations", relations, {"codes": of_relations}),
    ]


def clearest(network: Network, theta: np.ndarray) -> int:
    """Find the network of a stack whose least clearly coded attribute has the best unit."""
    codes = codes_of_people(network, theta)
    best_units = [np.max(explained(codes, attribute), axis=1) for attribute in family.attributes().values()]
    return int(np.argmax(np.min(best_units, axis=0)))


def weights_of_people(network: Network, theta: np.ndarray) -> np.ndarray:
    """Return the weights from the people to their six units, and their biases: (25, 6)."""
    block = views(np, network, theta)[0][:, :N_UNITS]
    return np.vstack([block[: len(family.PEOPLE)], block[-1:]])


def unit_names(codes: np.ndarray, attributes: Mapping[str, np.ndarray]) -> list[str]:
    """Name each unit by its number and what it codes the most, with the part of its variance that this explains."""
    explains = {name: explained(codes, attribute) for name, attribute in attributes.items()}
    names = []
    for unit in range(N_UNITS):
        name, share = max(((name, of_units[unit]) for name, of_units in explains.items()), key=lambda pair: pair[1])
        names.append(f"{unit + 1}: {name} {100 * share:.0f} %")
    return names


def draw_weights(ax: "Axes", weights: ArrayLike, codes: ArrayLike) -> "Axes":
    """Draw the weights from the people to each unit, as figure 4 of the paper does."""
    return hinton_diagram(
        (Network((len(family.PEOPLE), N_UNITS)), np.ravel(weights)),
        ax,
        input_shape=(2, len(family.ENGLISH)),
        across=2,
        unit_names=unit_names(np.asarray(codes), family.attributes()),
        input_names=family.PEOPLE,
    )


def draw_codes(ax: "Axes", codes: ArrayLike) -> "Axes":
    """Draw the outputs of the six units for each person as colours."""
    return _draw_outputs(ax, np.asarray(codes), family.PEOPLE, family.attributes())


def draw_relations(ax: "Axes", codes: ArrayLike) -> "Axes":
    """Draw the outputs of the other six units for each relation as colours."""
    return _draw_outputs(ax, np.asarray(codes), family.RELATIONS, family.relation_attributes())


def _draw_outputs(ax: "Axes", codes: np.ndarray, names: Sequence[str], attributes: Mapping[str, np.ndarray]) -> "Axes":
    image = ax.imshow(codes, aspect="auto", interpolation="nearest", cmap="cividis", vmin=0.0, vmax=1.0)
    ax.figure.colorbar(image, ax=ax, label="output")
    ax.set_yticks(range(len(names)), names)
    labels = [f"unit {name.replace(' ', chr(10), 2)}" for name in unit_names(codes, attributes)]
    ax.set_xticks(range(codes.shape[1]), labels)
    ax.tick_params(labelsize="small")
    return ax


def draw_held_out(ax: "Axes", counts: Sequence[int]) -> "Axes":
    """Draw how many networks have how many of their held-out cases right."""
    from matplotlib.ticker import MaxNLocator

    bars = ax.bar(range(N_HELD_OUT + 1), counts, color=STYLES[0].color)
    ax.bar_label(bars)
    ax.set_xlabel(f"held-out cases right, of {N_HELD_OUT}")
    ax.set_ylabel("networks")
    ax.yaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 5, 10], integer=True))
    ax.spines[["top", "right"]].set_visible(False)
    return ax


DRAWINGS = {
    "held-out": StudyDrawing(draw_held_out),
    "weights": StudyDrawing(draw_weights, (7.2, 5.4)),
    "codes": StudyDrawing(draw_codes, (6.4, 6.2)),
    "relations": StudyDrawing(draw_relations, (6.4, 4.2)),
}
