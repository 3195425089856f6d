"""The loss over two parameters, with the paths of optimizers."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from gpubp._core.counts import is_count
from gpubp.errors import DataError
from gpubp.nn.losses import output_loss
from gpubp.nn.network import Network
from gpubp.nn.passes import output_layer
from gpubp.plotting._model import network_and_theta, samples_of, targets_of
from gpubp.plotting.figure import STYLES, axes_or_new, legend_above

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LEVELS = 14
MAX_NUMBERS_PER_CALL = 4_000_000
Limits = tuple[tuple[float, float], tuple[float, float]]


@np.errstate(all="ignore")
def loss_surface(
    model: Any,
    X: Any,
    targets: Any,
    ax: "Axes | None" = None,
    *,
    parameters: tuple[int, int] = (0, 1),
    paths: Mapping[str, Any] | None = None,
    limits: Limits | None = None,
    resolution: int = 81,
) -> "Axes":
    """Draw contours of the loss over two parameters, all others fixed, and the paths of optimizers.

    Contours are labelled with their loss. A circle is where paths start, a star the lowest loss that was computed: of
    the grid, the point and the paths.

    Parameters
    ----------
    model : (Network, theta) pair, Fit, Model or fitted estimator
        The point around which to draw, marked with a cross if no path starts there. All other parameters are fixed.
    X : (b, i) array
    targets : (b, j) array
        The samples and targets whose summed loss is drawn.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.
    parameters : (int, int)
        The indices into ``theta`` of the horizontal and the vertical parameter.
    paths : mapping of str to (t, P) or (t, 2) array, optional
        Parameters from first to last, by the name in the legend. A path of a network with more parameters is projected:
        its loss may differ from that of the surface.
    limits : ((left, right), (bottom, top)), optional
        By default, limits that contain the paths and the point.
    resolution : int
        Points along each side.

    Returns
    -------
    matplotlib.axes.Axes
        Its first lines are the paths, in the order given.

    Raises
    ------
    DataError
        If the model, the samples, the parameters, the paths or the limits are invalid.
    GpubpError
        If Matplotlib is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> from gpubp import Network
    >>> from gpubp.plotting import loss_surface
    >>> down = np.asarray([[0.0, 0.0], [1.0, 0.5], [2.0, 0.0]])
    >>> ax = loss_surface((Network((1, 1)), down[-1]), [[0.0], [1.0]], [[0.0], [2.0]], paths={"mine": down})
    >>> ax.lines[0].get_label(), ax.lines[0].get_xdata()
    ('mine', array([0., 1., 2.]))
    """
    network, theta = network_and_theta(model)
    x = samples_of(network, theta, X)
    targets = targets_of(network, theta, x, targets)
    first, second = _check_parameters(parameters, network)
    if not is_count(resolution, 2):
        raise DataError(f"resolution must be a whole number of at least 2, got {resolution!r}")
    points_of_path = {
        str(name): _project_path(name, path, network, first, second) for name, path in (paths or {}).items()
    }
    point = theta[[first, second]]
    (left, right), (bottom, top) = _limits(limits, np.vstack([point, *points_of_path.values()]))
    horizontal, vertical = np.linspace(left, right, resolution), np.linspace(bottom, top, resolution)
    grid = np.stack(np.meshgrid(horizontal, vertical), axis=-1).reshape(-1, 2)
    drawn = np.vstack([grid, point, *points_of_path.values()])
    losses = _losses(network, theta, x, targets, (first, second), drawn)
    loss = losses[: len(grid)].reshape(resolution, resolution)
    if not np.isfinite(loss).any():
        raise DataError("the loss is not finite anywhere within these limits; pass narrower ones")

    ax = axes_or_new(ax, (6.0, 5.4))
    from matplotlib.patheffects import withStroke

    levels = _levels(loss)
    shades = [f"{shade:.3f}" for shade in np.linspace(1.0, 0.55, len(levels) + 1)]
    ax.contourf(horizontal, vertical, loss, levels=levels, colors=shades, extend="both")
    if len(levels) > 2:
        lines = ax.contour(horizontal, vertical, loss, levels=levels, colors="0.35", linewidths=0.5)
        values = ax.clabel(lines, levels[1::2], fmt="%.2g", fontsize="x-small", colors="black", inline=False)
        for value in values:
            value.set_path_effects([withStroke(linewidth=2.0, foreground="white")])
    for number, (name, points) in enumerate(points_of_path.items()):
        style = STYLES[number % len(STYLES)]
        last = [len(points) - 1]
        ax.plot(*points.T, label=name, linewidth=1.6, markersize=5, markevery=last, zorder=3, **style._asdict())
    starts = np.asarray([points[0] for points in points_of_path.values()]).reshape(-1, 2)
    if len(starts):
        ax.plot(*starts.T, "o", color="black", markerfacecolor="white", markersize=8, zorder=4, label="start")
    if not np.any(np.all(starts == point, axis=1)):
        ax.plot(*point, "x", color="black", markersize=8, zorder=4, label="the model")
    inside = np.all((drawn >= (left, bottom)) & (drawn <= (right, top)), axis=1)
    lowest = int(np.nanargmin(np.where(inside, losses, np.nan)))
    label = f"lowest loss, {losses[lowest]:.2g}"
    ax.plot(*drawn[lowest], "*", color="black", markerfacecolor=STYLES[4].color, markersize=13, zorder=5, label=label)
    legend_above(ax)
    ax.set_xlim(left, right)
    ax.set_ylim(bottom, top)
    ax.set_xlabel(f"parameter {first}")
    ax.set_ylabel(f"parameter {second}")
    return ax


def _losses(
    network: Network,
    theta: np.ndarray,
    x: np.ndarray,
    targets: np.ndarray,
    indices: tuple[int, int],
    pairs: np.ndarray,
) -> np.ndarray:
    """Compute the loss at each pair of the two parameters, ``(n, 2)``, with stacks of networks; NaN if not finite."""
    at_once = max(1, MAX_NUMBERS_PER_CALL // (len(x) * max(network.sizes) + network.n_parameters))
    losses = []
    for start in range(0, len(pairs), at_once):
        part = pairs[start : start + at_once]
        stack = np.repeat(theta[None], len(part), axis=0)
        stack[:, list(indices)] = part
        layer = output_layer(np, network, stack, x)
        losses.append(output_loss(np, network.loss, network.activations[-1], *layer, targets)[0])
    loss = np.concatenate(losses)
    return np.where(np.isfinite(loss), loss, np.nan)


def _levels(loss: np.ndarray) -> np.ndarray:
    """Choose the contour levels, spaced geometrically if the loss spans at least a decade."""
    low, high = float(np.nanmin(loss)), float(np.nanmax(loss))
    if not low < high:
        return np.asarray([low - 0.5, low + 0.5])
    if high > 10.0 * low >= 0:
        return np.geomspace(max(low, 1e-4 * high), high, LEVELS)
    return np.linspace(low, high, LEVELS)


def _check_parameters(parameters: Any, network: Network) -> tuple[int, int]:
    indices = np.asarray(parameters)
    last = network.n_parameters - 1
    is_valid = indices.shape == (2,) and indices.dtype.kind in "iu" and indices.min() >= 0 and indices.max() <= last
    if not is_valid or indices[0] == indices[1]:
        raise DataError(f"parameters must be two different whole numbers from 0 to {last}, got {parameters!r}")
    return int(indices[0]), int(indices[1])


def _project_path(name: str, path: Any, network: Network, first: int, second: int) -> np.ndarray:
    try:
        points = np.asarray(path, dtype=float)
    except (TypeError, ValueError) as error:
        raise DataError(f"the path {name!r} must be an array of numbers: {error}") from error
    if points.ndim != 2 or not len(points) or points.shape[1] not in (2, network.n_parameters):
        raise DataError(
            f"the path {name!r} must be (t, {network.n_parameters}), the parameters at t times, or (t, 2); "
            f"got {points.shape}"
        )
    return points if points.shape[1] == 2 and network.n_parameters != 2 else points[:, [first, second]]


def _limits(limits: Any, points: np.ndarray) -> Limits:
    if limits is not None:
        sides = np.asarray(limits, dtype=float)
        if sides.shape != (2, 2) or not np.isfinite(sides).all() or not (sides[:, 0] < sides[:, 1]).all():
            raise DataError(f"limits must be ((left, right), (bottom, top)), in increasing order, got {limits!r}")
    else:
        finite = points[np.isfinite(points).all(axis=1)]
        low, high = finite.min(axis=0), finite.max(axis=0)
        margin = np.maximum(0.15 * (high - low), 1.0 if len(points) > 1 else 3.0)
        sides = np.stack([low - margin, high + margin], axis=1)
    (left, right), (bottom, top) = sides.tolist()
    return (left, right), (bottom, top)
