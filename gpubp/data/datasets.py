"""Named data sets: scikit-learn's bundled ones and the small ones of the 1986 papers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gpubp._core.names import near_miss
from gpubp.backends.backend import to_numpy
from gpubp.backends.inputs import as_labels
from gpubp.engine.argument_checks import host_array
from gpubp.errors import DataError

MAX_BITS = 16
"""Largest number of bits for :func:`parity` and :func:`symmetry`, which list all 2**n vectors."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """Samples with their targets.

    Attributes
    ----------
    name : str
        Name of the set.
    X : numpy.ndarray
        Inputs, float64 of shape ``(n, i)``.
    targets : numpy.ndarray
        Targets, float64 of shape ``(n, j)``; one-hot if there are `classes`.
    feature_names : tuple of str
        One name per column of `X`.
    classes : tuple of str or None
        One name per column of `targets` for classification, None for real-valued outputs.
    description : str
        One sentence about the set.
    target_names : tuple of str
        Names of the target columns of the set as a table: one for classification, else one per column of `targets`.

    Examples
    --------
    >>> iris = load_dataset("iris")
    >>> iris.X.shape, iris.classes
    ((150, 4), ('setosa', 'versicolor', 'virginica'))
    """

    name: str
    X: NDArray[np.float64]
    targets: NDArray[np.float64]
    feature_names: tuple[str, ...]
    classes: tuple[str, ...] | None
    description: str
    target_names: tuple[str, ...] = ("target",)

    @property
    def labels(self) -> NDArray[np.object_]:
        """The class name of each sample, shape ``(n,)``."""
        if self.classes is None:
            raise DataError(f"the set {self.name!r} has real-valued targets and no classes; use its targets")
        names = np.array(self.classes, dtype=object)
        labels: NDArray[np.object_] = names[self.targets.argmax(axis=1)]
        return labels


def one_hot(labels: ArrayLike, n_classes: int | None = None) -> NDArray[np.float64]:
    """Encode labels as rows with a single 1.

    Parameters
    ----------
    labels : array_like
        Shape ``(n,)``.  Integers are column numbers; strings get columns in sorted order.
    n_classes : int, optional
        Number of columns; by default the number that the labels need.

    Returns
    -------
    numpy.ndarray
        float64 of shape ``(n, n_classes)``.

    Raises
    ------
    DataError
        If the labels are not integers or strings in one dimension, are negative, or do not fit in `n_classes`.

    Examples
    --------
    >>> one_hot(["b", "a"])
    array([[0., 1.],
           [1., 0.]])
    """
    values = as_labels("labels", to_numpy(host_array("labels", labels)))
    if values.dtype == object and all(isinstance(value, str) for value in values.flat):
        values = values.astype(str)
    if values.ndim != 1 or values.dtype.kind not in "iubU":
        raise DataError(
            f"labels must be integers or strings of shape (n,), got {values.dtype} of shape {values.shape}; pass "
            "labels.astype(int) or labels.astype(str)"
        )
    columns = np.unique(values, return_inverse=True)[1] if values.dtype.kind == "U" else values.astype(np.int64)
    needed = int(columns.max(initial=-1)) + 1
    n_classes = needed if n_classes is None else n_classes
    if columns.min(initial=0) < 0 or needed > n_classes:
        raise DataError(f"labels need columns {columns.min()} to {needed - 1}, but there are 0 to {n_classes - 1}")
    encoded = np.zeros((len(columns), n_classes))
    encoded[np.arange(len(columns)), columns] = 1.0
    return encoded


def rain() -> Dataset:
    """Return three samples: days of rain and Kdp against the chance of rain.

    Examples
    --------
    >>> rain().targets.ravel()
    array([0.99, 0.59, 0.19])
    """
    return Dataset(
        name="rain",
        X=np.array([[3.0, 5.0], [1.0, 6.0], [0.0, 8.0]]),
        targets=np.array([[0.99], [0.59], [0.19]]),
        feature_names=("days raining", "Kdp"),
        classes=None,
        description="Monday, Tuesday and Wednesday: days raining and Kdp against the chance of rain.",
    )


def xor() -> Dataset:
    """Return the exclusive or of two bits: parity of two bits.

    Examples
    --------
    >>> xor().targets.ravel()
    array([0., 1., 1., 0.])
    """
    return _bits("xor", 2, lambda x: x.sum(axis=1) % 2, "Exclusive or: 1 if exactly one of two bits is 1.")


def parity(n_bits: int = 4) -> Dataset:
    """Return all vectors of `n_bits` bits; the target is 1 if the number of ones is odd.

    Parameters
    ----------
    n_bits : int
        From 1 to 16.

    Raises
    ------
    DataError
        If `n_bits` is out of range.

    Examples
    --------
    >>> parity(2).X.tolist(), parity(2).targets.ravel().tolist()
    ([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], [0.0, 1.0, 1.0, 0.0])
    """
    return _bits("parity", n_bits, lambda x: x.sum(axis=1) % 2, f"1 if the number of ones among {n_bits} bits is odd.")


def symmetry(n_bits: int = 6) -> Dataset:
    """Return all vectors of `n_bits` bits; the target is 1 if the vector equals its mirror image.

    Parameters
    ----------
    n_bits : int
        From 1 to 16; the paper uses 6.

    Raises
    ------
    DataError
        If `n_bits` is out of range.

    Examples
    --------
    >>> int(symmetry().targets.sum())
    8
    """
    return _bits(
        "symmetry",
        n_bits,
        lambda x: (x == x[:, ::-1]).all(axis=1),
        f"1 if a vector of {n_bits} bits is symmetric about its middle.",
    )


def encoder(n_inputs: int = 8) -> Dataset:
    """Return patterns with a single 1, to be reproduced through a narrower hidden layer (8-3-8 in the 1986 report).

    Parameters
    ----------
    n_inputs : int
        Number of inputs, outputs and patterns.

    Raises
    ------
    DataError
        If `n_inputs` is not positive.

    Examples
    --------
    >>> encoder(2).targets
    array([[1., 0.],
           [0., 1.]])
    """
    if n_inputs < 1:
        raise DataError(f"n_inputs must be at least 1, got {n_inputs}")
    return Dataset(
        name="encoder",
        X=np.eye(n_inputs),
        targets=np.eye(n_inputs),
        feature_names=tuple(f"unit {k}" for k in range(n_inputs)),
        classes=None,
        description=f"{n_inputs} patterns with a single 1, which are also the targets.",
        target_names=tuple(f"target_{k}" for k in range(n_inputs)),
    )


def _bits(name: str, n_bits: int, label_function: Callable[[NDArray[Any]], NDArray[Any]], description: str) -> Dataset:
    if not 1 <= n_bits <= MAX_BITS:
        raise DataError(f"n_bits must be from 1 to {MAX_BITS}, got {n_bits}")
    # Counting order, the most significant bit first.
    x = (np.arange(2**n_bits)[:, None] >> np.arange(n_bits)[::-1] & 1).astype(np.float64)
    names = tuple(f"bit {k}" for k in range(n_bits))
    return Dataset(name, x, label_function(x).astype(np.float64)[:, None], names, None, description)


_BUNDLED = {
    "digits": "8 by 8 pictures of handwritten digits, grey values from 0 to 1, in ten classes.",
    "iris": "Lengths and widths of the sepals and petals of three species of iris.",
    "wine": "Chemical analyses of wines from three growers.",
    "breast_cancer": "Measures of cell nuclei, malignant or benign.",
    "diabetes": "Ten measures of 442 patients and how far the disease progressed within a year.",
    "linnerud": "Three exercises of twenty men against weight, waist and pulse.",
}
_SMALL: dict[str, Callable[[], Dataset]] = {
    "rain": rain,
    "xor": xor,
    "symmetry": symmetry,
    "parity": parity,
    "encoder": encoder,
}

DATASETS: tuple[str, ...] = (*_BUNDLED, *_SMALL)
"""The names that :func:`load_dataset` accepts.

