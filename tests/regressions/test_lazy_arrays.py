"""Arrays that are computed, read or unwrapped when needed train as the NumPy arrays of the same numbers.

dask/dask-ml#541, scikit-learn/scikit-learn#26724: arrays of dask stayed lazy, each step computed all steps before it
again, and later calls refused NumPy arrays.
"""

import contextlib
import copy
from typing import Any, NamedTuple

import numpy as np
import pytest
import sklearn
from sklearn.utils.fixes import parse_version

import gpubp
from gpubp import BatchedHalvingSearchCV, BatchedSearchCV, MLPClassifier, MLPEnsembleRegressor, MLPRegressor
from gpubp.backends.backend import to_numpy

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

rng = np.random.default_rng(7)
X = rng.normal(size=(60, 4))
r = X @ np.array([1.0, -2.0, 0.5, 0.0])
labels = (r > 0).astype(int)
OPTIONS = {"hidden_layer_sizes": (6,), "max_iter": 5, "random_state": 3, "device": "auto"}
NETWORK = gpubp.Network((4, 3, 1))
THETA = gpubp.initial_weights(NETWORK, 0)


def dask_array(values, _):
    return pytest.importorskip("dask.array").from_array(values, chunks=(25, *values.shape[1:]))


def dask_of_unknown_length(values, _):
    lazy = dask_array(values, _)
    return lazy[dask_array(np.ones(len(values), bool), _)]


def dask_frame(values, _):
    frames, pandas = pytest.importorskip("dask.dataframe"), pytest.importorskip("pandas")
    names = list("abcd")[: values.shape[1]] if values.ndim == 2 else None
    frame = pandas.Series(values) if names is None else pandas.DataFrame(values, columns=names)
    return frames.from_pandas(frame, npartitions=3)


def xarray(values, _):
    return pytest.importorskip("xarray").DataArray(values)


def zarr_array(values, _):
    return pytest.importorskip("zarr").array(values)


def h5py_dataset(values, folder):
    file = pytest.importorskip("h5py").File(folder / f"{id(values)}.h5", "w")
    return file.create_dataset("values", data=values)


def memory_map(values, folder):
    array = np.memmap(folder / f"{id(values)}.bin", values.dtype, "w+", shape=values.shape)
    array[:] = values
    return array


def polars_frame(values, _):
    polars = pytest.importorskip("polars")
    return (
        polars.Series(values) if values.ndim == 1 else polars.DataFrame(values, schema=list("abcd")[: values.shape[1]])
    )


def arrow(values, _):
    pyarrow = pytest.importorskip("pyarrow")
    if values.ndim == 1:
        return pyarrow.chunked_array([values[:20], values[20:]])
    return pyarrow.table(dict(zip("abcd", values.T, strict=False)))


class Wrapped:
    """An array with the protocol of NumPy only."""

    def __init__(self, values, _):
        self.values = values

    def __array__(self, dtype=None, copy=None):
        return np.array(self.values, dtype=dtype)


def buffer(values, _):
    return memoryview(values)


KINDS = [
    *(dask_array, dask_of_unknown_length, dask_frame, xarray, zarr_array, h5py_dataset),
    *(memory_map, polars_frame, arrow, Wrapped, buffer),
]


class Data(NamedTuple):
    x: Any
    y: Any
    column: Any
    weights: Any
    labels: Any


VALUES = Data(X, r, r[:, None].copy(), 0.1 + abs(r), labels)


def regressor(**options):
    return MLPRegressor(**(OPTIONS | options))


def search(samples, **given):
    return BatchedSearchCV(regressor(), {"alpha": [0.0, 0.1]}, cv=2, error_score="raise").fit(
        samples.x, samples.y, **given
    )


def fitted_then_numpy(samples):
    model = regressor().fit(samples.x, samples.y)
    return model.predict(X) + model.predict(samples.x) + model.partial_fit(X, r).predict(X)


def trained(samples, **options):
    return gpubp.train(NETWORK, samples.x, samples.column, epochs=2, seed=0, device="cpu", **options)


