"""Say whether a trained model is of use: beside a constant prediction, and whether its training diverged in effect."""

import math

import numpy as np

from gpubp._core.text import counted
from gpubp.data.metrics import Scores
from gpubp.tabular.fit import TableFit

MOST_ERROR = 5.0
"""How many times the root mean squared error of the mean marks a training that diverged."""

MOST_LIMITED_ERROR = 2.0
"""The same of predictions that are kept within their limits, as those in scores are."""

MOST_LOG_LOSS = 2.0
"""How many times the log loss of equal probabilities marks it, if few rows are right besides those of one class."""

LEAST_RIGHT = 0.1
"""Fewer than this part of the rows of other classes are few."""

_OF_MEDIANS = ("absolute", "huber", "log_cosh")
_NOT_OF_THE_CENTRE = ("quantile", "dead_zone")
"""Losses, by the start of their name, that R squared does not measure."""


def has_diverged_in_effect(result: TableFit) -> bool:
    """Return whether a model with finite weights is of no use, not even on the rows that it was trained on.

    In each part of the rows, its outputs are infinite, or it is far worse than the same prediction for every row.

    Examples
    --------
    >>> from gpubp.tabular import fit_table, prepare_table
    >>> has_diverged_in_effect(fit_table(prepare_table("iris"), epochs=20, device="cpu"))
    False
    """
    parts = [part for part, n_rows in result.rows.items() if n_rows]
    return _has_large_losses(result) or all(
        part not in result.scores or _is_far_off(result, result.scores[part]) for part in parts
    )


def no_better_than_baseline(result: TableFit) -> str:
    """Describe the scores of held-out rows if the same prediction for every row has as good ones; else "".

    Examples
    --------
    >>> from gpubp.tabular import fit_table, prepare_table
    >>> no_better_than_baseline(fit_table(prepare_table("iris"), epochs=20, device="cpu"))
    ''
    """
    part = "test" if result.rows.get("test") else "validation"
    scores, baseline = result.scores.get(part, {}), result.baseline
    if "log_loss" in scores:
        shown, constant = "log loss {:.4g}, theirs {:.4g}", "the shares of the classes"
        found, expected = scores["log_loss"], baseline["log_loss"]
    else:
        loss = result.model.network.loss
        kind = "mae" if loss.startswith(_OF_MEDIANS) else "rmse"
        names = [name for name in scores if name.partition(" ")[0] == kind]
        if not names or loss.startswith(_NOT_OF_THE_CENTRE):
            return ""
        what = {"mae": "mean absolute error", "rmse": "root mean squared error"}[kind]
        shown, constant = what + " {:.4g}, its {:.4g}", "the mean for every row"
        found, expected = (float(np.mean([one[name] for name in names])) for one in (scores, baseline))
    if not found > expected:
        return ""
    rows, figures = counted(result.rows[part], f"{part} row"), shown.format(found, expected)
    more = (
        ", though more of its classes are right" if scores.get("accuracy", 0.0) > baseline.get("accuracy", 1.0) else ""
    )
    return f"on the {rows} the model predicts no better than {constant} ({figures}{more})"


def _has_large_losses(result: TableFit) -> bool:
    """Return whether the squared error of scaled numbers, whose variance is 1, was large also in the best epoch."""
    fit, place = result.fit, result.fit.best_epoch - 1
    if fit.network.loss != "squared" or "r2" not in result.scores.get("train", {}):
        return False
    losses = [one[place] for one in (fit.history.loss, fit.history.validation_loss) if 0 <= place < len(one)]
    return bool(losses) and min(losses) > 0.5 * MOST_ERROR**2 * fit.network.sizes[-1]


def _is_far_off(result: TableFit, scores: Scores) -> bool:
    if "log_loss" not in scores:
        return scores.get("r2", 0.0) < 1.0 - MOST_LIMITED_ERROR**2 and not result.model.network.loss.startswith(
            _NOT_OF_THE_CENTRE
        )
    shares = result.model.about["constant_outputs"]
    few = max(shares) + LEAST_RIGHT * (1.0 - max(shares))
    return scores["log_loss"] > MOST_LOG_LOSS * math.log(len(shares)) and scores["accuracy"] <= few
