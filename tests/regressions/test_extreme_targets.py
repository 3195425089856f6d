"""Targets with one class, batches that lack a class, and targets such as 1e-200 or 1e300.

A classifier predicts the one class it knows, with the probability 1. Numbers whose loss vanishes or overflows are
refused: scikit-learn trains on them, and reports an R^2 of 0.0. See scikit-learn/scikit-learn#4199 (probabilities of a
single class) and scikit-learn/scikit-learn#29504 (numbers that overflow).
"""

import warnings
from contextlib import nullcontext

import numpy as np
import pytest
import scipy.sparse
import sklearn.neural_network
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import r2_score
from sklearn.model_selection import KFold

import gpubp

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

rng = np.random.default_rng(7)
X = rng.normal(size=(60, 4))
r = X @ np.array([1.0, -2.0, 0.5, 0.0])
THREE = np.arange(60) % 3
COLUMNS = np.c_[THREE, THREE[::-1]]
SMALL = {"hidden_layer_sizes": (6,), "max_iter": 8, "random_state": 3}


def classifier(**options):
    return gpubp.MLPClassifier(**SMALL | {"device": "cpu"} | options)


def regressor(**options):
    return gpubp.MLPRegressor(**SMALL | {"device": "cpu"} | options)


# --- one class ---

ONE_CLASS = {
    "fit": lambda y, classes: classifier().fit(X, y),
    "early_stopping": lambda y, classes: classifier(early_stopping=True).fit(X, y),
    "validation_data": lambda y, classes: classifier().fit(X, y, validation_data=(X, y)),
    "balanced": lambda y, classes: classifier(class_weight="balanced").fit(X, y),
    "lbfgs": lambda y, classes: classifier(solver="lbfgs").fit(X, y),
    "partial_fit": lambda y, classes: classifier().partial_fit(X, y, classes=classes),
    "warm_start": lambda y, classes: classifier(warm_start=True).fit(X, y).fit(X, y),
    "restarts": lambda y, classes: classifier(n_restarts=2).fit(X, y),
    "ensemble": lambda y, classes: gpubp.MLPEnsembleClassifier(classifier(), 2, random_state=0).fit(X, y),
}


@pytest.mark.parametrize("name", ONE_CLASS)
@pytest.mark.parametrize("label", ["a", 7, True])
def test_one_class(name, label):
    y = np.full(60, label)
    model = ONE_CLASS[name](y, [label])
    np.testing.assert_array_equal(model.predict(X), y)
    np.testing.assert_array_equal(model.predict_proba(X), np.ones((60, len(model.classes_))))
    assert model.score(X, y) == 1.0
    if name == "ensemble":
        np.testing.assert_array_equal(model.predict_std(X), np.zeros((60, 1)))
    else:
        np.testing.assert_array_equal(model.predict_log_proba(X), np.zeros((60, 1)))


def test_the_training_is_scikit_learns():
    sklearn_model = sklearn.neural_network.MLPClassifier(**SMALL).fit(X, np.full(60, "a"))
    np.testing.assert_allclose(classifier().fit(X, np.full(60, "a")).loss_curve_, sklearn_model.loss_curve_, rtol=1e-12)


def test_folds_with_one_class():
    y = np.arange(60) // 30
    search = gpubp.BatchedSearchCV(classifier(), {"alpha": [1e-4]}, cv=KFold(2), progress=False).fit(X, y)
    np.testing.assert_array_equal(search.cv_results_["mean_test_score"], [0.0])
    columns = np.c_[y, 1 - y, y * 2]
    search = gpubp.BatchedSearchCV(classifier(), {"alpha": [1e-4]}, cv=KFold(2), progress=False).fit(X, columns)
    np.testing.assert_array_equal(search.cv_results_["mean_test_score"], [0.0])


def test_a_column_with_one_class():
    model = classifier().fit(X, np.c_[THREE, np.full(60, 4)])
    assert [p.shape for p in model.predict_proba(X)] == [(60, 3), (60, 1)]
    np.testing.assert_array_equal(model.predict_proba(X)[1], np.ones((60, 1)))


def test_onnx_of_one_class():
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    model = classifier().fit(X, np.full(60, "a"))
    session = runtime.InferenceSession(model.to_onnx(dtype="float32").SerializeToString())
    labels, probabilities = session.run(None, {"X": X.astype(np.float32)})
    assert set(labels) == {"a"}
    np.testing.assert_array_equal(probabilities, np.ones((60, 1)))


# --- batches that lack a class ---


