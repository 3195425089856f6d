"""The estimators with scikit-learn's array API dispatch, with frames, and with data on a device."""

import json
import os
import pickle
import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.inspection import permutation_importance
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils.fixes import parse_version

from gpubp import MLPClassifier, MLPRegressor
from gpubp.backends.probe import probe_cuda
from gpubp.errors import DeviceError

X, Y = load_iris(return_X_y=True)
NAMES = ["sepal length", "sepal width", "petal length", "petal width"]
FRAMES = {"pandas": lambda x: pd.DataFrame(x, columns=NAMES), "polars": lambda x: pl.DataFrame(x, schema=NAMES)}

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def classifier(**options):
    settings = {"hidden_layer_sizes": (6,), "max_iter": 40, "learning_rate_init": 0.05, "random_state": 0}
    return MLPClassifier(**settings | {"device": "cpu"} | options)


# --- scikit-learn's dispatch ---

_WITH_DISPATCH = """
import json, sys, warnings
warnings.simplefilter("ignore")
import array_api_compat, numpy as np, sklearn
from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from gpubp import MLPClassifier, MLPRegressor
from gpubp.backends.backend import choose_backend, to_numpy
from gpubp.backends.wrapped_namespace import plain_namespace

backend = choose_backend(sys.argv[1])
sklearn.set_config(array_api_dispatch=True)
here = lambda array: backend.xp.asarray(array, device=backend.device)
library = plain_namespace(backend.xp)
stays = lambda array: (array_api_compat.array_namespace(array) is library, str(array_api_compat.device(array)))
X, labels = load_iris(return_X_y=True)
x, y, names = here(X), here(labels), np.asarray(["setosa", "versicolor", "virginica"])[labels]
options = {"hidden_layer_sizes": (6,), "max_iter": 40, "learning_rate_init": 0.05, "random_state": 0}
pipeline = make_pipeline(StandardScaler(), MLPClassifier(**options)).fit(x, y)
regressor = MLPRegressor(**options).fit(x, x[:, 0], sample_weight=here(np.ones(150)))
held_out = MLPClassifier(**options | {"scoring": "f1_macro"}).fit(x, names, validation_data=(x, names))
part = MLPClassifier(**options).partial_fit(x, y, classes=here(np.arange(3)))
print(json.dumps({
    "stay": [stays(a) for a in (pipeline.predict(x), pipeline.predict_proba(x), regressor.predict(x), part.predict(x))],
    "right": pipeline.score(x, y),
    "labels": to_numpy(pipeline.predict(x)).tolist(),
    "cross_val_score": cross_val_score(pipeline, x, y, cv=3).tolist(),
    "grid": GridSearchCV(pipeline, {"mlpclassifier__alpha": [1e-4, 1e3]}, cv=3).fit(x, y).best_params_,
    "names": held_out.predict(x).tolist(),
    "f1": held_out.validation_scores_[-1],
}))
"""