USES = {
    "fit": lambda given: regressor().fit(given.x, given.y, sample_weight=given.weights).loss_,
    "partial_fit": lambda given: regressor().partial_fit(given.x, given.y).loss_,
    "predict": lambda given: regressor().fit(X, r).predict(given.x),
    "score": lambda given: regressor().fit(X, r).score(given.x, given.y, sample_weight=given.weights),
    "NumPy afterwards": fitted_then_numpy,
    "validation_data": lambda given: (
        regressor().fit(X, r, validation_data=(given.x, given.y, given.weights)).validation_curve_
    ),
    "classifier": lambda given: MLPClassifier(**OPTIONS).fit(given.x, given.labels).predict_proba(given.x),
    "classes": lambda given: MLPClassifier(**OPTIONS).fit(given.x, given.labels).predict(given.x),
    "accuracy": lambda given: (
        MLPClassifier(**OPTIONS).partial_fit(X, given.labels, classes=[0, 1]).score(given.x, given.labels)
    ),
    "ensemble": lambda given: (
        MLPEnsembleRegressor(regressor(), 2, random_state=0).fit(given.x, given.y).predict(given.x)
    ),
    "restarts": lambda given: regressor(n_restarts=2).fit(given.x, given.y).predict(given.x),
    "restarts with validation_data": lambda given: (
        regressor(n_restarts=3)
        .fit(given.x, given.y, given.weights, validation_data=(given.x, given.y))
        .validation_scores_
    ),
    "search": lambda given: search(given).cv_results_["mean_test_score"],
    "search with weights": lambda given: search(given, sample_weight=given.weights).predict(given.x),
    "halving": lambda given: (
        BatchedHalvingSearchCV(regressor(), {"alpha": [0.0, 0.1]}, cv=2, max_resources=4)
        .fit(given.x, given.y)
        .best_score_
    ),
    "train": lambda given: trained(given, sample_weight=given.weights).history.loss,
    "train with validation": lambda given: (
        trained(given, validation_data=(given.x, given.column)).history.validation_loss
    ),
    "gpubp.predict": lambda given: gpubp.predict(NETWORK, THETA, given.x),
    "one_hot": lambda given: gpubp.one_hot(given.labels),
}


SEARCHES = {"search", "search with weights", "halving"}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("use", USES)
@pytest.mark.filterwarnings("ignore:.*feature names:UserWarning")
def test_the_model_of_the_same_numbers(kind, use, tmp_path):
    if kind is arrow and use in SEARCHES and parse_version(sklearn.__version__) < parse_version("1.7"):
        pytest.skip("this release of scikit-learn does not take rows of Arrow tables")
    wrapped = Data(*(kind(values, tmp_path) for values in VALUES))
    actual, expected = USES[use](wrapped), USES[use](VALUES)
    assert type(actual) is type(expected)
    np.testing.assert_array_equal(to_numpy(actual), to_numpy(expected))


@contextlib.contextmanager
def counted():
    """Count how often dask computes."""
    callbacks, computed = pytest.importorskip("dask.callbacks"), []
    with callbacks.Callback(start=computed.append):
        yield computed


@pytest.mark.parametrize("use", USES)
def test_dask_computes_each_argument_once(use):
    wrapped = Data(*(dask_array(values, None) for values in VALUES))
    with counted() as computed:
        USES[use](wrapped)
    arguments = {"search with weights": 4, "train with validation": 4, "restarts with validation_data": 5}
    assert len(computed) <= arguments.get(use, 3)


def test_a_table_of_dask(tmp_path):
    frame = dask_frame(X, tmp_path)
    with counted() as computed:
        prepared = gpubp.prepare_table(frame, target="d", seed=0)
    assert len(computed) == 1
    expected = gpubp.prepare_table(frame.compute(), target="d", seed=0)
    np.testing.assert_array_equal(prepared.X, expected.X)


def test_a_copy_takes_arrays_of_any_library():
    torch = pytest.importorskip("torch")
    model = regressor().fit(dask_array(X, None), dask_array(r, None))
    assert copy.deepcopy(model).predict(torch.tensor(X)).shape == (60,)
