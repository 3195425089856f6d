"""np.seterr(all="raise") changes nothing: harmless underflow and overflow raise at no entry point.

See scikit-optimize/scikit-optimize#903 and HIPS/autograd#110.
"""

import inspect
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

import gpubp
import gpubp.explain
import gpubp.plotting
import gpubp.testing

rng = np.random.default_rng(7)
X = rng.normal(size=(60, 3))
TINY = np.where(rng.uniform(size=X.shape) < 0.3, 1e-300, X)  # underflows in float32
y = (X[:, 0] - X[:, 1] > 0).astype(int)
r = X @ np.array([1.0, -2.0, 0.5])
SMALL = {"hidden_layer_sizes": (6,), "max_iter": 15, "random_state": 3, "device": "cpu"}
NETWORK = gpubp.Network((3, 4, 2), output_activation="softmax", loss="cross_entropy")
ONE_HOT = np.eye(2)[y]
MODEL = (
    NETWORK,
    np.where(np.arange(NETWORK.n_parameters) % 3 == 0, 1e-200, 30.0 * rng.normal(size=NETWORK.n_parameters)),
)
PLANE = gpubp.Network((2, 1), output_activation="logistic", loss="binary_cross_entropy")


def classifier(**options):
    return gpubp.MLPClassifier(**SMALL | options).fit(50 * X, y, validation_data=(TINY, y))


def regressor(**options):
    return gpubp.MLPRegressor(**SMALL | options).fit(TINY, 1e-18 * r, sample_weight=np.abs(r) * 1e-30)


def trained(**options):
    options = {"epochs": 20, "seed": 1, "device": "cpu"} | options
    return gpubp.train(NETWORK, 50 * TINY, ONE_HOT, validation_data=(1e3 * X, ONE_HOT), **options)


def table():
    return {"a": 50 * X[:, 0], "b": TINY[:, 1], "c": np.where(y, "p", "q")}


def table_model():
    return gpubp.fit_table(gpubp.prepare_table(table(), target="c"), epochs=5, device="cpu")


