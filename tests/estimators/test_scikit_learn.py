"""The estimators' compatibility with scikit-learn: its checks, its tools, arrays of any library, errors."""

import copy
import inspect
import math
import pickle
import warnings

import array_api_compat
import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn.neural_network
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_iris, make_multilabel_classification, make_regression
from sklearn.ensemble import VotingClassifier
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.inspection import permutation_importance
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from gpubp.backends.backend import to_numpy
from gpubp.backends.wrapped_namespace import plain_namespace
from gpubp.errors import DeviceError
from gpubp.estimators import MLPClassifier, MLPEnsembleClassifier, MLPEnsembleRegressor, MLPRegressor
from gpubp.estimators._monitor import FitMonitor

IRIS = load_iris(return_X_y=True)
NUMBERS = make_regression(80, 5, noise=1.0, random_state=0)
NUMBERS = (NUMBERS[0], NUMBERS[1] / 50.0)
KINDS = {"MLPClassifier": (MLPClassifier, IRIS), "MLPRegressor": (MLPRegressor, NUMBERS)}


@pytest.fixture
def hurried():
    """Training that can end before it has converged."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield


def small(kind=MLPClassifier, **options):
    return kind(**({"hidden_layer_sizes": (6,), "max_iter": 10, "random_state": 0, "device": "cpu"} | options))


# --- compatibility ---


MORE = (
    *("device", "dtype", "matmul_precision", "dropout", "weight_decay", "rho", "warm_up", "max_grad_norm", "scoring"),
    *("max_time", "callbacks", "n_restarts", "parallel"),
)


@pytest.mark.parametrize(
    ("kind", "more"),
    [("MLPClassifier", [*MORE, "class_weight", "loss", "label_smoothing"]), ("MLPRegressor", MORE)],
)
def test_parameters_and_defaults(kind, more):
    sklearn_parameters = inspect.signature(getattr(sklearn.neural_network, kind)).parameters
    gpubp_parameters = dict(inspect.signature(KINDS[kind][0]).parameters)
    assert all(gpubp_parameters.pop(name).kind is inspect.Parameter.KEYWORD_ONLY for name in more)
    if kind == "MLPRegressor" and "loss" not in sklearn_parameters:  # scikit-learn 1.6
        del gpubp_parameters["loss"]
    assert [*gpubp_parameters] == [*sklearn_parameters]
    assert [p.default for p in gpubp_parameters.values()] == [p.default for p in sklearn_parameters.values()]
    assert [p.kind for p in gpubp_parameters.values()] == [p.kind for p in sklearn_parameters.values()]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("options", [{}, {"solver": "lbfgs"}, {"early_stopping": True}], ids=str)
def test_attributes_methods_and_tags(kind, options, hurried):
    gpubp_model, sklearn_model = (
        KINDS[kind][0](max_iter=5, **options),
        getattr(sklearn.neural_network, kind)(max_iter=5, **options),
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*iprint.*", DeprecationWarning)
        frame = pd.DataFrame(KINDS[kind][1][0]).rename(columns=str)
        gpubp_model.fit(frame, KINDS[kind][1][1])
        sklearn_model.fit(frame, KINDS[kind][1][1])
    for public in ({name for name in vars(sklearn_model) if not name.startswith("_")}, {"score", "predict"}):
        assert {name for name in public if not hasattr(gpubp_model, name)} == set()
    methods = {name for name in dir(type(sklearn_model)) if not name.startswith("_")}
    assert methods - {*dir(type(gpubp_model))} == set()
    expected = copy.deepcopy(sklearn_model.__sklearn_tags__())
    expected.array_api_support = True
    expected.target_tags.multi_output = kind == "MLPClassifier"  # scikit-learn's takes one output
    expected.input_tags.sparse = True  # which scikit-learn 1.6 did not say
    assert gpubp_model.__sklearn_tags__() == expected


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "options",
    [
        {"hidden_layer_sizes": -1},
        {"hidden_layer_sizes": (4, 0)},
        {"activation": "gellu"},
        {"solver": "newton"},
        {"alpha": -1},
        {"batch_size": 0},
        {"learning_rate": "cosinus"},
        {"learning_rate_init": 0.0},
        {"power_t": -1},
        {"max_iter": 0},
        {"shuffle": "yes"},
        {"momentum": 1.5},
        {"beta_1": 1.0},
        {"epsilon": 0},
        {"validation_fraction": 1.0},
        {"n_iter_no_change": 0},
        {"max_fun": 0},
        {"tol": -1},
        {"random_state": "x"},
    ],
    ids=str,
)
def test_bad_parameters_give_the_same_messages(kind, options):
    raised = []
    for model in (getattr(sklearn.neural_network, kind)(**options), KINDS[kind][0](**options)):
        with pytest.raises(ValueError, match=r".") as error:
            model.fit(*KINDS[kind][1])
        raised.append(error)
    assert type(raised[0].value) is type(raised[1].value)
    if "solver" not in options and "learning_rate" not in options and "activation" not in options:  # sets, in no order
        assert str(raised[0].value) == str(raised[1].value)


def test_bad_device_and_dtype():
    with pytest.raises(DeviceError, match="no_such_library"):
        MLPClassifier(device="no_such_library").fit(*IRIS)
    with pytest.raises(ValueError, match="dtype"):
        MLPClassifier(dtype="float16").fit(*IRIS)


def test_not_fitted():
    with pytest.raises(NotFittedError):
        MLPClassifier().predict(IRIS[0])


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_warns_without_convergence(solver):
    with pytest.warns(ConvergenceWarning, match="converge"):
        small(solver=solver, max_iter=2).fit(*IRIS)


def test_warns_of_a_batch_too_large(hurried):
    with pytest.warns(UserWarning, match="batch_size"):
        small(batch_size=1000).fit(*IRIS)


def test_partial_fit_needs_a_stochastic_solver():
    for kind, _ in KINDS.values():
        assert hasattr(kind(solver="sgd"), "partial_fit")
        assert not hasattr(kind(solver="lbfgs"), "partial_fit")
        with pytest.raises(AttributeError):
            _ = kind(solver="lbfgs").partial_fit


def test_partial_fit_refuses():
    with pytest.raises(ValueError, match="classes must be passed"):
        small().partial_fit(*IRIS)
    with pytest.raises(ValueError, match="early_stopping"):
        small(early_stopping=True).partial_fit(*IRIS, classes=[0, 1, 2])
    model = small().partial_fit(*IRIS, classes=[0, 1, 2])
    with pytest.raises(ValueError, match="classes not in"):
        model.partial_fit(IRIS[0], IRIS[1] + 1)
    with pytest.raises(ValueError, match="expecting 4 features"):
        model.partial_fit(IRIS[0][:, :2], IRIS[1])


def test_warm_start_keeps_the_classes(hurried):
    model = small(warm_start=True).fit(*IRIS)
    with pytest.raises(ValueError, match="warm_start"):
        model.fit(IRIS[0], IRIS[1] % 2)


def test_warm_start_from_another_solver(hurried):
    model = small(solver="lbfgs", warm_start=True).fit(*IRIS)
    before = model.loss_
    model.set_params(solver="adam", early_stopping=True).fit(*IRIS)
    assert len(model.loss_curve_) == 10
    assert model.loss_curve_[0] < 1.5 * before


def test_multilabel_partial_fit():
    x, y = make_multilabel_classification(60, 5, n_classes=3, random_state=0)
    model = small(max_iter=1)
    for _ in range(30):
        model.partial_fit(x, y, classes=[0, 1, 2])
    assert model.predict(x).shape == y.shape
    assert model.out_activation_ == "logistic"
    assert model.loss_curve_[-1] < model.loss_curve_[0]


@pytest.mark.parametrize(
    "model",
    [MLPClassifier(), MLPRegressor(), MLPEnsembleClassifier(n_estimators=2), MLPEnsembleRegressor(n_estimators=2)],
    ids=lambda model: type(model).__name__,
)
@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.ones(5), r"sample_weight.shape == \(5,\)"),
        (np.ones((150, 1)), "1D array or scalar"),
        (np.where(IRIS[1] == 0, np.nan, 1.0), "contains NaN"),
        (np.where(IRIS[1] == 0, np.inf, 1.0), "contains infinity"),
        (np.ma.masked_array(np.ones(150), IRIS[1] == 0), "masked"),
    ],
    ids=["few", "column", "nan", "infinite", "masked"],
)
def test_score_refuses_bad_weights(model, weights, message, hurried):
    x, y = IRIS
    fitted = clone(model).fit(x, y)
    assert fitted.score(x, y, np.ones(150)) == fitted.score(x, y, 2.0) == pytest.approx(fitted.score(x, y))
    with pytest.raises(ValueError, match=message):
        fitted.score(x, y, weights)


# --- additions ---


def test_class_weight_is_a_sample_weight(hurried):
    by_class = small(class_weight={0: 1.0, 1: 5.0, 2: 0.5}).fit(*IRIS)
    by_sample = small().fit(*IRIS, sample_weight=np.asarray([1.0, 5.0, 0.5])[IRIS[1]])
    both = small(class_weight={1: 5.0}).fit(*IRIS, sample_weight=np.asarray([1.0, 1.0, 0.5])[IRIS[1]])
    neither = small().fit(*IRIS)
    assert by_class.loss_curve_ == by_sample.loss_curve_ == both.loss_curve_
    assert by_class.loss_curve_ != neither.loss_curve_


def test_balanced_classes(hurried):
    rows = np.r_[:50, 50:60, 100:150]
    x, y = IRIS[0][rows], IRIS[1][rows]
    weights = len(y) / (3 * np.bincount(y))
    balanced = small(class_weight="balanced").fit(x, y)
    assert np.allclose(balanced.loss_curve_, small().fit(x, y, sample_weight=weights[y]).loss_curve_)
    with pytest.raises(ValueError, match="balanced"):
        small(class_weight="balanced").partial_fit(x, y, classes=[0, 1, 2])


def test_class_weight_does_not_change_the_held_out_score(hurried):
    model = small(class_weight={0: 0.0, 1: 1.0, 2: 0.0}, early_stopping=True, max_iter=40, learning_rate_init=0.1)
    assert model.fit(*IRIS).validation_scores_[-1] < 0.5  # it learns to predict 1; only a third of the samples are 1


@pytest.mark.parametrize(
    ("dtype", "x_dtype", "expected"),
    [
        (None, "float32", "float32"),
        (None, "float64", "float64"),
        (None, "int64", "float64"),
        ("float32", "float64", "float32"),
        ("float64", "float32", "float64"),
    ],
)
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_precision(dtype, x_dtype, expected, solver, hurried):
    x = (NUMBERS[0] * 3).astype(x_dtype)
    model = small(MLPRegressor, dtype=dtype, solver=solver).fit(x, NUMBERS[1])
    assert {str(w.dtype) for w in model.coefs_ + model.intercepts_} == {expected}
    assert model.predict(x).dtype == expected


def test_poisson_predicts_positive_numbers(hurried):
    counts = np.random.default_rng(0).poisson(2.0, len(NUMBERS[0]))
    model = small(MLPRegressor, loss="poisson", max_iter=100, learning_rate_init=0.01).fit(NUMBERS[0], counts)
    assert np.all(model.predict(NUMBERS[0]) > 0)
    assert model.out_activation_ == "exp"
    assert model.loss_curve_[-1] < 0.7 * model.loss_curve_[0]


# --- arrays of any library ---


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_classifier_on_every_library(backend_case, dtype, solver, hurried):
    host = IRIS[0].astype(dtype)
    x, options = backend_case.asarray(host), {"solver": solver, "batch_size": 40, "device": "auto"}
    model = small(**options).fit(x, backend_case.asarray(IRIS[1]))
    expected = small(**options | {"device": "cpu"}).fit(host, IRIS[1])
    for name in ("predict", "predict_proba", "predict_log_proba"):
        outputs, expected_outputs = getattr(model, name)(x), getattr(expected, name)(host)
        assert array_api_compat.array_namespace(outputs) is plain_namespace(backend_case.xp)
        assert array_api_compat.device(outputs) == backend_case.device
        assert outputs.shape == expected_outputs.shape
        if name == "predict":
            assert np.mean(to_numpy(outputs) == expected_outputs) > 0.97
        else:
            assert str(outputs.dtype).endswith(dtype)
            slack = {"rtol": 1e-7} if dtype == "float64" else {"rtol": 0.02, "atol": 1e-3}
            np.testing.assert_allclose(to_numpy(outputs), expected_outputs, **slack)
    assert all(type(w) is np.ndarray and w.dtype == dtype for w in model.coefs_ + model.intercepts_)
    assert model.score(x, backend_case.asarray(IRIS[1])) == pytest.approx(expected.score(host, IRIS[1]), abs=0.03)
    assert model.score(x, IRIS[1]) == model.score(x, backend_case.asarray(IRIS[1]))


@pytest.mark.parametrize("options", [{"early_stopping": True}, {"batch_size": 20, "shuffle": False}], ids=str)
def test_regressor_on_every_library(backend_case, options, hurried):
    host = NUMBERS[0].astype("float32")
    x, weights = backend_case.asarray(host), np.linspace(0.5, 1.0, len(host))
    options = {**options, "max_iter": 30}
    model = small(MLPRegressor, **options | {"device": "auto"}).fit(x, NUMBERS[1], sample_weight=weights)
    expected = small(MLPRegressor, **options).fit(host, NUMBERS[1], sample_weight=weights)
    outputs = model.predict(x)
    assert array_api_compat.array_namespace(outputs) is plain_namespace(backend_case.xp)
    assert array_api_compat.device(outputs) == backend_case.device
    assert outputs.ndim == 1
    np.testing.assert_allclose(to_numpy(outputs), expected.predict(host), rtol=1e-3, atol=1e-3)
    y = backend_case.asarray(NUMBERS[1].astype("float32"))
    assert model.score(x, y) == pytest.approx(expected.score(host, NUMBERS[1]), abs=1e-3)


def test_partial_fit_and_labels_of_text(backend_case):
    x, names = backend_case.asarray(IRIS[0].astype("float32")), np.asarray(["setosa", "versicolor", "virginica"])
    model = small(device="auto")
    for _ in range(3):
        model.partial_fit(x, names[IRIS[1]], classes=names)
    assert model.predict(x).dtype.kind == "U"
    assert type(model.predict(x)) is np.ndarray
    assert model.t_ == 3 * 150


def test_whole_numbers_on_every_library(backend_case, hurried):
    model = small(device="auto").fit(backend_case.asarray(np.round(IRIS[0]).astype("int64")), IRIS[1])
    available = backend_case.xp.__array_namespace_info__().dtypes(
        device=backend_case.backend.device, kind="real floating"
    )
    assert model.coefs_[0].dtype == ("float64" if "float64" in available else "float32")


@pytest.mark.parametrize("library", ["array_api_strict", "torch"])
def test_another_library_than_in_fit_is_refused(library, hurried):
    xp = pytest.importorskip(library)
    foreign = xp.asarray(IRIS[0])
    model = small(device="auto").fit(foreign, IRIS[1])
    with pytest.raises(TypeError, match=rf"MLPClassifier.predict\(\).*same namespace.*{library}.asarray\(X\)"):
        model.predict(IRIS[0])
    with pytest.raises(ValueError, match="predict_proba"):  # the type that scikit-learn raises
        model.predict_proba(IRIS[0])
    expected_outputs = small(device="auto").fit(*IRIS)
    with pytest.raises(TypeError, match=r"numpy"):
        expected_outputs.predict(foreign)
    for copied in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        np.testing.assert_array_equal(copied.predict(IRIS[0]), to_numpy(model.predict(foreign)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda xp, x: x[0, :], "Expected 2D array"),
        (lambda xp, x: x[:0, :], "0 sample"),
        (lambda xp, x: x[:, :0], "0 feature"),
        (lambda xp, x: x * math.nan, "NaN"),
        (lambda xp, x: x + math.inf, "infinity"),
        (lambda xp, x: x * 1j, "Complex"),
    ],
)
@pytest.mark.parametrize("library", ["numpy", "array_api_strict"])
def test_bad_arrays(change, message, library):
    xp = pytest.importorskip(library)
    x = xp.asarray(IRIS[0])
    if message == "Complex":
        x = xp.astype(x, xp.complex128)
    with pytest.raises(ValueError, match=message):
        small(device="auto").fit(change(xp, x), IRIS[1])


def test_numbers_of_features_and_samples_are_checked(hurried):
    strict = pytest.importorskip("array_api_strict")
    x = strict.asarray(IRIS[0])
    model = small(device="auto").fit(x, IRIS[1])
    assert model.n_features_in_ == 4
    with pytest.raises(ValueError, match="3 features, but MLPClassifier is expecting 4"):
        model.predict(x[:, :3])
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        model.fit(x, IRIS[1][:10])
    with pytest.raises(ValueError, match="y"):
        model.fit(x, None)


def test_computing_on_another_device_than_that_of_x(backend_case, hurried):
    """``device`` chooses the device, and outputs are on the device of X."""
    model = small(device=backend_case.backend.name, dtype="float32").fit(*IRIS)
    assert type(model.predict_proba(IRIS[0])) is np.ndarray
    np.testing.assert_allclose(
        model.predict_proba(IRIS[0]), small(dtype="float32").fit(*IRIS).predict_proba(IRIS[0]), rtol=1e-3
    )


# --- weights by hand, copies, files ---


def test_weights_changed_by_hand_are_used(hurried):
    model = small(MLPRegressor).fit(*NUMBERS)
    before = model.predict(NUMBERS[0])
    model.intercepts_[-1][:] += 1.0  # in place
    np.testing.assert_allclose(model.predict(NUMBERS[0]), before + 1.0)
    model.coefs_ = [w * 0.0 for w in model.coefs_]  # others
    np.testing.assert_allclose(model.predict(NUMBERS[0]), model.intercepts_[-1][0])


@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_a_stored_model_continues_as_if_never_stored(backend_case, solver, tmp_path):
    x = backend_case.asarray(IRIS[0].astype("float32"))
    model = small(solver=solver, device="auto")
    for _ in range(3):
        model.partial_fit(x, IRIS[1], classes=[0, 1, 2])
    joblib.dump(model, tmp_path / "model.joblib")
    stored = [pickle.loads(pickle.dumps(model)), joblib.load(tmp_path / "model.joblib"), copy.deepcopy(model)]
    model.partial_fit(x, IRIS[1])
    for loaded in stored:
        loaded.partial_fit(x, IRIS[1])
        for a, b in zip(loaded.coefs_ + loaded.intercepts_, model.coefs_ + model.intercepts_, strict=True):
            np.testing.assert_array_equal(a, b)


def test_no_device_arrays_are_stored(hurried):
    strict = pytest.importorskip("array_api_strict")
    model = small(device="auto").fit(strict.asarray(IRIS[0], device=strict.Device("device1")), IRIS[1])
    stored = pickle.dumps(model)
    assert b"array_api_strict" not in stored
    assert b"array_api_strict" in pickle.dumps(strict.__name__)  # it would show


def test_clone_and_representation():
    model = small(class_weight={0: 2.0})
    copied = clone(model)
    assert copied.get_params() == model.get_params()
    assert not hasattr(copied, "coefs_")
    assert repr(MLPClassifier(device="cuda")) == "MLPClassifier(device='cuda')"
    assert "MLPClassifier" in model._repr_html_()


# --- scikit-learn's tools ---


def test_in_scikit_learns_tools(hurried):
    x, y = IRIS
    model = small(max_iter=40, learning_rate_init=0.05)
    pipeline = make_pipeline(StandardScaler(), model)
    assert cross_val_score(pipeline, x, y, cv=3).mean() > 0.85
    search = GridSearchCV(pipeline, {"mlpclassifier__alpha": [1e-4, 1e3]}, cv=3).fit(x, y)
    assert search.best_params_ == {"mlpclassifier__alpha": 1e-4}
    held_out = (StandardScaler().fit(x).transform(x), y)
    fitted = pipeline.fit(x, y, mlpclassifier__validation_data=held_out)[-1]
    assert fitted.validation_scores_[-1] == fitted.score(*held_out)
    voting = VotingClassifier([("mlp", model), ("bayes", GaussianNB())], voting="soft").fit(x, y)
    assert voting.score(x, y) > 0.9
    calibrated = CalibratedClassifierCV(model, cv=2).fit(x, y)
    np.testing.assert_allclose(calibrated.predict_proba(x).sum(axis=1), 1.0)
    importance = permutation_importance(pipeline.fit(x, y), x, y, n_repeats=2, random_state=0)
    assert np.argmax(importance.importances_mean) in (2, 3)  # the petals


# --- failures during training ---


def test_ctrl_c_keeps_what_was_learned(monkeypatch):
    follow = FitMonitor.follow

    def interrupt_the_third(self, progress):
        if progress.epoch == 3:
            raise KeyboardInterrupt
        return follow(self, progress)

    monkeypatch.setattr(FitMonitor, "follow", interrupt_the_third)
    with pytest.warns(UserWarning, match="interrupted by user"):
        model = small().fit(*IRIS)
    assert model.n_iter_ == 2
    monkeypatch.undo()
    with pytest.warns(ConvergenceWarning):
        three = small(max_iter=3).fit(*IRIS)
    np.testing.assert_array_equal(model.coefs_[0], three.coefs_[0])  # the third epoch's weights existed already


@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_weights_that_are_not_finite_are_refused(solver, hurried):
    x = np.finfo(float).max / 100 * np.random.default_rng(0).uniform(-1, 1, (20, 2))
    with pytest.raises(ValueError, match="non-finite parameter weights"):
        small(MLPRegressor, solver=solver).fit(x, np.linspace(-1.0, 1.0, 20))


def test_early_stopping_outlives_divergence():
    model = small(
        MLPRegressor, activation="identity", solver="sgd", learning_rate_init=5.0, early_stopping=True, max_iter=200
    )
    with pytest.warns(ConvergenceWarning, match="finite"):
        model.fit(NUMBERS[0] * 10, NUMBERS[1])
    assert math.isnan(model.validation_scores_[-1])
    assert isinstance(model.validation_scores_[-1], float)
    assert np.all(np.isfinite(model.predict(NUMBERS[0])))


def test_too_few_samples_to_hold_any_out():
    with pytest.raises(ValueError, match="validation set is too small"):
        small(MLPRegressor, early_stopping=True).fit(NUMBERS[0][:5], NUMBERS[1][:5])
