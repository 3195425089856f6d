"""The pictures of a report: those of a study, and a histogram of its networks' sweeps; PNG, in memory."""

import io
from collections.abc import Callable, Mapping
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from gpubp.paper.report.results import SWEEPS_PICTURE, Histogram, StudyResults
from gpubp.paper.study import StudyDrawing
from gpubp.plotting.figure import STYLES, legend_above, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

RESOLUTION, COLOURS = 220, 256
"""Dots an inch, twice those of a page whose text is 62 rem wide; colours of a file."""
NARROW = (6.4, 3.4)


def pictures_of(study: StudyResults, drawings: Mapping[str, StudyDrawing]) -> dict[str, bytes]:
    """Draw all pictures of a study from its results: PNG by the names of their files.

    ``drawings`` are those of the :class:`gpubp.paper.study.Study`. Pictures whose data were not kept are left out.

    Raises
    ------
    GpubpError
        If matplotlib is not installed.
    """
    drawn = {}
    for picture in study["pictures"]:
        if picture["data"] is not None:
            draw, size = drawings[picture["name"]]
            drawn[picture["file"]] = _png(partial(draw, **picture["data"]), size)
        elif picture["name"] == SWEEPS_PICTURE and study["histogram"] is not None:
            draw = partial(draw_histogram, histogram=study["histogram"], study=study)
            drawn[picture["file"]] = _png(draw, NARROW)
    return drawn


def draw_histogram(ax: "Axes", histogram: Histogram, study: StudyResults) -> None:
    """Draw bars over sweeps on a logarithmic scale, and beside them how many networks were done and how many not.

    A line is where half of all networks are done, another at the sweeps that were reported.
    """
    from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

    edges = histogram["edges"]
    widths = [right - left for left, right in pairwise(edges)]
    ax.bar(
        edges[:-1], histogram["counts"], widths, align="edge", color=STYLES[0].color, edgecolor="white", linewidth=0.5
    )
    half, reported = study["quartiles"][1], study["reported_sweeps"]
    for name, sweeps, style, dashes in (
        ("half are done", half, STYLES[1], "--"),
        ("reported", reported, STYLES[6], ":"),
    ):
        if sweeps is not None:
            ax.axvline(sweeps, color=style.color, linestyle=dashes, linewidth=2.0, label=f"{name}: {sweeps:,.0f}")
    legend_above(ax)
    if edges[-1] > 3.0 * edges[0]:
        ax.set_xscale("log")
        ax.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        ax.xaxis.set_minor_formatter(NullFormatter())
    ax.xaxis.set_major_formatter("{x:,.0f}")
    ax.yaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 5, 10], integer=True))
    ax.set_xlabel("sweeps")
    ax.set_ylabel("networks")
    ax.spines[["top", "right"]].set_visible(False)
    _draw_shares(ax.inset_axes((1.03, 0.0, 0.05, 1.0)), study)


def _draw_shares(ax: "Axes", study: StudyResults) -> None:
    """Draw a column of all networks: those that were done, and above them those that were not."""
    n, solved = study["networks"], study["solved"]
    ax.bar([0.0], [solved], 1.0, color=STYLES[0].color)
    ax.bar([0.0], [n - solved], 1.0, bottom=[solved], color="white", edgecolor=STYLES[0].color, hatch="//////")
    names = [(f"{solved:,} done", solved / 2)]
    if solved < n:
        names.append((f"{n - solved:,} not done\nwithin {study['most_sweeps']:,}", (n + solved) / 2))
    for text, height in names:
        ax.text(0.7, height, text, va="center", fontsize="small")
    ax.set_xlim(-0.5, 0.5)
    ax.set_ylim(0.0, n)
    ax.axis("off")


def _png(draw: "Callable[[Axes], Any]", size: tuple[float, float]) -> bytes:
    from PIL import Image

    figure, drawn, written = new_figure(size), io.BytesIO(), io.BytesIO()
    draw(figure.add_subplot())
    figure.savefig(drawn, format="png", dpi=RESOLUTION, bbox_inches="tight", pad_inches=0.05)
    # without metadata, so that equal pictures are equal files
    image = Image.open(drawn).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    image.save(written, format="png", optimize=True)
    return written.getvalue()
