"""Inspect a model of a table: which columns matter, how predictions depend on them, and whether they are calibrated."""

from collections.abc import Iterable, Sequence
from typing import Any, Literal

from gpubp._core.counts import is_count
from gpubp.data.preprocessing import ClassTarget, preprocessing_of
from gpubp.errors import DataError
from gpubp.inspection import CalibrationCurve, PartialDependence, PermutationImportance
from gpubp.io.model_file import Model
from gpubp.tabular.inspected_table import InspectedTable, Progress
from gpubp.tabular.prepare import AnyTable, as_table


def permutation_importance(
    model: Any,
    data: AnyTable,
    y: Any = None,
    *,
    scoring: Any = None,
    n_repeats: int = 5,
    sample_weight: Any = None,
    seed: int = 0,
    device: str = "auto",
    matmul_precision: str = "float32",
    progress: Progress | None = None,
) -> PermutationImportance:
    """Measure how much of its score a model loses if the values of a column are shuffled.

    The numbers are those of :func:`sklearn.inspection.permutation_importance` with the same seed, but the table is
    encoded once, and many shuffled tables are predicted in one call. Columns that hold the same can replace each other,
    so none of them seems important.

    Parameters
    ----------
    model : Model, TableFit, TabularClassifier or TabularRegressor
        From :func:`gpubp.load_model` or :func:`gpubp.fit_table`, or fitted.
    data : Table, path, name, dict of columns, data frame or pyarrow table
        Rows that the model was not trained on; those without a target are left out. Of a class that training did not
        see, predictions count as wrong in scores of predicted classes, such as "accuracy" and "f1_macro"; others, such
        as "neg_log_loss", leave these rows out. A warning says so.
    y : array of shape (n_samples,) or (n_samples, n_outputs), optional
        The targets, if `data` has no column of them.
    scoring : str or callable, optional
        A score of scikit-learn, such as "neg_log_loss"; a callable gets the numbers of classes, from 0. The default is
        the accuracy, or R squared.
    n_repeats : int
        How often each column is shuffled.
    sample_weight : (n_samples,) array, optional
        The weights of the rows in the score. Rows of weight 0 are left out.
    seed : int
        Seed of the orders of the rows.
    device, matmul_precision
        See :func:`gpubp.predict_table`.
    progress : callable, optional
        Called with the number of scores that are known, and of all.

    Returns
    -------
    PermutationImportance

    Raises
    ------
    DataError
        If the target is absent, fewer than two rows have one, or an option is not valid.

    Examples
    --------
    >>> import gpubp
    >>> flowers = gpubp.read_table("iris")
    >>> model = gpubp.fit_table(gpubp.prepare_table(flowers), epochs=20, device="cpu")
    >>> importance = gpubp.permutation_importance(model, flowers, device="cpu")
    >>> importance.columns[importance.order[0]], importance.importances.shape
    ('petal width (cm)', (4, 5))
    """
    from gpubp.inspection.scorers import scoring_problem

    problems = [
        None if scoring is None else scoring_problem(scoring),
        _no_count("n_repeats", n_repeats),
        _no_count("seed", seed, least=0),
    ]
    inspected = inspected_rows(model, data, y, sample_weight, device, matmul_precision, problems=problems)
    return inspected.permutation_importance(scoring, n_repeats=n_repeats, seed=seed, progress=progress)


