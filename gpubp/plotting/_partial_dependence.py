"""Curves and bars of partial dependence."""

from typing import TYPE_CHECKING

import numpy as np

from gpubp.errors import DataError
from gpubp.inspection import PartialDependence
from gpubp.plotting.figure import HATCHES, STYLES, axes_or_new, legend_above, plain_label, with_grid

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
    names = dependence.names
    is_binary = len(names) == 2 and names[0].partition("=")[1] == "="
    drawn = [1] if is_binary else list(range(min(len(names), len(STYLES))))
    (_draw_bars if dependence.is_categorical else _draw_curves)(ax, dependence, drawn)
    ax.set_xlabel(plain_label(dependence.column))
    if len(drawn) > 1:
        legend_above(ax)
    else:
        ax.set_ylabel(plain_label(names[drawn[0]]))
    with_grid(ax, "y")
    return ax


def _draw_bars(ax: "Axes", dependence: PartialDependence, drawn: list[int]) -> None:
    """Draw bars of the first categories, side by side for several predictions."""
    values, width = dependence.values[:MOST_BARS], 0.8 / len(drawn)
    for place, k in enumerate(drawn):
        ax.bar(
            np.arange(len(values)) + (place - (len(drawn) - 1) / 2) * width,
            dependence.average[: len(values), k],
            width,
            color=STYLES[place].color,
            hatch=HATCHES[place],
            edgecolor="white",
            linewidth=0.0,
            label=plain_label(dependence.names[k]),
        )
    longest = max(map(len, values), default=0)
    ax.set_xticks(np.arange(len(values)), [plain_label(text, 20) for text in values])
    ax.tick_params(axis="x", length=0, rotation=45 if longest * len(values) > 50 else 0)


def _draw_curves(ax: "Axes", dependence: PartialDependence, drawn: list[int]) -> None:
    """Draw a curve for each prediction; if it is one, also those of some rows."""
    values = dependence.values
    if dependence.individual is not None and len(drawn) == 1:
        of_rows = dependence.individual[:: -(-len(dependence.individual) // MOST_ROWS), :, drawn[0]]
        ax.plot(values, of_rows.T, color="0.7", linewidth=0.6)
    for style, k in zip(STYLES, drawn, strict=False):
        ax.plot(
            values,
            dependence.average[:, k],
            color=style.color,
            linestyle=style.linestyle,
            linewidth=1.8,
            marker=style.marker if len(values) <= 12 else None,
            markersize=4,
            label=plain_label(dependence.names[k]),
        )
    if values.dtype.kind == "M":
        ax.tick_params(axis="x", rotation=30)
