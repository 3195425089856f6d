"""Say whether a trained model is of use: beside a constant prediction, and whether its training diverged in effect."""

import math

import numpy as np

from gpubp._core.text import counted
from gpubp.data.metrics import Scores
from gpubp.nn.losses import get_loss
from gpubp.tabular.result import TableFit

MOST_ERROR = 5.0
"""The loss of outputs that are wrong by so many standard deviations of the target marks a training that diverged."""

MOST_LIMITED_ERROR = 2.0
"""So does this many times the root mean squared error of the mean, of predictions that are kept within limits."""

MOST_LOSS = 2.0
"""How many times the log loss of equal probabilities marks it, if few rows are right besides those of one class.

Of numbers, how many times the loss of an untrained network.
"""

LEAST_RIGHT = 0.1
"""Fewer than this part of the rows of other classes are few."""

_OF_MEDIANS = ("absolute", "huber", "log_cosh")
_NOT_OF_THE_CENTRE = ("quantile", "dead_zone")
"""Losses, by the start of their name, that R squared does not measure."""


def divergence_in_effect(result: TableFit) -> str:
    """Describe a model with finite weights that is of no use, not even on the rows that it was trained on; else "".

    In each part of the rows its outputs are infinite, or its predictions are far worse than the same one for every row.
    Or the loss of its best epoch says so: it is that of the outputs, which no limits have made better.

    Examples
    --------
    >>> from gpubp.tabular import fit_table, prepare_table
    >>> divergence_in_effect(fit_table(prepare_table("iris"), epochs=20, device="cpu"))
    ''
    """
    parts = [part for part, n_rows in result.rows.items() if n_rows]
    if all(part not in result.scores or _is_far_off(result, result.scores[part]) for part in parts):
        return "on each part of the rows the model is far worse than the same prediction for every row"
    return _large_loss(result)


def no_better_than_baseline(result: TableFit) -> str:
    """Describe the scores of held-out rows if the same prediction for every row has as good ones; else "".

    Weights of classes shift the probabilities away from their shares, so such a training is not judged.

    Examples
    --------
    >>> from gpubp.tabular import fit_table, prepare_table
    >>> no_better_than_baseline(fit_table(prepare_table("iris"), epochs=20, device="cpu"))
    ''
    """
    part = "test" if result.rows.get("test") else "validation"
    scores, baseline = result.scores.get(part, {}), result.baseline
    if "class_weight" in result.model.about["training"]:
        return ""
    if "log_loss" in scores:
        shown, constant = "log loss {:.4g}, theirs {:.4g}", "the shares of the classes"
        found, expected = scores["log_loss"], baseline["log_loss"]
    else:
        loss = result.model.network.loss
        kind = "mae" if loss.startswith(_OF_MEDIANS) else "rmse"
        names = [name for name in scores if name.partition(" ")[0] == kind]
        if not names or loss.startswith(_NOT_OF_THE_CENTRE):
            return ""
        shown = {"mae": "mean absolute error", "rmse": "root mean squared error"}[kind]
        constant = "the mean for every row"
        if len(names) == 1:
            shown, found, expected = shown + " {:.4g}, its {:.4g}", scores[names[0]], baseline[names[0]]
        else:  # each target has its own unit
            ratios = [scores[name] / baseline[name] for name in names if baseline[name] > 0.0]
            shown, found, expected = shown + " {:.4g} times its, on average", float(np.mean(ratios or [0.0])), 1.0
    if not found >= expected:
        return ""
    rows, figures = counted(result.rows[part], f"{part} row"), shown.format(found, expected)
    more = (
        ", though more of its classes are right" if scores.get("accuracy", 0.0) > baseline.get("accuracy", 1.0) else ""
    )
    return f"on the {rows} the model predicts no better than {constant} ({figures}{more})"


def _large_loss(result: TableFit) -> str:
    """Describe the loss of the best epoch if it was large on the rows for training, and on those for validation."""
    fit, place = result.fit, result.fit.best_epoch - 1
    losses = [one[place] for one in (fit.history.loss, fit.history.validation_loss) if 0 <= place < len(one)]
    share = result.model.about["training"].get("linear_part", {}).get("share", 1.0)  # about 0 of wild outputs
    if result.model.about["task"] == "classification" or not losses or share < 1.0:
        return ""
    network, constant = fit.network, np.asarray(result.model.about["constant_outputs"])
    loss, errors = get_loss(network.loss), np.full(network.sizes[-1], MOST_ERROR)
    untrained = 0.0
    if loss.target_range == (-math.inf, math.inf):  # of targets with mean 0 and variance 1
        wrong = max(float(loss.value(np, one, 0.0 * one).sum()) for one in (errors, -errors))
    elif network.loss == "poisson":  # of targets with variance 1
        wrong = float(loss.value(np, constant + errors, constant).sum())
        untrained = MOST_LOSS * float(loss.value(np, np.ones_like(constant), constant).sum())
    elif network.loss == "binary_cross_entropy":
        wrong, untrained = 0.0, MOST_LOSS * math.log(2.0) * len(errors)
    else:
        return ""
    found, what = min(losses), f"predictions that are wrong by {MOST_ERROR:g} standard deviations in every row have"
    if untrained > wrong:
        what = f"{MOST_LOSS:g} times that of an untrained network is about"
    most = max(wrong, untrained)
    return f"the loss of its best epoch is {found:.4g}, and {what} {most:.4g}" if found > most else ""


def _is_far_off(result: TableFit, scores: Scores) -> bool:
    if "log_loss" not in scores:
        return scores.get("r2", 0.0) < 1.0 - MOST_LIMITED_ERROR**2 and not result.model.network.loss.startswith(
            _NOT_OF_THE_CENTRE
        )
    shares = result.model.about["constant_outputs"]
    few = max(shares) + LEAST_RIGHT * (1.0 - max(shares))
    return scores["log_loss"] > MOST_LOSS * math.log(len(shares)) and scores["accuracy"] <= few
