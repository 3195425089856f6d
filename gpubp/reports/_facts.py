"""What a report says of a model, as plain data, from which the page is made."""

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gpubp._core.versions import installed_versions
from gpubp.backends.cupy_wheels import cupy_wheels
from gpubp.inspection import CalibrationCurve, PartialDependence, PermutationImportance
from gpubp.nn.network import Network

MAX_CLASSES = 20
"""A confusion matrix of more classes keeps the most frequent ones; the others share a row and a column."""

MAX_DEPENDENCES, MAX_DEPENDENCE_ROWS, GRID = 4, 500, 20
"""Columns whose partial dependence is shown, the rows of which it is a mean, and the values of a column."""


class Curves(NamedTuple):
    """Figures of some epochs, counted from 1; a curve may be empty."""

    epochs: Sequence[int] = ()
    loss: Sequence[float] = ()
    validation_loss: Sequence[float] = ()
    validation_score: Sequence[float] = ()
    best_epoch: int = 0
    score_name: str = "score"


NO_CURVES = Curves()


class ShownColumn(NamedTuple):
    """A column of the table as it was taken: its type, values and reason in words, and counts of its values."""

    name: str
    type: str
    values: str
    reason: str
    n_missing: int
    n_distinct: int
    n_outliers: int


class Confusion(NamedTuple):
    """How many rows of each class are predicted as each, ``(k, k)``: rows are true, columns predicted."""

    classes: tuple[str, ...]
    counts: NDArray[np.int64]

    @classmethod
    def of(cls, classes: Sequence[str], true: NDArray[np.intp], predicted: NDArray[np.intp]) -> "Confusion":
        """Count pairs of class numbers; of more than `MAX_CLASSES` the least frequent are joined.

        Examples
        --------
        >>> Confusion.of(("no", "yes"), np.asarray([0, 1, 1]), np.asarray([0, 0, 1])).counts.tolist()
        [[1, 0], [1, 1]]
        """
        k = len(classes)
        names = tuple(classes)
        if k > MAX_CLASSES:
            kept = np.sort(np.argsort(-np.bincount(true, minlength=k), kind="stable")[: MAX_CLASSES - 1])
            places = np.full(k, len(kept))
            places[kept] = np.arange(len(kept))
            names = (*(names[place] for place in kept), f"{k - len(kept):,} others")
            true, predicted, k = places[true], places[predicted], len(names)
        return cls(names, np.bincount(true * k + predicted, minlength=k * k).reshape(k, k))


class Residuals(NamedTuple):
    """True and predicted values of a numeric target, ``(n,)``."""

    target: str
    true: NDArray[np.float64]
    predicted: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class HeldOutFindings:
    """What was found on rows that the scored network was not trained on.

    Attributes
    ----------
    rows : str
        Which rows, in words: "30 test rows".
    confusion : Confusion, optional
        Of classes.
    residuals : sequence of Residuals
        Of numbers, one for each target.
    calibration : sequence of CalibrationCurve
        The first is drawn; for numbers the shares that intervals hold.
    importance : PermutationImportance, optional
    importance_rows : str
        The rows and columns of the importance in words, if not all.
    why_no_calibration : str
        What is said where no calibration is drawn.
    """

    rows: str
    confusion: Confusion | None = None
    residuals: Sequence[Residuals] = ()
    calibration: Sequence[CalibrationCurve] = ()
    importance: PermutationImportance | None = None
    importance_rows: str = ""
    why_no_calibration: str = ""
    dependence: Sequence[PartialDependence] = ()


@dataclass(frozen=True, eq=False)
class ModelReport:
    """What a report says of a model.

    Attributes
    ----------
    title, task : str
        The model's name; "classification" or "regression".
    facts, notes : sequence of pairs of str, and of str
        Labelled facts, and what makes the results doubtful.
    scores : mapping of str to Scores
        Of the parts of the rows.
    rows : mapping of str to int
        The number of rows of each part.
    baseline : Scores
        Of the same prediction for every held-out row.
    curves : Curves
    columns : sequence of ShownColumn
    tried : (headings, rows)
        A table of what a search tried; empty without one.
    tried_notes : sequence of str
        What is said below that table.
    held_out : HeldOutFindings, optional
    network : Network
    theta : (..., P) array, optional
        The parameters whose signs and sizes the picture shows, of several networks the first; None where it shows the
        layers alone.
    input_names, output_names : sequence of str
        One for each, or empty.
    input_columns : sequence of str
        The column of each input, by which the picture chooses the most important ones; or empty.
    code : str
        The command, or the lines of Python, that make it again.
    versions : mapping of str to str
    """

    title: str
    task: str
    network: Network
    theta: NDArray[Any] | None = None
    facts: Sequence[tuple[str, str]] = ()
    notes: Sequence[str] = ()
    scores: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    rows: Mapping[str, int] = field(default_factory=dict)
    baseline: Mapping[str, float] = field(default_factory=dict)
    curves: Curves = NO_CURVES
    columns: Sequence[ShownColumn] = ()
    tried: tuple[Sequence[str], Sequence[Sequence[str]]] = ((), ())
    tried_notes: Sequence[str] = ()
    held_out: HeldOutFindings | None = None
    input_names: Sequence[str] = ()
    output_names: Sequence[str] = ()
    input_columns: Sequence[str] = ()
    code: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)


def versions(*packages: str) -> dict[str, str]:
    """Return the versions of gpubp, Python, NumPy, the packages that are installed and CuPy, and the system's name.

    Examples
    --------
    >>> [name for name in versions("no-such-package") if "cupy" not in name]
    ['gpubp', 'Python', 'numpy', 'system']
    """
    found = installed_versions("numpy", *packages, *cupy_wheels())
    return {**found, "system": f"{platform.system()} {platform.machine()}"}


def code_of(estimator: Any, X: str = "X", y: str = "y", *others: str, given: Sequence[str] = ()) -> str:
    """Return the lines of Python that fit an estimator again.

    `others` are the names of further arguments of ``fit``, and `given` are comments that say what the arguments are.

    Examples
    --------
    >>> from gpubp import TabularRegressor
    >>> print(code_of(TabularRegressor(epochs=20), repr('houses.csv'), repr('price')))
    from gpubp import TabularRegressor
    <BLANKLINE>
    model = TabularRegressor(epochs=20)
    model.fit('houses.csv', 'price')
    """
    made, name = estimator.__repr__(N_CHAR_MAX=10_000), type(estimator).__name__
    comments = "".join(f"# {line}\n" for line in given)
    arguments = ", ".join([X, y, *(f"{one}={one}" for one in others)])
    return f"from gpubp import {name}\n\n{comments}model = {made}\nmodel.fit({arguments})"
