"""The same seed gives the same model: gpubp's estimators compared with scikit-learn's over whole trajectories."""

import inspect
import warnings

import numpy as np
import pytest
import scipy.sparse
import sklearn.neural_network
from sklearn.datasets import make_classification, make_multilabel_classification, make_regression
from sklearn.exceptions import ConvergenceWarning

import gpubp.estimators

# L-BFGS amplifies rounding: with a small penalty and 100 iterations, scikit-learn's own fits differ by up to a factor
# if only the order of the samples changes. Whole fits are therefore compared with a large penalty and 50 iterations.
WHOLE_LBFGS = {"alpha": 3.0, "max_iter": 50}
N_SAMPLES = 90
HAS_WEIGHTS = "sample_weight" in inspect.signature(sklearn.neural_network.MLPClassifier.fit).parameters
HAS_POISSON = "loss" in inspect.signature(sklearn.neural_network.MLPRegressor).parameters


def _targets():
    kinds = {"binary": 2, "multiclass": 3}
    targets = {
        name: make_classification(N_SAMPLES, 6, n_informative=4, n_classes=n, random_state=0)
        for name, n in kinds.items()
    }
    targets["text"] = (targets["multiclass"][0], np.asarray(["a", "b", "c"])[targets["multiclass"][1]])
    targets["multilabel"] = make_multilabel_classification(N_SAMPLES, 6, n_classes=4, random_state=0)
    x, y = make_regression(N_SAMPLES, 6, n_targets=2, noise=5.0, random_state=0)
    targets["numbers"] = (x, y[:, 0] / 50.0)
    targets["two numbers"] = (x, y / 50.0)
    targets["counts"] = (x, np.random.default_rng(0).poisson(np.exp(0.3 * x[:, 0])).astype(float))
    return targets


TARGETS = _targets()
REGRESSION = {"numbers", "two numbers", "counts"}

