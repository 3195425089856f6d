"""The forward and the backward pass through a network, and with them the loss and its gradient."""

from typing import NamedTuple

from gpubp._typing import Array, Namespace
from gpubp.nn import batch_ensemble, equations
from gpubp.nn.activations import get_activation, parametric, parametric_dE_da, parametric_dE_dx
from gpubp.nn.batch_ensemble import masked
from gpubp.nn.losses import output_loss
from gpubp.nn.network import Network, activation_views, average_tied, flatten, views


class Layer(NamedTuple):
    """The total inputs x and outputs y of a layer, ``(..., b, j)`` each; y is None if it was not wanted."""

    x: Array
    y: Array


def forward(
    xp: Namespace,
    network: Network,
    theta: Array,
    x: Array,
    masks: tuple[Array | None, ...] = (),
    *,
    outputs_wanted: bool = True,
) -> list[Layer]:
    """Compute the total inputs and outputs of all layers, eq. (1) and (2).

    Parameters
    ----------
    theta : (..., P) array
    x : (..., b, i) array
    masks : tuple of (..., b, n) arrays or None, optional
        What dropout multiplies the inputs and the outputs of each hidden layer by; None does not change them.
    outputs_wanted : bool
        Whether to compute the outputs of the output layer.

    Returns
    -------
    list of Layer
        The layers above the inputs; the last one is the output layer. Outputs are those before dropout.
    """
    layers: list[Layer] = []
    outputs_below = [masked(x, masks, 0)]
    blocks, activation_weights = views(xp, network, theta), activation_views(xp, network, theta)
    for k, (w, name, a) in enumerate(zip(blocks, network.activations, activation_weights, strict=True)):
        below = outputs_below_layer(xp, network, outputs_below, k)
        activation = name if outputs_wanted or k + 1 < len(blocks) else None
        layers.append(_layer(xp, network, below, w, activation, a))
        outputs_below.append(masked(layers[-1].y, masks, k + 1))
    return layers


def _layer(xp: Namespace, network: Network, y_below: Array, w: Array, activation: str | None, a: Array | None) -> Layer:
    x = equations.total_input(xp, y_below, w, bias=network.bias)
    y = None if activation is None else get_activation(activation).value(xp, x)
    return Layer(x, y if a is None else parametric(xp, x, y, a))


def outputs_below_layer(xp: Namespace, network: Network, outputs_below: list[Array], k: int) -> Array:
    """Concatenate the outputs that layer ``k + 1`` has connections from: ``(..., b, i)``."""
    parts = [outputs_below[below] for below in network.layers_below[k]]
    if len(parts) == 1:
        return parts[0]
    leading = max((part.shape[:-1] for part in parts), key=len)  # a stack may see the same samples
    return xp.concat([xp.broadcast_to(part, (*leading, part.shape[-1])) for part in parts], axis=-1)


def _parts_below(network: Network, dE_dy: Array, k: int) -> dict[int, Array]:
    """Split derivatives ``(..., b, i)`` by layer, without those of the inputs: the inverse of `outputs_below_layer`."""
    parts, start = {}, 0
    for below in network.layers_below[k]:
        stop = start + network.sizes[below]
        if below > 0:
            parts[below] = dE_dy if len(network.layers_below[k]) == 1 else dE_dy[..., start:stop]
        start = stop
    return parts


def output_layer(xp: Namespace, network: Network, theta: Array, x: Array) -> Layer:
    """Compute the output layer alone, without keeping the layers below; see :func:`forward`.

    That of a network with members is the mean of theirs.
    """
    if network.members is not None:
        return Layer(*batch_ensemble.mean_output(xp, network.members, theta, x))
    if network.skips:
        return forward(xp, network, theta, x)[-1]
    layer = Layer(x, x)
    blocks, activation_weights = views(xp, network, theta), activation_views(xp, network, theta)
    for w, name, a in zip(blocks, network.activations, activation_weights, strict=True):
        layer = _layer(xp, network, layer.y, w, name, a)
    return layer


