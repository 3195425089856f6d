"""Multilayer perceptrons trained by back-propagation, with the same equations on GPUs and CPUs."""

from typing import TYPE_CHECKING

from gpubp._core.public_names import load_on_first_use
from gpubp._version import __version__ as __version__

if TYPE_CHECKING:
    from gpubp.data import load_dataset as load_dataset
    from gpubp.data import one_hot as one_hot
    from gpubp.data import read_table as read_table
    from gpubp.data.streaming import Stream as Stream
    from gpubp.data.streaming import open_stream as open_stream
    from gpubp.data.streaming.prepared_stream import prepare_stream as prepare_stream
    from gpubp.engine.prediction import predict as predict
    from gpubp.errors import CheckpointError as CheckpointError
    from gpubp.errors import CheckpointWarning as CheckpointWarning
    from gpubp.errors import DataError as DataError
    from gpubp.errors import DeviceError as DeviceError
    from gpubp.errors import DivergenceWarning as DivergenceWarning
    from gpubp.errors import GpubpError as GpubpError
    from gpubp.errors import ModelFileError as ModelFileError
    from gpubp.errors import TableWarning as TableWarning
    from gpubp.estimators import LossCurveDisplay as LossCurveDisplay
    from gpubp.estimators import MLPClassifier as MLPClassifier
    from gpubp.estimators import MLPEnsembleClassifier as MLPEnsembleClassifier
    from gpubp.estimators import MLPEnsembleRegressor as MLPEnsembleRegressor
    from gpubp.estimators import MLPRegressor as MLPRegressor
    from gpubp.io.model_file import load_model as load_model
    from gpubp.io.model_file import save_model as save_model
    from gpubp.io.onnx import to_onnx as to_onnx
    from gpubp.model_selection import BatchedHalvingSearchCV as BatchedHalvingSearchCV
    from gpubp.model_selection import BatchedOptunaSearchCV as BatchedOptunaSearchCV
    from gpubp.model_selection import BatchedSearchCV as BatchedSearchCV
    from gpubp.nn.gradient_check import check_gradient as check_gradient
    from gpubp.nn.initialization import initial_weights as initial_weights
    from gpubp.nn.initialization import ntk_rate_factors as ntk_rate_factors
    from gpubp.nn.network import Network as Network
    from gpubp.optim.first_order import adagrad as adagrad
    from gpubp.optim.first_order import adam as adam
    from gpubp.optim.first_order import adamw as adamw
    from gpubp.optim.first_order import get_optimizer as get_optimizer
    from gpubp.optim.first_order import gradient_descent as gradient_descent
    from gpubp.optim.first_order import lion as lion
    from gpubp.optim.first_order import momentum as momentum
    from gpubp.optim.first_order import nesterov as nesterov
    from gpubp.optim.first_order import rmsprop as rmsprop
    from gpubp.optim.schedules import Cosine as Cosine
    from gpubp.optim.schedules import CosineCycles as CosineCycles
    from gpubp.optim.schedules import FlatCosine as FlatCosine
    from gpubp.optim.schedules import InverseScaling as InverseScaling
    from gpubp.optim.schedules import PiecewiseConstant as PiecewiseConstant
    from gpubp.optim.schedules import WarmUp as WarmUp
    from gpubp.optim.second_order import lbfgs as lbfgs
    from gpubp.optim.second_order import levenberg_marquardt as levenberg_marquardt
    from gpubp.optim.wrappers import clipped as clipped
    from gpubp.optim.wrappers import decay_scaled as decay_scaled
    from gpubp.optim.wrappers import decayed as decayed
    from gpubp.optim.wrappers import rate_scaled as rate_scaled
    from gpubp.tabular import fit_table as fit_table
    from gpubp.tabular import predict_table as predict_table
    from gpubp.tabular import prepare_table as prepare_table
    from gpubp.tabular.estimators import TabularClassifier as TabularClassifier
    from gpubp.tabular.estimators import TabularRegressor as TabularRegressor
    from gpubp.tabular.inspection import calibration_curve as calibration_curve
    from gpubp.tabular.inspection import partial_dependence as partial_dependence
    from gpubp.tabular.inspection import permutation_importance as permutation_importance
    from gpubp.training.callbacks import CSVLogger as CSVLogger
    from gpubp.training.callbacks import JSONLines as JSONLines
    from gpubp.training.callbacks import Progress as Progress
    from gpubp.training.callbacks import get_callback as get_callback
    from gpubp.training.checkpoints import Checkpoints as Checkpoints
    from gpubp.training.fit import all_correct as all_correct
    from gpubp.training.fit import train as train
    from gpubp.training.learning_rates import find_learning_rate as find_learning_rate
    from gpubp.training.monitoring import EarlyStopping as EarlyStopping
    from gpubp.training.monitoring import ModelCheckpoint as ModelCheckpoint
    from gpubp.training.progress_bar import ProgressBar as ProgressBar
    from gpubp.training.result import Fit as Fit
    from gpubp.training.tracking import MLflowLogger as MLflowLogger
    from gpubp.training.tracking import TensorBoardLogger as TensorBoardLogger
    from gpubp.training.tracking import WandbLogger as WandbLogger
    from gpubp.training.tracking import mlflow_autolog as mlflow_autolog

