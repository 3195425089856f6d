"""scikit-learn's estimators, computed by gpubp: the fitted attributes and what follows from them are the same."""

import pickle
import re
import warnings
from functools import partial

import numpy as np
import pytest
import sklearn.neural_network
import threadpoolctl
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

import gpubp.accel
from gpubp.engine import cpu
from tests.estimators.test_trajectories import HAS_POISSON, HAS_WEIGHTS, N_SAMPLES, REGRESSION, SETTINGS, TARGETS
from tests.estimators.test_trajectories import inputs as inputs_of

SMALL = {"hidden_layer_sizes": (8,), "random_state": 1, "max_iter": 20}


@pytest.fixture(autouse=True)
def _calm():
    """Matrices as small as these are slower on two threads, and few epochs do not converge."""
    with threadpoolctl.threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.filterwarnings("ignore", "Got `batch_size` less than 1 or larger than", UserWarning)
        warnings.filterwarnings("ignore", ".*iprint.*", DeprecationWarning)  # of an older scikit-learn's
        yield
    gpubp.accel.uninstall()


def accelerated(work, device="cpu"):
    """Return the outcome of a function while gpubp computes, and the report."""
    gpubp.accel.install(device)
    try:
        return work(), gpubp.accel.report()
    finally:
        gpubp.accel.uninstall()


def class_for(targets):
    return getattr(sklearn.neural_network, "MLPRegressor" if targets in REGRESSION else "MLPClassifier")


def assert_same(value, expected, name="model", of_loss=1e-7):
    """Compare two models, or two attributes: kinds and names are equal, numbers to 1e-7 of the largest."""
    if isinstance(expected, list | tuple):
        assert type(value) is type(expected), name
        for k, (part, part_expected) in enumerate(zip(value, expected, strict=True)):
            assert_same(part, part_expected, f"{name}[{k}]", of_loss)
    elif isinstance(expected, np.random.RandomState):
        assert_same(value.get_state()[1:], expected.get_state()[1:], name)
    elif isinstance(expected, int | str | np.str_ | None):
        assert value == expected, name
    elif isinstance(expected, float | np.ndarray | np.generic):
        assert np.asarray(value).dtype == np.asarray(expected).dtype, name
        assert hasattr(value, "dtype") == hasattr(expected, "dtype"), name
        if np.asarray(expected).dtype.kind == "f":
            tolerance, scale = of_loss if "loss" in name else 1e-7, float(np.max(np.abs(expected), initial=1e-9))
            np.testing.assert_allclose(value, expected, rtol=tolerance, atol=tolerance * scale, err_msg=name)
        else:
            np.testing.assert_array_equal(value, expected, err_msg=name)
    else:
        assert type(value) is type(expected), name
        assert {*vars(value)} == {*vars(expected)}, name
        for attribute in vars(expected):
            assert_same(getattr(value, attribute), getattr(expected, attribute), f"{name}.{attribute}", of_loss)


def fit(targets, options):
    options, (x, y) = {**SMALL, **options, "max_iter": 20}, TARGETS[targets]
    weights, sparse = options.pop("weights", False), options.pop("sparse", None)
    if (weights and not HAS_WEIGHTS) or (targets == "counts" and not HAS_POISSON):
        pytest.skip("this scikit-learn has no sample_weight and no poisson loss")
    if targets == "text" and not HAS_WEIGHTS:
        pytest.skip("scikit-learn 1.6 cannot stop early where the classes are text")
    if targets == "counts":
        options["loss"] = "poisson"
    arguments = {"sample_weight": weights * np.random.default_rng(1).uniform(0.1, 2.0, N_SAMPLES)} if weights else {}
    return class_for(targets)(**options).fit(inputs_of(x, sparse), y, **arguments)


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda s: ",".join([s[0], *(f"{k}={v}" for k, v in s[1].items())]))
def test_fit(setting):
    targets, options = setting
    model, report = accelerated(lambda: fit(*setting))
    is_clipped = targets == "multilabel" and options.get("activation") == "identity"  # scikit-learn clips the loss
    assert_same(model, fit(*setting), of_loss=1e-4 if is_clipped else 1e-7)
    left = targets == "two numbers" or (options.get("solver") == "lbfgs" and not cpu.is_wanted())
    assert ("left to scikit-learn" in report) == left


def in_calls(targets, method, *settings, between=lambda model: model):
    """Return a model after several calls of a method, each with further settings."""
    x, y = TARGETS[targets]
    classes = {"classes": np.unique(y)} if method == "partial_fit" and targets not in REGRESSION else {}
    model = class_for(targets)(**SMALL)
    for k, options in enumerate(settings):
        part = slice(0, 50) if method == "partial_fit" and k % 2 else slice(None)
        model = between(getattr(model.set_params(**options), method)(x[part], y[part], **classes))
    return model


CALLS = {
    "partial_fit": ("partial_fit", {}, {}, {}, {}),
    "partial_fit with momentum": ("partial_fit", {"solver": "sgd"}, {}, {}, {}),
    "partial_fit with a falling rate": ("partial_fit", {"solver": "sgd", "learning_rate": "invscaling"}, {}, {}, {}),
    "settings of the optimizer stay": ("partial_fit", {}, {"learning_rate_init": 0.1, "beta_1": 0.5, "solver": "sgd"}),
    "fit after partial_fit": ("partial_fit", {}, {}),
    "warm start": ("fit", {"warm_start": True, "max_iter": 5}, {}, {}),
    "warm start with momentum": ("fit", {"warm_start": True, "max_iter": 5, "solver": "sgd"}, {}, {}),
    "warm start with a falling rate": (
        *("fit", {"warm_start": True, "max_iter": 5, "solver": "sgd", "learning_rate": "invscaling"}, {}, {}),
    ),
    "warm start of another solver": ("fit", {"warm_start": True, "max_iter": 5}, {"solver": "lbfgs"}, {}),
}