def backward(
    xp: Namespace,
    network: Network,
    theta: Array,
    layers: list[Layer],
    dE_dx: Array,
    masks: tuple[Array | None, ...] = (),
) -> tuple[list[Array], list[Array]]:
    """Propagate ``dE_dx`` of the output layer back through all layers, eq. (7) and (5) in turn.

    Parameters
    ----------
    theta : (..., P) array
    layers : list of Layer
        The result of :func:`forward`.
    dE_dx : (..., b, j) array
        The derivative of the loss at the total inputs of the output layer.
    masks
        See :func:`forward`.

    Returns
    -------
    signals : list of (..., b, j) arrays
        The derivative of the loss at the total inputs of each layer, from the first layer up.
    dE_da : list of (..., b, j) arrays
        That at the weights of each parametric activation, not yet summed over the samples.
    """
    blocks, activation_weights = views(xp, network, theta), activation_views(xp, network, theta)
    signals, dE_da = [dE_dx], []
    dE_dy_of_layer: dict[int, Array] = {}  # at the outputs of each layer, from the layers above it
    for k in range(len(layers) - 1, 0, -1):
        below = equations.dE_dy_below(xp, signals[-1], blocks[k], bias=network.bias)
        for layer, contribution in _parts_below(network, below, k).items():
            dE_dy_of_layer[layer] = dE_dy_of_layer[layer] + contribution if layer in dE_dy_of_layer else contribution
        dE_dy = masked(dE_dy_of_layer.pop(k), masks, k)
        activation, a = get_activation(network.activations[k - 1]), activation_weights[k - 1]
        if a is None:
            signals.append(activation.dE_dx(xp, dE_dy, *layers[k - 1]))
        else:
            signals.append(parametric_dE_dx(xp, activation, dE_dy, layers[k - 1].x, a))
            dE_da.append(parametric_dE_da(xp, activation, dE_dy, layers[k - 1].x))
    return signals[::-1], dE_da[::-1]


def loss_and_gradient(
    xp: Namespace,
    network: Network,
    theta: Array,
    x: Array,
    targets: Array,
    sample_weight: Array | None = None,
    masks: tuple[Array | None, ...] = (),
    loss_scale: Array | None = None,
) -> tuple[Array, Array]:
    r"""Compute the loss and its gradient with one forward and one backward pass.

    Parameters
    ----------
    theta : (..., P) array
    x : (..., b, i) array
        The samples; without leading dimensions all networks of a stack get the same ones.
    targets : (..., b, j) array
    sample_weight : (..., b) array, optional
        The weight of each sample; 1 by default.
    masks : tuple of (..., b, n) arrays or None, optional
        The masks of dropout; see :mod:`gpubp.engine.plain.dropout`. ``(..., k, b, n)`` in a network with members.
    loss_scale : (...) array, optional
        A power of two. The backward pass multiplies all derivatives by it, and the gradient is divided by it at the
        end, so that products in float16 do not underflow.

    Returns
    -------
    E : (...) array
        The loss: a sum over the samples, not a mean; with members, the mean of theirs.
    gradient : (..., P) array
        :math:`\partial E / \partial \theta`.

    Examples
    --------
    >>> import numpy as np
    >>> network = Network((1, 1), bias=False)
    >>> E, gradient = loss_and_gradient(np, network, np.ones(1), np.asarray([[2.0]]), np.asarray([[1.0]]))
    >>> E, gradient
    (np.float64(0.5), array([2.]))
    """
    if network.members is not None:
        return batch_ensemble.loss_and_gradient(
            xp, network.members, theta, x, targets, sample_weight, masks, loss_scale
        )
    layers = forward(xp, network, theta, x, masks, outputs_wanted=False)
    E, dE_dx = output_loss(xp, network.loss, network.activations[-1], *layers[-1], targets, sample_weight)
    if loss_scale is not None:
        dE_dx = dE_dx * loss_scale[..., None, None]
    signals, dE_da = backward(xp, network, theta, layers, dE_dx, masks)
    outputs_below = [masked(y, masks, k) for k, y in enumerate([x, *(layer.y for layer in layers[:-1])])]
    blocks = [
        equations.dE_dw(xp, signal, outputs_below_layer(xp, network, outputs_below, k), bias=network.bias)
        for k, signal in enumerate(signals)
    ]
    blocks += [xp.sum(of_samples, axis=-2, keepdims=True) for of_samples in dE_da]
    gradient = average_tied(xp, network, flatten(xp, blocks))
    return E, gradient if loss_scale is None else gradient / loss_scale[..., None]
