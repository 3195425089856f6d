"""Encodings of numbers as inputs, which let a network bend where the numbers do.

They are fitted outside of the network: their statistics are constants (see :mod:`gpubp.data.preprocessing`).
"""

from gpubp._typing import Array, Namespace


def piecewise_linear(xp: Namespace, x: Array, lows: Array, highs: Array) -> Array:
    r"""Encode a number by bins: 0 below a bin, 1 above it, and in it the part that lies below the number.

    The inputs are :math:`(\min(\max(x, l_k), h_k) - l_k) / (h_k - l_k)` (Gorishniy et al. 2022). A network that is
    linear in them is piecewise linear in the number, with a slope of its own in each bin, and constant outside all.

    Parameters
    ----------
    xp : namespace
    x : array of shape (..., 1) or (..., n)
    lows, highs : arrays of shape (n,)
        The ends of each bin, ``lows < highs``.

    Returns
    -------
    array of shape (..., n)

    Examples
    --------
    >>> import numpy as np
    >>> edges = np.array([0.0, 1.0, 10.0])
    >>> piecewise_linear(np, np.array([[-5.0], [0.5], [5.5], [99.0]]), edges[:-1], edges[1:]).tolist()
    [[0.0, 0.0], [0.5, 0.0], [1.0, 0.5], [1.0, 1.0]]
    """
    return (xp.clip(x, lows, highs) - lows) / (highs - lows)
