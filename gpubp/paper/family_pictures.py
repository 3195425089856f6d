"""Pictures of the family trees' networks: the weights from the people, their codes, the held-out cases."""

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from gpubp.nn.network import Network, flatten, views
from gpubp.paper import family
from gpubp.paper.family_codes import N_UNITS, codes_of_people, explained
from gpubp.paper.family_recipe import N_HELD_OUT, Trained
from gpubp.paper.study import StudyPicture
from gpubp.plotting import hidden_heat_map, hinton_diagram
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
    chosen = f"of the network, of {len(solved):,} with all held-out cases right, whose units code the most clearly"
    weights = f"The weights from the people to their six units, English above Italian, {chosen}"
    codes = f"The outputs of the six units for each person, {chosen}"
    return [
        held_out_picture,
        StudyPicture("weights", weights, partial(draw_weights, network, theta)),
        StudyPicture("codes", codes, partial(draw_codes, network, theta)),
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


def unit_names(network: Network, theta: np.ndarray) -> list[str]:
    """Name each unit by its number and what it codes the most, with the part of its variance that this explains."""
    codes = codes_of_people(network, theta)
    explains = {name: explained(codes, attribute) for name, attribute in family.attributes().items()}
    names = []
    for unit in range(N_UNITS):
        name, share = max(((name, of_units[unit]) for name, of_units in explains.items()), key=lambda pair: pair[1])
        names.append(f"{unit + 1}: {name} {100 * share:.0f} %")
    return names


def draw_weights(network: Network, theta: np.ndarray, ax: "Axes | None" = None) -> "Axes":
    """Draw the weights from the people to each unit, as figure 4 of the paper does."""
    n_columns = len(family.ENGLISH)
    ax = hinton_diagram(
        people_and_units(network, theta),
        axes_or_new(ax, (9.0, 4.5)),
        input_shape=(2, n_columns),
        across=2,
        unit_names=[""] * N_UNITS,
    )
    corners = [np.min(np.asarray(ground.vertices), axis=0) for ground in ax.collections[0].get_paths()[:N_UNITS]]
    for name, (left, top) in zip(unit_names(network, theta), corners, strict=True):
        ax.text(left, top - 0.15, name, fontsize="small", va="bottom")
    for left, top in corners[-2:]:  # the people stand under the last row
        for k, pair in enumerate(zip(family.ENGLISH, family.ITALIAN, strict=True)):
            ax.text(left + k + 0.5, top + 2.3, ", ".join(pair), fontsize="x-small", rotation=90, ha="center", va="top")
    return ax


def draw_codes(network: Network, theta: np.ndarray, ax: "Axes | None" = None) -> "Axes":
    """Draw the outputs of the six units for each person as colours."""
    ax = hidden_heat_map(people_and_units(network, theta), np.eye(len(family.PEOPLE)), ax, sample_names=family.PEOPLE)
    names = [name.replace(" ", "\n", 2) for name in unit_names(network, theta)]
    ax.set_xticks(range(N_UNITS), names, fontsize="small")
    ax.tick_params(axis="y", labelsize="xx-small")
    ax.set_xlabel("")
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