@pytest.mark.parametrize("targets", ["multiclass", "numbers"])
@pytest.mark.parametrize("name", CALLS)
def test_several_calls(name, targets):
    model, report = accelerated(lambda: in_calls(targets, *CALLS[name]))
    assert_same(model, in_calls(targets, *CALLS[name]))
    left = name == "warm start of another solver" and not cpu.is_wanted()  # "lbfgs" without the engine
    assert ("left to scikit-learn" in report) == left


@pytest.mark.parametrize("targets", ["multiclass", "numbers"])
@pytest.mark.parametrize("name", CALLS)
def test_a_model_goes_from_one_to_the_other_and_back(name, targets):
    """By pickles, between processes with gpubp and without."""

    def alternate(model):
        text = pickle.dumps(model)
        assert b"gpubp" not in text
        gpubp.accel.uninstall() if alternate.is_on else gpubp.accel.install("cpu")
        alternate.is_on = not alternate.is_on
        return pickle.loads(text)

    alternate.is_on = False
    assert_same(in_calls(targets, *CALLS[name], between=alternate), in_calls(targets, *CALLS[name]))


@pytest.mark.parametrize("device", ["array_api_strict:device1", pytest.param("cuda", marks=pytest.mark.on("cuda"))])
@pytest.mark.parametrize("name", ["partial_fit", "partial_fit with momentum", "warm start of another solver"])
def test_other_devices(name, device, monkeypatch):
    monkeypatch.setattr("gpubp.accel._methods.FEW", 0)
    x, _ = TARGETS["multiclass"]

    def train_and_predict():
        model = in_calls("multiclass", *CALLS[name])
        return model, model.predict_proba(x)

    (model, outputs), report = accelerated(train_and_predict, device)
    expected, expected_outputs = train_and_predict()
    assert_same(model, expected)
    np.testing.assert_allclose(outputs, expected_outputs, rtol=1e-6)
    assert type(outputs) is np.ndarray
    assert len(re.findall(rf"\.(?:fit|partial_fit|predict) .* {device}", report)) == 2


def test_a_warm_start_that_stops_early_keeps_the_best_weights():
    """scikit-learn overwrites them: its list of the best weights is that of the present ones after a fit."""
    x, y = TARGETS["multiclass"]
    model = sklearn.neural_network.MLPClassifier(**SMALL, warm_start=True, early_stopping=True).fit(x, y)
    first, model.best_validation_score_ = [weights.copy() for weights in model.coefs_], 2.0
    accelerated(lambda: model.fit(x, y))
    assert model.best_validation_score_ == 2.0
    for weights, weights_of_first in zip(model.coefs_, first, strict=True):
        np.testing.assert_array_equal(weights, weights_of_first)
    model.fit(x, y)
    assert not np.array_equal(model.coefs_[0], first[0])


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_float32(solver):
    """The precision is scikit-learn's: with lbfgs, that of SciPy's vector."""
    x, y = TARGETS["multiclass"]

    def train():
        options = {"max_iter": 5, "alpha": 3.0, "learning_rate_init": 0.01}
        return sklearn.neural_network.MLPClassifier((8,), solver=solver, random_state=1, **options).fit(
            x.astype(np.float32), y
        )

    (model, report), expected = accelerated(train), train()
    assert ("left to scikit-learn" in report) == (solver == "lbfgs" and not cpu.is_wanted())
    assert [w.dtype for w in model.coefs_] == [w.dtype for w in expected.coefs_]
    for weights, weights_of_expected in zip(model.coefs_, expected.coefs_, strict=True):
        np.testing.assert_allclose(weights, weights_of_expected, atol=1e-5)


@pytest.mark.parametrize("constant", [0.0, 2.0])
def test_scores_of_constant_targets_are_those_of_scikit_learn(constant):
    x, _ = TARGETS["numbers"]

    def train():
        return sklearn.neural_network.MLPRegressor(early_stopping=True, **SMALL).fit(x, np.full(len(x), constant))

    assert_same(accelerated(train)[0], train())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("targets", ["multiclass", "multilabel", "counts"])
def test_predictions_of_many_samples(targets, dtype, monkeypatch):
    monkeypatch.setattr("gpubp.accel._methods.FEW", 0)
    model, (x, _) = fit(targets, {}), TARGETS[targets]
    names = ["predict"] if targets == "counts" else ["predict", "predict_proba"]
    for x_of_type in (x.astype(dtype), inputs_of(x, "csc")):
        for name in names:
            predict = getattr(model, name)
            (outputs, report), expected = accelerated(partial(predict, x_of_type)), predict(x_of_type)
            assert outputs.dtype == expected.dtype
            np.testing.assert_allclose(outputs, expected, rtol=1e-5 if dtype == "float32" else 1e-9)
            assert f"{type(model).__name__}.predict " in report


def test_the_class_is_that_of_scikit_learn():
    before = sklearn.neural_network.MLPClassifier

    def check():
        from sklearn.neural_network import MLPClassifier

        model = MLPClassifier(alpha=0.1)
        assert MLPClassifier is before
        assert repr(model) == "MLPClassifier(alpha=0.1)"
        assert clone(model).get_params() == before(alpha=0.1).get_params()
        return MLPClassifier._fit_stochastic

    replaced, _ = accelerated(check)
    assert replaced is not before._fit_stochastic
    assert replaced.__wrapped__ is before._fit_stochastic
