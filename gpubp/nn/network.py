"""A network: its topology, and its parameters as one flat array.

All parameters of a network are one contiguous array ``theta`` of ``P`` numbers, layer after layer; the weights of a
layer are a view of a slice. The weights of parametric activations follow after the last layer. ``theta`` may have
leading dimensions: ``(K, P)`` is a stack of K networks, and every function here treats a stack like one network.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import array_api_compat
import numpy as np

from gpubp._core.counts import is_count
from gpubp._core.names import canonical_name
from gpubp._core.text import counted
from gpubp._typing import Array, Namespace
from gpubp.errors import DataError
from gpubp.nn import batch_ensemble
from gpubp.nn.activations import activation_name, get_activation
from gpubp.nn.losses import LOSSES, get_loss
from gpubp.nn.weight_sharing import ABSENT, Ties


@dataclass(frozen=True)
class Network:
    """The topology of a multilayer perceptron; it holds no parameters.

    Parameters
    ----------
    sizes : sequence of int
        The number of units of each layer, inputs first: ``(64, 100, 10)``.
    activation : str or sequence of str
        The activation of the hidden layers, one name for all or one for each layer. See
        :func:`gpubp.nn.activations.get_activation`.
    output_activation : str, optional
        The activation of the output layer. By default the one that belongs to the loss, such as softmax for
        ``"cross_entropy"`` and identity for ``"squared"``.
    loss : str
        The loss. See :func:`gpubp.nn.losses.get_loss`.
    bias : bool
        Whether the layers have biases.
    skips : sequence of (int, int)
        Connections that skip layers: ``(0, 2)`` connects the inputs to layer 2.
    ties : sequence of P int, optional
        The number of the weight at each position of ``theta``. Positions with the same number are tied: their weights
        are equal, and change by the average of their derivatives. -1 means no connection.
        The functions of ``gpubp.nn.architectures`` make networks with ties.
    n_members : int, optional
        Makes the network an ensemble of members that share the weights of hidden layers, each with scales, biases and
        outputs of its own, whose means are the outputs (BatchEnsemble, Wen, Tran & Ba 2020).

    Raises
    ------
    DataError
        If a size, a name, a connection, a tie or a number is invalid, or if the loss is not defined for the outputs of
        the output activation.

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
    n_members: int | None = None

    def __post_init__(self) -> None:
        sizes = tuple(self.sizes) if isinstance(self.sizes, Iterable) else ()
        if len(sizes) < 2 or not all(is_count(n) and n < 2**63 for n in sizes):
            raise DataError(f"sizes must be two or more positive whole numbers, inputs first, got {self.sizes!r}")
        n_hidden = len(sizes) - 2
        names = self.activation if isinstance(self.activation, Iterable) else (self.activation,)
        activations = (self.activation,) * n_hidden if isinstance(self.activation, str) else tuple(names)
        for name in (*activations, self.output_activation or "", self.loss):
            if not isinstance(name, str):
                raise DataError(f"activations and losses are given by name, such as 'relu' and 'squared', got {name!r}")
        if not isinstance(self.bias, bool):
            raise DataError(f"bias must be True or False, got {self.bias!r}")
        if len(activations) != n_hidden:
            raise DataError(
                f"activation must be one name for all hidden layers, or {n_hidden} names, one for each hidden layer of "
                f"sizes {sizes}; got {self.activation!r}"
            )
        loss_name = canonical_name("loss", self.loss, LOSSES)
        loss = get_loss(loss_name)
        activations = tuple(map(activation_name, activations))
        output = activation_name(self.output_activation or loss.output)
        for name, size in zip((*activations, output), sizes[1:], strict=True):
            if (groups := get_activation(name).groups) and sum(groups) != size:
                raise DataError(f"{name!r} is for a layer of {sum(groups)} units, but this layer has {size}")
        outputs = get_activation(output)
        if outputs.is_parametric:
            raise DataError(f"a parametric activation is for hidden layers, got {output!r} for the outputs")
        if (loss.above_zero and not outputs.above_zero) or (loss.below_one and not outputs.below_one):
            bounds = "between 0 and 1" if loss.below_one else "above 0"
            fix = f"use output_activation={loss.output!r}"
            if output == loss.output:
                fix = f"set output= of the loss, in gpubp.nn.losses, to an activation with outputs {bounds}"
            raise DataError(
                f"the loss {self.loss!r} needs outputs {bounds}, which {output!r} does not give. To fix it: {fix}"
            )
        checked = {"sizes": tuple(map(int, sizes)), "activation": activations, "loss": loss_name}
        for name, value in (checked | {"output_activation": output}).items():
            object.__setattr__(self, name, value)
        object.__setattr__(self, "skips", self._check_skips())
        if self.n_members is not None:
            self._check_members()
        object.__setattr__(self, "ties", None if self.ties is None else self._check_ties())

    def _check_members(self) -> None:
        if not (is_count(self.n_members) and self.n_members < 2**63):  # type: ignore[operator]
            raise DataError(f"n_members must be a whole number of at least 1, or None, got {self.n_members!r}")
        if self.skips or self.ties is not None or not self.bias:
            raise DataError(
                "members share their weights in layers with biases, without skips and ties; leave out one or the other"
            )
        if any(self.activation_weights):
            raise DataError("members that share weights have no parametric activations; leave out one or the other")
        object.__setattr__(self, "n_members", int(self.n_members))  # type: ignore[arg-type]

    def _check_skips(self) -> tuple[tuple[int, int], ...]:
        pairs = [tuple(pair) if isinstance(pair, Iterable) else () for pair in self.skips]
        last = len(self.sizes) - 1
        for pair in pairs:
            is_pair = len(pair) == 2 and all(isinstance(n, int | np.integer) and not isinstance(n, bool) for n in pair)
            if not (is_pair and 0 <= pair[0] < pair[1] - 1 and pair[1] <= last):
                raise DataError(
                    f"skips must be pairs of layers (from, to) with one or more between them, 0 the inputs and {last} "
                    f"the outputs, such as (0, 2); got {self.skips!r}"
                )
        if len(set(pairs)) != len(pairs):
            raise DataError(f"skips must name each connection once, got {self.skips!r}")
        return tuple(sorted((int(below), int(above)) for below, above in pairs))

    def _check_ties(self) -> tuple[int, ...]:
        ties: Any = self.ties if isinstance(self.ties, np.ndarray | Iterable) else ()
        if not isinstance(ties, np.ndarray):
            ties = tuple(ties)
            if not all(issubclass(kind, int | np.integer) and kind is not bool for kind in set(map(type, ties))):
                ties = ()  # np.asarray would make every text as long as the longest
        numbers = np.asarray(ties)
        if (
            numbers.shape != (self.n_parameters,)
            or numbers.dtype.kind not in "iu"
            or not ABSENT <= numbers.min() <= numbers.max() < 2**63
        ):
            raise DataError(
                f"ties must be {self.n_parameters} whole numbers, one for each parameter, with {ABSENT} for no "
                f"connection; got shape {numbers.shape} of {numbers.dtype}"
            )
        return tuple(numbers.tolist())

    @cached_property
    def activations(self) -> tuple[str, ...]:
        """The activation of each layer above the inputs."""
        return (*self.activation, str(self.output_activation))

    @cached_property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """The shape of each layer's block of weights; its last row holds the biases, if there are any."""
        rows = (sum(self.sizes[below] for below in layers) for layers in self.layers_below)
        return tuple((i + self.bias, j) for i, j in zip(rows, self.sizes[1:], strict=True))

    @cached_property
    def layers_below(self) -> tuple[tuple[int, ...], ...]:
        """The layers that each layer has connections from, in the order of its rows: the one below it, then skips."""
        layers = [[layer - 1] for layer in range(1, len(self.sizes))]
        for below, above in self.skips:
            layers[above - 1].append(below)
        return tuple(map(tuple, layers))

    @cached_property
    def tied(self) -> Ties | None:
        """The ties, or None if every weight is free."""
        return None if self.ties is None else Ties(self.ties)

    @cached_property
    def activation_weights(self) -> tuple[int, ...]:
        """The number of weights of each layer's activation: one for each unit if it is parametric, else 0."""
        sizes = zip(self.activations, self.sizes[1:], strict=True)
        return tuple(n if get_activation(name).is_parametric else 0 for name, n in sizes)

    @cached_property
    def members(self) -> batch_ensemble.Members | None:
        """The members that share weights, or None if the network has none."""
        if self.n_members is None:
            return None
        return batch_ensemble.Members(self.n_members, self.sizes, self.activations, self.loss)

    @cached_property
    def parameters_of_layers(self) -> tuple[int, ...]:
        """The number of parameters of each layer above the inputs, with those of its activation."""
        if self.members is not None:
            return self.members.parameters_of_layers
        sizes = zip(self.shapes, self.activation_weights, strict=True)
        return tuple(rows * columns + n_more for (rows, columns), n_more in sizes)

    @cached_property
    def n_parameters(self) -> int:
        """The number of parameters of one network, P."""
        return sum(self.parameters_of_layers)

    @property
    def in_words(self) -> str:
        """The sizes, and what else changes the number of parameters, for messages."""
        others = {
            f"{counted(self.n_members or 0, 'member')} that share weights": self.n_members,
            "connections that skip layers": self.skips,
            "parametric activations": any(self.activation_weights),
            "no biases": not self.bias,
        }
        found = " and ".join(name for name, has in others.items() if has)
        return f"a network of sizes {self.sizes}{f' with {found}' if found else ''}"

    def weight_mask(self) -> np.ndarray:
        """Return a ``(P,)`` array: 1 for weights, 0 for biases, members' scales and weights of activations."""
        mask = np.ones(self.n_parameters)
        mask[self.n_parameters - sum(self.activation_weights) :] = 0.0
        if self.members is not None:
            shared, last = batch_ensemble.views(np, self.members, mask)
            for array in (last[:, -1], *(array for layer in shared for array in layer[1:])):
                array[...] = 0.0
        elif self.bias:
            for block in views(np, self, mask):
                block[-1] = 0.0
        return mask


