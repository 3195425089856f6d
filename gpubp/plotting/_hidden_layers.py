"""The outputs of hidden units for given samples."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gpubp.backends.backend import to_numpy
from gpubp.errors import DataError
from gpubp.nn.activations import get_activation
from gpubp.plotting._model import check_layer, layers_of
from gpubp.plotting.figure import STYLES, axes_or_new, check_names, legend_above

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_NAMES = 60
"""Names are written for up to this number of samples."""
MAX_WRITTEN = 100
"""Outputs are written into a heat map of up to this number of them."""


@np.errstate(all="ignore")
def hidden_heat_map(
    model: Any,
    X: Any,
    ax: "Axes | None" = None,
    *,
    layer: int = 1,
    sample_names: Sequence[str] | None = None,
    unit_names: Sequence[str] | None = None,
) -> "Axes":
    """Draw the outputs of a layer as colours: a row for each sample, a column for each unit.

    Up to 100 outputs are also written as numbers.

    Parameters
    ----------
    model : (Network, theta) pair, Fit, Model or fitted estimator
    X : (b, i) array
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default. A colour bar is added.
    layer : int
        The first hidden layer is 1.
    sample_names, unit_names : sequence of str, optional
        One for each sample, and for each unit of the layer, such as what it codes.

    Returns
    -------
    matplotlib.axes.Axes
        Its image holds the outputs, ``(b, units)``.

    Raises
    ------
    DataError
        If the model, the samples, the layer or the names are invalid.
    GpubpError
        If Matplotlib is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> from gpubp import Network
    >>> from gpubp.plotting import hidden_heat_map
    >>> ax = hidden_heat_map((Network((1, 2, 1)), np.ones(7)), [[0.0], [3.0]])
    >>> ax.images[0].get_array().tolist()
    [[1.0, 1.0], [4.0, 4.0]]
    """
    network, layers = layers_of(model, X)
    y = layers[check_layer(layer, len(layers)) - 1].y
    names = check_names("sample_names", sample_names, len(y))
    columns = check_names("unit_names", unit_names, y.shape[1])
    activation = get_activation(network.activations[layer - 1])
    largest = float(np.max(np.abs(y))) or 1.0
    scale: dict[str, Any]
    if activation.above_zero and activation.below_one:
        scale = {"cmap": "cividis", "vmin": 0.0, "vmax": 1.0}
    elif y.min() < 0:
        scale = {"cmap": "PuOr_r", "vmin": -largest, "vmax": largest}  # white is 0
    else:
        scale = {"cmap": "cividis", "vmin": 0.0, "vmax": largest}
    per_unit = max(0.5, 0.08 * max((len(line) for name in columns for line in name.split("\n")), default=0))
    ax = axes_or_new(ax, (min(2.5 + per_unit * y.shape[1], 10.0), min(1.4 + 0.28 * len(y), 9.0)))
    image = ax.imshow(y, aspect="auto", interpolation="nearest", **scale)
    ax.figure.colorbar(image, ax=ax, label="output")
    if y.size <= MAX_WRITTEN:
        _write_outputs(ax, y, image)
    ax.set_xlabel(f"unit of layer {layer}")
    ax.set_ylabel("sample")
    if y.shape[1] <= MAX_NAMES // 3:
        ax.set_xticks(range(y.shape[1]), columns or None)
    if names and len(names) <= MAX_NAMES:
        ax.set_yticks(range(len(names)), names)
        ax.set_ylabel("")
    return ax


def _write_outputs(ax: "Axes", y: np.ndarray, image: Any) -> None:
    """Write each output on its colour, in black or white, whichever differs more."""
    red, green, blue, _ = np.moveaxis(image.cmap(image.norm(y)), -1, 0)
    is_light = 0.3 * red + 0.59 * green + 0.11 * blue > 0.5
    for (row, column), value in np.ndenumerate(y):
        text = f"{value:.2f}".replace("-", "\N{MINUS SIGN}")
        colour = "black" if is_light[row, column] else "white"
        ax.text(column, row, text, ha="center", va="center", fontsize="x-small", color=colour)


@np.errstate(all="ignore")
def hidden_projection(
    model: Any,
    X: Any,
    labels: Any = None,
    ax: "Axes | None" = None,
    *,
    layer: int = 1,
    sample_names: Sequence[str] | None = None,
) -> "Axes":
    """Draw the outputs of a layer for each sample, projected onto two directions of largest variance.

    The directions are the first two principal components, signed so that the largest element of each is positive.

    Parameters
    ----------
    model : (Network, theta) pair, Fit, Model or fitted estimator
    X : (b, i) array
        At least two samples.
    labels : (b,) array, optional
        A label for each sample, such as its class. Each label has its own colour and marker.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.
    layer : int
        The first hidden layer is 1. The layer must have at least two units.
    sample_names : sequence of str, optional
        Written next to the samples.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    DataError
        If the model, the samples, the layer, the labels or the names are invalid.
    GpubpError
        If Matplotlib is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> from gpubp import Network
    >>> from gpubp.plotting import hidden_projection
    >>> ax = hidden_projection((Network((1, 2, 1)), np.ones(7)), [[0.0], [3.0]])
    >>> ax.get_xlabel()
    'first component, 100 % of the variance'
    """
    _, layers = layers_of(model, X)
    y = layers[check_layer(layer, len(layers)) - 1].y
    if min(y.shape) < 2:
        raise DataError(
            f"a projection needs at least two samples and two units, layer {layer} has {y.shape[1]} units for {len(y)} "
            "samples; use hidden_heat_map"
        )
    names = check_names("sample_names", sample_names, len(y))
    groups = np.zeros(len(y), dtype=int) if labels is None else np.asarray(to_numpy(labels))
    if groups.shape != (len(y),):
        raise DataError(f"labels must have one entry for each of {len(y)} samples, got shape {groups.shape}")
    points, shares = principal_components(y)

    ax = axes_or_new(ax, (5.6, 5.0))
    for number, label in enumerate(np.unique(groups)):
        style = STYLES[number % len(STYLES)]
        group = points[groups == label]
        ax.scatter(
            group[:, 0],
            group[:, 1],
            c=style.color,
            marker=style.marker,
            s=30,
            edgecolors="white",
            linewidths=0.5,
            label=str(label),
        )
    if labels is not None:
        legend_above(ax)
    for name, point in zip(names, points, strict=False):
        ax.annotate(name, (point[0], point[1]), xytext=(4, 4), textcoords="offset points", fontsize="x-small")
    ax.set_xlabel(f"first component, {100 * shares[0]:.0f} % of the variance")
    ax.set_ylabel(f"second component, {100 * shares[1]:.0f} %")
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def principal_components(y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Project rows onto their first two principal components.

    Returns
    -------
    points : (b, 2) array
    shares : (2,) array
        The fraction of the variance along each.
    """
    centred = y - y.mean(axis=0)
    _, sizes, directions = np.linalg.svd(centred, full_matrices=False)
    directions = directions[:2]
    largest = np.argmax(np.abs(directions), axis=1)
    directions = directions * np.sign(directions[[0, 1], largest])[:, None]
    variance = sizes**2
    return np.matmul(centred, directions.T), variance[:2] / (variance.sum() or 1.0)