# targets, solver and activation in all combinations; then one option after the other
SETTINGS = [
    (targets, {"solver": solver, "activation": activation})
    for targets in ("binary", "multiclass", "multilabel", "numbers", "counts")
    for solver in ("sgd", "adam", "lbfgs")
    for activation in ("identity", "logistic", "tanh", "relu")
]
SETTINGS += [
    (targets, options)
    for targets in ("multiclass", "numbers")
    for options in (
        {"hidden_layer_sizes": ()},
        {"hidden_layer_sizes": 4},
        {"hidden_layer_sizes": (7, 5, 3), "activation": "tanh"},
        {"hidden_layer_sizes": (7, 5), "activation": "logistic", "solver": "lbfgs"},
        {"batch_size": 7},
        {"batch_size": 1, "max_iter": 20},
        {"batch_size": 30, "solver": "sgd", "learning_rate_init": 0.02},
        {"batch_size": 500},
        {"shuffle": False, "batch_size": 20},
        {"shuffle": False, "solver": "sgd"},
        {"early_stopping": True, "batch_size": 20},
        {"early_stopping": True, "solver": "sgd", "learning_rate": "adaptive", "learning_rate_init": 0.05},
        {"early_stopping": True, "validation_fraction": 0.3, "n_iter_no_change": 3, "shuffle": False},
        {"weights": True, "batch_size": 20},
        {"weights": True, "early_stopping": True, "solver": "sgd"},
        {"weights": True, "solver": "lbfgs"},
        {"weights": -1.0, "batch_size": 20},
        {"weights": -1.0, "solver": "sgd"},
        {"solver": "sgd", "learning_rate": "invscaling", "power_t": 0.3, "learning_rate_init": 0.5},
        {"solver": "sgd", "learning_rate": "adaptive", "tol": 0.01, "n_iter_no_change": 2, "learning_rate_init": 0.1},
        {"solver": "adam", "learning_rate": "adaptive", "tol": 0.1, "n_iter_no_change": 2},
        {"solver": "sgd", "nesterovs_momentum": False},
        {"solver": "sgd", "momentum": 0.0, "learning_rate_init": 0.1},
        {"alpha": 0.0},
        {"alpha": 3.0, "batch_size": 20},
        {"alpha": 3.0, "solver": "lbfgs"},
        {"beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-3},
        {"tol": 0.05, "n_iter_no_change": 2},
        {"sparse": "csr", "batch_size": 20},
        {"sparse": "csc", "early_stopping": True},
        {"sparse": "csr", "solver": "lbfgs"},
        {"max_fun": 15, "solver": "lbfgs"},
        {"random_state": 7},
    )
]
SETTINGS += [
    ("text", {"early_stopping": True}),
    ("binary", {"early_stopping": True, "weights": True}),
    ("multilabel", {"early_stopping": True}),
    ("multilabel", {"weights": True, "batch_size": 20}),
    ("two numbers", {"solver": "sgd", "alpha": 0.0, "tol": 0.0, "max_iter": 40}),
    ("two numbers", {"solver": "adam", "alpha": 0.0, "tol": 0.0, "max_iter": 40}),
    ("two numbers", {"early_stopping": True, "alpha": 0.0}),
]


def _name(setting):
    targets, options = setting
    return ",".join([targets, *(f"{key}={value}".replace(" ", "") for key, value in options.items())])


def inputs(x, sparse):
    """Return X as it is, or as a sparse matrix of this format."""
    return scipy.sparse.csr_matrix(np.where(np.abs(x) < 0.5, 0.0, x)).asformat(sparse) if sparse else x


def both(targets, options, **fixed):
    """Fit scikit-learn's model and gpubp's."""
    options = {"random_state": 1, "hidden_layer_sizes": (8,), "max_iter": 100} | options | fixed
    kind = "MLPRegressor" if targets in REGRESSION else "MLPClassifier"
    x, y = TARGETS[targets]
    weights, sparse = options.pop("weights", False), options.pop("sparse", None)
    x = inputs(x, sparse)
    if (weights and not HAS_WEIGHTS) or (targets == "counts" and not HAS_POISSON):
        pytest.skip("this scikit-learn has no sample_weight and no poisson loss to compare with")
    if targets == "text" and not HAS_WEIGHTS:
        pytest.skip("scikit-learn 1.6 cannot stop early where the classes are text")
    arguments = {"sample_weight": weights * np.random.default_rng(1).uniform(0.1, 2.0, N_SAMPLES)} if weights else {}
    if targets == "counts":
        options["loss"] = "poisson"
    models = []
    for package, own in ((sklearn.neural_network, {}), (gpubp.estimators, {"device": "cpu"})):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            warnings.filterwarnings("ignore", "Got `batch_size` less than 1 or larger than", UserWarning)
            warnings.filterwarnings("ignore", ".*iprint.*", DeprecationWarning)  # of an older scikit-learn's
            models.append(getattr(package, kind)(**options, **own).fit(x, y, **arguments))
    return *models, x


def deviation(sklearn_model, gpubp_model):
    """Return the largest difference of any weight, relative to the largest weight of its layer."""
    pairs = zip(
        sklearn_model.coefs_ + sklearn_model.intercepts_, gpubp_model.coefs_ + gpubp_model.intercepts_, strict=True
    )
    return max(np.max(np.abs(a - b)) / np.max(np.abs(a)) for a, b in pairs)


@pytest.mark.parametrize("setting", SETTINGS, ids=_name)
def test_weights_after_20_epochs(setting):
    sklearn_model, gpubp_model, _ = both(*setting, max_iter=20)
    assert sklearn_model.n_iter_ == gpubp_model.n_iter_
    assert all(w.dtype == np.float64 for w in gpubp_model.coefs_)
    assert deviation(sklearn_model, gpubp_model) < 1e-7


@pytest.mark.parametrize("setting", SETTINGS, ids=_name)
def test_whole_fits(setting):
    targets, options = setting
    sklearn_model, gpubp_model, x = both(*setting, **(WHOLE_LBFGS if options.get("solver") == "lbfgs" else {}))
    n_means = 2 if targets == "two numbers" else 1  # scikit-learn's mean over outputs, where gpubp's is the sum
    assert sklearn_model.n_iter_ == gpubp_model.n_iter_
    assert sklearn_model.t_ == gpubp_model.t_
    assert sklearn_model.out_activation_ == gpubp_model.out_activation_
    np.testing.assert_allclose(gpubp_model.loss_, n_means * sklearn_model.loss_, rtol=1e-4)
    for name in ("loss_curve_", "best_loss_"):
        if getattr(sklearn_model, name, None) is not None:
            np.testing.assert_allclose(
                getattr(gpubp_model, name), n_means * np.asarray(getattr(sklearn_model, name)), rtol=1e-4
            )
    for name in ("validation_scores_", "best_validation_score_"):
        if getattr(sklearn_model, name, None) is not None:
            np.testing.assert_allclose(getattr(gpubp_model, name), getattr(sklearn_model, name), rtol=1e-6, atol=1e-9)
        else:
            assert getattr(gpubp_model, name, None) is None
    if targets in REGRESSION:
        np.testing.assert_allclose(gpubp_model.predict(x), sklearn_model.predict(x), rtol=1e-4, atol=1e-6)
    else:
        np.testing.assert_array_equal(gpubp_model.predict(x), sklearn_model.predict(x))
        np.testing.assert_allclose(gpubp_model.predict_proba(x), sklearn_model.predict_proba(x), rtol=1e-4, atol=1e-6)


def test_the_grid_is_large_enough():
    assert len(SETTINGS) >= 60
    assert {options.get("solver", "adam") for _, options in SETTINGS} == {"sgd", "adam", "lbfgs"}


def test_long_fits_by_lbfgs_are_not_determined():
    """The reason for WHOLE_LBFGS: scikit-learn's own fits diverge from each other if the samples are reordered."""
    x, y = TARGETS["binary"]
    order = np.random.default_rng(0).permutation(N_SAMPLES)
    curves = []
    for rows in (np.arange(N_SAMPLES), order):
        model = sklearn.neural_network.MLPClassifier((8,), "logistic", solver="lbfgs", max_iter=100, random_state=1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            warnings.filterwarnings("ignore", ".*iprint.*", DeprecationWarning)
            curves.append([model.set_params(max_iter=n).fit(x[rows], y[rows]).loss_ for n in (20, 100)])
    (early, late), (early_again, late_again) = curves
    assert abs(early - early_again) < 1e-7 * early
    assert abs(late - late_again) > 1e-2 * late


@pytest.mark.parametrize("options", [{"solver": "sgd"}, {"solver": "adam"}, {"solver": "sgd", "batch_size": 20}])
@pytest.mark.parametrize("targets", ["binary", "multiclass", "multilabel", "numbers"])
def test_partial_fit(targets, options):
    x, y = TARGETS[targets]
    kind = "MLPRegressor" if targets in REGRESSION else "MLPClassifier"
    classes = {} if targets in REGRESSION else {"classes": np.arange(4 if targets == "multilabel" else y.max() + 1)}
    models = []
    for package, own in ((sklearn.neural_network, {}), (gpubp.estimators, {"device": "cpu"})):
        model = getattr(package, kind)(hidden_layer_sizes=(8,), random_state=1, **options, **own)
        for part in [slice(0, 30), slice(30, 70), slice(70, 90)] * 3:
            model.partial_fit(x[part], y[part], **classes)
        models.append(model)
    sklearn_model, gpubp_model = models
    assert deviation(sklearn_model, gpubp_model) < 1e-9
    assert (sklearn_model.n_iter_, sklearn_model.t_) == (gpubp_model.n_iter_, gpubp_model.t_)
    np.testing.assert_allclose(gpubp_model.loss_curve_, sklearn_model.loss_curve_, rtol=1e-9)


@pytest.mark.parametrize("options", [{"solver": "lbfgs"}, {"solver": "sgd", "momentum": 0.0}], ids=str)
@pytest.mark.parametrize("targets", ["multiclass", "numbers"])
def test_warm_start(targets, options):
    """Only for solvers without a state: gpubp keeps the state, which scikit-learn drops."""
    x, y = TARGETS[targets]
    kind = "MLPRegressor" if targets in REGRESSION else "MLPClassifier"
    models = []
    for package, own in ((sklearn.neural_network, {}), (gpubp.estimators, {"device": "cpu"})):
        model = getattr(package, kind)(
            hidden_layer_sizes=(8,), random_state=1, warm_start=True, max_iter=5, **options, **own
        )
        for _ in range(4):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                warnings.filterwarnings("ignore", ".*iprint.*", DeprecationWarning)
                model.fit(x, y)
        models.append(model)
    sklearn_model, gpubp_model = models
    assert deviation(sklearn_model, gpubp_model) < 1e-7
    assert (sklearn_model.n_iter_, sklearn_model.t_) == (gpubp_model.n_iter_, gpubp_model.t_)
    if options["solver"] != "lbfgs":  # scikit-learn's keeps no curve
        np.testing.assert_allclose(gpubp_model.loss_curve_, sklearn_model.loss_curve_, rtol=1e-7)


@pytest.mark.parametrize("solver", ["sgd", "momentum", "adam", "adamw", "rmsprop", "lion"])
@pytest.mark.parametrize("schedule", ["constant", "invscaling"])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_warm_starts_are_one_long_fit(solver, schedule):
    """scikit-learn's issue #6091: it loses Adam's moments and the velocity, and restarts the learning rate."""
    options = {"solver": solver, "learning_rate": schedule, "shuffle": False, "batch_size": 20, "random_state": 1}
    long = gpubp.estimators.MLPRegressor(hidden_layer_sizes=(8,), max_iter=12, device="cpu", **options)
    short = gpubp.estimators.MLPRegressor(hidden_layer_sizes=(8,), max_iter=3, device="cpu", warm_start=True, **options)
    long.fit(*TARGETS["numbers"])
    for _ in range(4):
        short.fit(*TARGETS["numbers"])
    assert short.loss_curve_ == long.loss_curve_
    np.testing.assert_array_equal(short.coefs_[0], long.coefs_[0])
    assert (short.n_iter_, short.t_) == (3, long.t_)


@pytest.mark.parametrize("options", [{}, {"early_stopping": True}, {"solver": "sgd", "learning_rate": "adaptive"}])
def test_what_verbose_prints(options, capsys):
    settings = {"verbose": True, "tol": 0.05, "n_iter_no_change": 2, "learning_rate_init": 0.02, "max_iter": 40}
    _, _, x = both("multiclass", {**settings, **options}, verbose=False)
    printed = []
    for package, own in ((sklearn.neural_network, {}), (gpubp.estimators, {"device": "cpu"})):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            package.MLPClassifier((8,), random_state=1, **settings, **options, **own).fit(x, TARGETS["multiclass"][1])
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1]
    assert "Iteration 1, loss" in printed[0]
