"""The reliability diagram: what was predicted with a probability, and how often it came true."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from gpubp.errors import DataError
from gpubp.inspection import CalibrationCurve
from gpubp.plotting.figure import STYLES, axes_or_new, legend_above, plain_label, with_grid

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def reliability_diagram(
    curves: CalibrationCurve | Sequence[CalibrationCurve], ax: "Axes | None" = None, *, of_intervals: bool = False
) -> "Axes":
    """Draw the observed share of each bin over the predicted probability; a perfect model is on the diagonal.

    The area of a marker is proportional to the rows of its bin.

    Parameters
    ----------
    curves : CalibrationCurve, or a sequence of them
        From :func:`gpubp.calibration_curve`; at most seven are drawn.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.
    of_intervals : bool
        Whether the probabilities are those of intervals, for the labels.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    DataError
        If there is no curve, or an object is another.
    GpubpError
        If Matplotlib is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> from gpubp.inspection import reliability
    >>> ax = reliability_diagram(reliability("rain", np.asarray([True, False]), np.asarray([0.9, 0.2])))
    >>> ax.get_xlabel(), ax.get_ylabel()
    ('predicted probability', 'observed share')
    """
    shown = [curves] if isinstance(curves, CalibrationCurve) else list(curves)
    if not shown or not all(isinstance(curve, CalibrationCurve) for curve in shown):
        raise DataError(
            "curves are what calibration_curve returns, got " + (type(curves).__name__ if shown else "none")
        )
    ax = axes_or_new(ax, (4.6, 4.2))
    ax.plot([0.0, 1.0], [0.0, 1.0], color="0.6", linewidth=1.0)
    for curve, style in zip(shown, STYLES, strict=False):
        name = f"{plain_label(curve.name)} (error {curve.error:.3f})"
        ax.plot(curve.predicted, curve.observed, color=style.color, linestyle=style.linestyle, label=name)
        shares = curve.weights / np.sum(curve.weights)
        ax.scatter(
            curve.predicted, curve.observed, 10.0 + 150.0 * shares, style.color, marker=style.marker, linewidths=0
        )
    ax.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    ax.set_xlabel("predicted share of targets in intervals" if of_intervals else "predicted probability")
    ax.set_ylabel("observed share")
    legend_above(ax)
    with_grid(ax)
    return ax
