"""A network: its topology, its parameters as one flat array, and the passes forward and backward.

All parameters of a network are one contiguous row ``theta`` of ``P`` numbers, layer after layer; a layer is a view of a
slice. ``theta`` may have leading dimensions: ``(K, P)`` is a stack of K networks, and every function here treats a
stack as it treats one network.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import array_api_compat
import numpy as np

from gpubp import equations
from gpubp._typing import Array, Namespace
from gpubp.activations import activation
from gpubp.errors import DataError
from gpubp.losses import loss, output_error


@dataclass(frozen=True)
class Network:
    """The topology of a multilayer perceptron: a plan that holds no arrays.

    Parameters
    ----------
    sizes : sequence of int
        Units of each layer, the inputs first: ``(64, 100, 10)``.
    hidden : str or sequence of str
        The units of the hidden layers (see :func:`gpubp.activations.activation`), one name for all or one each.
    output : str, optional
        The units of the output layer; without it the ones that belong to the error: softmax for ``cross_entropy``,
        logistic for ``binary_cross_entropy``, exp for ``poisson``, identity for the rest.
    loss : str
        The error (see :func:`gpubp.losses.loss`).
    bias : bool
        Whether each unit has a bias, the weight from an extra unit whose output is always 1.

    Raises
    ------
    DataError
        If a size, a name or the pair of output unit and error makes no sense.

    Examples
    --------
    >>> network = Network((6, 2, 1), hidden="logistic", output="logistic")
    >>> network.n_parameters
    17
    >>> network.shapes
    ((7, 2), (3, 1))
    """

    sizes: tuple[int, ...]
    hidden: str | tuple[str, ...] = "relu"
    output: str | None = None
    loss: str = "squared"
    bias: bool = True

    def __post_init__(self) -> None:
        sizes = tuple(self.sizes) if isinstance(self.sizes, Iterable) else ()
        if len(sizes) < 2 or not all(isinstance(n, int | np.integer) and n > 0 and n is not True for n in sizes):
            raise DataError(f"sizes must be two or more positive whole numbers, inputs first, got {self.sizes!r}")
        n_hidden = len(sizes) - 2
        several = self.hidden if isinstance(self.hidden, Iterable) else (self.hidden,)
        hidden = (self.hidden,) * n_hidden if isinstance(self.hidden, str) else tuple(several)
        for name in (*hidden, self.output or "", self.loss):
            if not isinstance(name, str):
                raise DataError(f"units and errors are named by text, such as 'relu' and 'squared', got {name!r}")
        hidden = tuple(name.strip() for name in hidden)
        if not isinstance(self.bias, bool):
            raise DataError(f"bias must be True or False, got {self.bias!r}")
        if len(hidden) != n_hidden:
            raise DataError(
                f"hidden must name the units of the hidden layers, one name for all or {n_hidden}, one for each that "
                f"sizes {sizes} has; got {self.hidden!r}"
            )
        error = loss(self.loss.strip())
        output = (self.output or error.output).strip()
        unit = activation(output)
        for name, n_units in zip((*hidden, output), sizes[1:], strict=True):
            if (groups := activation(name).groups) and sum(groups) != n_units:
                raise DataError(f"{name!r} is for a layer of {sum(groups)} units, but this one has {n_units}")
        if (error.above_zero and not unit.above_zero) or (error.below_one and not unit.below_one):
            bounds = "between 0 and 1" if error.below_one else "above 0"
            raise DataError(
                f"the error {self.loss!r} needs outputs {bounds}, which {output!r} does not give; use {error.output!r}"
            )
        object.__setattr__(self, "sizes", tuple(int(n) for n in sizes))
        object.__setattr__(self, "hidden", hidden)
        object.__setattr__(self, "output", output)
        object.__setattr__(self, "loss", self.loss.strip())

    @cached_property
    def activations(self) -> tuple[str, ...]:
        """The unit of each layer, without the inputs."""
        return (*self.hidden, str(self.output))

    @cached_property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """The shape of each layer's block of weights, with the row of biases where there are any."""
        return tuple((i + self.bias, j) for i, j in zip(self.sizes[:-1], self.sizes[1:], strict=True))

    @cached_property
    def n_parameters(self) -> int:
        """How many numbers ``theta`` holds for one network: P."""
        return sum(rows * columns for rows, columns in self.shapes)

    @property
    def has_groups(self) -> bool:
        """Whether a layer has several softmaxes side by side."""
        return any(activation(name).groups for name in self.activations)

    def weight_mask(self) -> np.ndarray:
        """Mark with 1 the places of ``theta`` that hold weights, with 0 those that hold biases."""
        mask = np.ones(self.n_parameters)
        if self.bias:
            for block in views(np, self, mask):
                block[-1] = 0.0
        return mask


class Layer(NamedTuple):
    """One layer's total inputs x and outputs y, ``(..., b, j)`` each."""

    x: Array
    y: Array


def views(xp: Namespace, network: Network, theta: Array) -> list[Array]:
    """Cut ``theta`` into the layers' blocks of weights, without copying where the namespace allows it.

    Returns
    -------
    list of (..., i + 1, j) arrays
        (..., i, j) in a network without biases.
    """
    blocks, start = [], 0
    for rows, columns in network.shapes:
        stop = start + rows * columns
        blocks.append(xp.reshape(theta[..., start:stop], (*theta.shape[:-1], rows, columns)))
        start = stop
    return blocks


def flatten(xp: Namespace, blocks: list[Array]) -> Array:
    """Join blocks of shapes ``(..., rows, columns)`` to rows of parameters ``(..., P)``, undoing :func:`views`."""
    return xp.concat([xp.reshape(block, (*block.shape[:-2], -1)) for block in blocks], axis=-1)


