"""Hinton diagrams: weights as white and black squares on grey, as in the 1986 paper."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gpubp._core.counts import is_count
from gpubp.errors import DataError
from gpubp.nn.network import views
from gpubp.plotting._model import check_layer, network_of_blocks
from gpubp.plotting.figure import axes_or_new, check_names

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_SIDE = 0.92
"""The side of the largest weight's square, in cells."""
MAX_WEIGHTS = 50_000
ASPECT_RATIO = 1.5  # width divided by height, roughly
_GREY, _WHITE, _BLACK = "#8C8C8C", "#FFFFFF", "#000000"


@np.errstate(all="ignore")
def hinton_diagram(
    model: Any,
    ax: "Axes | None" = None,
    *,
    layer: int = 1,
    input_shape: tuple[int, int] | None = None,
    selected_units: Sequence[int] | None = None,
    across: int | None = None,
    largest: float | None = None,
    unit_names: Sequence[str] | None = None,
) -> "Axes":
    """Draw the incoming weights of each unit of a layer as a small picture.

    The area of a square is proportional to the weight; white is positive, black is negative. The bias is drawn
    separately, to the right of the unit's weights.

    Parameters
    ----------
    model : (Network, theta) pair, Fit, Model or fitted estimator
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.
    layer : int
        The first hidden layer is 1.
    input_shape : (rows, columns), optional
        The arrangement of the units below, such as ``(8, 8)`` for images of 8 by 8 pixels; one row by default.
    selected_units : sequence of int, optional
        Which units of the layer to draw, counted from 0; all by default.
    across : int, optional
        Small pictures per row; by default, chosen to make the whole slightly wider than high.
    largest : float, optional
        The weight whose square fills its cell; by default, the largest one drawn. Pass the same value to diagrams that
        are to be compared.
    unit_names : sequence of str, optional
        One name for each unit drawn; its number by default.

    Returns
    -------
    matplotlib.axes.Axes
        Its first collection holds the grey backgrounds, its second the squares, in the order of the weights.

    Raises
    ------
    DataError
        If the model, the layer, the units or the arrangement are invalid, or there are too many weights to draw.
    GpubpError
        If Matplotlib is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> from gpubp import Network
    >>> from gpubp.plotting import hinton_diagram
    >>> ax = hinton_diagram((Network((2, 1)), np.asarray([1.0, -0.25, 0.5])))
    >>> [round(float(np.ptp(square.vertices[:, 0])) ** 2, 3) for square in ax.collections[1].get_paths()]
    [0.846, 0.212, 0.423]
    """
    network, theta = network_of_blocks(model, "hinton_diagram")
    block = views(np, network, theta)[check_layer(layer, len(network.activations)) - 1]
    n_below, n_units = block.shape[0] - network.bias, block.shape[1]  # including connections that skip layers
    selected = np.arange(n_units) if selected_units is None else _select_units(selected_units, n_units)
    rows, columns = _arrangement(input_shape, n_below)
    block = block[:, selected]
    if block.size > MAX_WEIGHTS:
        raise DataError(
            f"layer {layer} has {block.size:,} weights, and a diagram shows at most {MAX_WEIGHTS:,}; "
            "choose some units, for instance with selected_units=range(20)"
        )
    names = check_names("unit_names", unit_names, len(selected)) or tuple(str(index) for index in selected)
    if largest is not None and not (math.isfinite(largest) and largest > 0):
        raise DataError(f"largest must be a finite number above 0, got {largest!r}")
    largest = largest or float(np.max(np.abs(block))) or 1.0

    width, height = columns + 1.5 * network.bias, rows
    if across is None:
        across = max(1, round(math.sqrt(ASPECT_RATIO * len(selected) * (height + 1) / (width + 1.5))))
    elif not is_count(across):
        raise DataError(f"across must be a whole number of at least 1, got {across!r}")
    across = min(across, len(selected))
    down = math.ceil(len(selected) / across)
    total = (across * (width + 1.5), down * (height + 1.0))
    ax = axes_or_new(ax, (7.0, min(max(7.0 * total[1] / total[0], 1.2), 12.0)))

    corners = np.asarray([(i % across * (width + 1.5), i // across * (height + 1.0)) for i in range(len(selected))])
    cells = np.asarray([(cell % columns + 0.5, cell // columns + 0.5) for cell in range(n_below)])
    backgrounds = [(corners, columns, rows)]
    if network.bias:
        cells = np.vstack([cells, [columns + 1.0, 0.5]])
        backgrounds.append((corners + np.asarray([columns + 0.5, 0.0]), 1, 1))
    centres = corners[None, :, :] + cells[:, None, :]  # the shape of the block: units below by units
    sides = MAX_SIDE * np.sqrt(np.minimum(np.abs(block) / largest, 1.0))
    _draw_squares(ax, backgrounds, centres.reshape(-1, 2), sides.ravel(), block.ravel())
    for name, (left, top) in zip(names, corners, strict=True):
        ax.text(left - 0.25, top + 0.5, name, ha="right", va="center", fontsize="small")
    ax.set_xlim(-1.25, total[0] - 1.25)
    ax.set_ylim(total[1] - 0.5, -0.5)  # the first row on top
    ax.set_aspect("equal")
    ax.axis("off")
    return ax


def _draw_squares(
    ax: "Axes", backgrounds: list[Any], centres: np.ndarray, sides: np.ndarray, weights: np.ndarray
) -> None:
    from matplotlib.collections import PolyCollection

    unit_square = np.asarray([(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)])
    panels = [corners[:, None, :] + (unit_square + 0.5) * (width, height) for corners, width, height in backgrounds]
    ax.add_collection(PolyCollection(list(np.concatenate(panels)), facecolors=_GREY, linewidths=0), autolim=False)
    squares = centres[:, None, :] + sides[:, None, None] * unit_square
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


def _select_units(selected_units: Sequence[int], n_units: int) -> np.ndarray:
    selected = np.asarray(list(selected_units))
    if selected.ndim != 1 or not selected.size or selected.dtype.kind not in "iu" or selected.min() < 0:
        raise DataError(f"selected_units must be one or more whole numbers of at least 0, got {selected_units!r}")
    if selected.max() >= n_units:
        raise DataError(
            f"selected_units must be from 0 to {n_units - 1}, as the layer has {n_units}, got {selected.max()}"
        )
    return selected
