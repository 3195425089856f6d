"""What the hidden units make of the samples."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gpubp.backends.backend import to_numpy
from gpubp.errors import DataError
from gpubp.nn.activations import get_activation
from gpubp.plotting._model import check_layer, layers_of
from gpubp.plotting.figure import STYLES, axes_or_new, check_names

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_NAMES = 60
"""Up to so many samples have their names beside them."""


def hidden_heat_map(
    model: Any,
    x: Any,
    ax: "Axes | None" = None,
    *,
    layer: int = 1,
    sample_names: Sequence[str] | None = None,
) -> "Axes":
    """Draw the outputs of a layer as colours: a row for each sample, a column for each unit.

    Parameters
    ----------
    model : (Network, theta) pair, Fit, Model or fitted estimator
    x : (b, i) array
    ax : matplotlib.axes.Axes, optional
        Where to draw; without it in a figure of its own. The scale of the colours gets an axis beside it.
    layer : int
        The first hidden layer is 1.
    sample_names : sequence of str, optional
        One for each sample.

    Returns
    -------
    matplotlib.axes.Axes
        Its image holds the outputs, ``(b, units)``.

    Raises
    ------
    DataError
        If the model, the samples, the layer or the names do not serve.
    GpubpError
        If matplotlib is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> from gpubp import Network
    >>> from gpubp.plotting import hidden_heat_map
    >>> ax = hidden_heat_map((Network((1, 2, 1)), np.ones(7)), [[0.0], [3.0]])
    >>> ax.images[0].get_array().tolist()
    [[1.0, 1.0], [4.0, 4.0]]
    """
    network, layers = layers_of(model, x)
    y = layers[check_layer(layer, len(layers)) - 1].y
    names = check_names("sample_names", sample_names, len(y))
    unit = get_activation(network.activations[layer - 1])
    largest = float(np.max(np.abs(y))) or 1.0
    scale: dict[str, Any]
    if unit.above_zero and unit.below_one:
        scale = {"cmap": "cividis", "vmin": 0.0, "vmax": 1.0}
    elif y.min() < 0:
        scale = {"cmap": "PuOr_r", "vmin": -largest, "vmax": largest}  # white is 0
    else:
        scale = {"cmap": "cividis", "vmin": 0.0, "vmax": largest}
    ax = axes_or_new(ax, (min(2.0 + 0.5 * y.shape[1], 10.0), min(1.2 + 0.28 * len(y), 9.0)))
    image = ax.imshow(y, aspect="auto", interpolation="nearest", **scale)
    ax.figure.colorbar(image, ax=ax)
    ax.set_xlabel(f"unit of layer {layer}")
    ax.set_ylabel("sample")
    if y.shape[1] <= MOST_NAMES // 3:
        ax.set_xticks(range(y.shape[1]))
    if names and len(names) <= MOST_NAMES:
        ax.set_yticks(range(len(names)), names)
        ax.set_ylabel("")
    return ax


def hidden_projection(
    model: Any,
    x: Any,
    labels: Any = None,
    ax: "Axes | None" = None,
    *,
    layer: int = 1,
    sample_names: Sequence[str] | None = None,
) -> "Axes":
    """Draw the samples where a layer puts them, seen along the two directions in which its outputs differ most.

    These are the first two principal components; each points to the side on which its largest part is above 0.

    Parameters
    ----------
    model : (Network, theta) pair, Fit, Model or fitted estimator
    x : (b, i) array
        Two samples or more.
    labels : (b,) array, optional
        The kind of each sample: kinds have colours and marks of their own.
    ax : matplotlib.axes.Axes, optional
        Where to draw; without it in a figure of its own.
    layer : int
        The first hidden layer is 1; it has two units or more.
    sample_names : sequence of str, optional
        Written beside the samples.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    DataError
        If the model, the samples, the layer, the labels or the names do not serve.
    GpubpError
        If matplotlib is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> from gpubp import Network
    >>> from gpubp.plotting import hidden_projection
    >>> ax = hidden_projection((Network((1, 2, 1)), np.ones(7)), [[0.0], [3.0]])
    >>> ax.get_xlabel()
    'first component, 100 % of the variance'
    """
    _, layers = layers_of(model, x)
    y = layers[check_layer(layer, len(layers)) - 1].y
    if min(y.shape) < 2:
        raise DataError(
            f"a projection needs two samples and two units or more, layer {layer} has {y.shape[1]} units for {len(y)} "
            "samples; draw a hidden_heat_map"
        )
    names = check_names("sample_names", sample_names, len(y))
    kinds = np.zeros(len(y), dtype=int) if labels is None else np.asarray(to_numpy(labels))
    if kinds.shape != (len(y),):
        raise DataError(f"labels must be one for each of {len(y)} samples, got {kinds.shape}")
    points, shares = principal_components(y)

    ax = axes_or_new(ax, (5.6, 5.0))
    for number, kind in enumerate(np.unique(kinds)):
        style = STYLES[number % len(STYLES)]
        own = points[kinds == kind]
        ax.scatter(
            own[:, 0],
            own[:, 1],
            c=style.color,
            marker=style.marker,
            s=30,
            edgecolors="white",
            linewidths=0.5,
            label=str(kind),
        )
    if labels is not None:
        ax.legend(loc="best", framealpha=0.9)
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
        The part of the variance along each.
    """
    centred = y - y.mean(axis=0)
    _, sizes, directions = np.linalg.svd(centred, full_matrices=False)
    directions = directions[:2]
    largest = np.argmax(np.abs(directions), axis=1)
    directions = directions * np.sign(directions[[0, 1], largest])[:, None]
    variance = sizes**2
    return np.matmul(centred, directions.T), variance[:2] / (variance.sum() or 1.0)
