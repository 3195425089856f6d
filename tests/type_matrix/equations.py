"""The equations: each function of ``gpubp.nn`` and ``gpubp.optim`` that takes a namespace and arrays."""

import importlib
import inspect
import pkgutil
from functools import partial

import numpy as np

import gpubp.nn
import gpubp.optim
from gpubp import Network
from gpubp.nn import (
    activations,
    batch_ensemble,
    encodings,
    equations,
    gradient_check,
    jacobian,
    losses,
    passes,
)
from gpubp.nn.activations import ACTIVATIONS, get_activation
from gpubp.nn.initialization import initial_weights
from gpubp.nn.losses import LOSSES, get_loss
from gpubp.optim.first_order import OPTIMIZERS

_GENERATOR = np.random.default_rng(0)
NETWORK = Network((4, 5, 3), activation="tanh")
MEMBERS = Network((4, 5, 3), activation="tanh", n_members=2)
MATRIX, OTHER, SHARES = _GENERATOR.normal(size=(2, 6, 4)), _GENERATOR.normal(size=(2, 6, 4)), np.full((2, 6, 4), 0.3)
W, ROWS = _GENERATOR.normal(size=(2, 5, 6)), _GENERATOR.normal(size=(2, 6, 6))
THETA, X, TARGETS = initial_weights(NETWORK, dtype="float64"), MATRIX[0], np.full((6, 3), 0.25)

MAKES_NO_ARRAYS_OF_ITS_OWN = {
    "activations.by_group": "applies a function to parts",
    "network.flatten": "joins blocks",
    "network.views": "parts of an array",
    "network.activation_views": "parts of an array",
    "batch_ensemble.views": "parts of an array",
    "passes.outputs_below_layer": "joins outputs",
    "network.average_tied": "tests/nn/test_weight_sharing.py",
    "loss_scaling.next_loss_scale": "of bools and the scale of each network; tests/engine/test_loss_scaling.py",
    "second_order.damped_solution": "of matrices of second derivatives; tests/optim/test_second_order.py",
    "second_order.wolfe_search": "a search along a line, by functions of the caller",
    **dict.fromkeys(
        ("first_order.adam_change", "first_order.rmsprop_change", "first_order.adagrad_change"), "parts of optimizers"
    ),
}
"""The functions that are not called, and why."""


def functions():
    """Find all, as in "equations.logistic"."""
    found = []
    for package in (gpubp.nn, gpubp.optim):
        for entry in pkgutil.iter_modules(package.__path__):
            module = importlib.import_module(f"{package.__name__}.{entry.name}")
            for name, function in vars(module).items():
                is_own = inspect.isfunction(function) and function.__module__ == module.__name__
                if (
                    is_own
                    and not name.startswith("_")
                    and next(iter(inspect.signature(function).parameters), "") == "xp"
                ):
                    found.append(f"{entry.name}.{name}")
    return found


def _activation(xp, x, dE_dy, *, name):
    activation = get_activation(name)
    y = activation.value(xp, x)
    return y, activation.dE_dx(xp, dE_dy, x, y)


def _loss(xp, y, targets, *, name):
    loss = get_loss(name)
    return loss.value(xp, y, targets), loss.dE_dy(xp, y, targets)


def _update(xp, theta, gradient, *, name):
    optimizer = OPTIMIZERS[name]()
    return optimizer.update(xp, theta, optimizer.init(xp, theta), gradient, optimizer.at(0.0))[0]


def _backward(xp, theta, x, dE_dx):
    layers = passes.forward(xp, NETWORK, theta, x)
    return passes.backward(xp, NETWORK, theta, layers, dE_dx)[0][-1]


def _of_members(function):
    return lambda xp, *arrays: function(xp, MEMBERS.members, *arrays)


def _of_network(function):
    return lambda xp, *arrays: function(xp, NETWORK, *arrays)


