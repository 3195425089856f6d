"""A network: its topology, its parameters as one flat array, and the passes forward and backward.

All parameters of a network are one contiguous row ``theta`` of ``P`` numbers, layer after layer; a layer is a view of a
slice. ``theta`` may have leading dimensions: ``(K, P)`` is a stack of K networks, and every function here treats a
stack as it treats one network.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import array_api_compat
import numpy as np

from gpubp._core.names import canonical_name
from gpubp._typing import Array, Namespace
from gpubp.errors import DataError
from gpubp.nn import equations
from gpubp.nn.activations import ACTIVATIONS, get_activation
from gpubp.nn.losses import LOSSES, get_loss, output_loss
from gpubp.nn.weight_sharing import ABSENT, Ties


@dataclass(frozen=True)
class Network:
    """The topology of a multilayer perceptron: a plan that holds no arrays.

    Parameters
    ----------
    sizes : sequence of int
        Units of each layer, the inputs first: ``(64, 100, 10)``.
    activation : str or sequence of str
        The units of the hidden layers (see :func:`gpubp.nn.activations.get_activation`), one name for all or one each.
    output_activation : str, optional
        The units of the output layer; without it the ones that belong to the error: softmax for ``cross_entropy``,
        logistic for ``binary_cross_entropy``, exp for ``poisson``, identity for the rest.
    loss : str
        The error (see :func:`gpubp.nn.losses.get_loss`).
    bias : bool
        Whether each unit has a bias, the weight from an extra unit whose output is always 1.
    skips : sequence of (int, int)
        Connections that skip layers: ``(0, 2)`` leads from the inputs to the second layer above them.
    ties : sequence of P int, optional
        For each place of ``theta`` the number of its weight: places of one number are tied, which is to say equal and
        changed by the average of their derivatives, and -1 is no connection. :mod:`gpubp.nn.architectures` makes them.

    Raises
    ------
    DataError
        If a size, a name, a connection or the pair of output unit and error makes no sense.

    Examples
    --------
    >>> network = Network((6, 2, 1), activation="logistic", output_activation="logistic")
    >>> network.n_parameters
    17
    >>> network.shapes
    ((7, 2), (3, 1))
    """

    sizes: tuple[int, ...]
    activation: str | tuple[str, ...] = "relu"
    output_activation: str | None = None
    loss: str = "squared"
    bias: bool = True
    skips: tuple[tuple[int, int], ...] = ()
    ties: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        sizes = tuple(self.sizes) if isinstance(self.sizes, Iterable) else ()
        if len(sizes) < 2 or not all(_is_count(n) for n in sizes):
            raise DataError(f"sizes must be two or more positive whole numbers, inputs first, got {self.sizes!r}")
        n_hidden = len(sizes) - 2
        several = self.activation if isinstance(self.activation, Iterable) else (self.activation,)
        hidden = (self.activation,) * n_hidden if isinstance(self.activation, str) else tuple(several)
        for name in (*hidden, self.output_activation or "", self.loss):
            if not isinstance(name, str):
                raise DataError(f"units and errors are named by text, such as 'relu' and 'squared', got {name!r}")
        if not isinstance(self.bias, bool):
            raise DataError(f"bias must be True or False, got {self.bias!r}")
        if len(hidden) != n_hidden:
            raise DataError(
                f"activation must name the units of the hidden layers, one name for all or {n_hidden}, one for each that "
                f"sizes {sizes} has; got {self.activation!r}"
            )
        loss = canonical_name("loss", self.loss, LOSSES)
        error = get_loss(loss)
        hidden = tuple(canonical_name("activation", name, ACTIVATIONS) for name in hidden)
        output = canonical_name("activation", self.output_activation or error.output, ACTIVATIONS)
        unit = get_activation(output)
        for name, n_units in zip((*hidden, output), sizes[1:], strict=True):
            if (groups := get_activation(name).groups) and sum(groups) != n_units:
                raise DataError(f"{name!r} is for a layer of {sum(groups)} units, but this one has {n_units}")
        if (error.above_zero and not unit.above_zero) or (error.below_one and not unit.below_one):
            bounds = "between 0 and 1" if error.below_one else "above 0"
            raise DataError(
                f"the error {self.loss!r} needs outputs {bounds}, which {output!r} does not give; use {error.output!r}"
            )
        object.__setattr__(self, "sizes", tuple(int(n) for n in sizes))
        object.__setattr__(self, "activation", hidden)
        object.__setattr__(self, "output_activation", output)
        object.__setattr__(self, "loss", loss)
        object.__setattr__(self, "skips", self._checked_skips())
        object.__setattr__(self, "ties", None if self.ties is None else self._checked_ties())

    def _checked_skips(self) -> tuple[tuple[int, int], ...]:
        pairs = [tuple(pair) if isinstance(pair, Iterable) else () for pair in self.skips]
        last = len(self.sizes) - 1
        for pair in pairs:
            whole = len(pair) == 2 and all(isinstance(n, int | np.integer) and not isinstance(n, bool) for n in pair)
            if not (whole and 0 <= pair[0] < pair[1] - 1 and pair[1] <= last):
                raise DataError(
                    f"skips must be pairs of layers (from, to) with one or more between them, 0 the inputs and {last} "
                    f"the outputs, such as (0, 2); got {self.skips!r}"
                )
        if len(set(pairs)) != len(pairs):
            raise DataError(f"skips must name each connection once, got {self.skips!r}")
        return tuple(sorted((int(below), int(above)) for below, above in pairs))

    def _checked_ties(self) -> tuple[int, ...]:
        given: Any = self.ties if isinstance(self.ties, np.ndarray | Iterable) else ()
        if not isinstance(given, np.ndarray):
            given = tuple(given)
            if not all(issubclass(kind, int | np.integer) and kind is not bool for kind in set(map(type, given))):
                given = ()  # an array of texts would be as wide as the longest, for each of them
        numbers = np.asarray(given)
        if (
            numbers.shape != (self.n_parameters,)
            or numbers.dtype.kind not in "iu"
            or not ABSENT <= numbers.min() <= numbers.max() < 2**63
        ):
            raise DataError(
                f"ties must be {self.n_parameters} whole numbers, one for each parameter and {ABSENT} for no "
                f"connection, got shape {numbers.shape} of {numbers.dtype}"
            )
        return tuple(numbers.tolist())

    @cached_property
    def activations(self) -> tuple[str, ...]:
        """The unit of each layer, without the inputs."""
        return (*self.activation, str(self.output_activation))

    @cached_property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """The shape of each layer's block of weights, with the row of biases where there are any."""
        rows = (sum(self.sizes[below] for below in layers) for layers in self.layers_below)
        return tuple((i + self.bias, j) for i, j in zip(rows, self.sizes[1:], strict=True))

    @cached_property
    def layers_below(self) -> tuple[tuple[int, ...], ...]:
        """For each layer those that it has connections from, in the order of its rows: the one below it, then skips."""
        layers = [[layer - 1] for layer in range(1, len(self.sizes))]
        for below, above in self.skips:
            layers[above - 1].append(below)
        return tuple(map(tuple, layers))

    @cached_property
    def tied(self) -> Ties | None:
        """What :attr:`ties` say, or nothing where every weight is free."""
        return None if self.ties is None else Ties(self.ties)

    @cached_property
    def n_parameters(self) -> int:
        """How many numbers ``theta`` holds for one network: P."""
        return sum(rows * columns for rows, columns in self.shapes)

    @property
    def has_groups(self) -> bool:
        """Whether a layer has several softmaxes side by side."""
        return any(get_activation(name).groups for name in self.activations)

    def weight_mask(self) -> np.ndarray:
        """Mark with 1 the places of ``theta`` that hold weights, with 0 those that hold biases."""
        mask = np.ones(self.n_parameters)
        if self.bias:
            for block in views(np, self, mask):
                block[-1] = 0.0
        return mask


