"""A plot of the loss of a fit, in the style of scikit-learn's displays."""

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from sklearn.utils._optional_dependencies import check_matplotlib_support
from sklearn.utils.validation import check_is_fitted

from gpubp.errors import DataError
from gpubp.plotting.figure import STYLES, legend_above

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class LossCurveDisplay:
    """The loss of each epoch, on the training samples and on the held-out samples.

    Create it with :meth:`from_estimator`.

    Parameters
    ----------
    loss_curve : sequence of float
        The loss of each epoch, or of each iteration of L-BFGS.
    validation_curve : sequence of float, optional
        The loss of the held-out samples after each epoch.
    kept_epoch : int, optional
        The epoch, counted from 1, whose weights the model kept.
    estimator_name : str, optional
        The title.
    x_label : str
        The label of the x axis.

    Attributes
    ----------
    ax_, figure_, lines_
        Set by :meth:`plot`: the axes and figure of matplotlib, and the lines drawn.

    Examples
    --------
    >>> from gpubp import LossCurveDisplay
    >>> LossCurveDisplay([0.5, 0.3, 0.2], [0.6, 0.4, 0.5], kept_epoch=2).kept_epoch
    2
    """

    def __init__(
        self,
        loss_curve: Any,
        validation_curve: Any = None,
        *,
        kept_epoch: int | None = None,
        estimator_name: str | None = None,
        x_label: str = "Epoch",
    ) -> None:
        self.loss_curve, self.validation_curve = loss_curve, validation_curve
        self.kept_epoch, self.estimator_name, self.x_label = kept_epoch, estimator_name, x_label

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, ax: "Axes | None" = None, name: str | None = None, log: bool = False, **kwargs: Any
    ) -> Self:
        """Draw the curves of a fitted model.

        Parameters
        ----------
        estimator : MLPClassifier or MLPRegressor
            A fitted model; scikit-learn's are supported too.
        ax, log, **kwargs
            See :meth:`plot`.
        name : str, optional
            The title; by default the name of the class.

        Returns
        -------
        LossCurveDisplay

        Raises
        ------
        NotFittedError
            If the model is not fitted.
        DataError
            If it has no ``loss_curve_``.
        """
        check_is_fitted(estimator)
        if not hasattr(estimator, "loss_curve_"):
            raise DataError(
                f"a loss curve needs a model with loss_curve_, such as MLPClassifier, got {type(estimator).__name__}; "
                "for a pipeline, pass its last step"
            )
        kept_epoch = None
        if getattr(estimator, "early_stopping", False) and getattr(estimator, "validation_scores_", None):
            scores = np.asarray(estimator.validation_scores_)
            kept_epoch = None if np.all(np.isnan(scores)) else int(np.nanargmax(scores)) + 1
        display = cls(
            estimator.loss_curve_,
            getattr(estimator, "validation_curve_", None),
            kept_epoch=kept_epoch,
            estimator_name=name or type(estimator).__name__,
            x_label="Iteration" if estimator.solver == "lbfgs" else "Epoch",
        )
        return display.plot(ax, log=log, **kwargs)

    @np.errstate(all="ignore")
    def plot(self, ax: "Axes | None" = None, *, log: bool = False, **kwargs: Any) -> Self:
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib axes, optional
            The axes to draw on; by default those of a new figure.
        log : bool
            Whether the axis of the loss is logarithmic.
        **kwargs
            Passed to matplotlib's ``plot`` for both curves.

        Returns
        -------
        LossCurveDisplay
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        import matplotlib.pyplot as plt
        from matplotlib.cbook import normalize_kwargs
        from matplotlib.lines import Line2D

        given = normalize_kwargs(kwargs, Line2D)
        if ax is None:
            _, ax = plt.subplots(layout="constrained")
        self.lines_ = []
        curves = {"Training": self.loss_curve, "Validation": self.validation_curve}
        for (label, curve), style in zip(curves.items(), STYLES, strict=False):
            if curve is not None and len(curve):
                looks = {"label": label, "color": style.color, "linestyle": style.linestyle} | given
                self.lines_ += ax.plot(range(1, len(curve) + 1), curve, **looks)
        if self.kept_epoch is not None:
            kept_line = ax.axvline(self.kept_epoch, color="0.6", linestyle=":", linewidth=1.5, label="Weights kept")
            self.lines_.append(kept_line)
        ax.set(xlabel=self.x_label, ylabel="Loss", yscale="log" if log else "linear")
        n_rows = legend_above(ax) if len(self.lines_) > 1 else 0
        ax.set_title(self.estimator_name or "", pad=6 + 15 * n_rows)
        self.ax_, self.figure_ = ax, ax.figure
        return self
