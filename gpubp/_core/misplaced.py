"""What to call with an object that a function does not take, such as an estimator where a network belongs."""

from collections.abc import Callable
from functools import wraps
from os import PathLike
from typing import Any, Literal, ParamSpec, TypeVar

from gpubp.errors import DataError

Task = Literal["predict", "train", "save", "export"]
P = ParamSpec("P")
R = TypeVar("R")

_OF_PATHS = {
    "predict": "predict_table(load_model(path), table) predicts with a model file",
    "train": "fit_table(prepare_table(path, target=...)) trains on a table",
    "save": "the path comes first: save_model(path, network, theta)",
    "export": "to_onnx(load_model(path)) exports a model file",
}
_OF_ESTIMATORS = {"predict": "call its predict(X)", "train": "call its fit(X, y)"}
_OF_TABLE_FITS = {
    "predict": "predict_table(result.model, table) predicts with its model",
    "train": "it is trained; fit_table(prepared, ...) trains another",
    "save": "save_model(path, result.model) saves its model",
    "export": "to_onnx(result.model) exports its model",
}


def advice(value: Any, task: Task) -> str:
    """Return what to call instead with an object that is no network, or which arguments are expected.

    Examples
    --------
    >>> advice("model.safetensors", "predict")
    'predict_table(load_model(path), table) predicts with a model file'
    """
    if isinstance(value, str | PathLike):
        return _OF_PATHS[task]
    if hasattr(value, "get_params") and hasattr(value, "fit"):
        keeping = (
            "its save(path) writes a model file" if hasattr(value, "save") else "joblib.dump(estimator, path) saves it"
        )
        return _OF_ESTIMATORS.get(task, keeping)
    if hasattr(value, "scored_model"):
        return _OF_TABLE_FITS[task]
    if hasattr(value, "network") and hasattr(value, "theta"):
        if task == "predict" and getattr(value, "preprocessing", None) is not None:
            return "predict_table(model, table) reads the columns that it was trained on"
        calls = {
            "predict": "predict(fit.network, fit.theta, X)",
            "train": "train(fit.network, X, targets, theta=fit.theta)",
            "save": "save_model(path, fit.network, fit.theta)",
            "export": "to_onnx(fit.network, fit.theta)",
        }
        return f"pass its parts: {calls[task]}"
    expected = {
        "predict": "network, theta, X",
        "train": "network, X, targets",
        "save": "path, network, theta",
        "export": "network, theta",
    }
    return f"the arguments are {expected[task]}, with a gpubp.Network"


def not_a_network(function: str, value: Any, task: Task) -> DataError:
    """Return an error of a function that got another object than a network."""
    return DataError(f"{function} takes a Network, got {type(value).__name__}; {advice(value, task)}")


def takes_network(task: Task) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return a decorator of a function that takes a network first: another object raises an error with advice.

    It does so even where other arguments are missing, as in ``predict(estimator, X)``.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            value = args[0] if args else kwargs.get("network")
            if not hasattr(value, "n_parameters") and (args or "network" in kwargs):
                raise not_a_network(function.__name__, value, task)
            return function(*args, **kwargs)

        return call

    return decorate
