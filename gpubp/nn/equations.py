r"""Equations (1)-(9) of Rumelhart, Hinton & Williams (1986), one pure function each.

Shapes are written with the letters ``...`` for networks, ``b`` for cases, ``i`` for the units of the layer below and
``j`` for the units of the layer above. Arrays are of any namespace ``xp`` that implements the Array API standard; no
input is written to.

A bias is the weight of an extra unit whose output is always 1. The weights between two layers are therefore one block
of shape ``(..., i + 1, j)`` whose last row holds the biases, or ``(..., i, j)`` in a network without biases; ``bias``
says which. No product with the extra unit's output is computed: its row of weights is added.
"""

from gpubp._typing import Array, Namespace


def total_input(xp: Namespace, y_below: Array, w: Array, *, bias: bool = True) -> Array:
    r"""Eq. (1), the total input of each unit: :math:`x_j = \sum_i y_i w_{ji}`.

    Parameters
    ----------
    y_below : (..., b, i) array
        Outputs of the units below.
    w : (..., i + 1, j) array, or (..., i, j) without biases
        Weights; the last row holds the biases.

    Returns
    -------
    (..., b, j) array
    """
    if not bias:
        return xp.matmul(y_below, w)
    return xp.matmul(y_below, w[..., :-1, :]) + w[..., -1:, :]


def logistic(xp: Namespace, x: Array) -> Array:
    r"""Eq. (2), the output of each unit: :math:`y_j = 1 / (1 + e^{-x_j})`.

    Only ``-|x|`` is exponentiated, so that nothing overflows and small outputs keep all their digits.
    """
    e = xp.exp(-xp.abs(x))
    y = 1.0 / (1.0 + e)
    return xp.where(x < 0, e * y, y)


def squared_error(xp: Namespace, y: Array, d: Array) -> Array:
    r"""Eq. (3), the error of each unit in each case, not yet summed: :math:`\frac12 (y_{jc} - d_{jc})^2`."""
    r = y - d
    return 0.5 * r * r


def squared_error_dE_dy(xp: Namespace, y: Array, d: Array) -> Array:
    r"""Eq. (4): :math:`\partial E / \partial y_j = y_j - d_j`."""
    return y - d


def logistic_dE_dx(xp: Namespace, dE_dy: Array, y: Array) -> Array:
    r"""Eq. (5): :math:`\partial E / \partial x_j = \partial E / \partial y_j \cdot y_j (1 - y_j)`.

    Outputs near 1 have few digits of :math:`1 - y_j`: the absolute error of :math:`y_j (1 - y_j)` is up to an epsilon.
    """
    return dE_dy * y * (1.0 - y)


def dE_dw(xp: Namespace, dE_dx: Array, y_below: Array, *, bias: bool = True) -> Array:
    r"""Eq. (6), summed over cases: :math:`\partial E / \partial w_{ji} = \sum_c \partial E / \partial x_j \cdot y_i`.

    Parameters
    ----------
    dE_dx : (..., b, j) array
    y_below : (..., b, i) array

    Returns
    -------
    (..., i + 1, j) array, or (..., i, j) without biases
        The extra unit's output is 1, so the last row is the plain sum of ``dE_dx``.
    """
    to_weights = xp.matmul(xp.matrix_transpose(y_below), dE_dx)
    if not bias:
        return to_weights
    return xp.concat([to_weights, xp.sum(dE_dx, axis=-2, keepdims=True)], axis=-2)


def dE_dy_below(xp: Namespace, dE_dx: Array, w: Array, *, bias: bool = True) -> Array:
    r"""Eq. (7): :math:`\partial E / \partial y_i = \sum_j \partial E / \partial x_j \cdot w_{ji}`.

    Parameters
    ----------
    dE_dx : (..., b, j) array
    w : (..., i + 1, j) array, or (..., i, j) without biases

    Returns
    -------
    (..., b, i) array
        The extra unit has no input, so its row is left out.
    """
    if bias:
        w = w[..., :-1, :]
    return xp.matmul(dE_dx, xp.matrix_transpose(w))


def gradient_descent(xp: Namespace, dE_dw: Array, *, rate: float | Array) -> Array:
    r"""Eq. (8), the change of each weight: :math:`\Delta w = -\varepsilon\, \partial E / \partial w`."""
    return -rate * dE_dw


def momentum_descent(
    xp: Namespace, dE_dw: Array, previous: Array, *, rate: float | Array, momentum: float | Array
) -> Array:
    r"""Eq. (9): :math:`\Delta w(t) = -\varepsilon\, \partial E / \partial w(t) + \alpha\, \Delta w(t - 1)`.

    Parameters
    ----------
    dE_dw, previous : (..., P) arrays
        The gradient, and the previous change.
    rate, momentum : float or (..., 1) array
        The paper's epsilon and alpha.
    """
    return momentum * previous - rate * dE_dw
