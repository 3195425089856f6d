"""Predict the target of each row of a table."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from gpubp._core.misplaced import advice
from gpubp._core.names import distinct_names
from gpubp._core.text import counted, excerpt, shortened
from gpubp._core.user_warnings import warn
from gpubp.backends.backend import choose_backend, to_numpy
from gpubp.backends.gpu_errors import Workload, translate_gpu_errors
from gpubp.data.preprocessing import (
    PROBLEMS,
    ClassTarget,
    Issue,
    Preprocessing,
    apply,
    decode_predictions,
    decode_probabilities,
    encode,
    issues_in_words,
    preprocessing_of,
)
from gpubp.data.table import Column, Table
from gpubp.engine.argument_checks import choose_precision
from gpubp.engine.prediction import mean_outputs
from gpubp.errors import DataError, TableWarning
from gpubp.io.model_file import Model
from gpubp.tabular.prepare import AnyTable, as_table


class TableOutputs(NamedTuple):
    """The network's outputs for the rows of a table, ``(n, j)``, and the values that did not fit the columns."""

    outputs: np.ndarray
    issues: tuple[Issue, ...]


@np.errstate(all="ignore")
def predict_table(
    model: Model,
    table: AnyTable,
    *,
    device: str = "auto",
    matmul_precision: str = "float32",
    interval: float | None = None,
    strict: bool = False,
) -> dict[str, Column]:
    """Predict the target of each row of a table.

    Parameters
    ----------
    model : Model
        ``fit_table(...).model``, or from :func:`gpubp.load_model`.
    table : Table, path, name, dict of columns, data frame or pyarrow table
        With the feature columns that the model was trained on, in any order; others are ignored. A column that is
        absent is filled as if all of its values were missing, with a warning. Another one counts unseen categories,
        and values that are unreadable, or missing where training had all.
    device : str
        See :func:`gpubp.backends.backend.choose_backend`.
    matmul_precision : {"float32", "tf32", "bfloat16", "float16"}
        See :func:`gpubp.train`.
    interval : float, optional
        For regression, add the ends of an interval that holds this share of the targets, ``"target low"`` and
        ``"target high"``; its width is that of the errors on rows that training held out (split conformal prediction;
        Vovk, Gammerman & Shafer 2005).
    strict : bool
        Raise if a column is absent, or a value is unreadable, is an unseen category, or is missing in a column without
        missing values in training. By default such values are filled as in training.

    Returns
    -------
    dict of str to (n,) array
        For classification, the predicted classes under the target's name, and the probability of each class under
        ``"target=class"``; for regression, the predicted numbers under each target's name.

    Raises
    ------
    DataError
        If the table lacks more than half of the model's columns, or with `strict` one, or holds a value that does not
        fit.
    ModelFileError
        If the model has no preprocessing, or one that does not fit its network.

    Examples
    --------
    >>> import gpubp
    >>> table = {"area": [30.0, 50.0, 70.0, 90.0] * 10, "rent": [300.0, 500.0, 700.0, 900.0] * 10}
    >>> fit = gpubp.fit_table(gpubp.prepare_table(table, target="rent"), epochs=2)
    >>> predict_table(fit.model, {"area": [40.0, 80.0]})["rent"].shape
    (2,)
    """
    check_model(model)
    table = as_table(table)
    if strict:
        apply(preprocessing_of(model), table, strict=True)
    outputs = network_outputs(model, table, device=device, matmul_precision=matmul_precision)
    predictions = decode_outputs(preprocessing_of(model), outputs)
    return predictions if interval is None else predictions | intervals(model, predictions, interval)


def network_outputs(
    model: Model, table: AnyTable, *, device: str = "auto", matmul_precision: str = "float32"
) -> np.ndarray:
    """Compute the network's outputs for each row of a table, ``(n, j)``; see :func:`predict_table`.

    Examples
    --------
    >>> from gpubp.tabular import fit_table, prepare_table
    >>> model = fit_table(prepare_table("iris"), epochs=2).model
    >>> outputs = network_outputs(model, "iris")
    >>> outputs.shape, bool(np.allclose(outputs.sum(axis=1), 1.0))
    ((150, 3), True)
    """
    table = as_table(table)
    outputs, issues = table_outputs(model, table, device=device, matmul_precision=matmul_precision)
    warn_of_columns(table, issues)
    return outputs


def warn_of_columns(table: Table, issues: Sequence[Issue]) -> None:
    """Warn if columns are absent, their numbers seem to be in another unit, or values do not fit."""
    if absent := [issue for issue in issues if issue.problem == "absent"]:
        warn(absence_in_words(table.source, absent), TableWarning)
    for issue in issues:
        if issue.problem == "unit":
            warn(f"{table.source}: {unit_in_words(issue)}", TableWarning)
    misfits = [issue for issue in issues if issue.problem in PROBLEMS and issue.problem != "outside"]
    if misfits:
        warn(f"{table.source}: {issues_in_words(misfits, table.n_rows)}", TableWarning)


def absence_in_words(source: str, absent: Sequence[Issue]) -> str:
    """Describe the columns that a table lacks."""
    names = shortened([f"{excerpt(repr(issue.column), 60)}{issue.example}" for issue in absent])
    return f"{source} lacks {names}, which the model was trained on: filled as if all of its values were missing"