def _is_count(n: Any) -> bool:
    return isinstance(n, int | np.integer) and n is not True and bool(0 < n < 2**63)


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
    sent = [x * kept[0] if kept else x]
    for k, (w, name) in enumerate(zip(views(xp, network, theta), network.activations, strict=True)):
        total = equations.total_input(xp, _below(xp, network, sent, k), w, bias=network.bias)
        y = get_activation(name).value(xp, total)
        layers.append(Layer(total, y))
        sent.append(y * kept[k + 1] if k + 1 < len(kept) else y)
    return layers


def _below(xp: Namespace, network: Network, sent: list[Array], k: int) -> Array:
    """Put side by side what the units of layer ``k + 1`` have connections from: ``(..., b, i)``."""
    parts = [sent[below] for below in network.layers_below[k]]
    if len(parts) == 1:
        return parts[0]
    leading = max((part.shape[:-1] for part in parts), key=len)  # a stack may see the same samples
    return xp.concat([xp.broadcast_to(part, (*leading, part.shape[-1])) for part in parts], axis=-1)


def _parts_below(network: Network, dE_dy: Array, k: int) -> dict[int, Array]:
    """Undo :func:`_below`: what belongs to which layer, without the inputs."""
    parts, start = {}, 0
    for below in network.layers_below[k]:
        stop = start + network.sizes[below]
        if below > 0:
            parts[below] = dE_dy if len(network.layers_below[k]) == 1 else dE_dy[..., start:stop]
        start = stop
    return parts


