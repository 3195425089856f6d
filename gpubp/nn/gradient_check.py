"""Is the gradient right? Compared with central differences of the error."""

from typing import NamedTuple

import array_api_compat

from gpubp._typing import Array, Namespace
from gpubp.nn.network import Network, among_equal_weights, loss_and_gradient


class GradientCheck(NamedTuple):
    """Both gradients, ``(P,)`` each, and the largest difference between them as a part of the largest derivative."""

    gradient: Array
    differences: Array
    largest_deviation: float


def check_gradient(
    xp: Namespace,
    network: Network,
    theta: Array,
    x: Array,
    targets: Array,
    sample_weight: Array | None = None,
    *,
    step: float | None = None,
) -> GradientCheck:
    r"""Compare back-propagation with :math:`(E(\theta + h) - E(\theta - h)) / 2h`, one parameter after another.

    Weights that are tied are shifted one by one, and the differences averaged. All shifted networks are one stack, so
    that this is two passes forward: fit for small networks. The arrays are trusted: of one namespace, device and
    precision.

    Parameters
    ----------
    theta : (P,) array
        float64, unless rough agreement is enough.
    x : (b, i) array
    d : (b, j) array
    sample_weight : (b,) array, optional
    step : float, optional
        h; without it the cube root of the precision, about 6e-6 in float64.

    Returns
    -------
    GradientCheck

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
    h = step or float(xp.finfo(theta.dtype).eps) ** (1 / 3)
    shift = h * xp.eye(network.n_parameters, dtype=theta.dtype, device=array_api_compat.device(theta))
    _, gradient = loss_and_gradient(xp, network, theta, x, targets, sample_weight)
    above, _ = loss_and_gradient(xp, network, theta + shift, x, targets, sample_weight)
    below, _ = loss_and_gradient(xp, network, theta - shift, x, targets, sample_weight)
    differences = among_equal_weights(xp, network, (above - below) / (2.0 * h))
    largest = max(float(xp.max(xp.abs(gradient))), float(xp.max(xp.abs(differences))))
    scale = max(largest, float(xp.finfo(theta.dtype).smallest_normal))
    return GradientCheck(gradient, differences, float(xp.max(xp.abs(gradient - differences))) / scale)
