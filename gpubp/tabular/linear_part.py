"""A linear part of a network, solved before the rest is trained on its residuals: connections past hidden layers."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from operator import methodcaller
from typing import Any, NamedTuple

import numpy as np

from gpubp.backends.backend import to_numpy
from gpubp.data.preprocessing import Preprocessing
from gpubp.engine.cpu.threads import blas_of_one_thread, side_by_side
from gpubp.engine.prediction import mean_outputs
from gpubp.nn.network import Network, flatten, views
from gpubp.tabular.folds import folds_of
from gpubp.tabular.linear_solution import PENALTIES, Ridge, WeightedRows, weighted
from gpubp.tabular.prepared_table import EncodedRows, PreparedTable
from gpubp.training.callbacks import Callback, Progress
from gpubp.training.result import Fit

MOST_INPUTS_OF_PART = 1_000
"""With more, what the solutions of all penalties take would be as long as the training."""

SMALLEST_SCALE = 1e-6
"""Of the residuals of standardised targets: less is rounding."""


class LinearPart(NamedTuple):
    """Solved linear networks, and their residuals, which networks learn that are added to them.

    Attributes
    ----------
    blocks : (K, i + 1, j) array
        The weights and, in the last row, the biases.
    l2 : float
        Their penalty.
    has_bins : bool
        Whether the inputs of bins are among theirs; if not, the weights of these are 0.
    scale : float
        The root of the mean square of the residuals.
    targets : (n, j) array
        The residuals of the training rows, over `scale`: each by a solution without its fold.
    share : float
        What the outputs of the other networks are multiplied by, from 0 to 1.
    """

    blocks: np.ndarray
    l2: float
    has_bins: bool
    scale: float
    targets: np.ndarray
    share: float = 1.0

    def residuals_of(self, rows: EncodedRows) -> EncodedRows:
        """Return other rows with the residuals of the first solution, over `scale`, as targets."""
        dtype = self.targets.dtype
        targets, X = rows.targets.astype(dtype), rows.X.astype(dtype, copy=False)
        return rows._replace(targets=((targets - _outputs(self.blocks[0], X)) / self.scale).astype(dtype))

    def scoring(self, scoring: "Scoring", rows: EncodedRows) -> "Scoring":
        """Return a function that scores the sums of both parts for rows, given residuals and predictions of them."""
        return lambda residuals, outputs: scoring(rows.targets, rows.targets + self.scale * (outputs - residuals))

    def reporting(self, callback: Callback) -> Callback:
        """Return a callback that gets the losses of residuals in units of the targets."""

        def report(progress: Progress) -> bool | None:
            losses = {name: getattr(progress, name) for name in ("loss", "validation_loss")}
            in_units = {name: self.scale**2 * loss for name, loss in losses.items() if loss is not None}
            return callback(progress._replace(**in_units))

        return report

    def joined(self, fit: Fit) -> Fit:
        """Return trained networks with their linear parts, as connections from the inputs to the outputs."""
        *below, last = views(np, fit.network, fit.theta)
        blocks = self.blocks if last.ndim == 3 else self.blocks[0]
        blocks = np.broadcast_to(blocks, (*last.shape[:-2], *blocks.shape[-2:])).astype(last.dtype)
        last = last * last.dtype.type(self.share * self.scale)
        rows = [last[..., :-1, :], blocks[..., :-1, :], last[..., -1:, :] + blocks[..., -1:, :]]
        of_activations = fit.theta[..., fit.theta.shape[-1] - sum(fit.network.activation_weights) :]
        theta = np.concatenate([flatten(np, [*below, np.concatenate(rows, axis=-2)]), of_activations], axis=-1)
        in_units = {
            name: [self.scale**2 * one for one in getattr(fit.history, name)] for name in ("loss", "validation_loss")
        }
        return replace(
            fit, network=with_linear_part(fit.network), theta=theta, history=replace(fit.history, **in_units)
        )

    def as_json(self) -> dict[str, Any]:
        """Return what a model file says of it."""
        return {"l2": float(self.l2), "has_bins": bool(self.has_bins), "share": float(self.share)}


Scoring = Callable[[np.ndarray, np.ndarray], float]


def takes_linear_part(network: Network) -> bool:
    """Return whether a network can be trained on residuals of a linear one: it has hidden layers and squared loss."""
    last, is_free = len(network.sizes) - 1, network.bias and (network.tied is None or network.tied.only_absent)
    is_free = is_free and all(layer < last for _, layer in network.skips)
    is_sum = network.loss == "squared" and network.activations[-1] == "identity"
    return len(network.sizes) > 2 and network.sizes[0] <= MOST_INPUTS_OF_PART and is_free and is_sum


def with_linear_part(network: Network) -> Network:
    """Return a network with connections from the inputs to the outputs."""
    skips = (*network.skips, (0, len(network.sizes) - 1))
    if network.ties is None:
        return replace(network, skips=skips)
    ties = np.asarray(network.ties)
    *below, last = views(np, network, ties)
    added = ties.max() + 1 + np.arange(network.sizes[0] * last.shape[1])
    n_of_activations = sum(network.activation_weights)
    parts = [*map(np.ravel, below), last[:-1].ravel(), added, last[-1], ties[len(ties) - n_of_activations :]]
    return replace(network, skips=skips, ties=tuple(np.concatenate(parts).tolist()))


class _Solutions(NamedTuple):
    """The solution without each fold and, at the end, that of all rows; the residuals of the former in their folds."""

    blocks: np.ndarray
    l2: float
    has_bins: bool
    residuals: np.ndarray

    def loss(self, weights: np.ndarray) -> float:
        """Return the mean square of the residuals."""
        return float(np.average(np.square(self.residuals).mean(axis=1), weights=weights))


@blas_of_one_thread()  # as in `solve`
def linear_part(
    rows: WeightedRows,
    preprocessing: Preprocessing,
    folds: np.ndarray,
    networks: Sequence[int],
    like: LinearPart | None = None,
) -> LinearPart:
    """Solve ridge regressions with the least residuals in rows that they were not fitted to, or none if none helps.

    Parameters
    ----------
    rows : WeightedRows
        For training.
    preprocessing : Preprocessing
        That of their inputs.
    folds : (n,) array of int
    networks : sequence of K int
        The fold that each solution of the result was not fitted to, -1 for none.
    like : LinearPart, optional
        By default the penalty, and whether inputs of bins count, are those of the least residuals; or this one's.
    """
    n_folds, n_inputs = int(folds.max()) + 1, rows.X.shape[1]
    nothing = np.zeros((n_folds + 1, n_inputs + 1, rows.targets.shape[1]))
    best = _Solutions(nothing, max(PENALTIES), False, rows.targets.astype(np.float64))
    least = best.loss(rows.weights)
    solvers = Ridge.of_folds(rows, folds, [*range(n_folds), -1])
    is_bin = bins(preprocessing)
    for has_bins in ([True, False] if is_bin.any() else [True]) if like is None else [like.has_bins]:
        inputs = np.arange(n_inputs) if has_bins else np.flatnonzero(~is_bin)
        some = [one.of_inputs(inputs) for one in solvers]
        least_of_inputs = np.inf
        for l2 in PENALTIES if like is None else [like.l2]:
            found = _Solutions(nothing.copy(), l2, has_bins, rows.targets.astype(np.float64))
            found.blocks[:, np.append(inputs, n_inputs)] = side_by_side(methodcaller("block", l2), some)
            if not np.isfinite(found.blocks).all():
                break
            for fold in range(n_folds):
                found.residuals[folds == fold] -= _outputs(found.blocks[fold], rows.X[folds == fold])
            loss = found.loss(rows.weights)
            if not loss < least_of_inputs:
                break
            least_of_inputs = loss
            if loss < least:
                least, best = loss, found
    scale = max(math.sqrt(least), SMALLEST_SCALE)
    residuals = (best.residuals / scale).astype(rows.X.dtype)
    share = 1.0 if like is None else like.share
    return LinearPart(best.blocks[networks], best.l2, best.has_bins, scale, residuals, share)


def linear_part_for(prepared: PreparedTable, dtype: str, like: LinearPart | None = None) -> LinearPart:
    """Return the linear part for the training rows, which are divided into five folds."""
    rows = weighted(prepared.training(), dtype)
    folds = folds_of(rows.targets, 0, is_classes=False)
    return linear_part(rows, prepared.preprocessing, folds, [-1], like)


@np.errstate(over="ignore", invalid="ignore")
def share_of(fit: Fit, rows: EncodedRows) -> float:
    """Return what networks predict of the residuals of validation rows, from 0 to 1, less a standard error.

    It is the slope of the regression of the residuals, the targets of `rows`, on their outputs.
    """
    outputs = to_numpy(mean_outputs(fit.network, fit.theta, rows.X, device=fit.device))
    weights = 1.0 if rows.sample_weight is None else rows.sample_weight / rows.sample_weight.mean()
    products, squares = (weights * (one * outputs).sum(axis=1) for one in (rows.targets, outputs))
    least = products.mean() - products.std() / math.sqrt(len(products))
    return float(np.clip(least / squares.mean(), 0.0, 1.0)) if least > 0.0 else 0.0


def bins(preprocessing: Preprocessing) -> np.ndarray:
    """Return which inputs are those of bins of numbers, ``(i,)``."""
    places = preprocessing.input_slices
    is_bin = np.zeros(max((place.stop for place in places.values()), default=0), dtype=bool)
    for column, place in zip(preprocessing.columns, places.values(), strict=True):
        is_bin[place.stop - len(getattr(column, "edges", ())[1:]) : place.stop] = True
    return is_bin


def _outputs(block: np.ndarray, X: np.ndarray) -> np.ndarray:
    outputs: np.ndarray = np.matmul(X, block[:-1].astype(X.dtype)) + block[-1]
    return outputs