@pytest.mark.parametrize("batch", [THREE % 2, THREE * 0, THREE])
def test_partial_fit_on_batches_that_lack_a_class(batch):
    models = [
        sklearn.neural_network.MLPClassifier(**SMALL).partial_fit(X, batch, classes=[0, 1, 2]).partial_fit(X, THREE),
        classifier().partial_fit(X, batch, classes=[0, 1, 2]).partial_fit(X, THREE),
    ]
    np.testing.assert_allclose(*[model.predict_proba(X) for model in models], rtol=1e-7)
    for model in models:
        with pytest.raises(ValueError, match="classes not in"):
            model.partial_fit(X, THREE + 1)


def test_a_warm_start_needs_all_classes_and_names_partial_fit():
    """As in scikit-learn."""
    model = classifier(warm_start=True).fit(X, THREE)
    with pytest.raises(
        ValueError, match=r"same classes as in the previous.*partial_fit also trains on samples that lack"
    ):
        model.fit(X, THREE % 2)
    assert model.partial_fit(X, THREE % 2).classes_.tolist() == [0, 1, 2]
    model = classifier(warm_start=True).fit(X, COLUMNS)
    for y in (np.minimum(COLUMNS, 1), np.c_[THREE, THREE * 0]):
        with pytest.raises(ValueError, match="same classes as in the previous call"):
            model.fit(X, y)
        model.partial_fit(X, y)


def test_columns_of_classes_whatever_a_batch_holds():
    """scikit-learn tells columns of classes from marks of labels by their number of values."""
    lacking, classes = np.minimum(COLUMNS, 1), [[0, 1, 2], [0, 1, 2]]
    model = classifier().partial_fit(X, lacking, classes=classes).partial_fit(X, COLUMNS)
    assert [p.shape for p in model.predict_proba(X)] == [(60, 3), (60, 3)]
    whole = classifier().fit(X, COLUMNS)
    expected = np.mean(np.all(whole.predict(X) == lacking, axis=1))
    assert whole.score(X, lacking) == pytest.approx(expected)
    whole.fit(X, COLUMNS, validation_data=(X, lacking))
    assert np.isfinite(whole.validation_scores_).all()
    with pytest.raises(ValueError, match="differ from those of the first call"):
        model.partial_fit(X, COLUMNS, classes=[[0, 1], [0, 1, 2]])
    with pytest.raises(ValueError, match="classes not in"):
        model.partial_fit(X, COLUMNS + 1)
    with pytest.raises(ValueError, match="a list, one array per output"):
        classifier().partial_fit(X, COLUMNS, classes=[0, 1, 2])


@pytest.mark.parametrize("values", [(1, 2), (-1, 1), (0, 5)])
def test_two_numbers_other_than_zero_and_one_are_classes(values):
    """scikit-learn learns that every label is marked."""
    columns = np.asarray(values)[np.c_[r > 0, X[:, 1] > 0].astype(int)]
    model = classifier(max_iter=300, learning_rate_init=0.03).fit(X, columns)
    assert model.score(X, columns) > 0.9
    assert set(np.unique(model.predict(X))) == set(values)


# --- numbers that are too large or too small ---

FITS = {
    "fit": lambda y, **options: regressor(**options).fit(X, y),
    "partial_fit": lambda y, **options: regressor(**options).partial_fit(X, y),
    "lbfgs": lambda y, **options: regressor(solver="lbfgs", **options).fit(X, y),
    "restarts": lambda y, **options: regressor(n_restarts=2, **options).fit(X, y),
    "sparse X": lambda y, **options: regressor(**options).fit(scipy.sparse.csr_matrix(X), y),
    "ensemble": lambda y, **options: gpubp.MLPEnsembleRegressor(regressor(**options), 2).fit(X, y),
    "search": lambda y, **options: gpubp.BatchedSearchCV(
        regressor(**options), {"alpha": [1e-4]}, cv=2, progress=False, error_score="raise"
    ).fit(X, y),
}


@pytest.mark.parametrize("name", FITS)
@pytest.mark.parametrize(
    ("scale", "precision", "message"),
    [
        (1e-200, "float64", r"differ by .*e-200 at most, and loss='squared_error' vanishes in float64; scale them"),
        (1e-300, "float64", "vanishes in float64"),
        (1e160, "float64", "the sum of loss='squared_error' overflows in float64; scale them, such as y / .e.160"),
        (1e300, "float64", "overflows in float64"),
        (1e-30, "float32", "vanishes in float32.*, or use dtype='float64'"),
        (1e30, "float32", "overflows in float32.*, or use dtype='float64'"),
        (1e300, "float32", r"overflows in float32; scale them, such as y / [\de+]*$"),
    ],
)
def test_targets_whose_loss_vanishes_or_overflows_are_refused(name, scale, precision, message):
    with pytest.raises(ValueError, match=message):
        FITS[name](scale * r, dtype=precision)


