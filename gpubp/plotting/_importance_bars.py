"""Bars of permutation importance."""

from typing import TYPE_CHECKING

import numpy as np

from gpubp._core.counts import is_count
from gpubp.errors import DataError
from gpubp.inspection import PermutationImportance
from gpubp.plotting.figure import STYLES, axes_or_new, plain_label, with_grid

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def importance_bars(importance: PermutationImportance, ax: "Axes | None" = None, *, most: int = 20) -> "Axes":
    """Draw a bar for each column, the most important on top, with a whisker of one standard deviation to each side.

    Parameters
    ----------
    importance : PermutationImportance
        From :func:`gpubp.permutation_importance`.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.
    most : int
        The number of columns to draw.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    DataError
        If it is another object, or an option is invalid.
    GpubpError
        If Matplotlib is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> from gpubp.inspection import PermutationImportance
    >>> scores = np.asarray([[0.1, 0.1], [0.4, 0.6]])
    >>> ax = importance_bars(PermutationImportance(("age", "town"), scores, 0.9, "accuracy"))
    >>> [text.get_text() for text in ax.get_yticklabels()], ax.get_xlabel()
    (['town', 'age'], 'decrease of accuracy (0.9)')
    """
    if not isinstance(importance, PermutationImportance):
        raise DataError(f"importance is what permutation_importance returns, got {type(importance).__name__}")
    if not is_count(most):
        raise DataError(f"most must be a whole number of at least 1, got {most!r}")
    ax = axes_or_new(ax)
    shown = importance.order[:most]
    places = np.arange(len(shown))
    ax.barh(
        places,
        importance.importances_mean[shown],
        xerr=importance.importances_std[shown],
        color=STYLES[0].color,
        error_kw={"ecolor": "0.3", "capsize": 2.0, "elinewidth": 1.0},
    )
    ax.set_yticks(places, [plain_label(importance.columns[place]) for place in shown])
    ax.set_ylim(len(shown) - 0.4, -0.6)
    ax.axvline(0.0, color="0.3", linewidth=0.8)
    ax.set_xlabel(f"decrease of {plain_label(importance.scoring)} ({importance.score:.4g})")
    with_grid(ax, "x", without=("top", "right", "left"))
    ax.tick_params(axis="y", length=0)
    return ax
