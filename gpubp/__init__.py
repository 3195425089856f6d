"""Multilayer perceptrons trained by back-propagation, with the same equations on GPUs and CPUs."""

import importlib
from typing import TYPE_CHECKING, Any

from gpubp._version import __version__ as __version__

if TYPE_CHECKING:
    from gpubp.checkpoints import Checkpoints as Checkpoints
    from gpubp.data import load_dataset as load_dataset
    from gpubp.data import one_hot as one_hot
    from gpubp.descent import adagrad as adagrad
    from gpubp.descent import adam as adam
    from gpubp.descent import adamw as adamw
    from gpubp.descent import clipped as clipped
    from gpubp.descent import decayed as decayed
    from gpubp.descent import gradient_descent as gradient_descent
    from gpubp.descent import momentum as momentum
    from gpubp.descent import nesterov as nesterov
    from gpubp.descent import rmsprop as rmsprop
    from gpubp.descent import rule_named as rule_named
    from gpubp.errors import CheckpointError as CheckpointError
    from gpubp.errors import CheckpointWarning as CheckpointWarning
    from gpubp.errors import DataError as DataError
    from gpubp.errors import DeviceError as DeviceError
    from gpubp.errors import DivergenceWarning as DivergenceWarning
    from gpubp.errors import GpubpError as GpubpError
    from gpubp.errors import ModelFileError as ModelFileError
    from gpubp.estimators import LossCurveDisplay as LossCurveDisplay
    from gpubp.estimators import MLPClassifier as MLPClassifier
    from gpubp.estimators import MLPEnsembleClassifier as MLPEnsembleClassifier
    from gpubp.estimators import MLPEnsembleRegressor as MLPEnsembleRegressor
    from gpubp.estimators import MLPRegressor as MLPRegressor
    from gpubp.export import to_onnx as to_onnx
    from gpubp.gradient_check import check_gradient as check_gradient
    from gpubp.initialization import initial_weights as initial_weights
    from gpubp.network import Network as Network
    from gpubp.persistence import load_model as load_model
    from gpubp.persistence import save_model as save_model
    from gpubp.prediction import predict as predict
    from gpubp.schedules import Cosine as Cosine
    from gpubp.schedules import InverseScaling as InverseScaling
    from gpubp.schedules import Steps as Steps
    from gpubp.schedules import WarmUp as WarmUp
    from gpubp.search import BatchedHalvingSearchCV as BatchedHalvingSearchCV
    from gpubp.search import BatchedOptunaSearchCV as BatchedOptunaSearchCV
    from gpubp.search import BatchedSearchCV as BatchedSearchCV
    from gpubp.second_order import lbfgs as lbfgs
    from gpubp.second_order import levenberg_marquardt as levenberg_marquardt
    from gpubp.streams import Stream as Stream
    from gpubp.streams import open_stream as open_stream
    from gpubp.streams.prepared import prepare_stream as prepare_stream
    from gpubp.tabular import fit_table as fit_table
    from gpubp.tabular import predict_table as predict_table
    from gpubp.tabular import prepare_table as prepare_table
    from gpubp.training import all_right as all_right
    from gpubp.training import train as train

_PUBLIC = {
    "errors": (
        *("CheckpointError", "CheckpointWarning", "DataError", "DeviceError"),
        *("DivergenceWarning", "GpubpError", "ModelFileError"),
    ),
    "checkpoints": ("Checkpoints",),
    "tabular": ("fit_table", "predict_table", "prepare_table"),
    "data": ("load_dataset", "one_hot"),
    "descent": (
        *("adagrad", "adam", "adamw", "clipped", "decayed", "gradient_descent"),
        *("momentum", "nesterov", "rmsprop", "rule_named"),
    ),
    "estimators": (
        *("LossCurveDisplay", "MLPClassifier", "MLPRegressor"),
        *("MLPEnsembleClassifier", "MLPEnsembleRegressor"),
    ),
    "export": ("to_onnx",),
    "gradient_check": ("check_gradient",),
    "initialization": ("initial_weights",),
    "network": ("Network",),
    "persistence": ("load_model", "save_model"),
    "search": ("BatchedHalvingSearchCV", "BatchedOptunaSearchCV", "BatchedSearchCV"),
    "schedules": ("Cosine", "InverseScaling", "Steps", "WarmUp"),
    "second_order": ("lbfgs", "levenberg_marquardt"),
    "prediction": ("predict",),
    "streams": ("Stream", "open_stream"),
    "streams.prepared": ("prepare_stream",),
    "training": ("all_right", "train"),
}
_ROOM_OF = {name: room for room, names in _PUBLIC.items() for name in names}
__all__ = [*_ROOM_OF]


def __getattr__(name: str) -> Any:
    """Load a public name when it is first asked for, so that ``import gpubp`` itself costs nothing."""
    if name not in _ROOM_OF:
        raise AttributeError(f"module 'gpubp' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"gpubp.{_ROOM_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, *(name for name in globals() if name.startswith("__"))])
