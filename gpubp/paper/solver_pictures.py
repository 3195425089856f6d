"""Pictures of the comparison of solvers: a row for each experiment, a mark in it for each solver."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from gpubp.paper.study import StudyDrawing
from gpubp.plotting.figure import STYLES, Style, legend_above, with_grid

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class Result(NamedTuple):
    """What is drawn of one solver on one experiment.

    ``quartiles`` are the sweeps until a quarter, half and three quarters of the ``n`` networks were done, None if
    never; ``milliseconds`` are those of all networks, divided by the ``n_solved`` that were done, None if none was.
    """

    experiment: str
    solver: str
    n_solved: int
    n: int
    quartiles: Sequence[float | None]
    milliseconds: float | None


def draw_sweeps(ax: "Axes", results: Iterable[Sequence[Any]]) -> None:
    """Draw a line for each solver, from the first to the third quartile of the sweeps, with a mark on the median.

    Where less than half of the networks are ever done, a hollow mark on the right says how many are.
    """
    rows = [Result(*row) for row in results]
    reached = [sweeps for result in rows for sweeps in result.quartiles if sweeps is not None]
    right = 1.5 * max(reached, default=1.0)
    for result, place, style in _draw_rows(ax, rows, min(reached, default=1.0), right, "less than\nhalf done"):
        low, median, high = result.quartiles
        if low is not None:
            ax.plot([low, right if high is None else high], [place, place], color=style.color, linewidth=1.5)
        if median is not None:
            ax.plot([median], [place], style.marker, color=style.color, markersize=5)
    ax.set_xlabel("sweeps")


def draw_milliseconds(ax: "Axes", results: Iterable[Sequence[Any]]) -> None:
    """Draw a mark for each solver: the milliseconds for each network that was done, or that none was."""
    rows = [Result(*row) for row in results]
    taken = [result.milliseconds for result in rows if result.milliseconds is not None]
    right = 1.5 * max(taken, default=1.0)
    drawn = _draw_rows(ax, rows, min(taken, default=1.0), right, "none\ndone", lambda row: row.milliseconds is None)
    for result, place, style in drawn:
        if result.milliseconds is not None:
            ax.plot([result.milliseconds], [place], style.marker, color=style.color, markersize=5)
    ax.set_xlabel("milliseconds for each network that was done")


def _is_missing(result: Result) -> bool:
    return result.quartiles[1] is None


def _draw_rows(
    ax: "Axes",
    results: Sequence[Result],
    left: float,
    right: float,
    missing: str,
    is_missing: Callable[[Result], bool] = _is_missing,
) -> list[tuple[Result, float, Style]]:
    """Draw the rows and what is missing; return each result with its height and its style."""
    from matplotlib.lines import Line2D

    solvers = list(dict.fromkeys(result.solver for result in results))
    experiments = list(dict.fromkeys(result.experiment for result in results))
    end = right * (right / left) ** 0.2
    placed = []
    for result in results:
        number = solvers.index(result.solver)
        style = STYLES[number]
        place = experiments.index(result.experiment) + 0.8 * ((number + 0.5) / len(solvers) - 0.5)
        placed.append((result, place, style))
        if is_missing(result):
            at = right * (end / right) ** 0.2
            ax.plot([at], [place], style.marker, color=style.color, markerfacecolor="white", markersize=5)
            text = f"{result.n_solved} of {result.n}"
            ax.text(right * (end / right) ** 0.35, place, text, va="center", fontsize=7)
    for row in range(1, len(experiments), 2):
        ax.axhspan(row - 0.5, row + 0.5, color="0.96", zorder=0)
    ax.axvline(right, color="0.5", linewidth=0.8)
    ax.set_xscale("log")
    ax.set_xlim(left / 1.3, end)
    decades = range(math.floor(math.log10(left / 1.3)), math.floor(math.log10(right)) + 1)
    for is_minor, digits in ((False, [1]), (True, range(2, 10))):
        ticks = (digit * 10.0**decade for decade in decades for digit in digits)
        ax.set_xticks([tick for tick in ticks if left / 1.3 <= tick <= right], minor=is_minor)
    ax.xaxis.set_major_formatter("{x:,.0f}")
    middle = math.log(math.sqrt(right * end) / (left / 1.3)) / math.log(end / (left / 1.3))
    ax.text(middle, -0.02, missing, transform=ax.transAxes, ha="center", va="top", fontsize="small")
    ax.set_yticks(range(len(experiments)), experiments)
    ax.set_ylim(len(experiments) - 0.5, -0.5)
    ax.tick_params(axis="y", length=0)
    with_grid(ax, "x", without=("top", "right", "left"))
    styles = zip(solvers, STYLES, strict=False)
    legend_above(
        ax, [Line2D([], [], color=s.color, marker=s.marker, ls="none", ms=5, label=solver) for solver, s in styles]
    )
    return placed


DRAWINGS = {"quartiles": StudyDrawing(draw_sweeps, (6.4, 5.8)), "seconds": StudyDrawing(draw_milliseconds, (6.4, 5.8))}
