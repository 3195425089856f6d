"""What a report says of a fitted MLPClassifier or MLPRegressor, and of samples that it was not fitted to."""

import math
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.base import is_classifier
from sklearn.utils.validation import check_is_fitted

from gpubp._core.text import counted, shortened
from gpubp.backends.inputs import accept_on_host, as_labels
from gpubp.data.metrics import r_squared
from gpubp.errors import DataError
from gpubp.estimators._report import report as report_in_lines
from gpubp.inspection import (
    PartialDependence,
    PermutationImportance,
    grid_of_numbers,
    mean_predictions,
    permuted_scores,
    reliability,
)
from gpubp.nn.network import views
from gpubp.reports import (
    GRID,
    MAX_DEPENDENCE_ROWS,
    MAX_DEPENDENCES,
    Confusion,
    Curves,
    HeldOutFindings,
    ModelReport,
    Residuals,
    code_of,
    versions,
)

MAX_EPOCHS, MAX_SAMPLES, MAX_FEATURES, N_REPEATS = 200, 2_000, 50, 5


def report_of_estimator(model: Any, X: Any = None, y: Any = None, *, title: str = "") -> ModelReport:
    """Collect what a report says of a fitted estimator; X and y are samples that it was not fitted to."""
    check_is_fitted(model)
    network, theta = model._network(), model._theta()
    names = [str(name) for name in getattr(model, "feature_names_in_", ())]
    names = names or [f"feature {place + 1}" for place in range(model.n_features_in_)]
    is_of_classes = is_classifier(model)
    one_column = is_of_classes and not isinstance(model.classes_, list)
    classes = [str(one) for one in np.asarray(model.classes_).tolist()] if one_column else []
    scores: dict[str, float] = {}
    baseline: dict[str, float] = {}
    held_out = None
    if (X is None) != (y is None):
        raise DataError("X and y belong together: pass both, or neither")
    if X is not None:
        true = accept_on_host("y", y)
        true = true.toarray() if issparse(true) else np.asarray(true)
        shape = np.shape(accept_on_host("X", X))
        if not shape or not true.ndim or shape[0] != len(true):
            raise DataError(f"X and y must have as many samples as each other, got shapes {shape} and {true.shape}")
        scores, baseline, held_out = _found(model, X, true, names, classes)
    head, *lines = report_in_lines(model).splitlines()
    facts = [(line[2:13].strip(), line[13:].strip()) for line in lines]
    return ModelReport(
        title or type(model).__name__,
        "classification" if is_of_classes else "regression",
        network,
        np.asarray(theta),
        facts=[("network", head.partition(": ")[2]), *((label, text) for label, text in facts if label)],
        scores={"given": scores} if scores else {},
        rows={"given": len(true)} if scores else {},
        baseline=baseline,
        curves=_curves(model),
        held_out=held_out,
        input_names=names,
        input_columns=names,
        output_names=classes if len(classes) == network.sizes[-1] else (),
        code=code_of(model, given=_given(model)),
        notes=_doubts(model, None if X is None else len(true)),
        versions=versions("scikit-learn"),
    )


def _given(model: Any) -> list[str]:
    """Say what the samples and targets were that a model was fitted to."""
    names = [repr(str(name)) for name in getattr(model, "feature_names_in_", ())]
    columns = f": {shortened(names)}" if names else ""
    classes = getattr(model, "classes_", None)
    target = "numbers" if classes is None else "classes"
    if classes is not None and not isinstance(classes, list):
        target = f"one of {counted(len(classes), 'class', 'classes')}: {shortened([str(one) for one in classes])}"
    return [f"X: samples of {counted(model.n_features_in_, 'feature')}{columns}", f"y: for each sample {target}"]


def _doubts(model: Any, n_samples: int | None) -> list[str]:
    """Say so if the samples may be those that the model was fitted to, of which it keeps the number."""
    if n_samples is None:
        return []
    n_fitted = round(model.t_ / model.n_iter_) if model.n_iter_ else 0
    n_held_out = math.ceil(model.validation_fraction * n_samples) if model.early_stopping else 0
    if not n_fitted:  # L-BFGS does not count
        return ["If the model was fitted to these samples, their scores flatter; pass samples that it has not seen."]
    if n_fitted not in (n_samples, n_samples - n_held_out):
        return []
    return [
        f"The model was fitted to {counted(n_samples, 'sample')}, as many as these: if they are the same, their scores "
        "flatter; pass samples that it has not seen."
    ]


def _curves(model: Any) -> Curves:
    loss = list(map(float, model.loss_curve_))
    if len(loss) < 2:
        return Curves()
    places = _evenly(len(loss), MAX_EPOCHS).tolist()
    others = [
        list(map(float, getattr(model, name, None) or ())) for name in ("validation_curve_", "validation_scores_")
    ]
    figures = (loss, *others)
    chosen, validation, scores = ([values[place] for place in places if place < len(values)] for values in figures)
    best = int(np.nanargmax(others[1])) + 1 if others[1] and np.isfinite(others[1]).any() else 0
    kept = best if model.early_stopping else 0
    return Curves([place + 1 for place in places], chosen, validation, scores, kept, "score")


