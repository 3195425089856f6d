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
from gpubp import plotting, testing
from gpubp.backends.inputs import accept_on_host
from gpubp.optim.first_order import OPTIMIZERS, Setting

X = np.asarray([[0, 1], [1, 0], [1, 1], [0, 0], [1, 0], [0, 1], [1, 1], [0, 0]], "float64")
Y = np.asarray([0, 1, 1, 0, 1, 0, 1, 0], "float64")
ONES = np.ones(8)
MANY_X, MANY_Y = np.tile(X, (5, 1)), np.tile(Y, 5)
NETWORK = gpubp.Network((2, 3, 1))
THETA = np.ones(NETWORK.n_parameters)

ARRAYS = {"X", "x", "y", "targets", "outputs", "theta", "sample_weight", "labels", "data", "arrays", "actual"}
ARRAYS |= {"expected", "validation_weight", "rate_factors", "decay_factors", "rates"}
"""The names of parameters that are arrays."""
METHODS = ("fit", "partial_fit", "predict", "predict_proba", "predict_log_proba", "predict_std", "predict_quantiles")
METHODS += ("score",)
IN_A_TUPLE = {"validation_data": ("X", "y", "sample_weight")}
"""Parameters that are several arrays."""


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
    "get_optimizer(settings)": "those of the optimizers",
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
    for module in (testing, plotting):
        public |= {name: one for name, one in vars(module).items() if inspect.isfunction(one)}
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
    found = []
    for name, parameter in inspect.signature(function).parameters.items():
        if name in IN_A_TUPLE:
            found += [f"{part} of {name}" for part in IN_A_TUPLE[name]]
        elif name in ARRAYS or parameter.annotation == Setting or (name, function) in OF_ONE_FUNCTION:
            found.append(name)
    return found


OF_ONE_FUNCTION = {
    ("l2", gpubp.train),
    ("parameters", gpubp.check_gradient),
    ("classes", gpubp.MLPClassifier.partial_fit),
}
"""Parameters that are arrays in this function alone."""


def _train(**given):
    return gpubp.train(NETWORK, **{"X": X, "targets": Y[:, None], "epochs": 1, **given}).theta


def _best_rate(**given):
    given = {"X": X, "targets": Y[:, None], "rates": [0.1, 0.2], **given}
    return gpubp.find_learning_rate(NETWORK, **given, epochs=1).best


def _stream(**given):
    stream = gpubp.open_stream(**{"X": X, "targets": Y[:, None], **given})
    return gpubp.train(NETWORK, stream, epochs=1).theta


def _checked(theta=THETA, x=X, targets=Y[:, None], sample_weight=ONES, parameters=None):
    return gpubp.check_gradient(np, NETWORK, theta, x, targets, sample_weight, parameters=parameters).gradient


def _validated(place, array):
    """Train, and return the validation losses."""
    samples = [X, Y[:, None], ONES]
    samples[place] = array
    history = gpubp.train(NETWORK, X, Y[:, None], epochs=1, validation_data=tuple(samples)).history
    return np.asarray(history.validation_loss)


def _with_setting(make, name, array):
    """Train a stack of two networks, for each of which the array has a number."""
    return _train(optimizer=make(**{name: array}), seed=range(2))


def _settings():
    """Call each function that makes an optimizer with each of its settings, (K, 1)."""
    calls = {}
    for name, make in OPTIMIZERS.items():
        for setting in _arrays_of(make):
            number = 1.0 if setting in ("learning_rate", "epsilon") else 0.0
            calls[f"{name}({setting})"] = Call(partial(_with_setting, make, setting), np.full((2, 1), number))
    for name, make in (("clipped", gpubp.clipped), ("decayed", gpubp.decayed)):
        (setting,) = _arrays_of(make)
        calls[f"{name}({setting})"] = Call(
            partial(_with_setting, partial(make, gpubp.adam()), setting), np.full((2, 1), float(name == "clipped"))
        )
    return calls


