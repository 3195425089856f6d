"""Learning curves: one run in full, or several runs compared."""

import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from gpubp._core.text import number
from gpubp.errors import DataError
from gpubp.plotting.figure import (
    STYLES,
    Style,
    axes_or_new,
    legend_above,
    new_figure,
    plain_label,
    save_figure,
    with_grid,
)
from gpubp.training.state import History

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D


def _line(style: Style) -> dict[str, Any]:
    return {"color": style.color, "linestyle": style.linestyle}


TRAINING, VALIDATION, SCORE = map(_line, STYLES[:3])
DECADES = 100.0  # the axis is logarithmic if the largest loss is more than this many times the smallest


@np.errstate(all="ignore")
def learning_curve(
    history: History,
    ax: "Axes | None" = None,
    *,
    title: str | None = None,
    score_name: str = "score",
    monitored: Literal["score", "loss"] = "score",
) -> "Axes":
    """Draw the training loss of each epoch, and the validation loss and score if there are any.

    Parameters
    ----------
    history : History
        The history of one network, or of a stack: then the median over the networks is drawn, with a band that contains
        the middle half of them.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default. The score has its own axis on the right.
    title : str, optional
    score_name : str
        The name of the score, such as "accuracy".
    monitored : {"score", "loss"}
        Whether the best epoch is marked by the score, if there is one, or by the validation loss.

    Returns
    -------
    matplotlib.axes.Axes
        The axes of the losses.

    Raises
    ------
    DataError
        If it is not a history, or empty.
    GpubpError
        If Matplotlib is not installed.

    Examples
    --------
    >>> from gpubp.training.state import History
    >>> ax = learning_curve(History(loss=[0.9, 0.3, 0.1], seconds=[1.0, 2.0, 3.0]))
    >>> ax.get_xlabel(), ax.get_ylabel()
    ('epoch', 'loss')
    """
    _check_history(history)
    if not history.loss:
        raise DataError("the history is empty; a learning curve needs at least one epoch")
    ax = axes_or_new(ax)
    from matplotlib.ticker import MaxNLocator

    lines = [_draw(ax, history.loss, "training loss", TRAINING)]
    if history.validation_loss:
        lines.append(_draw(ax, history.validation_loss, "validation loss", VALIDATION))
    ax.set_xlabel("epoch")
    ax.set_ylabel("loss")
    ax.xaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 5, 10], integer=True))
    with_grid(ax, "y")
    if _spans_decades(lines):
        ax.set_yscale("log")

    score_monitored = bool(history.validation_score) and monitored == "score"
    if history.validation_score:
        right = ax.twinx()
        lines.append(_draw(right, history.validation_score, f"validation {score_name}", SCORE))
        right.set_ylabel(score_name, color=SCORE["color"])
        right.tick_params(axis="y", colors=SCORE["color"])
        right.spines[["top", "left", "bottom"]].set_visible(False)
        right.spines["right"].set_color(SCORE["color"])
        if score_monitored and len(history.loss) > 1:
            _mark_best(right, history.validation_score, np.argmax, SCORE)
    is_single = len(history.loss) == 1  # a network that was solved, for example
    if history.validation_loss and np.ndim(history.validation_loss[0]) == 0 and not (score_monitored or is_single):
        _mark_best(ax, history.validation_loss, np.argmin, VALIDATION)
    if is_single:
        _write_values(lines)
    n_rows = 0
    if len(lines) > 1:
        n_rows = legend_above(ax, lines)
    if title is not None:
        ax.set_title(plain_label(title, 100), loc="left", pad=10 + 15 * n_rows, fontweight="bold")
    return ax


@np.errstate(all="ignore")
def save_learning_curve(
    history: History,
    path: str | os.PathLike[str],
    *,
    title: str | None = None,
    score_name: str = "score",
    monitored: Literal["score", "loss"] = "score",
) -> None:
    """Draw a learning curve and write it to a file; the extension sets the format: ``.png``, ``.svg``, ``.pdf``.

    Parameters
    ----------
    history : History
    path : path-like
    title, score_name, monitored
        See :func:`learning_curve`.

    Raises
    ------
    DataError
        If the history is empty, or the file cannot be written.
    GpubpError
        If Matplotlib is not installed.

    Examples
    --------
    >>> import os, tempfile
    >>> import gpubp
    >>> fit = gpubp.train(gpubp.Network((1, 1)), [[0.0], [1.0]], [[0.0], [1.0]], epochs=3)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_learning_curve(fit.history, os.path.join(folder, "curve.png"))
    ...     print(os.listdir(folder))
    ['curve.png']
    """
    figure = new_figure()
    learning_curve(history, figure.add_subplot(), title=title, score_name=score_name, monitored=monitored)
    save_figure(figure, path, "the learning curve")


