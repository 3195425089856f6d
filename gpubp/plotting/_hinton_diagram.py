"""Hinton diagrams: weights as white and black squares on grey, as in the 1986 paper."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gpubp._core.counts import is_count
from gpubp.errors import DataError
from gpubp.nn.network import views
from gpubp.plotting._model import check_layer, network_of_blocks
from gpubp.plotting.figure import axes_or_new, check_names, new_figure, plain_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_SIDE = 0.92
"""The side of the largest weight's square, in cells."""
MAX_WEIGHTS = 50_000
MAX_NAMED = 40
"""Inputs are named up to this number of columns."""
ASPECT_RATIO = 2.0  # width divided by height, roughly
GAP = 1.5  # between small pictures, in cells
FONT, LINE = 8.0, 12.0  # points: the size of letters, the height of a line
WIDTH, MAX_HEIGHT, MAX_CELL = 7.0, 12.0, 0.5  # inches of a new figure, and of the cells in it
_GREY, _WHITE, _BLACK = "#8C8C8C", "#FFFFFF", "#000000"


class _Layout(NamedTuple):
    """Where everything is, in cells; downwards is positive."""

    cell: float  # points
    corners: np.ndarray  # (units, 2), the top left of each small picture
    named_columns: list[tuple[float, float]]  # below each column of small pictures
    key: float  # the top of the key
    width: float
    height: float


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
    input_names: Sequence[str] | None = None,
) -> "Axes":
    """Draw the incoming weights of each unit of a layer as a small picture.

    The area of a square is proportional to the weight; white is positive, black is negative. The bias is drawn
    separately, to the right of the unit's weights. The key below shows the largest weight and a quarter of it.

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
        Small pictures per row; by default, chosen to make the whole slightly wider than high, with few empty places.
    largest : float, optional
        The weight whose square fills its cell; by default, the largest one drawn. Pass the same value to diagrams that
        are to be compared.
    unit_names : sequence of str, optional
        One name for each unit drawn; by default "unit" and its number.
    input_names : sequence of str, optional
        One name for each unit below, written under the columns: those of one column side by side. By default, numbers
        from 0 if all units below are in one row of at most 40.

    Returns
    -------
    matplotlib.axes.Axes
        Its first collection holds the grey backgrounds, its second the squares, in the order of the weights; the next
        two are those of the key.

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
    >>> ax = hinton_diagram((Network((2, 1)), np.asarray([1.0, -0.25, 0.5])), input_names=["rain", "wind"])
    >>> [round(float(np.ptp(square.vertices[:, 0])) ** 2, 3) for square in ax.collections[1].get_paths()]
    [0.846, 0.212, 0.423]
    >>> [text.get_text() for text in ax.texts[:4]]
    ['unit 0', 'bias', 'rain', 'wind']
    """
    network, theta = network_of_blocks(model, "hinton_diagram")
    block = views(np, network, theta)[check_layer(layer, len(network.activations)) - 1]
    n_below, n_units = block.shape[0] - network.bias, block.shape[1]  # including connections that skip layers
    selected = np.arange(n_units) if selected_units is None else _select_units(selected_units, n_units)
    shape = rows, columns = _arrangement(input_shape, n_below)
    block = block[:, selected]
    if block.size > MAX_WEIGHTS:
        raise DataError(
            f"layer {layer} has {block.size:,} weights, and a diagram shows at most {MAX_WEIGHTS:,}; "
            "choose some units, for instance with selected_units=range(20)"
        )
    names = check_names("unit_names", unit_names, len(selected)) or tuple(f"unit {index}" for index in selected)
    column_names = _column_names(check_names("input_names", input_names, n_below), shape)
    if largest is not None and not (math.isfinite(largest) and largest > 0):
        raise DataError(f"largest must be a finite number above 0, got {largest!r}")
    largest = largest or float(np.max(np.abs(block))) or 1.0
    if across is not None and not is_count(across):
        raise DataError(f"across must be a whole number of at least 1, got {across!r}")

    size = (columns + 1.5 * network.bias, float(rows))
    across = min(across or _across(len(selected), size), len(selected))
    key = _key_of(largest)
    new = new_figure() if ax is None else None
    ax = axes_or_new(ax) if new is None else new.add_subplot()
    space = np.asarray(ax.get_window_extent().size) / ax.figure.dpi if new is None else np.asarray([WIDTH, MAX_HEIGHT])
    layout = _lay_out(len(selected), across, size, max(map(_points, column_names), default=0.0), key, space)
    if new is not None:
        inches = layout.cell / 72.0
        new.set_size_inches(layout.width * inches + 0.1, layout.height * inches + 0.1)

    cells = np.asarray([(cell % columns + 0.5, cell // columns + 0.5) for cell in range(n_below)])
    backgrounds = [(layout.corners, columns, rows)]
    if network.bias:
        cells = np.vstack([cells, [columns + 1.0, 0.5]])
        backgrounds.append((layout.corners + np.asarray([columns + 0.5, 0.0]), 1, 1))
    centres = layout.corners[None, :, :] + cells[:, None, :]  # the shape of the block: units below by units
    sides = MAX_SIDE * np.sqrt(np.minimum(np.abs(block) / largest, 1.0))
    _draw_squares(ax, backgrounds, centres.reshape(-1, 2), sides.ravel(), block.ravel())
    _write_names(ax, layout, names, column_names, columns + 1.0 if network.bias else None)
    _draw_key(ax, layout, key)
    ax.set_xlim(-0.1, layout.width)
    ax.set_ylim(layout.height, 0.0)  # the first row on top
    ax.set_aspect("equal", anchor="NW")
    ax.axis("off")
    return ax


def _across(n: int, size: tuple[float, float]) -> int:
    """Choose how many small pictures stand in a row: few places are empty, and the whole is wider than high."""
    ideal = math.sqrt(ASPECT_RATIO * n * (size[1] + GAP) / (size[0] + GAP))
    return min(range(1, n + 1), key=lambda across: 2.0 * (-n % across) / n + abs(math.log(across / ideal)))


def _lay_out(
    n: int, across: int, size: tuple[float, float], longest: float, key: dict[str, float], space: np.ndarray
) -> _Layout:
    """Place small pictures, names and key in a space, in inches; the text takes more cells if these are smaller.

    ``longest`` is the width of the longest name of a column, in points; if it is wider than a cell, names are upright.
    """
    down = math.ceil(n / across)
    cell = 72.0 * MAX_CELL
    for _ in range(20):  # until the size of a cell settles
        line = LINE / cell
        names = ((longest + 4.0 if longest > cell else LINE) / cell + 0.3) * (longest > 0)
        pitch = size[1] + line + 0.4
        top_of_key = down * pitch + names
        width = max(across * (size[0] + GAP) - GAP, sum(_key_width(text, cell) for text in key)) + 0.1
        height = top_of_key + max(1.0, line) + 0.1
        largest = min(72.0 * MAX_CELL, 72.0 * space[0] / width, 72.0 * space[1] / height)
        if largest >= 0.995 * cell:
            break
        cell = largest
    corners = np.asarray([(i % across * (size[0] + GAP), i // across * pitch + line) for i in range(n)])
    last = {float(left): float(top + size[1]) for left, top in corners}  # the lowest of each column
    return _Layout(cell, corners, list(last.items()), top_of_key, width, height)


def _key_of(largest: float) -> dict[str, float]:
    """Return what the key shows: the largest weight and a quarter of it, of both signs, in parts of the largest."""
    parts = (1.0, 0.25, -0.25, -1.0)
    return {f"{part * largest:.2g}".replace("-", "\N{MINUS SIGN}"): part for part in parts}


def _key_width(text: str, cell: float) -> float:
    return 1.3 + (_points(text) + 8.0) / cell


def _points(text: str) -> float:
    """Return the width of a text."""
    from matplotlib.textpath import TextPath

    return float(TextPath((0.0, 0.0), text, size=FONT).get_extents().x1) if text.strip() else 0.0


def _column_names(names: tuple[str, ...], shape: tuple[int, int]) -> list[str]:
    rows, columns = shape
    if not names:
        return [str(k) for k in range(columns)] if rows == 1 and columns <= MAX_NAMED else []
    return [plain_label(", ".join(names[column::columns])) for column in range(columns)]


def _write_names(
    ax: "Axes", layout: _Layout, names: Sequence[str], column_names: Sequence[str], bias: float | None
) -> None:
    for name, (left, top) in zip(names, layout.corners, strict=True):
        ax.text(left, top - 2.0 / layout.cell, plain_label(name), va="bottom", fontsize=FONT)
        if bias is not None and layout.cell > 4.0:
            ax.text(left + bias, top - 2.0 / layout.cell, "bias", ha="center", va="bottom", fontsize=FONT)
    is_upright = max(map(_points, column_names), default=0.0) > layout.cell
    for left, bottom in layout.named_columns if column_names else ():
        for column, name in enumerate(column_names):
            place = (left + column + 0.5, bottom + 2.0 / layout.cell)
            ax.text(*place, name, ha="center", va="top", rotation=90 if is_upright else 0, fontsize=FONT)


def _draw_key(ax: "Axes", layout: _Layout, key: dict[str, float]) -> None:
    lefts = np.cumsum([0.0, *(_key_width(text, layout.cell) for text in key)])[:-1]
    corners = np.stack([lefts, np.full(len(key), layout.key)], axis=1)
    parts = np.asarray(list(key.values()))
    _draw_squares(ax, [(corners, 1, 1)], corners + 0.5, MAX_SIDE * np.sqrt(np.abs(parts)), parts)
    for text, (left, top) in zip(key, corners, strict=True):
        ax.text(left + 1.0 + 3.0 / layout.cell, top + 0.5, text, va="center", fontsize=FONT)


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