def partial_dependence(
    model: Any,
    data: AnyTable,
    columns: str | Sequence[str],
    *,
    grid_resolution: int = 50,
    individual: bool = False,
    sample_weight: Any = None,
    device: str = "auto",
    matmul_precision: str = "float32",
) -> dict[str, PartialDependence]:
    """Compute the mean prediction if all rows had the same value of a column.

    All other columns keep their values, also where these never occur together.

    Parameters
    ----------
    model, sample_weight, device, matmul_precision
        See :func:`permutation_importance`.
    data : Table, path, name, dict of columns, data frame or pyarrow table
        Needs no target.
    columns : str or sequence of str
        Columns of numbers, categories or dates, each inspected by itself.
    grid_resolution : int
        The number of values of a column: all, if it has no more, else quantiles from 0.05 to 0.95, or the most frequent
        categories.
    individual : bool
        Whether to keep the predictions of each row.

    Returns
    -------
    dict of str to PartialDependence
        By column: probabilities of classes, or numbers in the units of the target.

    Raises
    ------
    DataError
        If a column is not an input of the model, or is free text; one error names everything.

    Examples
    --------
    >>> import gpubp
    >>> model = gpubp.fit_table(gpubp.prepare_table("iris"), epochs=20, device="cpu")
    >>> result = gpubp.partial_dependence(model, "iris", "petal width (cm)", device="cpu")["petal width (cm)"]
    >>> result.average.shape, result.names[0]
    ((22, 3), 'target=setosa')
    """
    names = list(columns) if isinstance(columns, Iterable) and not isinstance(columns, str) else [columns]
    if wrong := [name for name in names if not isinstance(name, str)]:
        raise DataError(f"columns must be the name of a column, or several names, got {wrong[0]!r}")
    problems = [_no_count("grid_resolution", grid_resolution)]
    inspected = inspected_rows(
        model, data, None, sample_weight, device, matmul_precision, columns=names, needs_target=False, problems=problems
    )
    return {
        name: inspected.partial_dependence(name, grid_resolution=grid_resolution, individual=individual)
        for name in dict.fromkeys(names)
    }


def calibration_curve(
    model: Any,
    data: AnyTable,
    y: Any = None,
    *,
    n_bins: int = 10,
    strategy: Literal["uniform", "quantile"] = "uniform",
    sample_weight: Any = None,
    device: str = "auto",
    matmul_precision: str = "float32",
) -> tuple[CalibrationCurve, ...]:
    """Compare predicted probabilities with how often they come true.

    Parameters
    ----------
    model, data, y, sample_weight, device, matmul_precision
        See :func:`permutation_importance`. Rows of a class that training did not see are of no class that is predicted.
    n_bins : int
        The number of bins of the probabilities.
    strategy : {"uniform", "quantile"}
        Whether bins are equally wide, or have equally many rows.

    Returns
    -------
    tuple of CalibrationCurve
        Of two classes, one curve: that of the second. Of more, the probability of the predicted class beside the share
        of correct predictions, and then a curve for each class. Of numbers, for each target the shares that intervals
        should hold, 0.1 to 0.9, beside those that they hold (see ``interval`` of :func:`gpubp.predict_table`).

    Raises
    ------
    DataError
        If the target is absent, fewer than two rows have one, an option is not valid, or for numbers, if too few rows
        were held out in training.

    Examples
    --------
    >>> import gpubp
    >>> model = gpubp.fit_table(gpubp.prepare_table("iris"), epochs=20, device="cpu")
    >>> [curve.name for curve in gpubp.calibration_curve(model, "iris", device="cpu")]
    ['the predicted class', 'target=setosa', 'target=versicolor', 'target=virginica']
    """
    problems = [_no_count("n_bins", n_bins)]
    if strategy not in ("uniform", "quantile"):
        problems.append(f"strategy must be 'uniform' or 'quantile', got {strategy!r}")
    inspected = inspected_rows(model, data, y, sample_weight, device, matmul_precision, problems=problems)
    return inspected.calibration_curve(n_bins=n_bins, strategy=strategy)


def inspected_rows(
    model: Any, data: AnyTable, y: Any, sample_weight: Any, device: str, matmul_precision: str, **options: Any
) -> InspectedTable:
    """Find the model and the table in what the functions are given."""
    found = next((one for name in ("model", "model_") if (one := getattr(model, name, None)) is not None), model)
    if not isinstance(found, Model):
        raise DataError(
            "model must be a Model of load_model, a TableFit of fit_table, or a fitted TabularClassifier or "
            f"TabularRegressor, got {type(model).__name__}; for others there is sklearn.inspection"
        )
    read = getattr(model, "_new_table", as_table)  # an estimator takes arrays as well
    table, preprocessing = read(data), preprocessing_of(found)
    if y is not None:
        from gpubp.tabular.estimator_tables import add_target

        is_classifier = isinstance(preprocessing.target, ClassTarget)
        table = add_target(table, y, model, is_classifier=is_classifier, names=preprocessing.target_names).table
    options = {"device": device, "matmul_precision": matmul_precision, **options}
    return InspectedTable(found, table, sample_weight, **options)


def _no_count(name: str, value: Any, least: int = 1) -> str | None:
    return None if is_count(value, least=least) else f"{name} must be a whole number of at least {least}, got {value!r}"
