"""Encodings of numbers as inputs, which let a network bend where the numbers do.

They are fitted outside of the network: their statistics are constants (see :mod:`gpubp.data.preprocessing`).
"""

from gpubp._typing import Array, Namespace

SMOOTH_LIMIT = 3.0
"""The bound of :func:`smooth_clip` (Holzmueller, Grinsztajn & Steinwart 2024)."""

_LARGEST = 1e9
"""A number of limits whose square is finite in float32, and at which a smooth clip has reached its limit in float64."""


def standardized(xp: Namespace, x: Array, mean: Array, scale: Array, bound: Array) -> Array:
    r"""Move and scale numbers, and keep them between two bounds: :math:`\min(\max((x - m) / s, -b), b)`.

    Parameters
    ----------
    xp : namespace
    x : array of shape (..., n)
    mean, scale, bound : arrays of shape (n,)

    Returns
    -------
    array of shape (..., n)

    Examples
    --------
    >>> import numpy as np
    >>> mean, scale, bound = np.array([2.0, 0.0]), np.array([4.0, 1.0]), np.array([9.0, 9.0])
    >>> standardized(np, np.array([[4.0, 1e300]]), mean, scale, bound).tolist()
    [[0.5, 9.0]]
    """
    return xp.minimum(xp.maximum((x - mean) / scale, -bound), bound)


def smooth_clip(xp: Namespace, x: Array) -> Array:
    r"""Keep numbers between -3 and 3, smoothly, and nearly as they are close to 0 (Holzmueller et al. 2024).

    .. math:: \frac{x}{\sqrt{1 + (x / 3)^2}}

    Parameters
    ----------
    xp : namespace
    x : array of any shape

    Returns
    -------
    array of the same shape

    Examples
    --------
    >>> import numpy as np
    >>> smooth_clip(np, np.array([-1e300, 0.0, 0.75, 4.0])).tolist()
    [-3.0, 0.0, 0.7276068751089989, 2.4]
    """
    part = xp.minimum(xp.maximum(x / SMOOTH_LIMIT, -_LARGEST), _LARGEST)
    return SMOOTH_LIMIT * part / xp.sqrt(1.0 + part * part)


def piecewise_linear(xp: Namespace, x: Array, lows: Array, highs: Array, roots: Array | None = None) -> Array:
    r"""Encode a number by bins: how much of each bin lies below it, from 0 to 1 (Gorishniy et al. 2022).

    A network that is linear in these inputs is piecewise linear in the number, with a slope of its own in each bin, and
    constant outside all. They are moved to -1/2 and 1/2, and divided by :math:`\sqrt n`, so that many bins do not weigh
    more than the number itself:

    .. math:: \frac{1}{\sqrt n} \left( \frac{\min(\max(x, l_k), h_k) - l_k}{h_k - l_k} - \frac12 \right)

    Parameters
    ----------
    xp : namespace
    x : array of shape (..., 1), or (..., n) for bins of several numbers
    lows, highs : arrays of shape (n,)
        The ends of each bin, ``lows < highs``.
    roots : array of shape (n,), optional
        For bins of several numbers, the square root of how many there are of the same number.

    Returns
    -------
    array of shape (..., n)

    Examples
    --------
    >>> import numpy as np
    >>> edges = np.array([0.0, 1.0, 2.0, 4.0, 8.0])
    >>> piecewise_linear(np, np.array([[-5.0], [0.5], [6.0]]), edges[:-1], edges[1:]).tolist()
    [[-0.25, -0.25, -0.25, -0.25], [0.0, -0.25, -0.25, -0.25], [0.25, 0.25, 0.25, 0.0]]
    """
    below = (xp.minimum(xp.maximum(x, lows), highs) - lows) / (highs - lows)
    return (below - 0.5) / (lows.shape[0] ** 0.5 if roots is None else roots)