@np.errstate(all="ignore")
def learning_curves(
    histories: Mapping[str, History],
    ax: "Axes | None" = None,
    *,
    against: Literal["epochs", "seconds"] = "epochs",
    log: bool | None = None,
    quantiles: tuple[float, float] = (0.25, 0.75),
) -> "Axes":
    """Draw the training losses of several runs in one picture.

    Parameters
    ----------
    histories : mapping of str to History
        Histories by their name in the legend. A stack is drawn as the median over its networks, with a band between two
        quantiles.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.
    against : {"epochs", "seconds"}
        The horizontal axis.
    log : bool, optional
        Whether the loss axis is logarithmic; by default, if the losses span two decades.
    quantiles : (float, float)
        The edges of the band; ``(0, 1)`` contains every network.

    Returns
    -------
    matplotlib.axes.Axes
        A line for each run, in the order given.

    Raises
    ------
    DataError
        If there is no run, a run is not a history or empty, or an option is invalid.
    GpubpError
        If Matplotlib is not installed.

    Examples
    --------
    >>> from gpubp.training.state import History
    >>> from gpubp.plotting import learning_curves
    >>> ax = learning_curves({"slow": History([0.9, 0.8]), "fast": History([0.9, 0.001])})
    >>> [line.get_label() for line in ax.lines], ax.get_yscale()
    (['slow', 'fast'], 'log')
    """
    for history in histories.values():
        _check_history(history)
    if not histories or not all(history.loss for history in histories.values()):
        empty = [name for name, history in histories.items() if not history.loss]
        raise DataError(f"learning curves need at least one run with at least one epoch; empty: {empty or 'all'}")
    if against not in ("epochs", "seconds"):
        raise DataError(f"against must be 'epochs' or 'seconds', got {against!r}")
    low, high = quantiles
    if not 0 <= low <= 0.5 <= high <= 1:
        raise DataError(f"quantiles must be a pair (low, high) with 0 <= low <= 0.5 <= high <= 1, got {quantiles!r}")
    ax = axes_or_new(ax)
    for k, (name, history) in enumerate(histories.items()):
        style = _line(STYLES[k % len(STYLES)])
        x_values = history.seconds if against == "seconds" else None
        _draw(ax, history.loss, name, style, x_values=x_values, quantiles=quantiles)
    ax.set_xlabel("epoch" if against == "epochs" else "seconds")
    ax.set_ylabel("loss")
    with_grid(ax, "y")
    if log if log is not None else _spans_decades(ax.lines):
        ax.set_yscale("log")
    legend_above(ax)
    return ax


def _check_history(history: Any) -> None:
    if not isinstance(history, History):
        raise DataError(
            f"a history is the result of train, such as fit.history, got {type(history).__name__}; a fitted estimator "
            "draws its own curve with plot_loss_curve()"
        )


def _spans_decades(lines: "Iterable[Line2D]") -> bool:
    values = np.concatenate([np.asarray(line.get_ydata(), dtype=float) for line in lines])
    values = values[np.isfinite(values)]
    return bool(values.size and values.min() > 0 and values.max() > DECADES * values.min())


def _draw(
    ax: "Axes",
    series: Sequence[Any],
    label: str,
    style: Mapping[str, Any],
    *,
    x_values: Sequence[float] | None = None,
    quantiles: tuple[float, float] = (0.25, 0.75),
) -> "Line2D":
    """Draw one number per epoch, or the median and the band between two quantiles of several."""
    values = np.asarray(series, dtype=float)
    epochs = np.arange(1, len(values) + 1) if x_values is None else np.asarray(x_values)
    if values.ndim > 1:
        label = f"{label}, median of {values.shape[1]}"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # all networks have diverged in this epoch
            finite = np.where(np.isfinite(values), values, np.nan)
            low, values, high = np.nanquantile(finite, (quantiles[0], 0.5, quantiles[1]), axis=1)
        ax.fill_between(epochs, low, high, color=style["color"], alpha=0.2, linewidth=0)
    marker = "o" if len(values) == 1 else None  # a line through one point is invisible
    [line] = ax.plot(epochs, values, label=label, linewidth=1.8, marker=marker, **style)
    return line


def _write_values(lines: "Sequence[Line2D]") -> None:
    """Write the values of a single epoch beside their points, each on its own side, above an axis from 0."""
    for line, (side, direction) in zip(lines, (("right", -1), ("left", 1), ("left", 1)), strict=False):
        value = float(np.asarray(line.get_ydata(), dtype=float)[0])
        ax: Any = line.axes
        ax.set_xticks([1])
        if ax.get_yscale() == "linear" and value > 0.0:
            ax.set_ylim(0.0, max(ax.get_ylim()[1], 1.2 * value))
        if np.isfinite(value):
            ax.annotate(
                *(number(value), (1, value), (8 * direction, 0)),
                textcoords="offset points",
                horizontalalignment=side,
                verticalalignment="center",
                color=line.get_color(),
            )


def _mark_best(ax: "Axes", series: Sequence[Any], best_of: Callable[..., Any], style: Mapping[str, Any]) -> None:
    """Mark the best epoch with a point, its number and its value."""
    values = np.asarray(series, dtype=float)
    if not np.all(np.isfinite(values)):
        return
    best = int(best_of(values))
    late, above = best >= len(values) / 2, best_of is np.argmin
    ax.plot([best + 1], [values[best]], "o", color=style["color"], markersize=6, zorder=3)
    ax.annotate(
        f"best: {values[best]:.4g} in epoch {best + 1}",
        (best + 1, values[best]),
        xytext=(6 * (-1) ** late, 8 if above else -8),
        textcoords="offset points",
        horizontalalignment="right" if late else "left",
        verticalalignment="bottom" if above else "top",
        color=style["color"],
        fontsize="small",
    )
