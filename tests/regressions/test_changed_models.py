"""What has been changed since it was validated does not reach compiled code: it raises a ValueError.

Compiled code would read past the end of an array, without a sign.
"""

import contextlib
import pickle
import threading
import warnings
from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse

import gpubp
from gpubp.backends.backend import choose_backend
from gpubp.engine import cpu
from gpubp.engine.epoch import make_epoch_runner
from gpubp.engine.plain.dropout import Dropout
from gpubp.engine.plain.minibatches import ArrayBatches, Batch, PerNetworkBatches
from gpubp.engine.plain.step import ModelState, Objective
from gpubp.engine.pointer_checks import check_epoch, check_prediction
from gpubp.nn.network import Network
from gpubp.optim.first_order import adam

pytestmark = pytest.mark.usefixtures("form")
rng = np.random.default_rng(0)
X = rng.normal(size=(90, 4))
y = (X[:, 0] > 0).astype(int)


def fitted(**options):
    options = {"max_iter": 5, "random_state": 0, "device": "cpu", "tol": 0.0, "warm_start": True} | options
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return gpubp.MLPClassifier((16, 8), **options).fit(X, y)


CHANGES = {
    "rows are missing": lambda model: model.coefs_.__setitem__(1, model.coefs_[1][:15]),
    "columns are missing": lambda model: model.coefs_.__setitem__(0, model.coefs_[0][:, :3]),
    "biases are missing": lambda model: model.intercepts_.__setitem__(0, model.intercepts_[0][:3]),
    "a layer is missing": lambda model: model.coefs_.pop(),
    "inputs are missing": lambda model: model.coefs_.__setitem__(0, model.coefs_[0][:2]),
    "one dimension": lambda model: model.coefs_.__setitem__(0, model.coefs_[0][0]),
    "complex": lambda model: model.coefs_.__setitem__(0, model.coefs_[0] * 1j),
    "outputs are added": lambda model: (
        model.coefs_.__setitem__(-1, np.tile(model.coefs_[-1], 2)),
        model.intercepts_.__setitem__(-1, np.tile(model.intercepts_[-1], 2)),
    ),
    "text": lambda model: model.coefs_.__setitem__(0, model.coefs_[0].astype(str)),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("use", ["predict_proba", "predict", "fit", "partial_fit", "score", "pickle"])
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_fitted_attributes_that_do_not_fit_each_other(change, use, solver):
    if (solver, use) == ("lbfgs", "partial_fit"):
        pytest.skip("L-BFGS has no partial_fit")
    model = fitted(solver=solver)
    CHANGES[change](model)
    if use == "pickle":
        model, use = pickle.loads(pickle.dumps(model)), "predict"
    arguments = (X,) if use.startswith("predict") else (X, y)
    with pytest.raises(ValueError, match=r"shape|real numbers|layers|sizes"):
        getattr(model, use)(*arguments)


@pytest.mark.parametrize("use", ["predict_proba", "to_onnx"])
def test_the_message_names_the_weights_not_X(use):
    model = fitted()
    CHANGES["inputs are missing"](model)
    with pytest.raises(ValueError, match=r"coefs_ and intercepts_ have the shapes of 2 features.*fitted to 4 features"):
        model.predict_proba(X) if use == "predict_proba" else model.to_onnx()


@pytest.mark.parametrize("kind", [int, np.int8, np.uint16, bool])
@pytest.mark.parametrize("use", ["predict_proba", "fit", "partial_fit", "copy"])
def test_weights_that_are_integers(kind, use):
    models = [fitted(), fitted()]
    for model, number in zip(models, (kind, float), strict=True):
        model.coefs_ = [np.rint(np.abs(w) * 3).astype(kind).astype(number) for w in model.coefs_]
        model.intercepts_ = [np.rint(np.abs(b) * 3).astype(kind).astype(number) for b in model.intercepts_]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if use == "copy":
                pickle.loads(pickle.dumps(model)).predict(X)
            elif use != "predict_proba":
                getattr(model, use)(X, y)
    np.testing.assert_array_equal(*[model.predict_proba(X) for model in models])


SOLVERS = [
    *({"solver": solver} for solver in ("adam", "adamw", "rmsprop", "lion", "sgd")),
    {"max_grad_norm": 1.0},
    {"matmul_precision": "float16", "dtype": "float32"},
]


@pytest.mark.parametrize("use", ["partial_fit", "fit"])
@pytest.mark.parametrize("options", SOLVERS, ids=str)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_state_of_the_optimizer_that_does_not_fit(options, use):
    """The user replaced the weights by wider ones, and set hidden_layer_sizes to match."""
    model, wider = (
        fitted(**options),
        gpubp.MLPClassifier((20, 8), max_iter=1, device="cpu").partial_fit(X, y, classes=[0, 1]),
    )
    model.set_params(hidden_layer_sizes=(20, 8))
    model.coefs_, model.intercepts_ = wider.coefs_, wider.intercepts_
    with pytest.raises(ValueError, match=r"the state of solver='\w+' has the shape \(\d+,\), but coefs_ .* clone\(\)"):
        getattr(model, use)(X, y)
    assert all(map(np.array_equal, model.coefs_, wider.coefs_))
    before = model.predict_proba(X)
    model.set_params(solver="sgd" if model.solver == "adam" else "adam", matmul_precision="float32")
    assert np.any(getattr(model, use)(X, y).predict_proba(X) != before)  # the state of another solver is not used


def test_one_estimator_fitted_by_four_threads():
    """It ends in a fit or an exception, not with the process."""
    model = gpubp.MLPClassifier((16, 8), max_iter=40, device="cpu", warm_start=True, batch_size=20)
    data = [(rng.normal(size=(n, i)), np.arange(n) % c) for n, i, c in ((60, 3, 2), (90, 7, 3), (40, 5, 4), (80, 3, 5))]

    def fit(x, targets):
        for _ in range(5):
            with contextlib.suppress(Exception):
                model.fit(x, targets).predict_proba(x)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        threads = [threading.Thread(target=fit, args=one) for one in data]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]


