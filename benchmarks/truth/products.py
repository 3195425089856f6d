"""Products of matrices as eq. (1), (6) and (7) have them, without TF32: of one network, and of a stack.

True values are exact sums, in mpmath. The engine computes them where training and prediction do: outputs of a network
whose activation is the identity, and the change of weights that were 0.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import mpmath
import numpy as np

from benchmarks.truth.errors import Truth
from gpubp.engine.prediction import predict
from gpubp.nn import equations
from gpubp.nn.network import Network
from gpubp.optim.first_order import gradient_descent
from gpubp.training.fit import train

mp = mpmath.mp
EXACT = 500  # bits of a sum of products of numbers of these sizes
SHAPES = {
    "7 x 4 x 3": (7, 4, 3),
    "400 x 8 x 4": (400, 8, 4),
    "6 x 400 x 4": (6, 400, 4),
    "3 of 20 x 64 x 10": (3, 20, 64, 10),
}
"""Networks of a stack, samples, units below, units above."""


class Product(NamedTuple):
    """A product of matrices, ``(..., n, k)`` and ``(..., k, m)``; see :class:`benchmarks.truth.functions.Function`.

    ``arrays`` say where in the product each number is, and ``operands`` are what the equation takes for the factors.
    """

    kind: str
    name: str
    factors: tuple[np.ndarray, np.ndarray]
    operands: tuple[np.ndarray, np.ndarray]
    plain: Callable[..., Any]
    compiled: Callable[..., np.ndarray]
    scale: None = None

    @property
    def dtype(self) -> str:
        """The precision."""
        return str(self.factors[0].dtype)

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """The indices of each number, (n,) each."""
        left, right = self.factors
        return tuple(np.indices((*left.shape[:-1], right.shape[-1])).reshape(left.ndim, -1))

    def truth(self) -> Truth:
        """Return the exact sums; a change of each factor by a unit changes a term by two."""
        left, right = self.factors
        rows, columns = (_exact(part).reshape(-1, *part.shape[-2:]) for part in (left, np.swapaxes(right, -1, -2)))
        with mp.workprec(EXACT):
            values = [mp.fdot(a, b) for k in range(len(rows)) for a in rows[k] for b in columns[k]]
        sizes = np.matmul(abs(left.astype(float)), abs(right.astype(float))).reshape(-1)
        return Truth(values, np.maximum(1.0, 2.0 * sizes / np.abs(np.asarray(values, float))))

    def computed(self) -> np.ndarray:
        """Return the numbers of NumPy's product."""
        return self.plain(np, *self.operands).reshape(-1)

    def computed_by_engine(self) -> np.ndarray:
        """Return the numbers of the engine's product."""
        return self.compiled(*self.operands).reshape(-1)

    def bound_of_cuda(self) -> np.ndarray:
        """Bound the error of a sum in any order: half an epsilon for each term (Higham 2002, section 3.1)."""
        left, right = (abs(part.astype(float)) for part in self.factors)
        return left.shape[-1] * np.finfo(self.dtype).eps / 2 * np.matmul(left, right).reshape(-1)


_exact = np.frompyfunc(lambda number: mp.mpf(float(number)), 1, 1)


def products(dtype: str) -> Iterator[Product]:
    """List the products of a layer for each of the :data:`SHAPES`; the first includes the biases."""
    generator = np.random.default_rng(7)
    for shape, (*stack, b, i, j) in SHAPES.items():
        y, dE, w = (
            (generator.normal(size=size) * np.ldexp(1.0, generator.integers(-4, 5, size))).astype(dtype)
            for size in ((*stack, b, i), (*stack, b, j), (*stack, i + 1, j))
        )
        with_1 = np.concatenate([y, np.ones((*stack, b, 1), dtype)], axis=-1)
        yield Product("product", f"(1) total inputs, {shape}", (with_1, w), (y, w), equations.total_input, _total_input)
        yield Product(
            "product", f"(6) gradient, {shape}", (np.swapaxes(with_1, -1, -2), dE), (dE, y), equations.dE_dw, _gradient
        )
        yield Product(
            "product", f"(7) derivatives below, {shape}", (dE, np.swapaxes(w[..., :-1, :], -1, -2)), (dE, w),
            equations.dE_dy_below, _below,
        )  # fmt: skip


def _flat(blocks: np.ndarray) -> np.ndarray:
    return blocks.reshape(*blocks.shape[:-2], -1)


def _total_input(y: np.ndarray, w: np.ndarray) -> np.ndarray:
    network = Network((y.shape[-1], w.shape[-1]), output_activation="identity")
    return predict(network, _flat(w), y, device="cpu")


def _change(network: Network, theta: np.ndarray, x: np.ndarray, dE: np.ndarray) -> np.ndarray:
    """Return the gradient where the outputs are 0: minus the targets are then the derivatives at them."""
    stack = {"seed": range(len(theta))} if theta.ndim > 1 else {}
    options = {"epochs": 1, "batch_size": "full", "shuffle": False, "reduction": "sum", "device": "cpu", **stack}
    return theta - train(network, x, -dE, theta=theta, optimizer=gradient_descent(1.0), **options).theta


def _gradient(dE: np.ndarray, y: np.ndarray) -> np.ndarray:
    network = Network((y.shape[-1], dE.shape[-1]), output_activation="identity")
    theta = np.zeros((*y.shape[:-2], network.n_parameters), y.dtype)
    return _change(network, theta, y, dE)


def _below(dE: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Return the gradient of a first layer whose samples are the rows of the unit matrix, and whose weights are 0."""
    *stack, b, j = dE.shape
    i = w.shape[-2] - 1
    network = Network((b, i, j), activation="identity", output_activation="identity", bias=False)
    theta = np.concatenate([np.zeros((*stack, b * i), w.dtype), _flat(w[..., :-1, :])], axis=-1)
    samples = np.broadcast_to(np.eye(b, dtype=w.dtype), (*stack, b, b)).copy()
    return _change(network, theta, samples, dE)[..., : b * i]