ENTRY_POINTS = {
    "MLPClassifier": lambda: classifier().predict_proba(1e3 * X),
    "MLPClassifier, log": lambda: classifier().predict_log_proba(1e3 * X),
    "MLPClassifier, score": lambda: classifier(dtype="float32").score(TINY, y),
    "lbfgs": lambda: classifier(solver="lbfgs").predict_proba(TINY),
    "MLPClassifier, logistic": lambda: classifier(activation="logistic", early_stopping=True).predict_proba(1e3 * X),
    "MLPClassifier, partial_fit": lambda: (
        gpubp.MLPClassifier(**SMALL).partial_fit(50 * X, y, classes=[0, 1]).predict_proba(1e3 * X)
    ),
    "MLPRegressor": lambda: regressor().predict(1e-300 * X),
    "MLPRegressor, float32": lambda: regressor(dtype="float32").predict(1e-300 * X),
    "MLPRegressor, log_cosh": lambda: regressor(loss="log_cosh").score(X, r),
    "MLPRegressor, quantile and mish": lambda: regressor(loss="quantile(0.9)", activation="mish").predict(1e3 * X),
    "MLPClassifier, restarts": lambda: classifier(n_restarts=2).predict_proba(1e3 * X),
    "MLPEnsembleClassifier": lambda: (
        gpubp.MLPEnsembleClassifier(gpubp.MLPClassifier(**SMALL), 2, random_state=0)
        .fit(50 * TINY, y)
        .predict_proba(1e3 * X)
    ),
    "BatchedSearchCV": lambda: (
        gpubp.BatchedSearchCV(gpubp.MLPClassifier(**SMALL), {"alpha": [1e-4, 1e-300]}, cv=2, progress=False)
        .fit(50 * TINY, y)
        .cv_results_["mean_test_score"]
    ),
    "train": lambda: trained().theta,
    "train, a stack": lambda: trained(theta=gpubp.initial_weights(NETWORK, range(2))).theta,
    "predict": lambda: gpubp.predict(NETWORK, trained().theta, 1e3 * X, device="cpu"),
    "check_gradient": lambda: gpubp.check_gradient(np, NETWORK, 1e-3 * trained().theta, TINY, ONE_HOT).gradient,
    "fit_table, prepare_table and predict_table": lambda: gpubp.predict_table(
        gpubp.fit_table(gpubp.prepare_table(table(), target="c"), epochs=5, device="cpu").model, table()
    )["c=p"],
    "permutation_importance and importance_bars": lambda: (
        gpubp.plotting.importance_bars(importance := gpubp.permutation_importance(table_model(), table())).get_xlim(),
        importance.importances.ravel(),
    )[1],
    "partial_dependence and partial_dependence_curve": lambda: (
        gpubp.plotting.partial_dependence_curve(one := gpubp.partial_dependence(table_model(), table(), ["a"])["a"]),
        one.average.ravel(),
    )[1],
    "calibration_curve and reliability_diagram": lambda: gpubp.plotting.reliability_diagram(
        gpubp.calibration_curve(table_model(), table())
    ).get_xlim(),
    "TabularClassifier": lambda: (
        gpubp.TabularClassifier(epochs=5, device="cpu").fit(table(), "c").predict_proba(table())
    ),
    "TabularRegressor": lambda: (
        gpubp.TabularRegressor(epochs=5, device="cpu", validation_fraction=0.5)
        .fit(1e-140 * X, r)
        .predict_quantiles(1e3 * X, 0.6)
    ),
    "initial_weights": lambda: gpubp.initial_weights(NETWORK, 3, dtype="float32"),
    "explain": lambda: [
        passage.result.values.sum() for passage in gpubp.explain.explain(*MODEL, TINY[:3], ONE_HOT[:3])
    ],
    "html_page": lambda: gpubp.explain.html_page(gpubp.explain.Example(*MODEL, TINY[:3], ONE_HOT[:3])),
    "hidden_heat_map": lambda: gpubp.plotting.hidden_heat_map(MODEL, TINY).images[0].get_array(),
    "hidden_projection": lambda: gpubp.plotting.hidden_projection(MODEL, TINY).collections[0].get_offsets(),
    "loss_surface": lambda: gpubp.plotting.loss_surface(MODEL, TINY, ONE_HOT, resolution=5).get_xlim(),
    "decision_boundary": lambda: (
        gpubp.plotting.decision_boundary((PLANE, 1e3 * np.ones(3)), 50 * X[:, :2], resolution=9).images[0].get_array()
    ),
    "hinton_diagram": lambda: gpubp.plotting.hinton_diagram(MODEL).get_xlim(),
    "network_diagram": lambda: gpubp.plotting.network_diagram(MODEL).get_xlim(),
    "find_learning_rate and learning_rate_curve": lambda: (
        gpubp.plotting.learning_rate_curve(
            found := gpubp.find_learning_rate(NETWORK, 50 * TINY, ONE_HOT, epochs=2, device="cpu")
        ).get_xlim(),
        found.loss,
    )[1],
    "learning_curve": lambda: gpubp.plotting.learning_curve(trained().history).get_xlim(),
    "learning_curves": lambda: gpubp.plotting.learning_curves({"a": trained().history}).get_xlim(),
    "LossCurveDisplay": lambda: gpubp.LossCurveDisplay([1.0, 1e-310, 0.0]).plot(log=True).ax_.get_xlim(),
    "open_stream": lambda: gpubp.train(NETWORK, gpubp.open_stream(TINY, ONE_HOT), epochs=3, device="cpu").theta,
    "to_onnx": lambda: list(gpubp.to_onnx(*MODEL, dtype="float32").SerializeToString(deterministic=True)),
    "MLPRegressor, to_onnx": lambda: list(regressor().to_onnx(dtype="float32").SerializeToString(deterministic=True)),
    "assert_agree": lambda: gpubp.testing.assert_agree(TINY, TINY, "forward") or (),
    "deviation": lambda: gpubp.testing.deviation(TINY, 1e-300 + TINY, "forward"),
    "assert_functions_agree": lambda: (
        gpubp.testing.assert_functions_agree(np.exp, np.exp, -TINY, kind="elementwise") or ()
    ),
    "check_agreement and compare": lambda: [
        row.deviation for row in gpubp.testing.check_agreement("cpu", dtypes=["float32"])
    ],
}
EXEMPT = {
    *("BatchedHalvingSearchCV", "BatchedOptunaSearchCV", "MLPEnsembleRegressor"),  # share their code with those above
    *("CSVLogger", "EarlyStopping", "MLflowLogger", "ModelCheckpoint", "ProgressBar", "TensorBoardLogger"),
    *("WandbLogger", "mlflow_autolog"),
    *("Checkpoints", "Fit", "JSONLines", "Network", "Progress", "Stream"),
    *(
        "all_correct",
        "get_callback",
        "get_optimizer",
        "load_dataset",
        "load_model",
        "ntk_rate_factors",
        "one_hot",
        "read_table",
        "save_model",
    ),
    *(
        "adagrad",
        "adam",
        "adamw",
        "clipped",
        "decay_scaled",
        "decayed",
        "gradient_descent",
        "lion",
        "momentum",
        "nesterov",
    ),
    *(
        "rate_scaled",
        "rmsprop",
        "Cosine",
        "CosineCycles",
        "FlatCosine",
        "InverseScaling",
        "PiecewiseConstant",
        "WarmUp",
        "levenberg_marquardt",
    ),  # evaluated while training
    *("prepare_stream", "save_learning_curve"),
    *("Agreement", "Comparison", "Example", "Passage", "Term", "Tolerance", "comparisons", "rain_network"),
    *("assert_agreement", "left_out"),
}
"""Public names at which nothing is computed from the user's numbers, or only by another one that is called here."""


