"""Where a picture is drawn, and in which colours."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from gpubp.errors import DataError, GpubpError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

POSITIVE, NEGATIVE = "#D55E00", "#0072B2"
"""The signs of weights: two colours of Okabe and Ito's palette, told apart by every kind of colour vision."""


class Style(NamedTuple):
    """What tells one of several apart in a picture: a colour of Okabe and Ito's palette, a line and a mark."""

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


def new_figure(size: tuple[float, float] = (7.0, 4.2)) -> "Figure":
    """Make a figure of so many inches that no global state knows of.

    Raises
    ------
    GpubpError
        If matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise GpubpError('a picture needs matplotlib: pip install "gpubp[cli]"') from error
    figure = Figure(figsize=size, dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def axes_or_new(ax: Any, size: tuple[float, float] = (7.0, 4.2)) -> "Axes":
    """Give back the Axes to draw in; without any those of a new figure.

    Raises
    ------
    DataError
        If it is something else.
    GpubpError
        If matplotlib is not installed.
    """
    if ax is None:
        return new_figure(size).add_subplot()
    from matplotlib.axes import Axes

    if not isinstance(ax, Axes):
        raise DataError(f"ax must be an Axes of matplotlib, one of figure.subplots() say, got {type(ax).__name__}")
    return ax


def check_names(what: str, names: Iterable[str] | None, n: int) -> tuple[str, ...]:
    """Admit one name for each of ``n`` things; without any the empty tuple."""
    if names is None:
        return ()
    several = (names,) if isinstance(names, str) else tuple(map(str, names))
    if len(several) != n:
        raise DataError(f"{what} must be {n} names, got {len(several)}")
    return several
