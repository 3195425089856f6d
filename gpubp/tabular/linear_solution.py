"""Networks without hidden layers, which are solved: ridge regression by its equation, logistic regression by L-BFGS."""

import contextlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from functools import reduce
from operator import methodcaller
from typing import NamedTuple

import numpy as np

from gpubp.backends.backend import choose_backend
from gpubp.engine.cpu.threads import blas_of_one_thread, side_by_side
from gpubp.nn.losses import output_loss
from gpubp.nn.network import Network
from gpubp.nn.passes import forward, loss_and_gradient
from gpubp.tabular.prepared_table import EncodedRows
from gpubp.training.result import Fit
from gpubp.training.state import History, StopReason

PENALTIES = (100.0, 10.0, 1.0, 0.1, 0.01, 0.001)
"""Of which one is chosen on held-out rows, the largest first."""

MOST_INPUTS_OF_RIDGE = 3_000
"""Of ridge regression, whose memory grows with their square."""

LEAST_PENALTY = 1e-6
"""Of a candidate with less, so that inputs that depend on each other have one solution."""

MOST_ITERATIONS = 100
"""Of logistic regression, for each penalty."""

LEAST_GRADIENT = 1e-4
"""Of the mean loss of logistic regression, which has converged where no element is larger."""

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

    def masked(self, mask: np.ndarray) -> "WeightedRows":
        """Return all rows, those that a mask leaves out with weight 0: their inputs are not copied."""
        return self._replace(weights=self.weights * mask)


class LinearSolution(NamedTuple):
    """The parameters of K networks ``(K, P)``, their penalty, and their mean losses on held-out rows ``(K,)``.

    `is_complete` is whether no solution was ended by the time.
    """

    theta: np.ndarray
    l2: float
    losses: np.ndarray
    is_complete: bool = True


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
    is_ridge = network.loss == "squared" and network.activations == ("identity",) and n_inputs <= MOST_INPUTS_OF_RIDGE
    is_logistic = network.loss == "cross_entropy" and network.activations == ("softmax",) and n_outputs > 1
    return len(network.sizes) == 2 and (is_ridge or is_logistic)


