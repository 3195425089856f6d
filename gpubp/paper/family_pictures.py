"""Pictures of the family trees' networks: the weights from the people, their codes, the held-out cases."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from gpubp.nn.network import Network, flatten, views
from gpubp.paper import family
from gpubp.paper.family_codes import N_UNITS, codes_of_people, codes_of_relations, explained
from gpubp.paper.family_recipe import N_HELD_OUT, Trained
from gpubp.paper.study import StudyPicture
from gpubp.plotting import hinton_diagram
from gpubp.plotting.figure import STYLES, axes_or_new

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def pictures(network: Network, networks: Trained) -> list[StudyPicture]:
    """Make the pictures of a study: the held-out cases, and one network that has them all right, if there is one."""
    n_networks = len(networks.theta)
    caption = f"How many of {N_HELD_OUT} held-out cases each of {n_networks:,} networks has right"
    held_out_picture = StudyPicture("held-out", caption, partial(draw_held_out, networks.generalized))
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
    return [
        held_out_picture,
        StudyPicture("weights", weights, partial(draw_weights, network, theta), (7.2, 5.4)),
        StudyPicture("codes", codes, partial(draw_codes, network, theta), (6.4, 6.2)),
        StudyPicture("relations", relations, partial(draw_relations, network, theta), (6.4, 4.2)),
    ]


def clearest(network: Network, theta: np.ndarray) -> int:
    """Find the network of a stack whose least clearly coded attribute has the best unit."""
    codes = codes_of_people(network, theta)
    best_units = [np.max(explained(codes, attribute), axis=1) for attribute in family.attributes().values()]
    return int(np.argmax(np.min(best_units, axis=0)))


def people_and_units(network: Network, theta: np.ndarray) -> tuple[Network, np.ndarray]:
    """Cut the people and their six units out of a network."""
    block = views(np, network, theta)[0][:, :N_UNITS]
    n_people = len(family.PEOPLE)
    return Network((n_people, N_UNITS), output_activation="logistic"), flatten(
        np, [np.vstack([block[:n_people], block[-1:]])]
    )


def unit_names(codes: np.ndarray, attributes: Mapping[str, np.ndarray]) -> list[str]:
    """Name each unit by its number and what it codes the most, with the part of its variance that this explains."""
    explains = {name: explained(codes, attribute) for name, attribute in attributes.items()}
    names = []
    for unit in range(N_UNITS):
        name, share = max(((name, of_units[unit]) for name, of_units in explains.items()), key=lambda pair: pair[1])
        names.append(f"{unit + 1}: {name} {100 * share:.0f} %")
    return names


def draw_weights(network: Network, theta: np.ndarray, ax: "Axes | None" = None) -> "Axes":
    """Draw the weights from the people to each unit, as figure 4 of the paper does."""
    return hinton_diagram(
        people_and_units(network, theta),
        axes_or_new(ax, (7.2, 5.4)),
        input_shape=(2, len(family.ENGLISH)),
        across=2,
        unit_names=unit_names(codes_of_people(network, theta), family.attributes()),
        input_names=family.PEOPLE,
    )


def draw_codes(network: Network, theta: np.ndarray, ax: "Axes | None" = None) -> "Axes":
    """Draw the outputs of the six units for each person as colours."""
    return _draw_outputs(codes_of_people(network, theta), family.PEOPLE, family.attributes(), ax)


def draw_relations(network: Network, theta: np.ndarray, ax: "Axes | None" = None) -> "Axes":
    """Draw the outputs of the other six units for each relation as colours."""
    return _draw_outputs(codes_of_relations(network, theta), family.RELATIONS, family.relation_attributes(), ax)


def _draw_outputs(
    codes: np.ndarray, names: Sequence[str], attributes: Mapping[str, np.ndarray], ax: "Axes | None"
) -> "Axes":
    ax = axes_or_new(ax, (6.4, 6.2))
    image = ax.imshow(codes, aspect="auto", interpolation="nearest", cmap="cividis", vmin=0.0, vmax=1.0)
    ax.figure.colorbar(image, ax=ax, label="output")
    ax.set_yticks(range(len(names)), names)
    labels = [f"unit {name.replace(' ', chr(10), 2)}" for name in unit_names(codes, attributes)]
    ax.set_xticks(range(codes.shape[1]), labels)
    ax.tick_params(labelsize="small")
    return ax


def draw_held_out(generalized: np.ndarray, ax: "Axes | None" = None) -> "Axes":
    """Draw how many networks have how many of their held-out cases right."""
    from matplotlib.ticker import MaxNLocator

    ax = axes_or_new(ax, (5.0, 3.2))
    counts = np.bincount(generalized, minlength=N_HELD_OUT + 1)
    bars = ax.bar(range(N_HELD_OUT + 1), counts, color=STYLES[0].color)
    ax.bar_label(bars)
    ax.set_xlabel(f"held-out cases right, of {N_HELD_OUT}")
    ax.set_ylabel("networks")
    ax.yaxis.set_major_locator(MaxNLocator(integer=True))
    ax.spines[["top", "right"]].set_visible(False)
    return ax
