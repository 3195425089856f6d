"""The decision boundary of a classifier with two inputs."""

from typing import TYPE_CHECKING, Any

import numpy as np

from gpubp._core.counts import is_count
from gpubp.backends.backend import to_numpy
from gpubp.backends.inputs import accept_on_host, as_floats
from gpubp.errors import DataError
from gpubp.nn.passes import output_layer
from gpubp.plotting._model import network_and_theta, samples_of
from gpubp.plotting.figure import STYLES, axes_or_new, legend_above

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_SHADE = 0.65
"""The share of a class's colour at probability 1; it is 0 at chance level."""


@np.errstate(all="ignore")
def decision_boundary(
    model: Any,
    X: Any,
    labels: Any = None,
    ax: "Axes | None" = None,
    *,
    limits: tuple[tuple[float, float], tuple[float, float]] | None = None,
    resolution: int = 150,
) -> "Axes":
    """Draw the predicted class over two inputs, paler where the model is less certain, with the samples on top.

    Parameters
    ----------
    model : (Network, theta) pair, Fit, Model, or a fitted classifier
        A model with two inputs. A network needs one logistic output or softmax outputs; anything else needs
        ``predict_proba``, for instance a pipeline.
    X : (b, 2) array
        Samples, which also set the limits.
    labels : (b,) or (b, j) array, optional
        The class of each sample, or its targets. Samples get the colour and marker of their class.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.
    limits : ((left, right), (bottom, top)), optional
    resolution : int
        Points along each side.

    Returns
    -------
    matplotlib.axes.Axes
        Its first image holds the colours.

    Raises
    ------
    DataError
        If the model does not have two inputs or gives no probabilities, or samples and labels do not match.
    GpubpError
        If Matplotlib is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> from gpubp import Network
    >>> from gpubp.plotting import decision_boundary
    >>> network = Network((2, 1), loss="binary_cross_entropy")
    >>> ax = decision_boundary((network, np.asarray([4.0, 0.0, 0.0])), [[-1.0, 0.0], [1.0, 1.0]], [0, 1])
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['0', '1']
    """
    samples = as_floats("X", accept_on_host("X", X)).astype(float)
    if samples.ndim != 2 or samples.shape[1] != 2 or not len(samples) or not np.isfinite(samples).all():
        raise DataError(f"X must be finite, of shape (samples, 2), got {samples.shape}")
    if not is_count(resolution, 2):
        raise DataError(f"resolution must be a whole number of at least 2, got {resolution!r}")
    sides = _axis_limits(limits, samples)
    horizontal, vertical = (np.linspace(*side, resolution) for side in sides)
    grid = np.stack(np.meshgrid(horizontal, vertical), axis=-1).reshape(-1, 2)
    p, classes = _probabilities(model, grid)
    class_of_sample = None if labels is None else _classes_of(labels, classes, len(samples))

    ax = axes_or_new(ax, (5.6, 5.0))
    shape = (resolution, resolution)
    ax.imshow(
        _background(p).reshape(*shape, 3),
        extent=(*sides[0], *sides[1]),
        origin="lower",
        aspect="auto",
        interpolation="bilinear",
    )
    for k in range(p.shape[1] if p.shape[1] > 2 else 1):
        margin = p[:, k] - np.delete(p, k, axis=1).max(axis=1)
        if margin.min() < 0 < margin.max():
            ax.contour(horizontal, vertical, margin.reshape(shape), levels=[0.0], colors="black", linewidths=1.2)
    for k, name in enumerate(classes if class_of_sample is not None else ["samples"]):
        class_samples = samples if class_of_sample is None else samples[class_of_sample == k]
        style = STYLES[k % len(STYLES)]
        colour = "white" if class_of_sample is None else style.color
        ax.scatter(
            class_samples[:, 0],
            class_samples[:, 1],
            s=28,
            c=colour,
            marker=style.marker,
            edgecolors="black",
            linewidths=0.8,
            label=str(name),
        )
    if class_of_sample is not None:
        legend_above(ax)
    ax.set_xlim(*sides[0])
    ax.set_ylim(*sides[1])
    ax.set_xlabel("input 0")
    ax.set_ylabel("input 1")
    return ax


def _probabilities(model: Any, grid: np.ndarray) -> tuple[np.ndarray, list[Any]]:
    """Return the probability of each class, ``(b, classes)``, and the classes."""
    if hasattr(model, "predict_proba"):
        p = np.asarray(to_numpy(model.predict_proba(grid)), dtype=float)
        classes = list(model.classes_) if p.ndim == 2 else []
    elif hasattr(model, "predict"):
        raise DataError(f"a decision boundary needs a classifier, got {type(model).__name__}")
    else:
        network, theta = network_and_theta(model)
        if network.sizes[0] != 2:
            raise DataError(f"a decision boundary needs two inputs, the network has {network.sizes[0]}")
        p = output_layer(np, network, theta, samples_of(network, theta, grid)).y
        p = np.concatenate([1.0 - p, p], axis=1) if p.shape[1] == 1 else p
        classes = list(range(p.shape[1]))
    if p.ndim != 2 or p.min() < 0.0 or p.max() > 1.0 or np.abs(p.sum(axis=1) - 1.0).max() > 1e-4:
        raise DataError(
            "a decision boundary needs class probabilities, which these outputs are not; "
            "use a network with one logistic output or with softmax outputs"
        )
    return p, classes


def _background(p: np.ndarray) -> np.ndarray:
    """Mix white with the colour of the most likely class, in proportion to its probability above chance."""
    from matplotlib.colors import to_rgb

    colours = np.asarray([to_rgb(STYLES[k % len(STYLES)].color) for k in range(p.shape[1])])
    chance = 1.0 / p.shape[1]
    saturation = MAX_SHADE * (p.max(axis=1, keepdims=True) - chance) / (1.0 - chance)
    return np.asarray(1.0 - saturation * (1.0 - colours[p.argmax(axis=1)]))


def _classes_of(labels: Any, classes: list[Any], n: int) -> np.ndarray:
    """Return the index of each sample's class."""
    label_array = np.asarray(to_numpy(labels))
    if len(label_array) != n or label_array.ndim > 2:
        raise DataError(f"labels must have one entry for each of {n} samples, got shape {label_array.shape}")
    if label_array.ndim == 2:
        return (label_array[:, 0] > 0.5).astype(int) if label_array.shape[1] == 1 else label_array.argmax(axis=1)
    index_of_class = {name: k for k, name in enumerate(classes)}
    try:
        return np.asarray([index_of_class[label] for label in label_array.tolist()])
    except (KeyError, TypeError) as error:
        raise DataError(
            f"labels must be among the model's classes {', '.join(map(str, classes))}, got {error}"
        ) from None


def _axis_limits(limits: Any, samples: np.ndarray) -> list[tuple[float, float]]:
    if limits is None:
        low, high = samples.min(axis=0), samples.max(axis=0)
        margin = np.where(high > low, 0.15 * (high - low), 1.0)
        sides = np.stack([low - margin, high + margin], axis=1)
    else:
        sides = np.asarray(limits, dtype=float)
        if sides.shape != (2, 2) or not np.isfinite(sides).all() or not (sides[:, 0] < sides[:, 1]).all():
            raise DataError(f"limits must be ((left, right), (bottom, top)), in increasing order, got {limits!r}")
    return [(float(low), float(high)) for low, high in sides]
