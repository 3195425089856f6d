"""Curves and bars of partial dependence."""

from typing import TYPE_CHECKING

import numpy as np

from gpubp.errors import DataError
from gpubp.inspection import PartialDependence
from gpubp.plotting.figure import HATCHES, STYLES, axes_or_new, legend_above, plain_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_ROWS = 50
"""Rows whose own curves are drawn."""

MOST_BARS = 20
"""Categories that have a bar."""


def partial_dependence_curve(dependence: PartialDependence, ax: "Axes | None" = None) -> "Axes":
    """Draw the mean prediction for each value of a column: curves of numbers and dates, bars of categories.

    Of two classes, the second is drawn; of more, at most seven. If there is one curve, and the predictions of each row
    were kept, those of up to 50 rows are thin lines.

    Parameters
    ----------
    dependence : PartialDependence
        From :func:`gpubp.partial_dependence`.
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
    >>> from gpubp.inspection import PartialDependence
    >>> ax = partial_dependence_curve(PartialDependence("age", np.asarray([20.0, 30.0]), ("pay",), np.ones((2, 1))))
    >>> ax.get_xlabel(), ax.get_ylabel()
    ('age', 'pay')
    """
    if not isinstance(dependence, PartialDependence):
        raise DataError(f"dependence is one of those that partial_dependence returns, got {type(dependence).__name__}")
    ax = axes_or_new(ax)
    names, values = dependence.names, dependence.values
    is_binary = len(names) == 2 and names[0].partition("=")[1] == "="
    drawn = [1] if is_binary else list(range(min(len(names), len(STYLES))))
    if dependence.is_categorical:
        values = values[:MOST_BARS]
        width = 0.8 / len(drawn)
        for place, k in enumerate(drawn):
            at = np.arange(len(values)) + (place - (len(drawn) - 1) / 2) * width
            ax.bar(
                at,
                dependence.average[: len(values), k],
                width,
                color=STYLES[place].color,
                hatch=HATCHES[place],
                edgecolor="white",
                linewidth=0.0,
                label=plain_label(names[k]),
            )
        longest = max(map(len, values), default=0)
        ax.set_xticks(np.arange(len(values)), [plain_label(text, 20) for text in values])
        ax.tick_params(axis="x", length=0, rotation=45 if longest * len(values) > 50 else 0)
    else:
        if dependence.individual is not None and len(drawn) == 1:
            of_rows = dependence.individual[:: -(-len(dependence.individual) // MOST_ROWS), :, drawn[0]]
            ax.plot(values, of_rows.T, color="0.7", linewidth=0.6)
        for place, k in enumerate(drawn):
            style = STYLES[place]
            ax.plot(
                values,
                dependence.average[:, k],
                color=style.color,
                linestyle=style.linestyle,
                linewidth=1.8,
                marker=style.marker if len(values) <= 12 else None,
                markersize=4,
                label=plain_label(names[k]),
            )
        if values.dtype.kind == "M":
            ax.tick_params(axis="x", rotation=30)
    ax.set_xlabel(plain_label(dependence.column))
    if len(drawn) > 1:
        legend_above(ax)
    else:
        ax.set_ylabel(plain_label(names[drawn[0]]))
    ax.grid(axis="y", color="0.9")
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    return ax
