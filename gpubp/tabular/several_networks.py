"""Several networks trained as one stack: their seeds, and which of them make the model."""

import math
from dataclasses import replace
from typing import Any

import numpy as np

from gpubp._core.counts import is_count
from gpubp.errors import DataError
from gpubp.optim.first_order import Optimizer
from gpubp.optim.second_order import SecondOrder
from gpubp.training.result import Fit
from gpubp.training.state import median_loss
from gpubp.training.validation import Scoring


def check_restarts(n_restarts: int, n_networks: int) -> None:
    """Raise an error if networks are to be averaged of which one is to be kept."""
    if not is_count(n_restarts):
        raise DataError(f"n_restarts (--restarts) must be a whole number of at least 1, got {n_restarts!r}")
    if n_restarts > 1 and n_networks != 1:
        raise DataError(
            f"n_restarts (--restarts) keeps the best of {n_restarts} networks, and n_networks (--networks) averages "
            f"{n_networks}; pass one of the two"
        )


def seeds_of(seed: int, n_networks: int, optimizer: Optimizer | SecondOrder) -> int | list[int]:
    """Return a seed for each network; the first is that of a single one."""
    if not is_count(n_networks):
        raise DataError(f"n_networks must be a whole number of at least 1, got {n_networks!r}")
    if n_networks == 1:
        return seed
    if isinstance(optimizer, SecondOrder):
        raise DataError(f"{optimizer.name} trains one network; choose adam for {n_networks} networks, or train one")
    if not is_count(seed, least=0):
        raise DataError(f"the seed of several networks must be a whole number of at least 0, got {seed!r}")
    return [seed, *np.random.SeedSequence(seed).generate_state(n_networks - 1).tolist()]


def without_diverged(fit: Fit) -> Fit:
    """Return a fit of several networks without those that diverged, and with the median of their losses.

    If all diverged, it ended for that reason.
    """
    if fit.theta.ndim == 1:
        return fit
    losses = {name: list(map(median_loss, getattr(fit.history, name))) for name in ("loss", "validation_loss")}
    fit = replace(fit, history=replace(fit.history, **losses))
    if fit.diverged.all():
        return replace(fit, stop_reason="diverged", diverged=True)
    return replace(fit, theta=fit.theta[np.flatnonzero(~fit.diverged)], diverged=False)


def best_restart(fit: Fit, factor: float = 1.0) -> tuple[Fit, dict[str, Any]]:
    """Return the network of a stack with the least loss in the kept epoch, and what a model file says of all.

    The loss is that of the validation rows, or without them of the training rows; in the file it is multiplied by
    `factor`. Networks that diverged count only if all did.
    """
    history = fit.history
    recorded, losses = history.validation_loss or history.loss, np.full(len(fit.theta), np.nan)
    if 0 < fit.best_epoch <= len(recorded):
        losses = np.asarray(recorded[fit.best_epoch - 1], dtype=np.float64)
    ranks = np.where(np.isfinite(losses), losses, np.finfo(np.float64).max)
    best = int(np.argmin(np.where(fit.diverged, np.inf, ranks)))
    of_best = {name: [float(one[best]) for one in getattr(history, name)] for name in ("loss", "validation_loss")}
    kept = replace(
        fit,
        theta=fit.theta[best],
        history=replace(history, **of_best),
        diverged=bool(fit.diverged[best]),
        stop_reason="diverged" if fit.diverged[best] else fit.stop_reason,
    )
    shown = [float(f"{factor * one:.5g}") if np.isfinite(one) else None for one in losses]
    return kept, {"n_restarts": len(losses), "best_restart": best, "restart_losses": shown}


def best_score(scoring: Scoring) -> Scoring:
    """Return a function that scores the outputs ``(K, b, j)`` of several networks by the best one."""

    def score(targets: np.ndarray, outputs: np.ndarray) -> float:
        scores = [scoring(targets, one) for one in outputs]
        return max((one for one in scores if not math.isnan(one)), default=math.nan)

    return score
