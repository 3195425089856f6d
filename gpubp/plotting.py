"""Learning curves. matplotlib is imported when one is drawn, and none of its global state is touched."""

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from gpubp.errors import DataError, GpubpError
from gpubp.loop import History

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

# three colours of Okabe and Ito's palette, told apart by every kind of colour vision, and a line style each besides
TRAINING = {"color": "#0072B2", "linestyle": "-"}
VALIDATION = {"color": "#D55E00", "linestyle": "--"}
SCORE = {"color": "#007A5A", "linestyle": "-."}
DECADES = 100.0  # how many times the largest error must be the smallest before the axis becomes logarithmic


def learning_curve(
    history: History,
    ax: "Axes | None" = None,
    *,
    title: str | None = None,
    score_name: str = "score",
    watched: Literal["score", "error"] = "score",
) -> "Axes":
    """Draw the error of each epoch, and of the validation cases error and score where there are any.

    Parameters
    ----------
    history : History
        That of one network, or of a stack: then the median over the networks is drawn, and a band that holds the
        middle half of them.
    ax : matplotlib.axes.Axes, optional
        Where to draw; without it in a figure of its own, ``ax.figure``. The score has an axis of its own on the right.
    title : str, optional
    score_name : str
        What the score is: "accuracy", ...
    watched : {"score", "error"}
        Whether the best epoch is that of the score, where there is one, or that of the validation error.

    Returns
    -------
    matplotlib.axes.Axes
        The axes of the errors.

    Raises
    ------
    DataError
        If the history is empty.
    GpubpError
        If matplotlib is not installed.

    Examples
    --------
    >>> from gpubp.loop import History
    >>> ax = learning_curve(History(error=[0.9, 0.3, 0.1], seconds=[1.0, 2.0, 3.0]))
    >>> ax.get_xlabel(), ax.get_ylabel()
    ('epoch', 'error')
    """
    if not history.error:
        raise DataError("the history is empty; a learning curve needs one epoch at least")
    if ax is None:
        ax = _figure().add_subplot()
    from matplotlib.ticker import MaxNLocator

    drawn = [_draw(ax, history.error, "training error", TRAINING)]
    if history.validation_error:
        drawn.append(_draw(ax, history.validation_error, "validation error", VALIDATION))
    ax.set_xlabel("epoch")
    ax.set_ylabel("error")
    ax.xaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 5, 10], integer=True))
    ax.grid(axis="y", color="0.9")
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    seen = np.concatenate([np.asarray(line.get_ydata()) for line in drawn])
    seen = seen[np.isfinite(seen)]
    if seen.size and seen.min() > 0 and seen.max() > DECADES * seen.min():
        ax.set_yscale("log")

    score_watched = bool(history.validation_score) and watched == "score"
    if history.validation_score:
        right = ax.twinx()
        drawn.append(_draw(right, history.validation_score, f"validation {score_name}", SCORE))
        right.set_ylabel(score_name, color=SCORE["color"])
        right.tick_params(axis="y", colors=SCORE["color"])
        right.spines[["top", "left", "bottom"]].set_visible(False)
        right.spines["right"].set_color(SCORE["color"])
        if score_watched:
            _mark_best(right, history.validation_score, np.argmax, SCORE)
    if history.validation_error and np.ndim(history.validation_error[0]) == 0 and not score_watched:
        _mark_best(ax, history.validation_error, np.argmin, VALIDATION)
    if len(drawn) > 1:
        ax.legend(handles=drawn, loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=len(drawn), frameon=False)
    if title is not None:
        ax.set_title(title, loc="left", pad=28 if len(drawn) > 1 else 8, fontweight="bold")
    return ax


def save_learning_curve(
    history: History,
    path: str | os.PathLike[str],
    *,
    title: str | None = None,
    score_name: str = "score",
    watched: Literal["score", "error"] = "score",
) -> None:
    """Draw a learning curve and write it to a file, whose ending chooses the format: ``.png``, ``.svg``, ``.pdf``.

    Parameters
    ----------
    history : History
    path : path-like
    title, score_name, watched
        See :func:`learning_curve`.

    Raises
    ------
    DataError
        If the history is empty, or the file cannot be written.
    GpubpError
        If matplotlib is not installed.
    """
    figure = _figure()
    learning_curve(history, figure.add_subplot(), title=title, score_name=score_name, watched=watched)
    try:
        figure.savefig(path)
    except (OSError, ValueError) as error:
        raise DataError(f"the learning curve cannot be written to {os.fspath(path)!r}: {error}") from error


def _figure() -> "Figure":
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise GpubpError('a learning curve needs matplotlib: pip install "gpubp[cli]"') from error
    figure = Figure(figsize=(7.0, 4.2), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _draw(ax: "Axes", series: Sequence[Any], label: str, style: Mapping[str, Any]) -> "Line2D":
    """Draw one number an epoch, or of several the median and the band between the quartiles."""
    values = np.asarray(series, dtype=float)
    epochs = np.arange(1, len(values) + 1)
    if values.ndim > 1:
        label = f"{label}, median of {values.shape[1]}"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # an epoch in which every network has diverged
            low, values, high = np.nanquantile(np.where(np.isfinite(values), values, np.nan), (0.25, 0.5, 0.75), axis=1)
        ax.fill_between(epochs, low, high, color=style["color"], alpha=0.2, linewidth=0)
    marker = "o" if len(values) == 1 else None  # a line through one point is not seen
    [line] = ax.plot(epochs, values, label=label, linewidth=1.8, marker=marker, **style)
    return line


def _mark_best(ax: "Axes", series: Sequence[Any], best_of: Callable[..., Any], style: Mapping[str, Any]) -> None:
    """Put a point on the best epoch and say which it is and what was reached."""
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
