"""A plot of a search: the score of each candidate over the values of each parameter."""

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from gpubp.errors import DataError
from gpubp.plotting.figure import STYLES, axes_or_new, legend_above, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PANEL = (3.2, 3.0)  # inches


def plot_results(search: Any, *, ax: Any = None, metric: str | None = None) -> "Figure":
    """Plot the mean test score of the candidates of a fitted search over the values of each parameter that varies.

    The best candidate is marked.

    Parameters
    ----------
    search : BatchedSearchCV, or a search of scikit-learn
    ax : Axes of matplotlib, or sequence of them, optional
        One for each parameter that varies.
    metric : str, optional
        The score to plot, if there are several.

    Returns
    -------
    Figure of matplotlib
    """
    check_is_fitted(search, "cv_results_")
    results = search.cv_results_
    name = metric or (search.refit if search.multimetric_ and isinstance(search.refit, str) else "score")
    if f"mean_test_{name}" not in results:
        known = ", ".join(key.removeprefix("mean_test_") for key in results if key.startswith("mean_test_"))
        raise DataError(f"metric must be one of {known}, got {name!r}")
    scores, deviations = results[f"mean_test_{name}"], results[f"std_test_{name}"]
    columns = {key.removeprefix("param_"): results[key] for key in results if key.startswith("param_")}
    varied = {key: column for key, column in columns.items() if len(_distinct(column)) > 1} or columns
    panels = _panels(ax, len(varied))
    best = getattr(search, "best_index_", int(np.nanargmax(scores)))
    for axes, (key, column) in zip(panels, varied.items(), strict=True):
        positions, labels = _positions(column)
        axes.errorbar(
            positions, scores, deviations, fmt="o", ms=4, lw=0.8, alpha=0.6, color=STYLES[0].color, label="candidate"
        )
        axes.plot([positions[best]], [scores[best]], "s", ms=8, color=STYLES[1].color, label="best")
        axes.set(xlabel=key, ylabel=f"mean {name} on the test folds")
        if labels is None:
            axes.set_xscale("log" if min(positions) > 0 and max(positions) / min(positions) > 30 else "linear")
        else:
            axes.set_xticks(range(len(labels)), labels)
    legend_above(panels[0])
    figure: Figure = panels[0].figure
    return figure


def _panels(ax: Any, n: int) -> list[Any]:
    if ax is None:
        return list(new_figure((PANEL[0] * n, PANEL[1])).subplots(1, n, squeeze=False)[0])
    axes_list = list(ax) if isinstance(ax, list | tuple | np.ndarray) else [ax]
    if len(axes_list) != n:
        raise DataError(f"ax must be {n} Axes, one for each parameter that varies, got {len(axes_list)}")
    return [axes_or_new(axes) for axes in axes_list]


def _distinct(column: Any) -> list[str]:
    return list(dict.fromkeys(repr(value) for value in column.tolist()))


def _positions(column: Any) -> tuple[list[float], list[str] | None]:
    """Return the positions of values on an axis: numbers unchanged, other values at equal distances with labels."""
    values = column.tolist()
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return [float(value) for value in values], None
    labels = list(dict.fromkeys(str(value) for value in values))
    return [float(labels.index(str(value))) for value in values], labels
