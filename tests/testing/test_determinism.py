"""What is repeated gives the same bits: the promises in the table of docs/agreement.md."""

import os
import subprocess
import sys

import numpy as np
import pytest

from gpubp import (
    BatchedSearchCV,
    MLPClassifier,
    MLPEnsembleClassifier,
    Network,
    PiecewiseConstant,
    TabularClassifier,
    adam,
    clipped,
    lbfgs,
    levenberg_marquardt,
    momentum,
    predict,
    train,
)
from gpubp.backends.backend import to_numpy
from gpubp.engine import cpu
from gpubp.engine.cpu import workplace
from gpubp.nn.initialization import initial_weights
from gpubp.testing import assert_agree

pytestmark = pytest.mark.once

NETWORK = Network((4, 6, 5, 3), activation="tanh", loss="cross_entropy")
N_SAMPLES, K = 50, 3
RNG = np.random.default_rng(0)
X, TARGETS = RNG.normal(size=(N_SAMPLES, 4)), np.eye(3)[RNG.integers(3, size=N_SAMPLES)]
SAMPLE_WEIGHT = RNG.uniform(0.5, 2.0, N_SAMPLES)

FITS = {
    "adam": {},
    "momentum, a schedule": {"optimizer": momentum(learning_rate=PiecewiseConstant({0: 0.1, 2: 0.01}))},
    "sample weights, a penalty": {"sample_weight": SAMPLE_WEIGHT, "l2": 0.1},
    "validation": {"validation_data": (X[:10], TARGETS[:10])},
    "dropout": {"dropout": 0.3},
    "clipped": {"optimizer": clipped(adam(), 0.1)},
    "gradients of parts": {"gradient_accumulation": 2},
    "products in bfloat16": {"dtype": "float32", "matmul_precision": "bfloat16"},
    "a stack": {"seed": range(K)},
    "a stack, a rate each": {"seed": range(K), "optimizer": adam(np.asarray([[0.1], [0.01], [0.001]]))},
    "L-BFGS": {"optimizer": lbfgs(), "batch_size": "full"},
    "connections that skip layers": {"network": Network(NETWORK.sizes, activation="tanh", skips=((0, 2), (1, 3)))},
    "members that share weights": {"network": Network((4, 6, 3), loss="cross_entropy", n_members=2)},
    "Levenberg-Marquardt": {"optimizer": levenberg_marquardt(), "batch_size": "full", "network": "squared"},
}
needs_engine = pytest.mark.skipif(bool(cpu.why_not()), reason="the compiled engine is not built")


def fit(network=NETWORK, **options):
    if network == "squared":
        network = Network(NETWORK.sizes, activation="tanh")
    return train(network, X, TARGETS, **{"epochs": 4, "batch_size": 8, "seed": 5} | options)


def assert_same_bits(one, other):
    for name in ("loss", "validation_loss", "validation_score"):
        np.testing.assert_array_equal(getattr(one.history, name), getattr(other.history, name))
    one, other = to_numpy(one.theta), to_numpy(other.theta)
    assert one.dtype == other.dtype
    assert one.tobytes() == other.tobytes()


@pytest.mark.parametrize("name", FITS)
def test_a_fit_run_twice(name, device, precision):
    options = {"device": device, "dtype": precision} | FITS[name]
    first = fit(**options)
    fit(**options | {"seed": 6 if "stack" not in name else range(1, K + 1)})  # leaves other numbers in memory
    assert_same_bits(first, fit(**options))


def test_a_prediction_run_twice(device, precision):
    theta = initial_weights(NETWORK, 0, dtype=precision)
    x = np.asarray(X, precision)
    first, second = (np.asarray(predict(NETWORK, theta, x, device=device)) for _ in range(2))
    assert first.tobytes() == second.tobytes()


def test_predictions_in_parts_agree(device, precision):
    """The table of tolerances holds for what has no promise of the same bits."""
    theta, x = initial_weights(NETWORK, 0, dtype=precision), np.asarray(X, precision)
    at_once = np.asarray(predict(NETWORK, theta, x, device=device))
    for size in (1, 7, 32):
        parts = [predict(NETWORK, theta, x[first : first + size], device=device) for first in range(0, len(x), size)]
        assert_agree(np.concatenate([np.asarray(part) for part in parts]), at_once, "forward")


def test_a_stack_agrees_with_smaller_ones_and_with_one_network(device, precision):
    """All networks of a stack see the samples in the order of the first seed."""
    options = {"device": device, "dtype": precision, "optimizer": momentum()}
    stack = to_numpy(fit(seed=range(K), **options).theta)
    assert_agree(stack[0], to_numpy(fit(seed=0, **options).theta), "fit")
    assert_agree(stack[:-1], to_numpy(fit(seed=range(K - 1), **options).theta), "fit")
    options["shuffle"] = False
    assert_agree(to_numpy(fit(seed=range(K), **options).theta)[-1], to_numpy(fit(seed=K - 1, **options).theta), "fit")