def views(xp: Namespace, network: Network, theta: Array) -> list[Array]:
    """Return the layers' blocks of weights as views of ``theta``, or as copies if the namespace has no views.

    Parameters
    ----------
    theta : (..., P) array

    Returns
    -------
    list of (..., i + 1, j) arrays
        (..., i, j) in a network without biases.

    Raises
    ------
    DataError
        If the network has members, whose layers have more than one block.
    """
    if network.n_members is not None:
        raise DataError(
            f"the layers of a network with n_members={network.n_members} have several blocks of weights, and one for "
            "each is needed here; leave n_members out"
        )
    blocks, start = [], 0
    for rows, columns in network.shapes:
        stop = start + rows * columns
        blocks.append(xp.reshape(theta[..., start:stop], (*theta.shape[:-1], rows, columns)))
        start = stop
    return blocks


def activation_views(xp: Namespace, network: Network, theta: Array) -> list[Array | None]:
    """Return the weights of each layer's activation, ``(..., 1, j)``, or None, as :func:`views` does."""
    weights: list[Array | None] = []
    start = network.n_parameters - sum(network.activation_weights)
    for n in network.activation_weights:
        weights.append(theta[..., None, start : start + n] if n else None)
        start += n
    return weights


def flatten(xp: Namespace, blocks: list[Array]) -> Array:
    """Join blocks ``(..., rows, columns)`` into parameters ``(..., P)``: the inverse of :func:`views`.

    The weights of activations, if there are any, are the last blocks.
    """
    return xp.concat([xp.reshape(block, (*block.shape[:-2], -1)) for block in blocks], axis=-1)


def average_tied(xp: Namespace, network: Network, numbers: Array) -> Array:
    """Average values of the parameters, ``(..., P)``, over tied parameters; unchanged in a network without ties."""
    if network.tied is None:
        return numbers
    return network.tied.average(xp, numbers, array_api_compat.device(numbers))