_PUBLIC = {
    "errors": (
        *("CheckpointError", "CheckpointWarning", "DataError", "DeviceError"),
        *("DivergenceWarning", "GpubpError", "ModelFileError", "TableWarning"),
    ),
    "training.callbacks": ("CSVLogger", "JSONLines", "Progress", "get_callback"),
    "training.checkpoints": ("Checkpoints",),
    "tabular": ("fit_table", "predict_table", "prepare_table"),
    "tabular.estimators": ("TabularClassifier", "TabularRegressor"),
    "tabular.inspection": ("calibration_curve", "partial_dependence", "permutation_importance"),
    "data": ("load_dataset", "one_hot", "read_table"),
    "optim.first_order": (
        *("adagrad", "adam", "adamw", "get_optimizer", "gradient_descent", "lion", "momentum", "nesterov", "rmsprop"),
    ),
    "estimators": (
        *("LossCurveDisplay", "MLPClassifier", "MLPRegressor"),
        *("MLPEnsembleClassifier", "MLPEnsembleRegressor"),
    ),
    "io.onnx": ("to_onnx",),
    "nn.gradient_check": ("check_gradient",),
    "nn.initialization": ("initial_weights", "ntk_rate_factors"),
    "nn.network": ("Network",),
    "io.model_file": ("load_model", "save_model"),
    "model_selection": ("BatchedHalvingSearchCV", "BatchedOptunaSearchCV", "BatchedSearchCV"),
    "optim.schedules": ("Cosine", "CosineCycles", "FlatCosine", "InverseScaling", "PiecewiseConstant", "WarmUp"),
    "optim.second_order": ("lbfgs", "levenberg_marquardt"),
    "optim.wrappers": ("clipped", "decay_scaled", "decayed", "rate_scaled"),
    "engine.prediction": ("predict",),
    "data.streaming": ("Stream", "open_stream"),
    "data.streaming.prepared_stream": ("prepare_stream",),
    "training.fit": ("all_correct", "train"),
    "training.learning_rates": ("find_learning_rate",),
    "training.monitoring": ("EarlyStopping", "ModelCheckpoint"),
    "training.progress_bar": ("ProgressBar",),
    "training.result": ("Fit",),
    "training.tracking": ("MLflowLogger", "TensorBoardLogger", "WandbLogger", "mlflow_autolog"),
}
__all__ = [name for names in _PUBLIC.values() for name in names]
__getattr__, __dir__ = load_on_first_use(__name__, _PUBLIC)