def _found(
    model: Any, X: Any, true: NDArray[Any], names: list[str], classes: list[str]
) -> tuple[dict[str, float], dict[str, float], HeldOutFindings | None]:
    """Return the scores of samples, those of the same prediction for all, and what was found on them."""
    from sklearn import metrics

    n = true.shape[0]
    rows = f"the {counted(n, 'given sample')}"
    influences = partial(_influences, model, X, true, names, classes)
    if not hasattr(model, "classes_"):
        predicted = np.asarray(model.predict(X), dtype=np.float64).reshape(n, -1)
        targets = true.astype(np.float64).reshape(n, -1)

        def of_numbers(guessed: NDArray[Any]) -> dict[str, float]:
            return {
                "r2": float(metrics.r2_score(targets, guessed)) if n > 1 else 0.0,
                "mae": float(metrics.mean_absolute_error(targets, guessed)),
                "rmse": float(metrics.root_mean_squared_error(targets, guessed)),
            }

        constant = np.broadcast_to(targets.mean(axis=0), targets.shape)
        outputs = _names_of_targets(targets.shape[1])
        each = [Residuals(*one) for one in zip(outputs, targets.T, predicted.T, strict=True)]
        found = HeldOutFindings(rows, residuals=each, **influences())
        return of_numbers(predicted), of_numbers(constant), found
    if true.ndim > 1 and true.shape[1] > 1:  # of several labels at once
        return {"accuracy": float(model.score(X, true))}, {}, HeldOutFindings(rows, **influences())
    labels = _class_numbers(model, true).ravel()
    known = labels >= 0
    probabilities = np.asarray(model.predict_proba(X), dtype=np.float64)
    guesses = probabilities.argmax(axis=1)
    correct = guesses == labels
    if not known.any():
        raise DataError("none of the labels of y is a class that the model was fitted to")
    shares = np.bincount(labels[known], minlength=len(classes)) / known.sum()

    def of_classes(probability: NDArray[Any], right: NDArray[np.bool_]) -> dict[str, float]:
        of_true = probability[known, labels[known]]
        return {"accuracy": float(right.mean()), "log_loss": float(-np.log(np.maximum(of_true, 1e-15)).mean())}

    baseline = of_classes(np.broadcast_to(shares, probabilities.shape), labels == shares.argmax())
    curve = reliability("the predicted class", correct, probabilities.max(axis=1))
    if len(classes) == 2:
        curve = reliability(classes[1], labels == 1, probabilities[:, 1])
    confusion = Confusion.of(classes, labels[known], guesses[known])
    found = HeldOutFindings(rows, confusion, (), (curve,), **influences())
    return of_classes(probabilities, correct), baseline, found


def _class_numbers(model: Any, labels: NDArray[Any]) -> NDArray[np.intp]:
    """Return the place of each label in ``classes_``, compared by value; -1 if it is none of them."""
    classes = np.asarray(model.classes_)
    places = {label: place for place, label in enumerate(classes.tolist())}
    labels = as_labels("y", labels, classes)
    return np.asarray([places.get(label, -1) for label in labels.ravel().tolist()]).reshape(labels.shape)


def _influences(model: Any, X: Any, true: NDArray[Any], names: list[str], classes: list[str]) -> dict[str, Any]:
    """Return the importance of dense features, of many those with the largest weights, and the dependence on some."""
    if issparse(X) or isinstance(getattr(model, "classes_", None), list):  # or of several columns of classes
        return {}
    samples = np.asarray(accept_on_host("X", X))
    rows = _evenly(len(samples), MAX_SAMPLES)
    samples, true = samples[rows], true[rows]
    if samples.dtype.kind not in "fiu" or len(samples) < 2:
        return {}
    first = views(np, model._network(), model._theta())[0][: samples.shape[1]]
    sizes = np.var(samples, axis=0) * np.sum(first**2, axis=1)
    chosen = np.sort(np.argsort(-sizes, kind="stable")[:MAX_FEATURES]).tolist()
    slices = {names[place]: slice(place, place + 1) for place in chosen}
    fitted = model._with_attributes({})  # which takes arrays without names
    labels = np.asarray(getattr(model, "classes_", ()))

    def predict(x: NDArray[Any]) -> NDArray[np.float64]:
        predicted = fitted.predict(x)
        if len(labels) and predicted.ndim == 1:  # labels may be text
            predicted = np.searchsorted(labels, predicted)
        return np.asarray(predicted, dtype=np.float64).reshape(len(x), -1)

    targets = true.reshape(len(true), -1)
    if len(labels) and targets.shape[1] == 1:
        targets = _class_numbers(model, targets)

    def score(predicted: NDArray[np.float64]) -> float:
        if len(labels):
            return float(np.mean(np.all(predicted == targets, axis=1)))
        return r_squared(targets.astype(np.float64), predicted)

    whole = score(predict(samples))
    lost = whole - permuted_scores(predict, samples, slices, score, n_repeats=N_REPEATS)
    found = PermutationImportance(tuple(slices), lost, whole, "accuracy" if len(labels) else "r2")
    outputs = tuple(f"y={name}" for name in classes) or _names_of_targets(targets.shape[1])
    samples = samples[_evenly(len(samples), MAX_DEPENDENCE_ROWS)]
    dependence = []
    for name in found.important_columns[:MAX_DEPENDENCES]:
        grid = grid_of_numbers(samples[:, slices[name]].ravel(), resolution=GRID)
        outcome = fitted.predict_proba if len(labels) else predict
        average, _ = mean_predictions(outcome, samples, slices[name], grid.rows)
        dependence.append(PartialDependence(name, grid.values, outputs, average))
    return {"importance": found, "dependence": dependence}


def _names_of_targets(n: int) -> tuple[str, ...]:
    return tuple(f"target {place + 1}" for place in range(n)) if n > 1 else ("target",)


def _evenly(n: int, most: int) -> NDArray[np.intp]:
    """Return the places of all of n, or of at most so many, evenly chosen."""
    return np.unique(np.linspace(0, n - 1, min(n, most)).round().astype(np.intp))