def _factors(make, optimizer, array):
    return _train(optimizer=make(optimizer, array))


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
        "train(l2)": Call(lambda a: _train(l2=a, seed=range(2)), np.ones((2, 1))),
        **{
            f"train({part} of validation_data)": Call(partial(_validated, place), example)
            for place, (part, example) in enumerate({"X": X, "y": column, "sample_weight": ONES}.items())
        },
        "rate_scaled(rate_factors)": Call(partial(_factors, gpubp.rate_scaled, gpubp.adam()), THETA),
        "decay_scaled(decay_factors)": Call(partial(_factors, gpubp.decay_scaled, gpubp.adamw()), THETA),
        "find_learning_rate(rates)": Call(lambda a: _best_rate(rates=a), np.ones(2), is_slow=True),
        "find_learning_rate(X)": Call(lambda a: _best_rate(X=a), X, is_slow=True),
        "find_learning_rate(targets)": Call(lambda a: _best_rate(targets=a), column, is_slow=True),
        "predict(theta)": Call(lambda a: gpubp.predict(NETWORK, a, X), THETA),
        "predict(X)": Call(lambda a: gpubp.predict(NETWORK, THETA, a), X, stays=True),
        "check_gradient(theta)": Call(lambda a: _checked(theta=a), THETA, is_slow=True),
        "check_gradient(x)": Call(lambda a: _checked(x=a), X, is_slow=True),
        "check_gradient(parameters)": Call(lambda a: _checked(parameters=a), np.asarray([0, 1]), is_slow=True),
        "check_gradient(targets)": Call(lambda a: _checked(targets=a), column, is_slow=True),
        "check_gradient(sample_weight)": Call(lambda a: _checked(sample_weight=a), ONES, is_slow=True),
        "one_hot(labels)": Call(gpubp.one_hot, Y.astype("int64")),
        "all_correct(targets)": Call(lambda a: gpubp.all_correct(a, column), column),
        "all_correct(outputs)": Call(lambda a: gpubp.all_correct(column, a), column, stays=True),
        "save_model(theta)": Call(_saved, THETA),
        "to_onnx(theta)": Call(lambda a: gpubp.to_onnx(NETWORK, a), THETA),
        "open_stream(X)": Call(lambda a: _stream(X=a), X),
        "open_stream(targets)": Call(lambda a: _stream(targets=a), column),
        "prepare_table(sample_weight)": Call(lambda a: _prepared(sample_weight=a), np.ones(4), is_slow=True),
        "prepare_table(validation_weight)": Call(
            lambda a: _prepared(validation_table=TABLE, validation_weight=a), np.ones(4), is_slow=True
        ),
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


TABLE = {"x": [0.0, 1.0, 2.0, 3.0], "target": [1.0, 2.0, 3.0, 5.0]}


def _prepared(**weights):
    return gpubp.prepare_table(TABLE, target="target", test_fraction=0, **weights)


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
    given = {"X": x, "y": y}
    part, _, tuple_of = parameter.partition(" of ")
    if tuple_of:
        given[tuple_of] = tuple(({"X": X, "y": Y, "sample_weight": ONES} | {part: array}).values())
    else:
        given[parameter] = array
    if parameter == "classes":
        given["y"] = np.tile(accept_on_host("classes", array), 4)
    elif (name, method) == ("MLPClassifier", "partial_fit"):
        given["classes"] = np.unique(accept_on_host("y", given["y"]))
    model = getattr(_made(name), method)(**given)
    if parameter in ("y", "classes") or name.startswith("Tabular"):
        return model.predict(given["X"])
    return (model.estimators_[0] if hasattr(model, "estimators_") else model).coefs_[0]


def _predicts(name, method, parameter, array):
    given = {"X": X, **({"y": Y} if method == "score" else {})}
    given |= {"quantiles": [0.5]} if method == "predict_quantiles" else {}
    given[parameter] = array
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
            part, _, tuple_of = parameter.partition(" of ")
            rows = (MANY_X, MANY_Y, np.ones(40)) if is_fit and is_table and not tuple_of else (X, Y, ONES)
            examples = dict(zip(("X", "y", "sample_weight"), rows, strict=True))
            examples["classes"] = np.asarray([0.0, 1.0])
            calls[f"{name}.{method}({parameter})"] = Call(
                partial(_fits if is_fit else _predicts, name, method, parameter),
                examples[part],
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


def _pictures():
    """Draw; what is drawn has no dtype."""

    def drawn(function, parameter, array):
        from matplotlib.figure import Figure

        given = {"X": X, parameter: array}
        if function is plotting.loss_surface:
            given = {"targets": Y[:, None], **given}
        options = {"resolution": 2} if "resolution" in inspect.signature(function).parameters else {}
        function(_fitted("MLPClassifier"), **given, ax=Figure().subplots(), **options)

    examples = {"X": X, "labels": Y, "targets": Y[:, None]}
    return {
        f"{name}({parameter})": Call(partial(drawn, function, parameter), examples[parameter], is_slow=True)
        for name, function in vars(plotting).items()
        if inspect.isfunction(function)
        for parameter in _arrays_of(function)
    }


CALLS = {**_functions(), **_settings(), **_methods(), **_inspections(), **_pictures()}