_TANH = get_activation("tanh")
_MEMBERS_THETA = initial_weights(MEMBERS, dtype="float64")
CALLS = {
    "equations.total_input": (equations.total_input, MATRIX[..., :4], W[:, :, :3]),
    "equations.logistic": (equations.logistic, MATRIX),
    "equations.squared_error": (equations.squared_error, MATRIX, OTHER),
    "equations.squared_error_dE_dy": (equations.squared_error_dE_dy, MATRIX, OTHER),
    "equations.logistic_dE_dx": (equations.logistic_dE_dx, MATRIX, OTHER),
    "equations.dE_dw": (equations.dE_dw, ROWS, MATRIX),
    "equations.dE_dy_below": (equations.dE_dy_below, ROWS, W),
    "equations.gradient_descent": (partial(equations.gradient_descent, rate=0.1), MATRIX),
    "equations.momentum_descent": (partial(equations.momentum_descent, rate=0.1, momentum=0.9), MATRIX, OTHER),
    "activations.softplus": (activations.softplus, MATRIX),
    "activations.balanced": (lambda xp, y, dE_dx: activations.balanced(xp, y > 0.5, dE_dx), SHARES, OTHER),
    "activations.parametric": (activations.parametric, MATRIX, OTHER, SHARES[:, :1]),
    "activations.parametric_dE_dx": (
        lambda xp, dE_dy, x, a: activations.parametric_dE_dx(xp, _TANH, dE_dy, x, a),
        *(MATRIX, OTHER, SHARES[:, :1]),
    ),
    "activations.parametric_dE_da": (
        lambda xp, dE_dy, x: activations.parametric_dE_da(xp, _TANH, dE_dy, x),
        *(MATRIX, OTHER),
    ),
    "encodings.standardized": (encodings.standardized, MATRIX, W[0, 0, :4], SHARES[0, 0], SHARES[1, 0]),
    "encodings.smooth_clip": (encodings.smooth_clip, MATRIX),
    "encodings.piecewise_linear": (
        encodings.piecewise_linear,
        *(MATRIX[0, :, :1], np.linspace(-2.0, 1.0, 4), np.linspace(-1.0, 2.0, 4)),
    ),
    "losses.loss_of_errors": (lambda xp, errors: losses.loss_of_errors(xp, "squared", errors), MATRIX),
    "losses.output_loss": (
        lambda xp, *arrays: losses.output_loss(xp, "squared", "tanh", *arrays),
        *(MATRIX, OTHER, SHARES),
    ),
    "passes.forward": (lambda xp, *arrays: passes.forward(xp, NETWORK, *arrays)[-1].y, THETA, X),
    "passes.output_layer": (lambda xp, *arrays: passes.output_layer(xp, NETWORK, *arrays).y, THETA, X),
    "passes.backward": (_backward, THETA, X, TARGETS),
    "passes.loss_and_gradient": (_of_network(passes.loss_and_gradient), THETA, X, TARGETS, SHARES[0, :, 0]),
    "jacobian.jacobian": (_of_network(jacobian.jacobian), THETA, X),
    "gradient_check.check_gradient": (
        lambda xp, *arrays: gradient_check.check_gradient(xp, NETWORK, *arrays).gradient,
        *(THETA, X, TARGETS, SHARES[0, :, 0]),
    ),
    "batch_ensemble.forward": (
        lambda xp, *arrays: list(batch_ensemble.forward(xp, MEMBERS.members, *arrays))[-1].y,
        *(_MEMBERS_THETA, X),
    ),
    "batch_ensemble.mean_output": (_of_members(batch_ensemble.mean_output), _MEMBERS_THETA, X),
    "batch_ensemble.loss_and_gradient": (_of_members(batch_ensemble.loss_and_gradient), _MEMBERS_THETA, X, TARGETS),
    **{f"activation {name}": (partial(_activation, name=name), MATRIX, OTHER) for name in ACTIVATIONS},
    **{f"loss {name}": (partial(_loss, name=name), SHARES, SHARES * 0.9) for name in LOSSES},
    **{f"optimizer {name}": (partial(_update, name=name), THETA, THETA * 0.5) for name in OPTIMIZERS},
}
"""A function ``f(xp, *arrays)``, and example arrays of it, in float64."""


def called(name, xp, *arrays):
    """Call, and return all results as a list."""
    result = CALLS[name][0](xp, *arrays)
    return list(result) if isinstance(result, tuple) else [result]
