"""The cases of the experiments: inputs x ``(b, i)`` and desired outputs d ``(b, j)``, of 0 and 1."""

from itertools import product

import numpy as np

Cases = tuple[np.ndarray, np.ndarray]


def _all_vectors(n: int) -> np.ndarray:
    return np.asarray(list(product((0.0, 1.0), repeat=n)))


def symmetry(n: int = 6) -> Cases:
    """All vectors of ``n`` numbers; the output tells whether one is its own mirror image.

    Examples
    --------
    >>> x, d = symmetry()
    >>> x.shape, int(d.sum())
    ((64, 6), 8)
    """
    x = _all_vectors(n)
    return x, np.all(x == x[:, ::-1], axis=1, keepdims=True).astype(float)


def parity(n: int) -> Cases:
    """All vectors of ``n`` numbers; the output tells whether the number of ones is odd. With two it is XOR.

    Examples
    --------
    >>> parity(2)[1].ravel()
    array([0., 1., 1., 0.])
    """
    x = _all_vectors(n)
    return x, np.sum(x, axis=1, keepdims=True) % 2.0


def encoder(n: int) -> Cases:
    """One unit of ``n`` is on, and the outputs are to be the inputs.

    Examples
    --------
    >>> x, d = encoder(8)
    >>> bool(np.all(x == d)), x.shape
    (True, (8, 8))
    """
    return np.eye(n), np.eye(n)


def addition(n_bits: int = 2) -> Cases:
    """All pairs of numbers of ``n_bits`` bits; the outputs are the bits of their sum, the highest first.

    Examples
    --------
    >>> x, d = addition()
    >>> x[-1], d[-1]  # 3 + 3 = 6
    (array([1., 1., 1., 1.]), array([1., 1., 0.]))
    """
    x = _all_vectors(2 * n_bits)
    powers = 2 ** np.arange(n_bits, -1, -1)
    total = np.sum((x[:, :n_bits] + x[:, n_bits:]) * powers[1:], axis=1)
    return x, (total[:, None].astype(int) // powers % 2).astype(float)


def negation(n_bits: int = 3) -> Cases:
    """All vectors of a switch and ``n_bits`` bits; the outputs are the bits, each negated where the switch is on.

    Examples
    --------
    >>> x, d = negation()
    >>> x[-1], d[-1]
    (array([1., 1., 1., 1.]), array([0., 0., 0.]))
    """
    x = _all_vectors(n_bits + 1)
    return x, np.abs(x[:, 1:] - x[:, :1])