ESTIMATORS = {
    "ensemble": lambda: MLPEnsembleClassifier(MLPClassifier((5,), max_iter=3, device="cpu"), 3, random_state=0),
    "search": lambda: BatchedSearchCV(
        MLPClassifier((5,), max_iter=3, random_state=0, device="cpu"), {"alpha": [0.0, 0.1]}, cv=2, progress=False
    ),
    "table": lambda: TabularClassifier(epochs=3, random_state=0, device="cpu"),
    "networks of a table": lambda: TabularClassifier(epochs=3, n_networks=2, random_state=0, device="cpu"),
}


@pytest.mark.filterwarnings("ignore")  # such as those of short fits
@pytest.mark.parametrize("name", ESTIMATORS)
def test_an_estimator_fitted_twice(name):
    y = np.argmax(TARGETS, axis=1)
    one, other = (ESTIMATORS[name]().fit(X, y).predict_proba(X) for _ in range(2))
    assert one.tobytes() == other.tobytes()


@needs_engine
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("sizes", [(4, 6, 3), (4, 70, 33, 3)])
def test_a_network_in_stacks_of_different_sizes(dtype, sizes):
    """On NumPy, in the compiled engine: each network has a thread of its own at any time."""
    network = Network(sizes, activation="relu", loss="cross_entropy")
    fits = [fit(network, seed=range(n), dtype=dtype, device="cpu") for n in (1, 2, 7, 40)]
    for one in fits[1:]:
        assert np.asarray(one.theta)[0].tobytes() == np.asarray(fits[0].theta)[0].tobytes()
        np.testing.assert_array_equal(np.asarray(one.history.loss)[:, 0], np.asarray(fits[0].history.loss)[:, 0])


@needs_engine
@pytest.mark.parametrize("stack", [None, 5])
@pytest.mark.parametrize("n_threads", [1, 2, 3])
def test_threads(n_threads, stack, monkeypatch):
    """The same number of threads gives the same bits, and in a stack any number does."""
    monkeypatch.setattr(workplace, "WORTH_A_THREAD", 1.0)
    monkeypatch.setattr(workplace, "UNITS_OF_A_SHARE", 1)
    monkeypatch.setattr(workplace, "threads_allowed", lambda: n_threads)
    options = {"device": "cpu", "seed": 0 if stack is None else range(stack)}
    one, other = fit(**options), fit(**options)
    assert_same_bits(one, other)
    if stack:
        monkeypatch.setattr(workplace, "threads_allowed", lambda: 1)
        assert_same_bits(one, fit(**options))


PROGRAM = """
import sys
import numpy as np
from gpubp import MLPClassifier
rng = np.random.default_rng(0)
x = rng.normal(size=(90, 5))
y = np.asarray(["one", "two", "three"])[np.argmax(x[:, :3], axis=1)]
model = MLPClassifier(max_iter=5, random_state=0, device="cpu", early_stopping=True).fit(x, y)
for array in (*model.coefs_, model.predict_proba(x)):
    sys.stdout.buffer.write(np.ascontiguousarray(array).tobytes())
"""


def test_other_processes():
    """Neither hash seeds nor addresses of memory enter a result."""
    outputs = []
    for seed, padding in (("0", ""), ("1", "x" * 5000)):
        environment = os.environ | {"PYTHONHASHSEED": seed, "PADDING": padding, "OPENBLAS_NUM_THREADS": "1"}
        done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, check=True)
        outputs.append(done.stdout)
    assert outputs[0]
    assert outputs[0] == outputs[1]


def test_model_files(tmp_path):
    """A table and a seed give the same file, to the byte, also in another process."""
    table = tmp_path / "table.csv"
    rows = [f"{a:.3f},{b:.3f},{'red' if a > b else 'blue'}" for a, b in np.random.default_rng(0).normal(size=(80, 2))]
    table.write_text("\n".join(["a,b,colour", *rows]) + "\n")
    files = []
    for seed in "01":
        path = tmp_path / f"model{seed}.safetensors"
        command = [sys.executable, "-m", "gpubp", "train", str(table), "--output", str(path)]
        options = ["--preset", "fast", "--epochs", "5", "--no-picture", "--device", "cpu"]
        environment = os.environ | {"PYTHONHASHSEED": seed, "OPENBLAS_NUM_THREADS": "1"}
        subprocess.run([*command, *options], env=environment, capture_output=True, check=True, cwd=tmp_path)
        files.append(path.read_bytes())
    assert files[0] == files[1]