Examples
--------
>>> from gpubp.data import DATASETS
>>> [name for name in DATASETS if name.startswith("d")]
['digits', 'diabetes']
"""


def load_dataset(name: str) -> Dataset:
    """Load a data set by its name, without downloading anything.

    Parameters
    ----------
    name : str
        One of `DATASETS`.

    Returns
    -------
    Dataset
        The samples; the grey values of ``digits`` are divided by 16.

    Raises
    ------
    DataError
        If there is no set of that name.

    Examples
    --------
    >>> load_dataset("iris").targets.shape
    (150, 3)
    """
    if name in _SMALL:
        return _SMALL[name]()
    if name not in _BUNDLED:
        raise DataError(f"no data set is named {name!r}{near_miss(name, DATASETS)}; there are {', '.join(DATASETS)}")
    import sklearn.datasets

    bunch = getattr(sklearn.datasets, f"load_{name}")()
    x = bunch.data / 16.0 if name == "digits" else bunch.data
    is_classification = name not in ("diabetes", "linnerud")
    return Dataset(
        name=name,
        X=np.asarray(x, dtype=np.float64),
        targets=one_hot(bunch.target)
        if is_classification
        else np.asarray(bunch.target, np.float64).reshape(len(x), -1),
        feature_names=tuple(map(str, bunch.feature_names)),
        classes=tuple(map(str, bunch.target_names)) if is_classification else None,
        description=_BUNDLED[name],
        target_names=tuple(bunch.target_names) if name == "linnerud" else ("target",),
    )
