"""Networks without hidden layers, which are solved: ridge regression by its equation, logistic regression by L-BFGS."""

import contextlib
import time
import warnings
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from typing import NamedTuple

import numpy as np

from gpubp.backends.backend import choose_backend
from gpubp.nn.losses import output_loss
from gpubp.nn.network import Network, forward
from gpubp.tabular.prepare import EncodedRows
from gpubp.training.result import Fit
from gpubp.training.state import History, StopReason

PENALTIES = (100.0, 10.0, 1.0, 0.1, 0.01, 0.001)
"""Of which one is chosen on held-out rows, the largest first."""

MOST_INPUTS = 3_000
"""Of ridge regression, whose memory grows with their square."""

LEAST_PENALTY = 1e-6
"""Of a candidate with less, so that inputs that depend on each other have one solution."""

MOST_ITERATIONS = 100
"""Of logistic regression, for each penalty."""

LEAST_WEIGHT = 0.5
"""Of a class without rows: as if half a row with the mean of the inputs were of it, so that no weight is infinite."""


class WeightedRows(NamedTuple):
    """Inputs ``(n, i)``, targets ``(n, j)`` and the weights of rows ``(n,)``."""

    X: np.ndarray
    targets: np.ndarray
    weights: np.ndarray

    def select(self, rows: np.ndarray) -> "WeightedRows":
        """Return some rows, by a mask or by index."""
        return WeightedRows(self.X[rows], self.targets[rows], self.weights[rows])


class LinearSolution(NamedTuple):
    """The parameters of K networks ``(K, P)``, their penalty, and their mean losses on held-out rows ``(K,)``."""

    theta: np.ndarray
    l2: float
    losses: np.ndarray


class LinearSolver(NamedTuple):
    """What a model file says of the optimizer of a linear network that was solved."""

    name: str = "solved"
    settings: Mapping[str, float] = {}


def weighted(rows: EncodedRows, dtype: str) -> WeightedRows:
    """Return rows, in a precision, with their weights, 1 if they have none."""
    weights = np.ones(len(rows.X)) if rows.sample_weight is None else rows.sample_weight
    return WeightedRows(rows.X.astype(dtype, copy=False), rows.targets.astype(dtype, copy=False), weights)


def is_solved(network: Network) -> bool:
    """Return whether a network is linear, and its loss one whose least value is found without steps."""
    n_inputs, n_outputs = network.sizes[0], network.sizes[-1]
    is_ridge = network.loss == "squared" and network.activations == ("identity",) and n_inputs <= MOST_INPUTS
    is_logistic = network.loss == "cross_entropy" and network.activations == ("softmax",) and n_outputs > 1
    return len(network.sizes) == 2 and (is_ridge or is_logistic)


def solve(
    network: Network,
    rows: WeightedRows,
    folds: np.ndarray,
    held_out: Sequence[WeightedRows],
    penalties: Sequence[float] = PENALTIES,
) -> LinearSolution:
    """Find the weights of least loss, for the penalty of least loss on held-out rows.

    The loss of a network is that of :func:`gpubp.train`: the sum over the rows, and ``l2 / 2`` times the sum of the
    squared weights without biases (Hoerl & Kennard 1970). Penalties are tried from the largest down, until the mean
    loss of held-out rows rises.

    Parameters
    ----------
    network : Network
        For which :func:`is_solved` is true.
    rows : WeightedRows
    folds : (n,) array of int
        Network k is not trained on the rows of fold k; no fold -1 is left out.
    held_out : sequence of K WeightedRows
    penalties : sequence of float
        Above 0.

    Examples
    --------
    >>> x = np.linspace(-1.0, 1.0, 20)[:, None]
    >>> rows = WeightedRows(x, 3.0 * x + 1.0, np.ones(20))
    >>> solution = solve(Network((1, 1)), rows, np.arange(20) % 2, [rows, rows], [1e-9])
    >>> solution.theta.round(6)
    array([[3., 1.],
           [3., 1.]])
    """
    solver = Ridge if network.loss == "squared" else _LogisticRegression
    solvers = solver.of_folds(rows, folds, range(len(held_out)))
    best: LinearSolution | None = None
    for l2 in sorted(penalties, reverse=True):
        theta = np.stack([one.block(l2).ravel() for one in solvers]).astype(rows.X.dtype)
        losses = np.array([mean_loss(network, *pair) for pair in zip(theta, held_out, strict=True)])
        if best is not None and not losses.mean() < best.losses.mean():
            break
        best = LinearSolution(theta, l2, losses)
    assert best is not None
    return best


def solved_fit(
    network: Network,
    rows: WeightedRows,
    folds: np.ndarray | None,
    held_out: Sequence[WeightedRows],
    penalties: Sequence[float],
    *,
    device: str,
    dtype: str,
) -> tuple[Fit, float]:
    """Return what :func:`solve` finds as if it were trained, in one epoch, with its penalty."""
    start, n_networks = time.monotonic(), len(held_out)
    folds = np.full(len(rows.X), -1) if folds is None else folds
    history, theta, l2 = History(), np.zeros((n_networks, network.n_parameters), dtype), max(penalties)
    stop_reason: StopReason = "interrupted"
    with contextlib.suppress(KeyboardInterrupt):
        theta, l2, losses = solve(network, rows, folds, held_out, [max(one, LEAST_PENALTY) for one in penalties])
        learned = [mean_loss(network, one, rows.select(folds != k)) for k, one in enumerate(theta)]
        history.add(np.array(learned), losses, None, time.monotonic() - start)
        stop_reason = "converged"
    diverged = ~np.isfinite(theta).all(axis=1)
    name = choose_backend(device, rows.X).name
    return Fit(network, theta.astype(dtype), history, stop_reason, len(history.loss), name, diverged), l2


