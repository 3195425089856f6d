"""The cases of the experiments: inputs x ``(b, i)`` and desired outputs d ``(b, j)``, of 0 and 1."""

from collections.abc import Callable
from itertools import product

import numpy as np

from gpubp.data import datasets

Cases = tuple[np.ndarray, np.ndarray]


def _all_vectors(n: int) -> np.ndarray:
    return np.asarray(list(product((0.0, 1.0), repeat=n)))


def of(dataset: Callable[..., datasets.Dataset], size: int) -> Cases:
    """Return the cases of a built-in data set of a size.

    Examples
    --------
    >>> of(datasets.parity, 2)[1].ravel()  # XOR
    array([0., 1., 1., 0.])
    """
    made = dataset(size)
    return made.X, made.targets


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
    """All vectors of a switch and ``n_bits`` bits; the outputs are the bits, each negated if the switch is on.

    Examples
    --------
    >>> x, d = negation()
    >>> x[-1], d[-1]
    (array([1., 1., 1., 1.]), array([0., 0., 0.]))
    """
    x = _all_vectors(n_bits + 1)
    return x, np.abs(x[:, 1:] - x[:, :1])


T_AND_C = (("###", ".#.", ".#."), ("##", "#.", "##"))
"""The two shapes, of five cells each. Any two cells of the one have a pair as far apart in the other."""


def t_c(plane: tuple[int, int], margin: int = 0) -> Cases:
    """All places of a T and of a C, each turned in four ways, on a plane; the output says whether it is a T.

    Parameters
    ----------
    plane : (rows, columns)
    margin : int
        The number of cells at the edges that stay empty.

    Returns
    -------
    x : (b, rows * columns) array
        Row after row.
    d : (b, 1) array

    Notes
    -----
    Distances between cells do not tell the shapes apart, and so neither do pairs of cells: it takes three at a time.

    Examples
    --------
    >>> x, d = t_c((3, 3))
    >>> x[0].reshape(3, 3).astype(int), d[0]
    (array([[1, 1, 1],
           [0, 1, 0],
           [0, 1, 0]]), array([1.]))
    >>> len(x), int(d.sum())  # a T has one place here, and a C, which is narrower, two
    (12, 4)
    """
    x, d = [], []
    for is_t, shape in zip((1.0, 0.0), T_AND_C, strict=True):
        cells = np.asarray([[cell == "#" for cell in row] for row in shape], dtype=float)
        for quarter_turns in range(4):
            turned = np.rot90(cells, quarter_turns)
            for row in range(margin, plane[0] - margin - turned.shape[0] + 1):
                for column in range(margin, plane[1] - margin - turned.shape[1] + 1):
                    on_plane = np.zeros(plane)
                    on_plane[row : row + turned.shape[0], column : column + turned.shape[1]] = turned
                    x.append(on_plane.ravel())
                    d.append([is_t])
    return np.asarray(x), np.asarray(d)


def shifted(n: int, places: int) -> Cases:
    """All vectors of ``n`` numbers; the outputs are the same, shifted by some places, cyclically.

    Examples
    --------
    >>> x, d = shifted(3, 1)
    >>> x[1], d[1]
    (array([0., 0., 1.]), array([1., 0., 0.]))
    """
    x = _all_vectors(n)
    return x, np.roll(x, places, axis=1)
