"""The Jacobian of a network's outputs."""

import array_api_compat

from gpubp._typing import Array, Namespace
from gpubp.nn.activations import get_activation
from gpubp.nn.network import Network, average_tied, flatten
from gpubp.nn.passes import backward, forward, outputs_below_layer


def jacobian(xp: Namespace, network: Network, theta: Array, x: Array) -> Array:
    r"""Compute the Jacobian of the outputs, with one backward pass for each output.

    Parameters
    ----------
    theta : (P,) array
    x : (b, i) array

    Returns
    -------
    (j, b, P) array
        :math:`\partial y_j / \partial \theta` for each sample.
    """
    layers = forward(xp, network, theta, x)
    activation = get_activation(network.activations[-1])
    n_outputs = network.sizes[-1]
    unit_rows = xp.eye(n_outputs, dtype=theta.dtype, device=array_api_compat.device(theta))[:, None, :]
    one_output_each = xp.broadcast_to(unit_rows, (n_outputs, *layers[-1].y.shape))
    dy_dx = activation.dE_dx(xp, one_output_each, *layers[-1])
    signals, dE_da = backward(xp, network, theta, layers, dy_dx)
    blocks = []
    outputs_below = [x, *(layer.y for layer in layers[:-1])]
    for k, signal in enumerate(signals):
        block = outputs_below_layer(xp, network, outputs_below, k)[..., :, None] * signal[..., None, :]
        if network.bias:
            block = xp.concat([block, signal[..., None, :]], axis=-2)
        blocks.append(block)
    blocks += [of_samples[..., None, :] for of_samples in dE_da]
    return average_tied(xp, network, flatten(xp, blocks))
