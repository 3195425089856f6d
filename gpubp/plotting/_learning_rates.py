"""The loss after a few epochs over the learning rate."""

from typing import TYPE_CHECKING

import numpy as np

from gpubp.errors import DataError
from gpubp.plotting.figure import STYLES, axes_or_new, legend_above, with_grid
from gpubp.training.learning_rates import LearningRates

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def learning_rate_curve(found: LearningRates, ax: "Axes | None" = None) -> "Axes":
    """Draw the loss for each learning rate; the best is marked, and those that diverged are crosses at the top.

    Parameters
    ----------
    found : LearningRates
        From :func:`gpubp.find_learning_rate`.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    DataError
        If it is another object.
    GpubpError
        If Matplotlib is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> from gpubp.plotting import learning_rate_curve
    >>> from gpubp.training.learning_rates import LearningRates
    >>> found = LearningRates(np.asarray([0.01, 0.1, 1.0]), np.asarray([0.5, 0.2, np.nan]), 5, 0.1)
    >>> ax = learning_rate_curve(found)
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['best: 0.1', 'diverged']
    """
    if not isinstance(found, LearningRates):
        raise DataError(f"found is what find_learning_rate returns, got {type(found).__name__}")
    ax = axes_or_new(ax)
    style, best = STYLES[0], int(np.nanargmin(found.loss))
    ax.plot(found.rates, found.loss, color=style.color, marker=style.marker, markersize=4, linewidth=1.8)
    ax.set_xscale("log")
    if np.nanmin(found.loss) > 0.0:
        ax.set_yscale("log")
    ax.plot(
        *(found.rates[best : best + 1], found.loss[best : best + 1]),
        STYLES[1].marker,
        color=STYLES[1].color,
        markersize=9,
        label=f"best: {found.best:.3g}",
    )
    diverged = found.rates[np.isnan(found.loss)]
    if len(diverged):
        top = np.full(len(diverged), 0.97)
        ax.plot(diverged, top, "x", color="black", transform=ax.get_xaxis_transform(), label="diverged")
    ax.set_xlabel("learning rate")
    ax.set_ylabel(f"loss after {found.epochs} epoch{'' if found.epochs == 1 else 's'}")
    with_grid(ax)
    legend_above(ax)
    return ax