# --- the border ---

NETWORK = Network((4, 3, 2))
BATCHES = ArrayBatches(
    choose_backend("cpu"), Batch(X, np.zeros((90, 2)), np.ones(90)), 20, order=np.arange(90), epochs=1
)
THETA = np.zeros(NETWORK.n_parameters)


def model_state(theta=THETA, **changed):
    return ModelState(theta, adam().init(np, theta)._replace(**changed), 0)


PER_NETWORK = PerNetworkBatches(
    choose_backend("cpu"), BATCHES.samples, 20, np.arange(90), np.asarray([0, 40]), np.asarray([35, 40])
)
CSR = scipy.sparse.csr_array(X)


def csr_of(columns, row_starts):
    """Sparse samples with columns and row starts of other types."""
    x = CSR.copy()
    x.indices, x.indptr = x.indices.astype(columns), x.indptr.astype(row_starts)
    return replace(BATCHES, samples=BATCHES.samples._replace(x=x))


WRONG = {
    "theta": (model_state(np.zeros(3)), BATCHES),
    "float32": (model_state(THETA.astype("float32")), BATCHES),
    "state": (model_state(**{adam().init(np, THETA)._fields[-1]: np.zeros(3)}), BATCHES),
    "x": (model_state(), replace(BATCHES, samples=BATCHES.samples._replace(x=X[:, :3]))),
    "x float32": (model_state(), replace(BATCHES, samples=BATCHES.samples._replace(x=X.astype("float32")))),
    "targets": (model_state(), replace(BATCHES, samples=BATCHES.samples._replace(targets=np.zeros((89, 2))))),
    "sample_weight": (model_state(), replace(BATCHES, samples=BATCHES.samples._replace(sample_weight=np.ones(89)))),
    "order": (model_state(), replace(BATCHES, order=np.arange(1, 91))),
    "negative": (model_state(), replace(BATCHES, order=np.arange(-1, 89))),
    "orders": (model_state(), replace(BATCHES, order=np.zeros((3, 90), int), epochs=4)),
    "order float": (model_state(), replace(BATCHES, order=np.arange(90.0))),
    "keys": (model_state(), replace(BATCHES, dropout=Dropout((4, 3), (0.1, 0.1), np.zeros(2, np.uint64)))),
    "layers": (model_state(), replace(BATCHES, dropout=Dropout((4, 4), (0.1, 0.1), 0))),
    "rates": (model_state(), replace(BATCHES, dropout=Dropout((4, 3), (0.1,), 0))),
    "columns of 16 bits": (model_state(), csr_of("int16", "int16")),
    "columns of other bits": (model_state(), csr_of("int32", "int64")),
    "no steps": (model_state(np.zeros((2, THETA.size))), replace(PER_NETWORK, counts=np.asarray([0, 0]))),
    "unequal steps": (model_state(np.zeros((2, THETA.size))), replace(PER_NETWORK, counts=np.asarray([20, 40]))),
}


@pytest.mark.parametrize("name", WRONG)
def test_arguments_of_compiled_steps(name):
    check_epoch(NETWORK, np.dtype("float64"), model_state(), BATCHES)
    with_dropout = replace(BATCHES, dropout=Dropout((4, 3), (0.1, 0.1), 0))
    check_epoch(NETWORK, np.dtype("float64"), model_state(), with_dropout)
    check_epoch(NETWORK, np.dtype("float64"), model_state(), csr_of("int64", "int64"))
    check_epoch(NETWORK, np.dtype("float64"), model_state(np.zeros((2, THETA.size))), PER_NETWORK)
    with pytest.raises(ValueError, match=r"must|orders"):
        check_epoch(NETWORK, np.dtype("float64"), *WRONG[name])
    if cpu.requested_mode() == "always":
        run_epoch = make_epoch_runner(choose_backend("cpu"), Objective(NETWORK), adam(), "float64")
        with pytest.raises(ValueError, match=r"must|orders"):
            run_epoch(*WRONG[name])


@pytest.mark.parametrize(
    ("order", "received"), [(np.arange(1, 91), "numbers from 1 to 90"), (np.arange(90.0), "float64")]
)
def test_the_message_names_what_was_received(order, received):
    with pytest.raises(ValueError, match=f"order must hold integers from 0 to 89, got {received}$"):
        check_epoch(NETWORK, np.dtype("float64"), model_state(), replace(BATCHES, order=order))


@pytest.mark.parametrize(("theta", "x"), [(THETA[:-1], X), (THETA, X[:, :3]), (THETA, X.astype("float32"))])
def test_arguments_of_compiled_predictions(theta, x):
    check_prediction(NETWORK, THETA, X)
    with pytest.raises(ValueError, match="must be float64 of shape"):
        check_prediction(NETWORK, theta, x)