def forward(xp: Namespace, network: Network, theta: Array, x: Array, kept: tuple[Array, ...] = ()) -> list[Layer]:
    """Pass forward, eq. (1) and (2), keeping what the pass backward needs.

    Parameters
    ----------
    theta : (..., P) array
    x : (..., b, i) array
    kept : tuple of (..., b, n) arrays, optional
        What the inputs and the outputs of each hidden layer are multiplied by on their way up: dropout.

    Returns
    -------
    list of Layer
        Without the inputs; the last one is the output layer. Outputs are those before dropout.
    """
    layers: list[Layer] = []
    y = x
    for k, (w, name) in enumerate(zip(views(xp, network, theta), network.activations, strict=True)):
        total = equations.total_input(xp, y * kept[k] if kept else y, w, bias=network.bias)
        y = activation(name).value(xp, total)
        layers.append(Layer(total, y))
    return layers


def output_layer(xp: Namespace, network: Network, theta: Array, x: Array) -> Layer:
    """Pass forward and keep only the last layer."""
    layer = Layer(x, x)
    for w, name in zip(views(xp, network, theta), network.activations, strict=True):
        total = equations.total_input(xp, layer.y, w, bias=network.bias)
        layer = Layer(total, activation(name).value(xp, total))
    return layer


def backward(
    xp: Namespace, network: Network, theta: Array, layers: list[Layer], dE_dx: Array, kept: tuple[Array, ...] = ()
) -> list[Array]:
    """Pass backward from the output layer's ``dE_dx``, eq. (7) and (5) by turns.

    Parameters
    ----------
    layers, kept
        See :func:`forward`.

    Returns
    -------
    list of (..., b, j) arrays
        The derivative of the error at the total inputs of each layer, in the order of the layers.
    """
    blocks = views(xp, network, theta)
    signals = [dE_dx]
    for k in range(len(layers) - 2, -1, -1):
        dE_dy = equations.dE_dy_below(xp, signals[-1], blocks[k + 1], bias=network.bias)
        if kept:
            dE_dy = dE_dy * kept[k + 1]
        name, layer = network.activations[k], layers[k]
        signals.append(activation(name).dE_dx(xp, dE_dy, layer.x, layer.y))
    return signals[::-1]


def error_and_gradient(
    xp: Namespace,
    network: Network,
    theta: Array,
    x: Array,
    d: Array,
    case_weights: Array | None = None,
    kept: tuple[Array, ...] = (),
    loss_scale: Array | None = None,
) -> tuple[Array, Array]:
    r"""Sum the error over the cases and take its derivative by every parameter, from one pass forward and one backward.

    Parameters
    ----------
    theta : (..., P) array
    x : (..., b, i) array
        The cases; without leading dimensions all networks of a stack see the same ones.
    d : (..., b, j) array
        The desired outputs.
    case_weights : (..., b) array, optional
    kept : tuple of (..., b, n) arrays, optional
        The masks of dropout: see :mod:`gpubp.dropout`.
    loss_scale : (...) array, optional
        A power of two that all derivatives are multiplied by on their way down, and divided by at its end, so that
        products in float16 lose none to its narrow range.

    Returns
    -------
    E : (...) array
        The error, a sum over the cases (never a mean).
    gradient : (..., P) array
        :math:`\partial E / \partial \theta`.

    Examples
    --------
    >>> import numpy as np
    >>> network = Network((1, 1), bias=False)
    >>> E, gradient = error_and_gradient(np, network, np.ones(1), np.asarray([[2.0]]), np.asarray([[1.0]]))
    >>> E, gradient
    (np.float64(0.5), array([2.]))
    """
    layers = forward(xp, network, theta, x, kept)
    E, dE_dx = output_error(xp, network.loss, network.activations[-1], *layers[-1], d, case_weights)
    if loss_scale is not None:
        dE_dx = dE_dx * loss_scale[..., None, None]
    signals = backward(xp, network, theta, layers, dE_dx, kept)
    below = [x, *(layer.y for layer in layers[:-1])]
    if kept:
        below = [y * mask for y, mask in zip(below, kept, strict=True)]
    blocks = [
        equations.dE_dw(xp, signal, y_below, bias=network.bias) for signal, y_below in zip(signals, below, strict=True)
    ]
    gradient = flatten(xp, blocks)
    return E, gradient if loss_scale is None else gradient / loss_scale[..., None]


def jacobian(xp: Namespace, network: Network, theta: Array, x: Array) -> Array:
    r"""Differentiate every output in every case by every parameter, by passing each output backward on its own.

    Parameters
    ----------
    theta : (P,) array
    x : (b, i) array

    Returns
    -------
    (j, b, P) array
        :math:`\partial y_j / \partial \theta` of each case.
    """
    layers = forward(xp, network, theta, x)
    unit = activation(network.activations[-1])
    n_outputs = network.sizes[-1]
    unit_rows = xp.eye(n_outputs, dtype=theta.dtype, device=array_api_compat.device(theta))[:, None, :]
    one_output_each = xp.broadcast_to(unit_rows, (n_outputs, *layers[-1].y.shape))
    dy_dx = unit.dE_dx(xp, one_output_each, *layers[-1])
    signals = backward(xp, network, theta, layers, dy_dx)
    blocks = []
    for signal, below in zip(signals, [x, *(layer.y for layer in layers[:-1])], strict=True):
        block = below[..., :, None] * signal[..., None, :]
        if network.bias:
            block = xp.concat([block, signal[..., None, :]], axis=-2)
        blocks.append(block)
    return flatten(xp, blocks)
