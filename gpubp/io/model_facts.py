"""What a model file says of its training, in words; a file may be forged, so nothing is taken for granted."""

import math
import shlex
import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeGuard

from gpubp._core.text import number

TRIAL_HEADINGS = ("numbers", "hidden", "l2", "rate", "loss out of fold", "epochs", "seconds", "")
MOST_WORDS = 200
"""Words of a command that are shown; a file may be forged."""


def mapping(value: Any) -> dict[str, Any]:
    """Return a mapping as it is, and an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def are_scores(scores: Any) -> bool:
    """Return whether scores have the form that training writes."""
    return isinstance(scores, dict) and all(
        isinstance(part, dict) and all(map(_is_finite, part.values())) for part in scores.values()
    )


def are_texts(value: Any) -> TypeGuard[list[str]]:
    """Return whether a value is a list of texts, and not empty."""
    return isinstance(value, list) and bool(value) and all(isinstance(one, str) for one in value)


def command_text(about: dict[str, Any]) -> str:
    """Return the command of `gpubp train` that made a model, or "" if its file has none."""
    command = about.get("command")
    if are_texts(command) and command[:2] == ["gpubp", "train"] and len(command) <= MOST_WORDS:
        return shlex.join(command)  # which quotes all that a shell would run
    return ""


def finite_numbers(value: Any) -> list[float]:
    """Return the numbers of a list, NaN for what is none; an empty list for anything else."""
    return [float(one) if _is_finite(one) else math.nan for one in value] if isinstance(value, list) else []


def described_trials(trials: Sequence[Any]) -> tuple[list[list[str]], list[str]]:
    """Return a row for each kind that a search tried, the least loss first, and why better ones are not kept.

    Parameters
    ----------
    trials : sequence of dict
        Of a model's ``about``, which may be forged.
    """
    known = [trial for trial in trials if isinstance(trial, dict)]
    ordered = sorted(known, key=lambda trial: _finite_or_inf(trial.get("loss")))
    kept = next((_finite_or_inf(trial.get("loss")) for trial in ordered if trial.get("is_kept") is True), -math.inf)
    rows, reasons = list(map(_trial_row, ordered)), list[str]()
    for row, trial in zip(rows, ordered, strict=True):
        if (loss := _finite_or_inf(trial.get("loss"))) < kept:
            reason = _why_not_kept(trial, loss, kept)
            reasons += [reason] if reason not in reasons else []
            counted_as = trial.get("compared_loss")
            what = row[-1] or ("not kept" if counted_as is None else f"counts as {_any_text(counted_as, number)}")
            row[-1] = f"{what} ({reasons.index(reason) + 1})"
    return rows, [f"({place}) {reason}" for place, reason in enumerate(reasons, 1)]


def _why_not_kept(trial: dict[str, Any], loss: float, kept: float) -> str:
    """Say by which rules a search did not keep a kind that has less loss than the kept one."""
    than = "than the kept kind by less than 1 %, which may be chance"
    if "compared_loss" in trial or loss < kept - 0.01 * abs(kept):
        reason = (
            "2 % are added to the loss with target statistics, since these hold targets of the fold that scores; with "
            "that it is not better than the kept kind by 1 %, and less may be chance"
        )
    else:
        reason = f"better {than}"
    if trial.get("hidden_layer_sizes") == []:
        return f"{reason}; without hidden layers, so that no mean of several networks improves it, as it does the kept"
    return reason


def _trial_row(trial: dict[str, Any]) -> list[str]:
    sizes, loss = trial.get("hidden_layer_sizes"), trial.get("loss", "")
    return [
        _any_text(trial.get("numbers"), str)
        + (f", {_any_text(trial['categories'], str)}" if trial.get("categories") else ""),
        ("-".join(map(str, sizes)) or "none" if isinstance(sizes, list) else _any_text(sizes, str))
        + (f" {_any_text(trial['recipe'], str)}" if trial.get("recipe") else "")
        + (" + linear part" if trial.get("has_linear_part") is True else ""),
        _any_text(trial.get("l2"), number),
        _any_text(trial.get("learning_rate"), number),
        "inf" if loss is None else _any_text(loss, number),
        _any_text(trial.get("epochs"), "{:,}".format),
        _any_text(trial.get("seconds"), "{:.1f}".format),
        "kept" if trial.get("is_kept") is True else "ended early" if trial.get("ended_early") is True else "",
    ]


def untried_text(training: dict[str, Any]) -> str:
    """Say how many kinds the time of a search left untried, from its model's ``about``, which may be forged; or ""."""
    trials, n_untried, budget = (training.get(name) for name in ("trials", "n_untried", "time_budget"))
    if not isinstance(trials, list) or not trials or type(n_untried) is not int or n_untried < 1:
        return ""
    seconds, n = _any_text(budget, "{:g}".format), len(trials)
    kinds = f"{n:,} of {n + n_untried:,} kinds"
    return f"trials begin in the first half of the time budget of {seconds} s, which was enough for {kinds}"


def linear_part_text(part: dict[str, Any]) -> str:
    """Describe the linear part of a network, from its model's ``about``, which may be forged."""
    inputs = "all inputs" if part.get("has_bins") is True else "inputs that are not of bins"
    penalty, share = (_any_text(part.get(name), number) for name in ("l2", "share"))
    solved = f"a ridge regression from {inputs}, with the penalty {penalty}"
    if part.get("share") == 0.0:
        return f"{solved}, predicts alone, since the hidden layers did not help on the validation rows"
    return f"{solved}; the outputs of the hidden layers are added, times {share}"


def refit_text(refit: dict[str, Any]) -> str:
    """Describe the training on all rows, from a model's ``about``, which may be forged."""
    text = f"trained again on all {_any_text(refit.get('rows'), '{:,}'.format)} rows, epochs: {refit.get('epochs')}"
    before = refit.get("inputs_before")
    return (
        text if before is None else f"{text}; the network before had {before} inputs, those of the training rows alone"
    )


def restarts_text(training: dict[str, Any]) -> str:
    """Describe which of several restarts is kept, from its model's ``about``, which may be forged; "" without them."""
    n, best, losses = training.get("n_restarts"), training.get("best_restart"), training.get("restart_losses")
    if type(n) is not int or n < 2 or type(best) is not int or not isinstance(losses, list):
        return ""
    finite = [(place, loss) for place, loss in enumerate(finite_numbers(losses)) if math.isfinite(loss)]
    kept, others = dict(finite).get(best), [loss for place, loss in finite if place != best]
    text = f"number {best + 1} of {n:,} is kept"
    if kept is None or not others:
        return text
    spread = " to ".join(dict.fromkeys(map(number, (min(others), max(others)))))
    return f"{text}, with the loss {number(kept)}; the others have {spread}"


def without_restarts(training: dict[str, Any]) -> dict[str, Any]:
    """Return what a model file says of a training without what :func:`restarts_text` describes."""
    described = ("n_restarts", "best_restart", "restart_losses") if restarts_text(training) else ()
    return {name: value for name, value in training.items() if name not in described}


def _any_text(value: Any, formatted: Callable[[float], str]) -> str:
    """Format a value that should be a finite number; others as they are."""
    if math.isfinite(_finite_or_inf(value)):
        return formatted(value)
    return "" if value is None else str(value)


def _is_finite(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) <= sys.float_info.max


def _finite_or_inf(value: Any) -> float:
    return value if _is_finite(value) else math.inf