@pytest.mark.slow
@pytest.mark.skipif(
    parse_version(sklearn.__version__) < parse_version("1.8"),
    reason="scikit-learn's tools had less of it before",
)
@pytest.mark.parametrize(
    "device",
    [pytest.param(name, marks=pytest.mark.on(name)) for name in ("array_api_strict:device1", "torch:cpu", "cpu")],
)
def test_with_dispatch_arrays_stay_where_they_are(device):
    """In a separate process: SciPy reads the setting when it is imported."""
    settings = {"SCIPY_ARRAY_API": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"}
    arguments = [sys.executable, "-c", _WITH_DISPATCH, device]
    done = subprocess.run(arguments, env=os.environ | settings, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert [stayed for stayed, _ in result["stay"]] == [True] * 4
    assert len({on for _, on in result["stay"]}) == 1
    expected = make_pipeline(StandardScaler(), classifier()).fit(X, Y)
    np.testing.assert_array_equal(result["labels"], expected.predict(X))
    assert result["right"] == expected.score(X, Y) > 0.9
    assert min(result["cross_val_score"]) > 0.85
    assert result["grid"] == {"mlpclassifier__alpha": 1e-4}
    assert {*result["names"]} == {"setosa", "versicolor", "virginica"}
    assert result["f1"] > 0.9


# --- frames ---


@pytest.fixture(params=FRAMES)
def library(request):
    if not hasattr(StandardScaler().fit(FRAMES[request.param](X)), "feature_names_in_"):
        pytest.skip(f"scikit-learn {sklearn.__version__} finds no names in a frame of {request.param}")
    return request.param


class TestFrames:
    def test_names_are_kept_and_checked(self, library):
        frame = FRAMES[library](X)
        model = classifier().fit(frame, Y)
        assert [*model.feature_names_in_] == NAMES
        assert model.loss_curve_ == classifier().fit(X, Y).loss_curve_
        assert model.score(frame, Y) > 0.9
        with pytest.raises(ValueError, match="feature names should match"):
            model.predict(frame[NAMES[::-1]])
        with pytest.warns(UserWarning, match="valid feature names"):
            model.predict(X)

    def test_no_warning_if_the_names_are_the_same(self, library):
        frame = FRAMES[library](X)
        target = frame[NAMES[0]]
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            warnings.simplefilter("ignore", ConvergenceWarning)
            for scoring in (None, "r2"):
                options = {"early_stopping": True, "scoring": scoring, "max_iter": 5, "device": "cpu"}
                model = MLPRegressor(**options).fit(frame, target, validation_data=(frame, target))
                assert model.predict(frame).shape == (150,)
            classifier(early_stopping=True, max_iter=5).fit(frame, Y, sample_weight=type(target)(np.ones(150)))
            classifier().partial_fit(frame, Y, classes=[0, 1, 2]).predict_proba(frame)

    def test_columns_of_text_are_refused_by_name(self, library):
        frame = {"pandas": pd.DataFrame, "polars": pl.DataFrame}[library]({"size": [1.0, 2.0], "garden": ["no", "yes"]})
        named = r" \(columns of text or categories: 'garden'\)" if library == "pandas" else ""
        with pytest.raises(TypeError, match=rf"'no'{named}; encode text, .* or use gpubp.TabularClassifier"):
            classifier().fit(frame, [0, 1])

    def test_in_a_pipeline_with_columns_of_text(self, library):
        columns = {name: X[:, i] for i, name in enumerate(NAMES)}
        columns["garden"] = np.where(np.arange(150) % 2 == 0, "north", "south")
        frame = {"pandas": pd.DataFrame, "polars": pl.DataFrame}[library](columns)
        names = np.asarray(["setosa", "versicolor", "virginica"])[Y]
        y = {"pandas": pd.Series, "polars": pl.Series}[library](names)
        prepared = make_column_transformer((OneHotEncoder(sparse_output=False), ["garden"]), remainder=StandardScaler())
        pipeline = make_pipeline(prepared, classifier()).fit(frame, y)
        assert pipeline.score(frame, y) > 0.9
        assert {*pipeline.predict(frame)} == {*names}
        if library == "polars":
            return  # which scikit-learn's permutation_importance does not take
        importance = permutation_importance(pipeline, frame, y, n_repeats=2, random_state=0).importances_mean
        assert np.argmax(importance) in (2, 3)  # the petals
        assert importance[4] < 0.05  # the garden


# --- data on a device ---


@pytest.fixture
def copies(monkeypatch):
    """Count transfers from array-api-strict's device: each copy, and each conversion to a Python number."""
    strict = pytest.importorskip("array_api_strict")
    array, counts = type(strict.asarray(0.0)), []

    def counted(name, own):
        def method(self, *args, **kwargs):
            counts.append(name)
            return own(self, *args, **kwargs)

        return method

    for name in ("to_device", "__array__", "__float__", "__bool__", "__int__", "__index__", "__buffer__"):
        if hasattr(array, name):
            monkeypatch.setattr(array, name, counted(name, getattr(array, name)))
    return counts


@pytest.mark.parametrize("options", [{}, {"solver": "sgd"}, {"max_grad_norm": 1.0}, {"early_stopping": True}], ids=str)
def test_steps_transfer_nothing_from_the_device(copies, options):
    strict = pytest.importorskip("array_api_strict")
    x = strict.asarray(X, device=strict.Device("device1"))
    numbers = []
    for batch_size in (75, 5):
        model = classifier(device="auto", batch_size=batch_size, **options | {"max_iter": 3})
        copies.clear()
        model.fit(x, Y)
        numbers.append(len(copies))
    assert numbers[0] == numbers[1] > 0


def test_a_model_for_a_gpu_loads_without_one():
    if probe_cuda().usable:
        pytest.skip("there is a GPU")
    model = classifier().fit(X, Y)
    loaded = pickle.loads(pickle.dumps(model.set_params(device="cuda")))
    with pytest.raises(DeviceError, match="device='cpu'"):
        loaded.predict(X)
    np.testing.assert_array_equal(loaded.set_params(device="cpu").predict(X), model.set_params(device="cpu").predict(X))
