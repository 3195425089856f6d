"""The pictures of a report: those of a study, and a histogram of its networks' sweeps; PNG, in memory."""

import io
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from gpubp.paper.report.results import SWEEPS_PICTURE, Histogram, StudyResults, picture_file
from gpubp.paper.study import StudyPicture
from gpubp.plotting.figure import STYLES, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

RESOLUTION = 110  # dots an inch: what a text of 62 rem is wide, and files of some 20 kB


def pictures_of(study: StudyResults, pictures: tuple[StudyPicture, ...]) -> dict[str, bytes]:
    """Draw all pictures of a study: PNG by the names of their files.

    Raises
    ------
    GpubpError
        If matplotlib is not installed.
    """
    drawn = {picture_file(study["name"], picture.name): _png(picture.draw) for picture in pictures}
    if study["histogram"] is not None:
        draw = partial(draw_histogram, histogram=study["histogram"], median=study["quartiles"][1])
        drawn[picture_file(study["name"], SWEEPS_PICTURE)] = _png(draw)
    return drawn


def draw_histogram(ax: "Axes", histogram: Histogram, median: float | None) -> None:
    """Draw bars over sweeps on a logarithmic scale, and a line where half of all networks are done."""
    from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

    edges, style = histogram["edges"], STYLES[0]
    widths = [right - left for left, right in pairwise(edges)]
    ax.bar(edges[:-1], histogram["counts"], widths, align="edge", color=style.color, edgecolor="white", linewidth=0.5)
    if median is not None:
        ax.axvline(median, color=STYLES[1].color, linestyle=STYLES[1].linestyle, label=f"half are done: {median:,.0f}")
        ax.legend(frameon=False)
    if edges[-1] > 3.0 * edges[0]:
        ax.set_xscale("log")
        ax.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        ax.xaxis.set_minor_formatter(NullFormatter())
    ax.xaxis.set_major_formatter("{x:,.0f}")
    ax.yaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_xlabel("sweeps")
    ax.set_ylabel("networks")
    ax.spines[["top", "right"]].set_visible(False)


def _png(draw: "Callable[[Axes], Any]") -> bytes:
    figure, written = new_figure((6.4, 3.4)), io.BytesIO()
    draw(figure.add_subplot())
    # without Matplotlib's version, so that equal pictures are equal files
    figure.savefig(written, format="png", dpi=RESOLUTION, bbox_inches="tight", metadata={"Software": None})
    return written.getvalue()