def unit_in_words(issue: Issue) -> str:
    """Describe a column whose numbers are about 100 or 1000 times as large or as small as in training."""
    what = f"numbers of column {excerpt(repr(issue.column), 60)} are {issue.example}"
    return f"{what}, perhaps in another unit, such as per cent beside fractions"


def unseen_classes_in_words(n_rows: int) -> str:
    """Describe rows whose class training did not see."""
    verb = "counts" if n_rows == 1 else "count"
    return (
        f"{counted(n_rows, 'row')} of a class that training did not see {verb} as wrong; log loss and ROC AUC are of "
        "the others"
    )


def left_out_in_words(n_rows: int, what: str) -> str:
    """Describe rows whose class training did not see, which are left out of what is computed."""
    verb = "is" if n_rows == 1 else "are"
    return f"{counted(n_rows, 'row')} of a class that training did not see {verb} left out of {what}"


def check_model(model: Any) -> None:
    """Raise an error that says what to call if this is another object than a model."""
    if not isinstance(model, Model):
        raise DataError(
            f"model must be a Model, from fit_table(...).model or load_model, got {type(model).__name__}; "
            f"{advice(model, 'predict')}"
        )


def table_outputs(
    model: Model, table: AnyTable, *, device: str = "auto", matmul_precision: str = "float32"
) -> TableOutputs:
    """Compute the network's outputs for each row of a table, and count the values that do not fit."""
    check_model(model)
    preprocessing, table, backend = preprocessing_of(model), as_table(table), choose_backend(device)
    precision = choose_precision(backend, None, model.theta)
    with translate_gpu_errors(backend, Workload(model.network, precision, 1, table.n_rows)):
        X, issues = encode(preprocessing, table, precision, backend)
    outputs = mean_outputs(model.network, model.theta, X, device=backend.name, matmul_precision=matmul_precision)
    return TableOutputs(to_numpy(outputs), issues)


def intervals(model: Model, predictions: dict[str, Column], share: float) -> dict[str, Column]:
    """Return :func:`interval_ends` as columns ``"target low"`` and ``"target high"``; a taken name gets a number."""
    ends: dict[str, Column] = {}
    for name, numbers in interval_ends(model, predictions, share).items():
        low, high = distinct_names([*predictions, *ends, f"{name} low", f"{name} high"])[-2:]
        ends |= {low: numbers.low, high: numbers.high}
    return ends


class Ends(NamedTuple):
    """The ends of an interval for each row, ``(n,)``."""

    low: Column
    high: Column


def interval_ends(model: Model, predictions: dict[str, Column], share: Any) -> dict[str, Ends]:
    """Return for each target the ends of intervals around predicted numbers that hold a share of the targets.

    Raises
    ------
    DataError
        If the share is not between 0 and 1, the target is not numeric, or too few rows were held out in training.
    """
    if not isinstance(share, int | float | np.floating) or not 0.0 < share < 1.0:
        raise DataError(f"an interval must hold a share of the targets between 0 and 1, such as 0.9, got {share!r}")
    if isinstance(preprocessing_of(model).target, ClassTarget):
        raise DataError("intervals are for numbers; this model predicts classes, whose probabilities are in its output")
    errors = model.about.get("held_out_errors")
    ends: dict[str, Ends] = {}
    for name, numbers in predictions.items():
        sorted_errors = numbers_in(errors.get(name)) if isinstance(errors, dict) else []
        place = math.ceil(share * (len(sorted_errors) + 1)) - 1
        if place >= len(sorted_errors):
            raise DataError(
                f"an interval that holds {share:g} of the targets needs {math.ceil(share / (1 - share))} rows held out "
                f"in training, and the model has {len(sorted_errors)}; hold out more rows (test_fraction, "
                "or validation_fraction of an estimator)"
            )
        ends[name] = Ends(numbers - sorted_errors[place], numbers + sorted_errors[place])
    return ends


def numbers_in(value: Any) -> list[float]:
    """Return the numbers of a list in a model's ``about``, which a file may forge; none if it is no such list.

    Examples
    --------
    >>> numbers_in([1, 0.5]), numbers_in(["a"]), numbers_in(None)
    ([1.0, 0.5], [], [])
    """
    if not isinstance(value, list) or not all(type(item) in (int, float) and math.isfinite(item) for item in value):
        return []
    return [float(item) for item in value]


def decode_outputs(preprocessing: Preprocessing, outputs: np.ndarray) -> dict[str, Column]:
    """Convert a network's outputs ``(n, j)`` to the columns that :func:`predict_table` returns.

    Examples
    --------
    >>> from gpubp.tabular import prepare_table
    >>> prepared = prepare_table({"x": [1.0, 2.0, 3.0] * 10, "sold": ["no", "yes", "no"] * 10}, target="sold")
    >>> decode_outputs(prepared.preprocessing, np.array([[0.25, 0.75]]))
    {'sold': array(['yes'], dtype=object), 'sold=no': array([0.25]), 'sold=yes': array([0.75])}
    """
    predictions = decode_predictions(preprocessing, outputs)
    if isinstance(preprocessing.target, ClassTarget):
        predictions |= decode_probabilities(preprocessing, outputs)
    return predictions