@pytest.mark.parametrize("loss", ["absolute_error", "huber", "log_cosh", "poisson", "quantile(0.9)"])
def test_other_losses(loss):
    target = np.abs(r) if loss == "poisson" else r
    with pytest.raises(ValueError, match="overflows in float32"):
        regressor(loss=loss, dtype="float32").fit(X, 1e38 * target)
    with pytest.raises(ValueError, match="vanishes in float32"):
        regressor(loss=loss, dtype="float32").fit(X, 1e-40 * target)


TRAININGS = {
    "train": lambda network, y, **options: gpubp.train(network, X, y, **options),
    "a stack": lambda network, y, **options: gpubp.train(
        network, X, np.stack([y, r[:, None]]), theta=gpubp.nn.initialization.initial_weights(network, [0, 1]), **options
    ),
    "validation_data": lambda network, y, **options: gpubp.train(
        network, X, r[:, None], validation_data=(X, y), **options
    ),
    "lbfgs": lambda network, y, **options: gpubp.train(network, X, y, **options | {"optimizer": gpubp.lbfgs()}),
    "stream": lambda network, y, **options: gpubp.train(network, gpubp.open_stream(X, y), **options),
}
OPTIONS = {"optimizer": gpubp.adam(), "epochs": 2, "device": "cpu"}


@pytest.mark.parametrize("name", TRAININGS)
@pytest.mark.parametrize(
    ("loss", "scale", "dtype", "message"),
    [
        ("squared", 1e160, "float64", r"targets reach .*e\+160, and the sum of the loss 'squared' overflows"),
        ("squared", -1e30, "float32", r"scale them, such as .*targets / .e\+30, or use dtype='float64'$"),
        ("absolute", 3e37, "float32", "the sum of the loss 'absolute' overflows in float32"),
        ("huber(0.5)", 3e37, "float32", r"the sum of the loss 'huber\(0.5\)' overflows in float32"),
        ("dead_zone", 1e30, "float32", "the loss 'dead_zone' overflows in float32"),
    ],
)
def test_train_refuses_targets_whose_loss_overflows(name, loss, scale, dtype, message):
    """It ended in "diverged", after no epoch."""
    network = gpubp.Network((4, 3, 1), loss=loss)
    with pytest.raises(gpubp.DataError, match=message):
        TRAININGS[name](network, scale * r[:, None], dtype=dtype, **OPTIONS)


@pytest.mark.parametrize("name", TRAININGS)
@pytest.mark.parametrize(("loss", "scale"), [("squared", 1e17), ("absolute", 1e30), ("huber", 1e30)])
def test_train_takes_large_targets_whose_loss_does_not_overflow(name, loss, scale):
    network = gpubp.Network((4, 3, 1), loss=loss)
    fit = TRAININGS[name](network, scale * r[:, None], dtype="float32", **OPTIONS)
    assert np.isfinite(fit.history.loss).all()
    assert len(fit.history.loss) == 2


@pytest.mark.parametrize("n_outputs", [1, 2])
def test_the_sum_over_all_outputs_must_not_overflow(n_outputs):
    network, targets = gpubp.Network((1, n_outputs)), np.full((1, n_outputs), 2.2e19)  # a loss of 2.4e38 each
    with pytest.raises(gpubp.DataError, match="overflows in float32") if n_outputs > 1 else nullcontext():
        gpubp.train(network, [[1.0]], targets, dtype="float32", **OPTIONS)


def test_blocks_of_a_stream_are_not_checked_for_a_loss():
    stream = gpubp.open_stream(X, 1e200 * r[:, None])
    assert sum(len(targets) for _, targets in stream.blocks()) == 60


@pytest.mark.parametrize("scale", [1e-18, 1e-3, 1e17])
def test_targets_within_the_range_train_as_before(scale):
    for y in (scale * r, np.full(60, scale), np.zeros(60), np.c_[scale * r, np.zeros(60)]):
        assert np.isfinite(regressor(dtype="float32").fit(X, y).loss_)


@pytest.mark.parametrize("loss", ["squared_error", "huber", "huber(1e-3)", "huber(1e-20)", "log_cosh"])
@pytest.mark.parametrize(("precision", "scale"), [("float64", 1e-200), ("float32", 1e-30)])
def test_losses_that_are_squares_near_zero_vanish_as_squares(loss, precision, scale):
    with pytest.raises(ValueError, match=f"vanishes in {precision}"):
        regressor(loss=loss, dtype=precision).fit(X, scale * r)
    regressor(loss="absolute_error", dtype=precision).fit(X, scale * r)


