"""A comparison of two devices, and the data that networks are compared on."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from gpubp._typing import Array
from gpubp.nn.initialization import initial_weights
from gpubp.nn.network import Network

N_SAMPLES = 36
"""Of most comparisons: JAX compiles each operation for each shape, so sizes are the same wherever they may be."""


class Comparison(NamedTuple):
    """A computation on two devices: ``compute(backend, *arrays)`` returns an array or a tuple of arrays.

    ``dtypes`` are the precisions in which it can be computed. ``expected`` is another way to compute the same, of which
    the results are expected; by default, ``compute`` on the other device. With ``of_kernels`` only compiled code takes
    another path than in the other comparisons, so that an array library without any need not compute it. With
    ``is_pure`` JAX compiles the computation as a whole, instead of each operation for each shape.

    Examples
    --------
    >>> import numpy as np
    >>> from gpubp.backends.backend import choose_backend
    >>> from gpubp.testing import compare
    >>> twice = Comparison("elementwise", "twice", lambda backend, x: 2 * x, (np.arange(3.0),))
    >>> compare(twice, choose_backend("cpu"), "float64").ok
    True
    """

    kind: str
    what: str
    compute: Callable[..., Any]
    arrays: tuple[np.ndarray, ...]
    dtypes: tuple[str, ...] = ("float64", "float32")
    expected: Callable[..., Any] | None = None
    of_kernels: bool = False
    is_pure: bool = False


def dtype_name(array: Array) -> str:
    """Name an array's dtype, as in "float32", in any byte order."""
    return str(getattr(array.dtype, "name", array.dtype)).rpartition(".")[2]


def draw_weights(network: Network, generator: np.random.Generator) -> np.ndarray:
    """Draw theta."""
    return initial_weights(network, generator, scheme="uniform", scale=0.5, dtype="float64")


def draw_data(network: Network, generator: np.random.Generator, n_samples: int = N_SAMPLES) -> tuple[np.ndarray, ...]:
    """Draw theta, inputs, targets and sample weights."""
    x = generator.normal(size=(n_samples, network.sizes[0]))
    targets = generator.dirichlet(np.ones(network.sizes[-1]), n_samples)
    return draw_weights(network, generator), x, targets, generator.uniform(0.5, 2.0, n_samples)
