"""How rounding errors grow: of gradients with depth and width, of training with its steps and the size of a stack.

An error is the distance from the true numbers, relative to their length, in units u: half an epsilon, the largest
relative error of one rounding. Truth is float64 in plain array calls, and for a small network mpmath.
"""

import contextlib
from itertools import pairwise
from typing import Any, NamedTuple

import mpmath
import numpy as np

from benchmarks.truth import formulas
from gpubp import Network, train
from gpubp.engine.cpu import in_array_calls
from gpubp.nn.initialization import initial_weights
from gpubp.optim.first_order import adam, gradient_descent, momentum

WAYS = {"numpy": "cpu", "engine": "cpu", "torch": "torch", "cuda": "cuda"}
"""The ways to compute, with the device of each; "numpy" is in plain array calls."""

BATCH = 32
STEPS_OF_EPOCH = 16
SMALL = Network((4, 6, 3), activation="logistic", output_activation="logistic")
N_PERTURBED = 3
RATE = 2.0**20  # so large that the weights after one step are the gradient, rounded once more
DIGITS = 40  # of mpmath


class Run(NamedTuple):
    """A training from given numbers, all of them exact in float32.

    Attributes
    ----------
    theta : (P,) or (K, P) array
    x, targets : (b, i) and (b, j) arrays
    options : dict
        Arguments of :func:`gpubp.train`.
    """

    network: Network
    theta: np.ndarray
    x: np.ndarray
    targets: np.ndarray
    options: dict[str, Any]


def u(dtype):
    """Return the unit of the errors."""
    return float(np.finfo(dtype).eps) / 2


def error(actual, true, dtype):
    """Return the distance from the true numbers relative to their length, in units u, for each network."""
    distance, length = (np.linalg.norm(part, axis=-1) for part in (actual - true, true))
    return distance / length / u(dtype)


def result(run, way, dtype, **more):
    """Return the weights after a training, in float64."""
    with in_array_calls() if way == "numpy" else contextlib.nullcontext():
        x, targets, theta = (array.astype(dtype) for array in (run.x, run.targets, run.theta))
        options = {"device": WAYS[way], "dtype": dtype, "shuffle": False, "history": False} | run.options | more
        return np.asarray(train(run.network, x, targets, theta=theta, **options).theta, "float64")


def drawn(network, n_samples, options, n_networks=None, seed=0):
    """Draw a training: a network, or a stack, and normally distributed inputs and targets."""
    generator = np.random.default_rng(seed)
    stack = [initial_weights(network, generator, dtype="float64") for _ in range(n_networks or 1)]
    x, targets = (generator.normal(size=(n_samples, n)) for n in (network.sizes[0], network.sizes[-1]))
    theta = np.stack(stack) if n_networks else stack[0]
    theta, x, targets = (array.astype("float32").astype("float64") for array in (theta, x, targets))
    return Run(network, theta, x, targets, options)


# --- gradients ---


def gradient_of(network):
    """Draw a training of one step, whose change is the gradient."""
    options = {"optimizer": gradient_descent(RATE), "epochs": 1, "batch_size": "full", "reduction": "sum"}
    return drawn(network, BATCH, options)


def deep(n_layers):
    """Return a network of so many layers of weights."""
    return Network((32,) * n_layers + (8,), activation="tanh")


def wide(n_units):
    """Return a network of three layers of units, two of which have this width."""
    return Network((n_units, n_units, 8), activation="tanh")


def gradient(run, way, dtype, **more):
    """Return the gradient that a training of one step has computed."""
    return (run.theta - result(run, way, dtype, **more)) / RATE


def bound_of_gradient(run):
    """Return the root of the number of roundings that follow one another, in units u.

    In each layer these are sums over i inputs (forward), j outputs (backward) and b samples (weights), and the 4 units
    in the last place, each two u, to which activations and derivatives are held: 64 u squared.
    """
    return float(np.sqrt(sum(i + j + len(run.x) + 64 for i, j in pairwise(run.network.sizes))))


# --- training ---