@pytest.mark.parametrize(("loss", "fits"), [("huber(1e9)", True), ("huber(1e30)", False), ("squared_error", False)])
def test_huber_is_linear_beyond_its_width(loss, fits):
    if fits:
        assert np.isfinite(regressor(loss=loss, dtype="float32").fit(X, 1e22 * r).loss_)
    else:
        with pytest.raises(ValueError, match="overflows in float32"):
            regressor(loss=loss, dtype="float32").fit(X, 1e22 * r)


@pytest.mark.parametrize("loss", ["squared_error", "huber", "log_cosh"])
@pytest.mark.parametrize("others", [r, 0 * r, 1e90 * r])
def test_one_column_that_vanishes_is_named(loss, others):
    with pytest.raises(ValueError, match=r"differ by .*e-200 at most in column 1, .* such as y\[:, 1\] / 9e-200"):
        regressor(loss=loss).fit(X, np.c_[others, 1e-200 * r, r])
    with pytest.raises(ValueError, match=r"reach .* in column 2, .* such as y\[:, 2\] / 5e.300"):
        regressor().fit(X, np.c_[others, r, 1e300 * r])


@pytest.mark.parametrize("batch", [np.full(60, 1e-20), np.eye(1, 60)[0] * 1e-20])
@pytest.mark.parametrize("use", ["partial_fit", "fit"])
def test_a_later_batch_may_hardly_differ(batch, use):
    models = [regressor(dtype="float32", warm_start=True).fit(X, r) for _ in range(2)]
    for model, y in zip(models, (batch, np.zeros(60)), strict=True):
        getattr(model, use)(X, y)
    np.testing.assert_allclose(*[model.predict(X) for model in models], rtol=1e-5)
    with pytest.raises(ValueError, match="overflows in float32"):
        getattr(models[0], use)(X, 1e30 * r)


def test_scaled_targets_are_learned():
    with pytest.raises(ValueError, match="such as y / 9e-200"):
        regressor().fit(X, 1e-200 * r)
    y = 1e-200 * r / 9e-200
    score = regressor(max_iter=300, learning_rate_init=0.03).fit(X, y).score(X, y)
    expected = regressor(max_iter=300, learning_rate_init=0.03).fit(X, r / 9).score(X, r / 9)
    assert score == pytest.approx(expected, rel=1e-6)
    assert score > 0.9


@pytest.mark.parametrize("exponent", [-1000, -700, 700, 1000])
def test_r2_does_not_depend_on_the_scale(exponent):
    """scikit-learn's is 0.0, -inf or NaN."""
    model = regressor(max_iter=100, learning_rate_init=0.03).fit(X, r)
    expected = model.score(X, r)
    model.coefs_[-1] = np.ldexp(model.coefs_[-1], exponent)
    model.intercepts_[-1] = np.ldexp(model.intercepts_[-1], exponent)
    assert model.score(X, np.ldexp(r, exponent)) == expected > 0.5


def test_r2_of_targets_that_were_not_learned():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ConvergenceWarning)
        for n_outputs in (1, 2):
            y = np.stack([r] * n_outputs, axis=1).squeeze()
            model = regressor().fit(X, y)
            assert model.score(X, y) == r2_score(y, model.predict(X))
            assert model.score(X, 1e-200 * y) < -1e100
            assert model.score(X, 1e300 * y) == pytest.approx(r2_score(y, np.zeros_like(y)))
    two = regressor().fit(X, np.c_[r, r])
    assert two.score(X, np.c_[r, 1e-200 * r]) < -1e100


def test_early_stopping_compares_scores_of_any_scale():
    """Validation targets that are far too large leave R^2 a number."""
    model = regressor(early_stopping=True, max_iter=30).fit(X, r, validation_data=(X, 1e300 * r))
    assert np.isfinite(model.validation_scores_).all()


@pytest.mark.parametrize("as_stream", [False, True])
def test_a_table_whose_target_vanishes_is_refused(as_stream, tmp_path):
    path = tmp_path / "table.csv"
    rows = zip(X[:, 0].tolist(), (1e-200 * r).tolist(), strict=True)
    path.write_text("a,y\n" + "".join(f"{a},{target}\n" for a, target in rows))
    prepare = gpubp.prepare_stream if as_stream else gpubp.prepare_table
    with pytest.raises(ValueError, match="column 'y' holds numbers too small to standardise"):
        prepare(path, target="y")