def test_every_public_callable_is_called_or_exempt():
    public = {
        name
        for module in (gpubp, gpubp.explain, gpubp.plotting, gpubp.testing)
        for name in getattr(module, "__all__", vars(module))
        if callable(value := getattr(module, name)) and not name.startswith("_")
        if not (inspect.isclass(value) and issubclass(value, Exception))
    }
    called = {name for key in ENTRY_POINTS for name in key.replace(" and", ",").split(", ")} & public
    assert public - EXEMPT == called
    assert public >= EXEMPT


@pytest.mark.parametrize("name", ENTRY_POINTS)
def test_flags_that_raise_change_nothing(name):
    if hasattr(gpubp.plotting, name) or name == "LossCurveDisplay":
        pytest.importorskip("matplotlib", reason="the extra 'cli' is not installed")
    if name.endswith("to_onnx"):
        pytest.importorskip("onnx", reason="the extra 'onnx' is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        with np.errstate(all="ignore"):
            expected = ENTRY_POINTS[name]()
        with np.errstate(all="raise"):
            result = ENTRY_POINTS[name]()
    np.testing.assert_array_equal(np.asarray(result), np.asarray(expected))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_threads_of_an_executor():
    """NumPy's flags belong to a thread: those of the workers are set where they train."""
    scores = []
    for flag in ("ignore", "raise"):
        with ThreadPoolExecutor(1) as executor:
            executor.submit(np.seterr, all=flag).result()
            search = gpubp.BatchedSearchCV(
                gpubp.MLPClassifier(**SMALL), {"alpha": [1e-4, 1e-300]}, cv=2, executor=executor, progress=False
            )
            scores.append(search.fit(500 * TINY, y).cv_results_["mean_test_score"])
    assert np.all(np.isfinite(scores))
    np.testing.assert_array_equal(*scores)