def training(optimizer, n_steps):
    """Draw a training of so many steps, an epoch of 16 steps again and again; with less, of a part of the epoch."""
    n_samples, epochs = BATCH * min(n_steps, STEPS_OF_EPOCH), max(1, n_steps // STEPS_OF_EPOCH)
    options = {"optimizer": optimizer, "epochs": epochs, "batch_size": BATCH}
    whole = drawn(Network((8, 16, 4), activation="tanh"), BATCH * STEPS_OF_EPOCH, options)
    return whole._replace(x=whole.x[:n_samples], targets=whole.targets[:n_samples])


def stack(n_networks):
    """Draw a stack, trained for 100 steps of Adam, with a rate at which some networks are badly conditioned."""
    options = {"optimizer": adam(0.01), "epochs": 50, "batch_size": BATCH}
    return drawn(Network((8, 16, 4), activation="tanh"), 2 * BATCH, options, n_networks)


def n_steps_of(run):
    """Return the number of steps of a training."""
    size = len(run.x) if run.options["batch_size"] == "full" else BATCH
    return run.options["epochs"] * (len(run.x) // size)


def condition(run, true):
    """Return by how much a training magnifies a change of its first weights, for each network; at least 1.

    It is measured in float64, where random relative changes of the size of one rounding in float32 are exact.
    """
    sizes = [np.ones(run.theta.shape[:-1])]
    for seed in range(N_PERTURBED):
        change = np.random.default_rng(seed).uniform(-1.0, 1.0, run.theta.shape) * np.sqrt(3.0) * u("float32")
        sizes.append(error(result(run._replace(theta=run.theta * (1 + change)), "engine", "float64"), true, "float32"))
    return np.max(sizes, axis=0)


def bound_of_training(run, conditions):
    """Return the condition number times the root of the number of steps, each of which rounds the weights once."""
    return conditions * np.sqrt(n_steps_of(run))


def mean_and_largest(errors, bounds):
    """Summarise the errors of a stack: their mean, the largest, and the largest as a part of its bound."""
    return float(np.mean(errors)), float(np.max(errors)), float(np.max(errors / bounds))


# --- a small network in mpmath ---


def small_gradient():
    """Draw a training of one step of the small network."""
    return gradient_of(SMALL)


def small_training(n_steps):
    """Draw a training of the small network by eq. (9), all samples in each step."""
    return drawn(SMALL, BATCH, {"optimizer": momentum(0.1, 0.9), "epochs": n_steps, "batch_size": "full"})


def true_gradient(network, theta, x, targets):
    """Compute the gradient by eq. (1) to (7), of arrays of mpmath's numbers."""
    blocks, start = [], 0
    for rows, columns in network.shapes:
        blocks.append(theta[start : start + rows * columns].reshape(rows, columns))
        start += rows * columns
    y, logistic = [x], np.frompyfunc(formulas.logistic, 1, 1)
    for w in blocks:
        y.append(logistic(y[-1] @ w[:-1] + w[-1]))  # eq. (1), (2)
    dE_dy, parts = y[-1] - targets, []  # eq. (4)
    for w, y_j, y_i in zip(blocks[::-1], y[:0:-1], y[-2::-1], strict=True):
        dE_dx = dE_dy * y_j * (1 - y_j)  # eq. (5)
        parts.append(np.concatenate([y_i.T @ dE_dx, dE_dx.sum(axis=0)[None]]))  # eq. (6)
        dE_dy = dE_dx @ w[:-1].T  # eq. (7)
    return np.concatenate([part.ravel() for part in parts[::-1]])


def true_weights(run):
    """Train the small network in mpmath by eq. (9), and return its weights."""
    rate, alpha = (mpmath.mpf(run.options["optimizer"].settings[name]) for name in ("learning_rate", "momentum"))
    with mpmath.workdps(DIGITS):
        theta, *data = map(exact, (run.theta, run.x, run.targets))
        previous = theta * 0
        for _ in range(run.options["epochs"]):
            previous = -rate * true_gradient(run.network, theta, *data) / len(run.x) + alpha * previous
            theta = theta + previous
    return theta


def true_small_gradient(run):
    """Return the gradient of the small network in mpmath's numbers."""
    with mpmath.workdps(DIGITS):
        return true_gradient(run.network, *map(exact, (run.theta, run.x, run.targets)))


exact = np.frompyfunc(mpmath.mpf, 1, 1)


def error_from_truth(actual, true, dtype):
    """Return the error of numbers in float64 against mpmath's."""
    with mpmath.workdps(DIGITS):
        differences = exact(actual) - true
        return float(mpmath.sqrt(differences @ differences / (true @ true))) / u(dtype)
