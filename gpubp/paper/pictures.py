"""Pictures that every study has, or several."""

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from gpubp.paper.study import Picture
from gpubp.plotting.figure import STYLES, axes_or_new

if TYPE_CHECKING:
    from matplotlib.axes import Axes

N_BINS = 40


def sweeps_picture(name: str, solved: np.ndarray, sweeps: np.ndarray, reported: float | None = None) -> Picture:
    """Make the picture of how many sweeps networks took: see :func:`draw_sweeps`."""
    caption = f"How many sweeps {np.sum(solved):,} of {len(solved):,} networks took until all their cases were right"
    drawn = partial(draw_sweeps, solved, sweeps, reported)
    return Picture(f"{name}-sweeps", caption, drawn)


def draw_sweeps(
    solved: np.ndarray, sweeps: np.ndarray, reported: float | None = None, ax: "Axes | None" = None
) -> "Axes":
    """Draw how many networks took how many sweeps, on a logarithmic scale, and how many were not done in time.

    Parameters
    ----------
    solved, sweeps : (K,) arrays
        See :class:`gpubp.paper.study.Findings`.
    reported : float, optional
        The sweeps of the paper's own network: a line across.
    ax : matplotlib.axes.Axes, optional
        Where to draw; without it in a figure of its own.

    Returns
    -------
    matplotlib.axes.Axes
        Its bars hold the networks that were done.
    """
    ax = axes_or_new(ax, (6.4, 3.2))
    took = sweeps[solved]
    ax.set_xscale("log")
    if took.size:
        low, high = max(float(took.min()), 1.0), float(took.max())
        edges = np.geomspace(low, high * 1.001 + 1e-9, N_BINS + 1)
        ax.hist(took, bins=edges.tolist(), color=STYLES[0].color)
        ax.axvline(float(np.median(took)), color="black", linewidth=1.0, label=f"their median, {np.median(took):,.0f}")
    if reported is not None:
        label = f"reported, {reported:,.0f}"
        ax.axvline(reported, color=STYLES[1].color, linestyle=STYLES[1].linestyle, label=label)
    if (n_failed := int(np.sum(~solved))) > 0:
        ax.plot([], [], " ", label=f"{n_failed:,} of {len(solved):,} not done in time")
    ax.set_xlabel("sweeps")
    ax.set_ylabel("networks")
    if ax.get_legend_handles_labels()[0]:
        ax.legend(frameon=False)
    ax.spines[["top", "right"]].set_visible(False)
    return ax
