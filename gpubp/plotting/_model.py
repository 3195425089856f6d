"""Extract the network and weights of a model, and validate samples, targets and layers."""

from typing import Any

import numpy as np

from gpubp._core.counts import is_count
from gpubp.backends.backend import choose_backend, to_numpy
from gpubp.engine.argument_checks import validate_targets, validate_theta, validate_x
from gpubp.errors import DataError
from gpubp.nn.network import Network, flatten
from gpubp.nn.passes import Layer, forward

HOST = "float64"


def network_and_theta(model: Any) -> tuple[Network, np.ndarray]:
    """Return the network of a model and its parameters, ``(P,)``, float64 on the host.

    Raises
    ------
    DataError
        If the object is not a model, or is a stack of networks.
    """
    if isinstance(model, tuple) and len(model) == 2:
        network, theta = model
    elif hasattr(model, "network") and hasattr(model, "theta"):
        network, theta = model.network, model.theta
    elif hasattr(model, "coefs_") and hasattr(model, "out_activation_"):
        network, theta = _of_estimator(model)
    else:
        raise DataError(
            "a model is a pair (network, theta), the result of train or load_model, or a fitted estimator; "
            f"got {type(model).__name__}" + ("; pass its last step" if hasattr(model, "steps") else "")
        )
    if not isinstance(network, Network):
        raise DataError(f"a model is a pair (network, theta), got a {type(network).__name__} for the network")
    theta = validate_theta(network, choose_backend("cpu"), HOST, to_numpy(theta))
    if theta.ndim != 1:
        raise DataError(f"a picture shows one network, got a stack of {theta.shape[0]}; pass one row of theta")
    return network, theta


def network_of_blocks(model: Any, name: str) -> tuple[Network, np.ndarray]:
    """Return what :func:`network_and_theta` does; refuse members for the picture ``name``, which shows weights."""
    network, theta = network_and_theta(model)
    if network.n_members is not None:
        raise DataError(
            f"{name} shows layers of one block of weights each, and a network with n_members={network.n_members} "
            "has several for each layer; pass a network without n_members"
        )
    return network, theta


def samples_of(network: Network, theta: np.ndarray, x: Any) -> np.ndarray:
    """Validate samples and return them as ``(b, i)``, float64 on the host."""
    samples: np.ndarray = validate_x(network, choose_backend("cpu"), HOST, theta, to_numpy(x), name="x")
    return samples


def targets_of(network: Network, theta: np.ndarray, x: np.ndarray, targets: Any) -> np.ndarray:
    """Validate targets and return them as ``(b, j)``, float64 on the host."""
    validated: np.ndarray = validate_targets(network, choose_backend("cpu"), HOST, theta, x, to_numpy(targets))
    return validated


def layers_of(model: Any, x: Any) -> tuple[Network, list[Layer]]:
    """Compute all layers of a forward pass."""
    network, theta = network_of_blocks(model, "a picture of hidden layers")
    return network, forward(np, network, theta, samples_of(network, theta, x))


def check_layer(layer: Any, last: int) -> int:
    """Validate the number of a layer; the inputs are layer 0."""
    if not (is_count(layer) and layer <= last):
        raise DataError(f"layer must be a whole number from 1 to {last} (the inputs are layer 0), got {layer!r}")
    return int(layer)


def _of_estimator(estimator: Any) -> tuple[Network, np.ndarray]:
    """Join the weights of a fitted estimator, gpubp's or scikit-learn's, into one flat array."""
    coefs = [np.asarray(to_numpy(block), dtype=HOST) for block in estimator.coefs_]
    biases = [np.asarray(to_numpy(block), dtype=HOST) for block in estimator.intercepts_]
    sizes = (coefs[0].shape[0], *(block.shape[1] for block in coefs))
    network = Network(sizes, activation=estimator.activation, output_activation=estimator.out_activation_)
    return network, flatten(np, [np.vstack(pair) for pair in zip(coefs, biases, strict=True)])
