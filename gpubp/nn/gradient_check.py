"""Check gradients against central differences of the loss."""

from typing import NamedTuple

import array_api_compat
import numpy as np

from gpubp._core.narrow_types import widened
from gpubp._typing import Array, Namespace
from gpubp.errors import DataError
from gpubp.nn.network import Network, average_tied
from gpubp.nn.passes import loss_and_gradient

NUMBERS_AT_ONCE = 1 << 22
"""Parameters of shifted networks that are in memory together."""


class GradientCheck(NamedTuple):
    """The result of :func:`check_gradient`.

    Attributes
    ----------
    gradient, differences : (P,) or (n,) arrays
        The gradient by back-propagation and by central differences.
    largest_deviation : float
        The largest difference between the two, divided by the largest derivative.
    """

    gradient: Array
    differences: Array
    largest_deviation: float


@np.errstate(all="ignore")
def check_gradient(
    xp: Namespace,
    network: Network,
    theta: Array,
    x: Array,
    targets: Array,
    sample_weight: Array | None = None,
    *,
    step: float | None = None,
    parameters: Array | None = None,
) -> GradientCheck:
    r"""Compare the gradient by back-propagation with :math:`(E(\theta + h) - E(\theta - h)) / 2h` for each parameter.

    Tied weights are shifted one at a time, and the differences are averaged. The shifted networks form stacks, two
    networks for each parameter, so the time grows with the square of their number; of a large network, check some.
    The arrays must be of one namespace, device and precision.

    Parameters
    ----------
    theta : (P,) array
        In float64; float32 gives rough agreement only.
    x : (b, i) array
    targets : (b, j) array
    sample_weight : (b,) array, optional
    step : float, optional
        The step h; by default the cube root of the machine precision, about 6e-6 in float64.
    parameters : (n,) array of integers, optional
        The places in ``theta`` of the parameters to check; by default all. Not for networks with tied weights.

    Returns
    -------
    GradientCheck

    Raises
    ------
    DataError
        If an array does not hold floating-point numbers, or `parameters` are not places in ``theta``, or are those of a
        network with tied weights.

    Examples
    --------
    >>> import numpy as np
    >>> from gpubp.nn.initialization import initial_weights
    >>> network = Network((2, 3, 1), activation="tanh")
    >>> theta = initial_weights(network, dtype="float64")
    >>> x, d = np.asarray([[0.0, 1.0], [1.0, 1.0]]), np.asarray([[1.0], [0.0]])
    >>> check_gradient(np, network, theta, x, d).largest_deviation < 1e-8
    True
    """
    theta, x, targets = widened(theta), widened(x), widened(targets)
    sample_weight = None if sample_weight is None else widened(sample_weight)
    for name, array in (("theta", theta), ("x", x), ("targets", targets), ("sample_weight", sample_weight)):
        if array is not None and not xp.isdtype(array.dtype, "real floating"):
            raise DataError(f"{name} must hold floating-point numbers, got {array.dtype}; pass it in float64")
    if parameters is not None:
        parameters = widened(parameters)
        _check_places(xp, network, parameters)
    h = step or float(xp.finfo(theta.dtype).eps) ** (1 / 3)
    _, gradient = loss_and_gradient(xp, network, theta, x, targets, sample_weight)
    every = xp.arange(network.n_parameters, device=array_api_compat.device(theta))
    shifted, at_once = every if parameters is None else parameters, max(1, NUMBERS_AT_ONCE // network.n_parameters)
    n, parts = shifted.shape[0], []
    for first in range(0, n, at_once):
        shift = h * xp.astype(every == shifted[first : min(first + at_once, n), None], theta.dtype)
        above, _ = loss_and_gradient(xp, network, theta + shift, x, targets, sample_weight)
        below, _ = loss_and_gradient(xp, network, theta - shift, x, targets, sample_weight)
        parts.append((above - below) / (2.0 * h))
    differences = xp.concat(parts)
    if parameters is None:
        differences = average_tied(xp, network, differences)
    else:
        gradient = xp.take(gradient, parameters)
    largest = max(float(xp.max(xp.abs(gradient))), float(xp.max(xp.abs(differences))))
    scale = max(largest, float(xp.finfo(theta.dtype).smallest_normal))
    return GradientCheck(gradient, differences, float(xp.max(xp.abs(gradient - differences))) / scale)


def _check_places(xp: Namespace, network: Network, parameters: Array) -> None:
    if network.tied is not None:
        raise DataError("some parameters of a network with tied weights cannot be checked; leave `parameters` out")
    n, problem = network.n_parameters, ""
    if not xp.isdtype(parameters.dtype, "integral"):
        problem = f"{parameters.dtype}"
    elif parameters.ndim != 1 or not parameters.shape[0]:
        problem = f"shape {tuple(parameters.shape)}"
    elif not bool(xp.all((parameters >= 0) & (parameters < n))):
        problem = f"{int(xp.min(parameters))} to {int(xp.max(parameters))}"
    if problem:
        raise DataError(f"parameters must be whole numbers (n,), places in theta from 0 to {n - 1}; got {problem}")