def mean_loss(network: Network, theta: np.ndarray, rows: WeightedRows) -> float:
    """Return the weighted mean loss of a network, without penalty."""
    layer = forward(np, network, theta, rows.X)[-1]
    loss, _ = output_loss(np, network.loss, network.activations[-1], *layer, rows.targets, rows.weights)
    return float(loss) / float(rows.weights.sum())


class Ridge:
    """Ridge regression from sums over the rows: of the products of inputs, 1 and targets."""

    def __init__(self, sums: np.ndarray, n_inputs: int) -> None:
        mean = sums[n_inputs] / sums[n_inputs, n_inputs]
        centred = sums - np.outer(mean, sums[n_inputs])
        inputs, targets = slice(n_inputs), slice(n_inputs + 1, None)
        self.mean_inputs, self.mean_targets = mean[inputs], mean[targets]
        self.gram, self.products = centred[inputs, inputs], centred[inputs, targets]

    @classmethod
    def of_folds(cls, rows: WeightedRows, folds: np.ndarray, left_out: Iterable[int]) -> "list[Ridge]":
        """Return one without each fold; what they have in common is summed once."""
        n_inputs = rows.X.shape[1]
        of_fold = {fold: _sums(rows.select(folds == fold)) for fold in np.unique(folds)}
        total: np.ndarray = np.sum([*of_fold.values()], axis=0)
        return [cls(total - of_fold.get(fold, 0.0), n_inputs) for fold in left_out]

    def of_inputs(self, inputs: np.ndarray) -> "Ridge":
        """Return the regression from some of the inputs alone."""
        some = copy(self)
        some.mean_inputs, some.products = self.mean_inputs[inputs], self.products[inputs]
        some.gram = self.gram[np.ix_(inputs, inputs)]
        return some

    def block(self, l2: float) -> np.ndarray:
        """Return the weights and, in the last row, the biases ``(i + 1, j)``."""
        from scipy.linalg import LinAlgError, cho_factor, cho_solve

        gram = self.gram.copy()
        gram[np.diag_indices_from(gram)] += l2
        try:
            weights = cho_solve(cho_factor(gram, overwrite_a=True), self.products, check_finite=False)
        except LinAlgError:  # a penalty that is lost beside very large inputs
            weights = np.linalg.lstsq(self.gram, self.products, rcond=None)[0]
        return np.concatenate([weights, (self.mean_targets - np.matmul(self.mean_inputs, weights))[None]])


def _sums(rows: WeightedRows) -> np.ndarray:
    """Return the weighted sums of products, ``(i + 1 + j, i + 1 + j)``."""
    columns = np.concatenate([rows.X, np.ones((len(rows.X), 1)), rows.targets], axis=1, dtype=np.float64)
    columns *= np.sqrt(rows.weights)[:, None]
    sums: np.ndarray = np.matmul(columns.T, columns)
    return sums


class _LogisticRegression:
    """scikit-learn's, for targets that may be shares of several classes; each penalty begins with the last weights."""

    def __init__(self, rows: WeightedRows) -> None:
        from sklearn.linear_model import LogisticRegression

        X, targets, weights = rows
        n_classes = targets.shape[1]
        lacking = np.flatnonzero(np.matmul(weights, targets) <= 0.0)
        row, labels = np.nonzero(targets)
        mean_row = np.average(X, axis=0, weights=weights)[None]
        self.X = np.concatenate([X[row], np.repeat(mean_row, len(lacking), axis=0)], dtype=np.float64)
        self.labels = np.concatenate([labels, lacking])
        self.weights = np.concatenate([weights[row] * targets[row, labels], np.full(len(lacking), LEAST_WEIGHT)])
        self.strength = 2.0 if n_classes == 2 else 1.0  # the weights of two classes are one vector, half of it in each
        self.model = LogisticRegression(max_iter=MOST_ITERATIONS, warm_start=True)

    @classmethod
    def of_folds(cls, rows: WeightedRows, folds: np.ndarray, left_out: Iterable[int]) -> "list[_LogisticRegression]":
        """Return one without each fold."""
        return [cls(rows.select(folds != fold)) for fold in left_out]

    def block(self, l2: float) -> np.ndarray:
        """Return the weights and, in the last row, the biases ``(i + 1, j)``."""
        with warnings.catch_warnings(action="ignore"):  # that the last digits have not converged
            self.model.set_params(C=self.strength / l2).fit(self.X, self.labels, self.weights)
        block = np.concatenate([self.model.coef_, self.model.intercept_[:, None]], axis=1, dtype=np.float64).T
        return np.concatenate([-0.5 * block, 0.5 * block], axis=1) if block.shape[1] == 1 else block
