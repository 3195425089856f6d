"""Figures, axes, and the colours, lines and markers of all pictures."""

import os
import warnings
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from gpubp._core.text import excerpt
from gpubp.errors import DataError, GpubpError

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

POSITIVE, NEGATIVE = "#D55E00", "#0072B2"
"""Colours for the sign of a weight, from Okabe and Ito's palette, distinguishable with every kind of colour vision."""


class Style(NamedTuple):
    """The colour (from Okabe and Ito's palette), line style and marker of one of several series."""

    color: str
    linestyle: str | tuple[int, tuple[int, ...]]
    marker: str


STYLES = (
    Style("#0072B2", "-", "o"),
    Style("#D55E00", "--", "s"),
    Style("#007A5A", "-.", "^"),
    Style("#CC79A7", ":", "D"),
    Style("#E69F00", (0, (6, 2, 1, 2, 1, 2)), "v"),
    Style("#56B4E9", (0, (1, 3)), "P"),
    Style("#000000", (0, (8, 3)), "X"),
)


HATCHES = ("", "//", "..", "xx", "--", "oo", "++")
"""Patterns of bars, in the order of :data:`STYLES`."""

LETTERS_PER_INCH = 15
"""Of small text, on average."""


def new_figure(size: tuple[float, float] = (7.0, 4.2)) -> "Figure":
    """Make a figure of the given size in inches, outside the global state of pyplot.

    Raises
    ------
    GpubpError
        If Matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise GpubpError("plotting needs Matplotlib; to fix it: pip install matplotlib") from error
    figure = Figure(figsize=size, dpi=200, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def axes_or_new(ax: Any, size: tuple[float, float] = (7.0, 4.2)) -> "Axes":
    """Return ``ax``, or the Axes of a new figure if it is None.

    Raises
    ------
    DataError
        If ``ax`` is not an Axes.
    GpubpError
        If Matplotlib is not installed.
    """
    if ax is None:
        return new_figure(size).add_subplot()
    from matplotlib.axes import Axes

    if not isinstance(ax, Axes):
        raise DataError(f"ax must be an Axes of Matplotlib, such as figure.subplots() returns, got {type(ax).__name__}")
    return ax


def with_grid(ax: "Axes", axis: Literal["both", "x", "y"] = "both", without: Sequence[str] = ("top", "right")) -> None:
    """Draw a light grid behind the data, and no frame on some sides."""
    ax.grid(axis=axis, color="0.9")
    ax.set_axisbelow(True)
    ax.spines[list(without)].set_visible(False)


def legend_above(ax: "Axes", handles: Sequence["Artist"] | None = None) -> int:
    """Put the legend above the axes, where it covers no data; return the number of its rows.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    handles : sequence of Artist, optional
        By default, all of the axes that have a label.

    Examples
    --------
    >>> from gpubp.plotting.figure import new_figure
    >>> ax = new_figure().add_subplot()
    >>> _ = ax.plot([0, 1], label="a line")
    >>> legend_above(ax)
    1
    """
    shown = ax.get_legend_handles_labels()[0] if handles is None else list(handles)
    longest = max((len(str(handle.get_label())) for handle in shown), default=0)
    inches = ax.get_window_extent().width / ax.figure.dpi
    columns = min(max(1, int(LETTERS_PER_INCH * inches / (longest + 9))), len(shown) or 1)
    ax.legend(
        handles=shown,
        loc="lower left",
        bbox_to_anchor=(0.0, 1.0),
        ncols=columns,
        frameon=False,
        fontsize="small",
        borderaxespad=0.2,
    )
    return -(-len(shown) // columns)


def plain_label(text: str, limit: int = 40) -> str:
    r"""Return a text from data for Matplotlib, which would take what is between dollar signs for a formula.

    Examples
    --------
    >>> plain_label("price in $, not in $")
    'price in \\$, not in \\$'
    """
    return excerpt(text, limit).replace("$", r"\$")


def save_figure(figure: "Figure", path: str | os.PathLike[str], what: str) -> None:
    """Write a figure to a file; the extension sets the format: ``.png``, ``.svg``, ``.pdf``.

    Raises
    ------
    DataError
        If the file cannot be written.
    """
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)  # in a name of the data
            figure.savefig(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{what} cannot be written to {os.fspath(path)!r}: {error}") from error


def check_names(parameter: str, names: Iterable[str] | None, n: int) -> tuple[str, ...]:
    """Validate that there is one name for each of ``n`` items; None gives the empty tuple."""
    if names is None:
        return ()
    checked = (names,) if isinstance(names, str) else tuple(map(str, names))
    if len(checked) != n:
        raise DataError(f"{parameter} must be {n} names, got {len(checked)}")
    return checked
