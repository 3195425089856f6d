r"""Encodings of numbers as inputs, which let a network bend where the numbers do, and keep it bounded elsewhere.

They are fitted outside of the network: their statistics are constants (see :mod:`gpubp.data.preprocessing`).
"""

from gpubp._typing import Array, Namespace


def smooth_clip(xp: Namespace, x: Array, bound: Array) -> Array:
    r"""Keep numbers within bounds, without a kink: :math:`x / \sqrt{1 + (x / b)^2}` (Holzmüller et al. 2024).

    Numbers much smaller than ``bound`` hardly change; those much larger approach it. An infinite bound changes nothing.

    Parameters
    ----------
    xp : namespace
    x : array
    bound : array, broadcast to x
        Above 0.

    Examples
    --------
    >>> import numpy as np
    >>> smooth_clip(np, np.array([0.03, 4.0, -1e6]), np.array(3.0)).round(3).tolist()
    [0.03, 2.4, -3.0]
    """
    return x / xp.sqrt(1.0 + (x / bound) ** 2)


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