def output_layer(xp: Namespace, network: Network, theta: Array, x: Array) -> Layer:
    """Pass forward and keep only the last layer."""
    if network.skips:
        return forward(xp, network, theta, x)[-1]
    layer = Layer(x, x)
    for w, name in zip(views(xp, network, theta), network.activations, strict=True):
        total = equations.total_input(xp, layer.y, w, bias=network.bias)
        layer = Layer(total, get_activation(name).value(xp, total))
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
    arrived: dict[int, Array] = {}  # at the outputs of each layer, from the layers above it
    for k in range(len(layers) - 1, 0, -1):
        below = equations.dE_dy_below(xp, signals[-1], blocks[k], bias=network.bias)
        for layer, part in _parts_below(network, below, k).items():
            arrived[layer] = arrived[layer] + part if layer in arrived else part
        dE_dy = arrived.pop(k)
        if kept:
            dE_dy = dE_dy * kept[k]
        signals.append(get_activation(network.activations[k - 1]).dE_dx(xp, dE_dy, *layers[k - 1]))
    return signals[::-1]


def loss_and_gradient(
    xp: Namespace,
    network: Network,
    theta: Array,
    x: Array,
    targets: Array,
    sample_weight: Array | None = None,
    kept: tuple[Array, ...] = (),
    loss_scale: Array | None = None,
) -> tuple[Array, Array]:
    r"""Sum the error over the samples and take its derivative by every parameter, from one pass forward and one backward.

    Parameters
    ----------
    theta : (..., P) array
    x : (..., b, i) array
        The samples; without leading dimensions all networks of a stack see the same ones.
    d : (..., b, j) array
        The targets.
    sample_weight : (..., b) array, optional
    kept : tuple of (..., b, n) arrays, optional
        The masks of dropout: see :mod:`gpubp.engine.plain.dropout`.
    loss_scale : (...) array, optional
        A power of two that all derivatives are multiplied by on their way down, and divided by at its end, so that
        products in float16 lose none to its narrow range.

    Returns
    -------
    E : (...) array
        The error, a sum over the samples (never a mean).
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
    layers = forward(xp, network, theta, x, kept)
    E, dE_dx = output_loss(xp, network.loss, network.activations[-1], *layers[-1], targets, sample_weight)
    if loss_scale is not None:
        dE_dx = dE_dx * loss_scale[..., None, None]
    signals = backward(xp, network, theta, layers, dE_dx, kept)
    sent = [x, *(layer.y for layer in layers[:-1])]
    if kept:
        sent = [y * mask for y, mask in zip(sent, kept, strict=True)]
    blocks = [
        equations.dE_dw(xp, signal, _below(xp, network, sent, k), bias=network.bias) for k, signal in enumerate(signals)
    ]
    gradient = among_equal_weights(xp, network, flatten(xp, blocks))
    return E, gradient if loss_scale is None else gradient / loss_scale[..., None]


def among_equal_weights(xp: Namespace, network: Network, numbers: Array) -> Array:
    """Average what belongs to the parameters, ``(..., P)``, over those that are tied, where any are."""
    if network.tied is None:
        return numbers
    return network.tied.average(xp, numbers, array_api_compat.device(numbers))


def jacobian(xp: Namespace, network: Network, theta: Array, x: Array) -> Array:
    r"""Differentiate every output in every sample by every parameter, by passing each output backward on its own.

    Parameters
    ----------
    theta : (P,) array
    x : (b, i) array

    Returns
    -------
    (j, b, P) array
        :math:`\partial y_j / \partial \theta` of each sample.
    """
    layers = forward(xp, network, theta, x)
    unit = get_activation(network.activations[-1])
    n_outputs = network.sizes[-1]
    unit_rows = xp.eye(n_outputs, dtype=theta.dtype, device=array_api_compat.device(theta))[:, None, :]
    one_output_each = xp.broadcast_to(unit_rows, (n_outputs, *layers[-1].y.shape))
    dy_dx = unit.dE_dx(xp, one_output_each, *layers[-1])
    signals = backward(xp, network, theta, layers, dy_dx)
    blocks = []
    sent = [x, *(layer.y for layer in layers[:-1])]
    for k, signal in enumerate(signals):
        block = _below(xp, network, sent, k)[..., :, None] * signal[..., None, :]
        if network.bias:
            block = xp.concat([block, signal[..., None, :]], axis=-2)
        blocks.append(block)
    return among_equal_weights(xp, network, flatten(xp, blocks))