@blas_of_one_thread()  # several wait for each other beside other work on the machine
def solve(
    network: Network,
    rows: WeightedRows,
    folds: np.ndarray,
    held_out: Sequence[WeightedRows],
    penalties: Sequence[float] = PENALTIES,
    is_over: Callable[[], bool] = lambda: False,
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
    is_over : callable, optional
        Whether the time is over. Then no further penalty is tried, and logistic regression ends after its iteration.

    Examples
    --------
    >>> x = np.linspace(-1.0, 1.0, 20)[:, None]
    >>> rows = WeightedRows(x, 3.0 * x + 1.0, np.ones(20))
    >>> solution = solve(Network((1, 1)), rows, np.arange(20) % 2, [rows, rows], [1e-9])
    >>> solution.theta.round(6)
    array([[3., 1.],
           [3., 1.]])
    """
    solvers: Sequence[Ridge | _LogisticRegression]
    each: Callable[..., Iterable[np.ndarray]] = map
    if network.loss == "squared":
        solvers, each = Ridge.of_folds(rows, folds, range(len(held_out))), side_by_side
    else:
        solvers = [_LogisticRegression(network, rows.masked(folds != k), is_over) for k in range(len(held_out))]
    best: LinearSolution | None = None
    for l2 in sorted(penalties, reverse=True):
        if best is not None and is_over():
            break
        blocks = each(methodcaller("block", l2), solvers)
        theta = np.stack([one.ravel() for one in blocks]).astype(rows.X.dtype)
        losses = np.array([mean_loss(network, *pair) for pair in zip(theta, held_out, strict=True)])
        if best is not None and not losses.mean() < best.losses.mean():
            break
        best = LinearSolution(theta, l2, losses, all(one.is_complete for one in solvers))
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
    is_over: Callable[[], bool] = lambda: False,
) -> tuple[Fit, float]:
    """Return what :func:`solve` finds as if it were trained, in one epoch, with its penalty."""
    start, n_networks = time.monotonic(), len(held_out)
    folds = np.full(len(rows.X), -1) if folds is None else folds
    history, theta, l2 = History(), np.zeros((n_networks, network.n_parameters), dtype), max(penalties)
    stop_reason: StopReason = "interrupted"
    with contextlib.suppress(KeyboardInterrupt):
        least = [max(one, LEAST_PENALTY) for one in penalties]
        theta, l2, losses, is_complete = solve(network, rows, folds, held_out, least, is_over)
        learned = [mean_loss(network, one, rows.masked(folds != k)) for k, one in enumerate(theta)]
        history.add(np.array(learned), losses, None, time.monotonic() - start)
        stop_reason = "converged" if is_complete else "callback"
    diverged = ~np.isfinite(theta).all(axis=1)
    name = choose_backend(device, rows.X).name
    return Fit(network, theta.astype(dtype), history, stop_reason, len(history.loss), name, diverged), l2


def mean_loss(network: Network, theta: np.ndarray, rows: WeightedRows) -> float:
    """Return the weighted mean loss of a network, without penalty; NaN if no row has a weight."""
    layer = forward(np, network, theta, rows.X)[-1]
    loss, _ = output_loss(np, network.loss, network.activations[-1], *layer, rows.targets, rows.weights)
    return float(np.divide(loss, rows.weights.sum(dtype=np.float64)))


class Ridge:
    """Ridge regression from sums over the rows: of the products of inputs, 1 and targets, less those of `centre`.

    With rows of which none has a weight, or with numbers that are too large, all weights are NaN.
    """

    is_complete = True

    @np.errstate(all="ignore")
    def __init__(self, sums: np.ndarray, centre: np.ndarray, n_inputs: int) -> None:
        mean = sums[n_inputs] / sums[n_inputs, n_inputs]
        centred = sums - np.outer(mean, sums[n_inputs])
        inputs, targets = slice(n_inputs), slice(n_inputs + 1, None)
        self.mean_inputs, self.mean_targets = mean[inputs] + centre[inputs], mean[targets] + centre[targets]
        self.gram, self.products = centred[inputs, inputs], centred[inputs, targets]

    @classmethod
    @np.errstate(all="ignore")
    def of_folds(cls, rows: WeightedRows, folds: np.ndarray, left_out: Iterable[int]) -> "list[Ridge]":
        """Return one without each fold; the sums of the others are added, not subtracted from all: one may dominate."""
        n_inputs, weights = rows.X.shape[1], rows.weights / rows.weights.sum()
        means = [np.matmul(weights.astype(one.dtype), one).astype(np.float64) for one in (rows.X, rows.targets)]
        centre = np.concatenate([means[0], [0.0], means[1]])
        known = np.unique(folds).tolist()
        sums = side_by_side(lambda fold: _sums(rows.select(folds == fold), centre), known)
        of_fold = dict(zip(known, sums, strict=True))
        nothing = np.zeros((len(centre), len(centre)))
        return [
            cls(reduce(np.add, (one for k, one in of_fold.items() if k != fold), nothing), centre, n_inputs)
            for fold in left_out
        ]

    def of_inputs(self, inputs: np.ndarray) -> "Ridge":
        """Return the regression from some of the inputs alone."""
        some = copy(self)
        some.mean_inputs, some.products = self.mean_inputs[inputs], self.products[inputs]
        some.gram = self.gram[np.ix_(inputs, inputs)]
        return some

    def block(self, l2: float) -> np.ndarray:
        """Return the weights and, in the last row, the biases ``(i + 1, j)``."""
        from scipy.linalg import LinAlgError, cho_factor, cho_solve

        if not (np.isfinite(self.gram).all() and np.isfinite(self.products).all()):
            return np.full((len(self.gram) + 1, len(self.mean_targets)), np.nan)
        gram = self.gram.copy()
        gram[np.diag_indices_from(gram)] += l2
        try:
            weights = cho_solve(cho_factor(gram, overwrite_a=True), self.products, check_finite=False)
        except LinAlgError:  # a penalty that is lost beside very large inputs
            weights = np.linalg.lstsq(self.gram, self.products, rcond=None)[0]
        return np.concatenate([weights, (self.mean_targets - np.matmul(self.mean_inputs, weights))[None]])


def _sums(rows: WeightedRows, centre: np.ndarray) -> np.ndarray:
    """Return the weighted sums of products, ``(i + 1 + j, i + 1 + j)``."""
    columns = np.concatenate([rows.X, np.ones((len(rows.X), 1)), rows.targets], axis=1, dtype=np.float64)
    columns -= centre
    columns *= np.sqrt(rows.weights)[:, None]
    sums: np.ndarray = np.matmul(columns.T, columns)
    return sums


class _LogisticRegression:
    """Logistic regression by L-BFGS (Liu & Nocedal 1989), for targets that may be shares of several classes.

    Each penalty begins with the last weights. They are NaN if no row has a weight.
    """

    def __init__(self, network: Network, rows: WeightedRows, is_over: Callable[[], bool]) -> None:
        self.network, self.is_over, self.is_complete = network, is_over, True
        self.total, dtype = float(rows.weights.sum()), rows.X.dtype
        self.theta = np.full(network.n_parameters, 0.0 if self.total > 0.0 else np.nan)
        self.rows = rows._replace(weights=(rows.weights / (self.total or 1.0)).astype(dtype))
        lacking = np.flatnonzero(np.matmul(self.rows.weights, rows.targets) <= 0.0)
        self.of_lacking = WeightedRows(
            np.repeat(np.matmul(self.rows.weights, rows.X)[None], len(lacking), axis=0),
            np.eye(rows.targets.shape[1], dtype=dtype)[lacking],
            np.full(len(lacking), LEAST_WEIGHT / (self.total or 1.0), dtype),
        )

    def block(self, l2: float) -> np.ndarray:
        """Return the weights and, in the last row, the biases ``(i + 1, j)``; those so far if the time is over."""
        from scipy.optimize import minimize

        self.is_complete = True
        if self.total > 0.0:
            options = {
                "maxiter": MOST_ITERATIONS,
                "gtol": LEAST_GRADIENT,
                "ftol": 4.0 * np.finfo(self.rows.X.dtype).eps,
            }
            with contextlib.suppress(StopIteration):
                minimize(
                    *(self._mean_loss_and_gradient, self.theta, (l2 / self.total,), "L-BFGS-B"),
                    jac=True,
                    callback=self._keep,
                    options=options,
                )
        return self.theta.reshape(-1, self.network.sizes[-1])

    def _keep(self, theta: np.ndarray) -> None:
        """Keep the weights of an iteration, and end if the time is over."""
        self.theta = theta.copy()
        if self.is_over():
            self.is_complete = False
            raise StopIteration

    def _mean_loss_and_gradient(self, theta: np.ndarray, l2: float) -> tuple[float, np.ndarray]:
        """Return the mean loss with its penalty, and the gradient ``(P,)``."""
        penalised = l2 * self.network.weight_mask() * theta
        loss, gradient = 0.5 * float(np.dot(penalised, theta)), penalised
        for rows in (self.rows, self.of_lacking) if len(self.of_lacking.X) else (self.rows,):
            of_rows = loss_and_gradient(np, self.network, theta.astype(rows.X.dtype), *rows)
            loss, gradient = loss + float(of_rows[0]), gradient + of_rows[1]
        return loss, gradient
