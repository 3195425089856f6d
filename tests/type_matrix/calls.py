"""What is called with an array of each type: every argument of a public function or method that takes arrays."""

import copy
import inspect
import tempfile
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import gpubp
from gpubp import testing
from gpubp.backends.inputs import accept_on_host

X = np.asarray([[0, 1], [1, 0], [1, 1], [0, 0], [1, 0], [0, 1], [1, 1], [0, 0]], "float64")
Y = np.asarray([0, 1, 1, 0, 1, 0, 1, 0], "float64")
ONES = np.ones(8)
MANY_X, MANY_Y = np.tile(X, (5, 1)), np.tile(Y, 5)
NETWORK = gpubp.Network((2, 3, 1))
THETA = np.ones(NETWORK.n_parameters)

ARRAYS = {"X", "y", "targets", "outputs", "theta", "sample_weight", "labels", "data", "arrays", "actual", "expected"}
"""The names of parameters that are arrays."""
METHODS = ("fit", "partial_fit", "predict", "predict_proba", "predict_log_proba", "predict_std", "predict_quantiles")
METHODS += ("score",)


class Call(NamedTuple):
    """A function of one array, an example of it, and whether the result is an array of the same library."""

    call: Callable[[Any], Any]
    example: np.ndarray
    stays: bool = False
    is_slow: bool = False


NOT_CALLED = {
    **dict.fromkeys(("Progress(theta)", "Fit(theta)"), "a result, not made by users"),
    "assert_functions_agree(actual)": "a function",
    "assert_functions_agree(expected)": "a function",
    **{
        f"{name}.fit({parameter})": "that of BatchedSearchCV"
        for name in ("BatchedHalvingSearchCV", "BatchedOptunaSearchCV")
        for parameter in ("X", "y")
    },
}
"""The arguments that are not called, and why."""


def arguments():
    """Find all arguments that take arrays, as in "predict(X)" and "MLPClassifier.fit(X)"."""
    found = []
    public = {name: getattr(gpubp, name) for name in gpubp.__all__}
    public |= {name: one for name, one in vars(testing).items() if inspect.isfunction(one)}
    for name, one in public.items():
        functions = {name: one}
        if inspect.isclass(one):
            methods = {f"{name}.{method}": getattr(one, method, None) for method in METHODS}
            functions |= {where: f for where, f in methods.items() if getattr(f, "__module__", "").startswith("gpubp")}
        for where, function in functions.items():
            if not (inspect.isclass(function) and issubclass(function, Exception)):
                found += [f"{where}({parameter})" for parameter in _arrays_of(function)]
    return found


def _arrays_of(function):
    return [name for name in inspect.signature(function).parameters if name in ARRAYS]


def _train(**given):
    return gpubp.train(NETWORK, **{"X": X, "targets": Y[:, None], "epochs": 1, **given}).theta


def _best_rate(**given):
    given = {"X": X, "targets": Y[:, None], **given}
    return gpubp.find_learning_rate(NETWORK, **given, rates=[0.1, 0.2], epochs=1).best


def _stream(**given):
    stream = gpubp.open_stream(**{"X": X, "targets": Y[:, None], **given})
    return gpubp.train(NETWORK, stream, epochs=1).theta


def _checked(theta=THETA, targets=Y[:, None], sample_weight=ONES):
    return gpubp.check_gradient(np, NETWORK, theta, X, targets, sample_weight).gradient


def _saved(theta):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        gpubp.save_model(path, NETWORK, theta)
        return gpubp.load_model(path).theta


def _functions():
    column = Y[:, None]
    return {
        "train(X)": Call(lambda a: _train(X=a), X, stays=True),
        "train(targets)": Call(lambda a: _train(targets=a), column),
        "train(theta)": Call(lambda a: _train(theta=a), THETA),
        "train(sample_weight)": Call(lambda a: _train(sample_weight=a), ONES),
        "find_learning_rate(X)": Call(lambda a: _best_rate(X=a), X, is_slow=True),
        "find_learning_rate(targets)": Call(lambda a: _best_rate(targets=a), column, is_slow=True),
        "predict(theta)": Call(lambda a: gpubp.predict(NETWORK, a, X), THETA),
        "predict(X)": Call(lambda a: gpubp.predict(NETWORK, THETA, a), X, stays=True),
        "check_gradient(theta)": Call(lambda a: _checked(theta=a), THETA, is_slow=True),
        "check_gradient(targets)": Call(lambda a: _checked(targets=a), column, is_slow=True),
        "check_gradient(sample_weight)": Call(lambda a: _checked(sample_weight=a), ONES, is_slow=True),
        "one_hot(labels)": Call(gpubp.one_hot, Y.astype("int64")),
        "all_correct(targets)": Call(lambda a: gpubp.all_correct(a, column), column),
        "all_correct(outputs)": Call(lambda a: gpubp.all_correct(column, a), column, stays=True),
        "save_model(theta)": Call(_saved, THETA),
        "to_onnx(theta)": Call(lambda a: gpubp.to_onnx(NETWORK, a), THETA),
        "open_stream(X)": Call(lambda a: _stream(X=a), X),
        "open_stream(targets)": Call(lambda a: _stream(targets=a), column),
        "prepare_table(sample_weight)": Call(_prepared, np.ones(4), is_slow=True),
        "deviation(actual)": Call(lambda a: testing.deviation(a, X, "forward"), X),
        "deviation(expected)": Call(lambda a: testing.deviation(X, a, "forward"), X),
        "assert_agree(actual)": Call(lambda a: testing.assert_agree(a, a, "forward"), X),
        "assert_agree(expected)": Call(lambda a: testing.assert_agree(a, a, "forward"), X),
        "assert_functions_agree(arrays)": Call(
            lambda a: testing.assert_functions_agree(np.square, np.square, a, kind="forward"), X
        ),
        "BatchedSearchCV.fit(X)": Call(lambda a: _searched(a, Y).best_estimator_.coefs_[0], X, is_slow=True),
        "BatchedSearchCV.fit(y)": Call(lambda a: _searched(X, a).predict(X), Y, is_slow=True),
    }


