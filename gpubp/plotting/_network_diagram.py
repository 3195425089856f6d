"""A drawing of a network: units in layers, and connections with their weights."""

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from gpubp.errors import DataError
from gpubp.nn.network import Network, views
from gpubp.plotting._model import network_of_blocks
from gpubp.plotting.figure import NEGATIVE, POSITIVE, axes_or_new, check_names, legend_above

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_UNITS = 50
"""The largest number of units that a drawing shows."""
MAX_WRITTEN_WEIGHTS = 24
"""Weights are written next to the connections up to this number of connections."""
MAX_WRITTEN_BIASES = 30
"""Biases are written into the units up to this number of units."""
MAX_LINE_WIDTH = 5.0
RADIUS = 0.34


@np.errstate(all="ignore")
def network_diagram(
    model: Any,
    ax: "Axes | None" = None,
    *,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
) -> "Axes":
    """Draw a network layer by layer, from the inputs on the left to the outputs on the right.

    The width of a connection is proportional to the size of its weight. Positive weights are orange, negative ones blue
    and dashed. Biases colour their units in the same way. In small networks the numbers are written too.

    Parameters
    ----------
    model : (Network, theta) pair, Fit, Model or fitted estimator
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.
    input_names, output_names : sequence of str, optional

    Returns
    -------
    matplotlib.axes.Axes
        Its first collection holds the connections, layer by layer and row by row as in ``theta``, its second the units.

    Raises
    ------
    DataError
        If the model or the names are invalid, or the network has more than 50 units.
    GpubpError
        If Matplotlib is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> from gpubp import Network
    >>> from gpubp.plotting import network_diagram
    >>> ax = network_diagram((Network((2, 1)), np.asarray([1.0, -0.5, 0.25])))
    >>> ax.collections[0].get_linewidths()
    array([5. , 2.5])
    """
    network, theta = network_of_blocks(model, "network_diagram")
    if network.skips:
        raise DataError(
            f"the network has skip connections, {list(network.skips)}, which network_diagram cannot draw; "
            "draw its weights with hinton_diagram, layer by layer"
        )
    n_units = sum(network.sizes)
    if n_units > MAX_UNITS:
        raise DataError(
            f"the network has {n_units:,} units, and a drawing shows at most {MAX_UNITS}; "
            "draw its weights with hinton_diagram, layer by layer"
        )
    inputs = check_names("input_names", input_names, network.sizes[0])
    outputs = check_names("output_names", output_names, network.sizes[-1])
    tallest = max(network.sizes)
    spread = max(3.2, 0.45 * tallest)
    positions = [
        np.asarray([(k * spread, row - (n - 1) / 2) for row in range(n)], dtype=float)
        for k, n in enumerate(network.sizes)
    ]
    edge = RADIUS + 0.3
    left, right = -edge - 1.5 * bool(inputs), positions[-1][0, 0] + edge + 1.5 * bool(outputs)
    top = (tallest - 1) / 2 + edge
    ax = axes_or_new(ax, (7.0, min(7.0 * 2.0 * top / (right - left) + 0.3, 12.0)))
    from matplotlib.lines import Line2D

    blocks = views(np, network, theta)
    weights = [block[:-1] if network.bias else block for block in blocks]
    biases = [block[-1] for block in blocks] if network.bias else []
    _draw_connections(ax, positions, weights)
    _draw_units(ax, network, positions, biases)
    signs = (("positive weight", POSITIVE, "solid"), ("negative weight", NEGATIVE, "dashed"))
    legend_above(ax, [Line2D([], [], color=colour, ls=style, label=sign) for sign, colour, style in signs])
    for names, at, side, align in ((inputs, positions[0], -1, "right"), (outputs, positions[-1], 1, "left")):
        for name, (across, down) in zip(names, at, strict=False):
            ax.text(across + side * (RADIUS + 0.15), down, name, ha=align, va="center", fontsize="small")
    ax.set_xlim(left, right)
    ax.set_ylim(top, -top)  # the first unit on top
    ax.set_aspect("equal")
    ax.axis("off")
    return ax


def _draw_connections(ax: "Axes", positions: list[np.ndarray], weights: list[np.ndarray]) -> None:
    from matplotlib.collections import LineCollection

    lines = np.concatenate(
        [
            np.stack(np.broadcast_arrays(below[:, None, :], above[None, :, :]), axis=2).reshape(-1, 2, 2)
            for below, above in pairwise(positions)
        ]
    )
    values = np.concatenate([block.ravel() for block in weights])
    largest = float(np.max(np.abs(values))) or 1.0
    colours = [POSITIVE if value > 0 else NEGATIVE for value in values]
    styles = ["-" if value > 0 else (0, (3.0, 1.5)) for value in values]
    widths = MAX_LINE_WIDTH * np.abs(values) / largest
    ax.add_collection(LineCollection(list(lines), linewidths=widths, colors=colours, linestyles=styles, zorder=1))
    if len(values) > MAX_WRITTEN_WEIGHTS:
        return
    source = np.concatenate([np.repeat(np.arange(len(block)), block.shape[1]) for block in weights])
    for (start, end), value, colour, below in zip(lines, values, colours, source, strict=True):
        across, down = start + (0.25 + 0.14 * (below % 2)) * (end - start)  # keep the numbers of neighbours apart
        background = {"boxstyle": "round,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.85}
        ax.text(
            across,
            down,
            _number_text(value),
            color=colour,
            fontsize="x-small",
            ha="center",
            va="center",
            bbox=background,
            zorder=2,
        )


def _draw_units(ax: "Axes", network: Network, positions: list[np.ndarray], biases: list[np.ndarray]) -> None:
    from matplotlib.collections import PatchCollection
    from matplotlib.colors import to_rgb
    from matplotlib.patches import Circle

    values = np.concatenate([np.zeros(network.sizes[0]), *(biases or [np.zeros(n) for n in network.sizes[1:]])])
    largest = float(np.max(np.abs(values))) or 1.0
    strength = 0.6 * np.abs(values[:, None]) / largest
    full = np.asarray([to_rgb(POSITIVE if value > 0 else NEGATIVE) for value in values])
    centres = np.concatenate(positions)
    circles = PatchCollection([Circle((across, down), RADIUS) for across, down in centres], zorder=3)
    circles.set(facecolor=1.0 - strength * (1.0 - full), edgecolor="0.2", linewidth=1.0)
    ax.add_collection(circles)
    if biases and len(values) <= MAX_WRITTEN_BIASES:
        for (across, down), value in zip(centres[network.sizes[0] :], values[network.sizes[0] :], strict=True):
            ax.text(across, down, _number_text(value), fontsize="x-small", ha="center", va="center", zorder=4)


def _number_text(value: float) -> str:
    return (f"{value:.2g}" if abs(value) < 9.95 else f"{value:.0f}").replace("-", "\N{MINUS SIGN}")
