"""Weights as squares, white and black on grey: the diagrams of the 1986 paper."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gpubp.errors import DataError
from gpubp.nn.network import views
from gpubp.plotting._model import check_layer, network_and_theta
from gpubp.plotting.figure import axes_or_new, check_names

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LARGEST_SIDE = 0.92
"""The side of the largest weight's square, in cells."""
MOST_WEIGHTS = 50_000
PROPORTION = 1.5  # of width to height, about
_GREY, _WHITE, _BLACK = "#8C8C8C", "#FFFFFF", "#000000"


def hinton_diagram(
    model: Any,
    ax: "Axes | None" = None,
    *,
    layer: int = 1,
    input_shape: tuple[int, int] | None = None,
    units: Sequence[int] | None = None,
    across: int | None = None,
    largest: float | None = None,
    unit_names: Sequence[str] | None = None,
) -> "Axes":
    """Draw the weights into a layer: for each of its units a small picture of what comes in.

    A square's area is proportional to the weight; white ones are above 0, black ones below. The bias stands apart, to
    the right of the unit's weights.

    Parameters
    ----------
    model : (Network, theta) pair, Fit, Model or fitted estimator
    ax : matplotlib.axes.Axes, optional
        Where to draw; without it in a figure of its own.
    layer : int
        The first hidden layer is 1.
    input_shape : (rows, columns), optional
        How the units below are arranged: ``(8, 8)`` for pictures of 8 by 8 pixels. One row without it.
    units : sequence of int, optional
        Which of the layer's units, counted from 0; all without it.
    across : int, optional
        How many small pictures stand side by side; without it as many as make the whole somewhat wider than high.
    largest : float, optional
        The weight whose square fills its cell; that of the largest one drawn without it. Give one figure to several
        diagrams that are to be compared.
    unit_names : sequence of str, optional
        One for each unit drawn; its number without it.

    Returns
    -------
    matplotlib.axes.Axes
        Its first collection holds the grey grounds, its second the squares, weight by weight as in ``theta``'s columns.

    Raises
    ------
    DataError
        If the model, the layer, the units or the arrangement make no sense, or there are too many weights to be seen.
    GpubpError
        If matplotlib is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> from gpubp import Network
    >>> from gpubp.plotting import hinton_diagram
    >>> ax = hinton_diagram((Network((2, 1)), np.asarray([1.0, -0.25, 0.5])))
    >>> [round(float(np.ptp(square.vertices[:, 0])) ** 2, 3) for square in ax.collections[1].get_paths()]
    [0.846, 0.212, 0.423]
    """
    network, theta = network_and_theta(model)
    block = views(np, network, theta)[check_layer(layer, len(network.activations)) - 1]
    n_below, n_units = block.shape[0] - network.bias, block.shape[1]  # those that skip layers to it are among them
    chosen = np.arange(n_units) if units is None else _chosen(units, n_units)
    rows, columns = _arrangement(input_shape, n_below)
    block = block[:, chosen]
    if block.size > MOST_WEIGHTS:
        raise DataError(
            f"layer {layer} has {block.size:,} weights to draw, and up to {MOST_WEIGHTS:,} can be told apart; "
            "choose some units with units=range(20), say"
        )
    names = check_names("unit_names", unit_names, len(chosen)) or tuple(str(unit) for unit in chosen)
    if largest is not None and not (math.isfinite(largest) and largest > 0):
        raise DataError(f"largest must be a finite number above 0, got {largest!r}")
    largest = largest or float(np.max(np.abs(block))) or 1.0

    width, height = columns + 1.5 * network.bias, rows
    if across is None:
        across = max(1, round(math.sqrt(PROPORTION * len(chosen) * (height + 1) / (width + 1.5))))
    elif not (isinstance(across, int) and across >= 1):
        raise DataError(f"across must be 1 or more, a whole number, got {across!r}")
    across = min(across, len(chosen))
    down = math.ceil(len(chosen) / across)
    total = (across * (width + 1.5), down * (height + 1.0))
    ax = axes_or_new(ax, (7.0, min(max(7.0 * total[1] / total[0], 1.2), 12.0)))

    corners = np.asarray([(i % across * (width + 1.5), i // across * (height + 1.0)) for i in range(len(chosen))])
    cells = np.asarray([(place % columns + 0.5, place // columns + 0.5) for place in range(n_below)])
    grounds = [(corners, columns, rows)]
    if network.bias:
        cells = np.vstack([cells, [columns + 1.0, 0.5]])
        grounds.append((corners + np.asarray([columns + 0.5, 0.0]), 1, 1))
    centres = corners[None, :, :] + cells[:, None, :]  # as the block: below by units
    sides = LARGEST_SIDE * np.sqrt(np.minimum(np.abs(block) / largest, 1.0))
    _draw_squares(ax, grounds, centres.reshape(-1, 2), sides.ravel(), block.ravel())
    for name, (left, top) in zip(names, corners, strict=True):
        ax.text(left - 0.25, top + 0.5, name, ha="right", va="center", fontsize="small")
    ax.set_xlim(-1.25, total[0] - 1.25)
    ax.set_ylim(total[1] - 0.5, -0.5)  # the first row on top
    ax.set_aspect("equal")
    ax.axis("off")
    return ax


def _draw_squares(ax: "Axes", grounds: list[Any], centres: np.ndarray, sides: np.ndarray, weights: np.ndarray) -> None:
    from matplotlib.collections import PolyCollection

    around = np.asarray([(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)])
    panels = [corners[:, None, :] + (around + 0.5) * (wide, high) for corners, wide, high in grounds]
    ax.add_collection(PolyCollection(list(np.concatenate(panels)), facecolors=_GREY, linewidths=0), autolim=False)
    squares = centres[:, None, :] + sides[:, None, None] * around
    colours = np.where(weights > 0, _WHITE, _BLACK)
    ax.add_collection(PolyCollection(list(squares), facecolors=colours.tolist(), linewidths=0), autolim=False)


def _arrangement(input_shape: tuple[int, int] | None, n_below: int) -> tuple[int, int]:
    if input_shape is None:
        return 1, n_below
    shape = np.asarray(input_shape)
    if shape.shape != (2,) or shape.dtype.kind not in "iu" or shape.min() < 1 or shape.prod() != n_below:
        raise DataError(
            f"input_shape must be (rows, columns) whose product is {n_below}, the units below, got {input_shape!r}"
        )
    return int(shape[0]), int(shape[1])


def _chosen(units: Sequence[int], n_units: int) -> np.ndarray:
    chosen = np.asarray(list(units))
    if chosen.ndim != 1 or not chosen.size or chosen.dtype.kind not in "iu" or chosen.min() < 0:
        raise DataError(f"units must be whole numbers from 0 up, one or more, got {units!r}")
    if chosen.max() >= n_units:
        raise DataError(f"units must be from 0 to {n_units - 1}, as the layer has {n_units}, got {chosen.max()}")
    return chosen