def _prepared(sample_weight):
    table = {"x": [0.0, 1.0, 2.0, 3.0], "target": [1.0, 2.0, 3.0, 5.0]}
    return gpubp.prepare_table(table, target="target", test_fraction=0, sample_weight=sample_weight)


def _searched(X, y):
    estimator = gpubp.MLPClassifier((3,), max_iter=1, random_state=0)
    return gpubp.BatchedSearchCV(estimator, {"alpha": [0.0]}, cv=2).fit(X, y)


def _made(name):
    kind = getattr(gpubp, name)
    if name.startswith("Tabular"):
        return kind(epochs=1, random_state=0)
    network = {"hidden_layer_sizes": (3,), "max_iter": 1, "random_state": 0}
    if name.startswith("MLPEnsemble"):
        return kind(getattr(gpubp, name.replace("Ensemble", ""))(**network), 2, random_state=0)
    return kind(**network)


@cache
def _fitted(name):
    """Return a fitted estimator; a copy takes arrays of any library."""
    x, y = (MANY_X, MANY_Y) if name.startswith("Tabular") else (X, Y)
    return copy.deepcopy(_made(name).fit(x, y))


def _fits(name, method, parameter, array):
    """Fit an estimator; return its predictions if the targets are in question, and else its weights."""
    x, y = (MANY_X, MANY_Y) if name.startswith("Tabular") else (X, Y)
    given = {"X": x, "y": y, parameter: array}
    if (name, method) == ("MLPClassifier", "partial_fit"):
        given["classes"] = np.unique(accept_on_host("y", given["y"]))
    model = getattr(_made(name), method)(**given)
    if parameter == "y" or name.startswith("Tabular"):
        return model.predict(given["X"])
    return (model.estimators_[0] if hasattr(model, "estimators_") else model).coefs_[0]


def _predicts(name, method, parameter, array):
    given = {"X": X, parameter: array}
    if method == "score":
        given = {"y": Y, **given}
    if method == "predict_quantiles":
        given["quantiles"] = [0.5]
    return getattr(_fitted(name), method)(**given)


def _methods():
    calls = {}
    for name in ("MLPClassifier", "MLPRegressor", "MLPEnsembleClassifier", "MLPEnsembleRegressor"):
        calls |= _methods_of(name)
    for name in ("TabularClassifier", "TabularRegressor"):
        calls |= _methods_of(name)
    return calls


def _methods_of(name):
    is_table, calls = name.startswith("Tabular"), {}
    for method in METHODS:
        function = getattr(getattr(gpubp, name), method, None)
        for parameter in () if function is None else _arrays_of(function):
            is_fit = method in ("fit", "partial_fit")
            rows = (MANY_X, MANY_Y, np.ones(40)) if is_fit and is_table else (X, Y, ONES)
            call = partial(_fits if is_fit else _predicts, name, method, parameter)
            calls[f"{name}.{method}({parameter})"] = Call(
                call,
                dict(zip(("X", "y", "sample_weight"), rows, strict=True))[parameter],
                stays=not is_table and method in ("predict_proba", "predict_log_proba"),
                is_slow=is_table or "Ensemble" in name,
            )
    return calls


def _inspections():
    def inspected(function, parameter, array, **options):
        given = {"data": X, "y": Y, "sample_weight": ONES, parameter: array}
        if function is gpubp.partial_dependence:
            del given["y"]
        return function(_fitted("TabularClassifier"), **given, **options)

    examples = {"data": X, "y": Y, "sample_weight": ONES}
    results = {
        "calibration_curve": lambda result: result[0].predicted,
        "permutation_importance": lambda result: result.importances,
        "partial_dependence": lambda result: result["x0"].average,
    }
    options = {"permutation_importance": {"n_repeats": 1}, "partial_dependence": {"columns": "x0"}}
    calls = {}
    for name, of_result in results.items():
        for parameter in _arrays_of(getattr(gpubp, name)):

            def call(array, name=name, parameter=parameter, of_result=of_result):
                return of_result(inspected(getattr(gpubp, name), parameter, array, **options.get(name, {})))

            calls[f"{name}({parameter})"] = Call(call, examples[parameter], is_slow=True)
    return calls


CALLS = {**_functions(), **_methods(), **_inspections()}
