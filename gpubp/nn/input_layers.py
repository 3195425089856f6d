"""Layers before a network that scale or embed its inputs: ordinary layers, most of whose connections are absent.

Each function returns a :class:`gpubp.nn.network.Network` with ``ties``, as those of :mod:`gpubp.nn.architectures` do.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gpubp._core.counts import is_count
from gpubp.errors import DataError
from gpubp.nn.architectures import weight_numbers
from gpubp.nn.network import Network, views
from gpubp.nn.weight_sharing import ABSENT


def with_scaled_inputs(network: Network) -> Network:
    """Put a layer before a network that multiplies each input by a weight of its own (Holzmüller et al. 2024).

    The layer has the activation identity, one connection for each input, and no biases. The parameters of `network`
    follow its own, in their order.

    Parameters
    ----------
    network : Network

    Returns
    -------
    Network

    Examples
    --------
    >>> network = with_scaled_inputs(Network((2, 5, 1)))
    >>> network.sizes, network.activation
    ((2, 2, 5, 1), ('identity', 'relu'))
    >>> network.tied.mask[:6].reshape(3, 2).tolist()
    [[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]
    """
    n_inputs = network.sizes[0]
    is_connected = np.zeros((n_inputs + network.bias, n_inputs), dtype=bool)
    np.fill_diagonal(is_connected, val=True)
    return _with_layers_before(network, [(n_inputs, "identity", is_connected)], skips=())


def with_periodic_inputs(
    network: Network, inputs: Sequence[int], *, n_frequencies: int = 16, n_outputs: int = 3
) -> Network:
    r"""Put two layers before a network that embed numbers periodically, and pass all inputs on beside them.

    For each of `inputs` the first layer has the units :math:`\cos(w_k x + b_k)`, and the second `n_outputs` linear
    units that see only these: PBLD, for periodic, bias, linear, densenet (Holzmüller et al. 2024, after Gorishniy et
    al. 2022). The parameters of `network` follow those of the two layers, in their order.

    Parameters
    ----------
    network : Network
        Its inputs are the units of the second layer, `n_outputs` for each of `inputs`, and then all inputs unchanged.
    inputs : sequence of int
        The positions of the numbers to embed, in any order.
    n_frequencies, n_outputs : int
        The units for each number in the first and in the second layer.

    Returns
    -------
    Network

    Raises
    ------
    DataError
        If `inputs` or the numbers of units are not valid, or if connections from the inputs of `network` skip layers.

    Examples
    --------
    Two of three inputs are embedded:

    >>> network = with_periodic_inputs(Network((3 + 2 * 3, 5, 1)), [0, 2])
    >>> network.sizes, network.skips
    ((3, 32, 6, 5, 1), ((0, 3),))
    >>> int(network.tied.mask.sum()) - 9 * 5 - 5 - 5 - 1  # 2 x 16 x (1 + 1) and 2 x 3 x (16 + 1) of the two layers
    166
    """
    _check_counts(n_frequencies=n_frequencies, n_outputs=n_outputs)
    positions = _items(inputs)
    n_inputs = network.sizes[0] - n_outputs * len(positions)
    if not _are_positions(positions, n_inputs):
        raise DataError(
            f"inputs must be one or more positions, each once and below {n_inputs}: the network has {network.sizes[0]} "
            f"inputs, and {n_outputs} of them are for each number that is embedded; got {inputs!r}"
        )
    if any(below == 0 for below, _ in network.skips):
        raise DataError("connections from the inputs of the network must not skip layers; remove them from its skips")
    of_number = np.arange(len(positions))
    waves, outputs = np.repeat(of_number, n_frequencies), np.repeat(of_number, n_outputs)  # the number of each unit
    to_waves = np.asarray(positions)[waves] == np.arange(n_inputs)[:, None]
    to_outputs = outputs == waves[:, None]
    layers = [
        (len(numbers), activation, np.vstack([connected, np.ones((int(network.bias), len(numbers)), dtype=bool)]))
        for numbers, activation, connected in ((waves, "cosine", to_waves), (outputs, "identity", to_outputs))
    ]
    return _with_layers_before(network, layers, skips=((0, 3),), n_inputs=n_inputs)


def with_embedded_inputs(network: Network, groups: Sequence[Sequence[int]], *, n_outputs: int = 8) -> Network:
    """Put a layer before a network that embeds groups of inputs, each in a few numbers (Guo & Berkhahn 2016).

    For each group the layer has `n_outputs` linear units without biases that see only its inputs. If these are the
    one-hot inputs of a category, the weights of a category are its embedding, a point in the space of these numbers.
    The network sees the inputs of no group unchanged, by connections past the layer. Of `network` itself the parameters
    are the same, with absent ones among them.

    Parameters
    ----------
    network : Network
        Its inputs are the units of the layer, `n_outputs` for each group, and then the inputs that are in no group.
    groups : sequence of sequences of int
        The positions of the inputs of each group.
    n_outputs : int

    Returns
    -------
    Network

    Raises
    ------
    DataError
        If `groups` or `n_outputs` are not valid.

    Examples
    --------
    Of four inputs the first three are one-hot:

    >>> network = with_embedded_inputs(Network((2 + 1, 5, 1)), [range(3)], n_outputs=2)
    >>> network.sizes, network.skips
    ((4, 2, 5, 1), ((0, 2),))
    >>> network.tied.mask[:10].reshape(5, 2).tolist()  # the last row is that of biases
    [[1.0, 1.0], [1.0, 1.0], [1.0, 1.0], [0.0, 0.0], [0.0, 0.0]]
    """
    _check_counts(n_outputs=n_outputs)
    members = [_items(group) for group in _items(groups)]
    positions, n_embedded = [position for group in members for position in group], n_outputs * len(members)
    n_inputs = network.sizes[0] - n_embedded + len(positions)
    if not _are_positions(positions, n_inputs) or not all(members):
        raise DataError(
            f"groups must be one or more groups of positions, each once and below {n_inputs}, such as [range(3)]: the "
            f"network has {network.sizes[0]} inputs, and {n_outputs} of them are for each group; got {groups!r}"
        )
    group_of = np.full(n_inputs, -1)
    for number, group in enumerate(members):
        group_of[group] = number
    above = weight_numbers(network)
    blocks = views(np, network, above)
    skips = {(1 if below == 0 else below + 1, layer + 1) for below, layer in network.skips}
    skips |= {(0, layer) for below, layer in [(1, 2), *skips] if below == 1}
    wide = replace(
        network,
        sizes=(n_inputs, n_embedded, *network.sizes[1:]),
        activation=("identity", *network.activation),
        skips=tuple(skips),
        ties=None,
    )
    is_connected = np.repeat(np.arange(len(members)), n_outputs) == group_of[:, None]
    numbers = np.where(is_connected, np.arange(is_connected.size).reshape(is_connected.shape), ABSENT)
    widened = [np.vstack([numbers, np.full((int(network.bias), n_embedded), ABSENT)])]
    for block, sources, wide_sources in zip(blocks, network.layers_below, wide.layers_below[1:], strict=True):
        block = np.where(block == ABSENT, ABSENT, block + is_connected.size)
        rows = np.split(block, np.cumsum([network.sizes[source] for source in sources]))
        of_source = {source + 1: one for source, one in zip(sources, rows, strict=False)}
        if 0 in sources:
            embedded, others = np.split(of_source[1], [n_embedded])
            of_inputs = np.full((n_inputs, block.shape[1]), ABSENT)
            of_inputs[group_of < 0] = others
            of_source |= {1: embedded, 0: of_inputs}
        widened.append(np.vstack([*(of_source[source] for source in wide_sources), rows[-1]]))
    of_activations = above[len(above) - sum(network.activation_weights) :] + is_connected.size
    return replace(wide, ties=tuple(np.concatenate([*map(np.ravel, widened), of_activations]).tolist()))


def _items(sequence: Any) -> list[Any]:
    """Return the items of a sequence; none of what is not one."""
    is_sequence = isinstance(sequence, Sequence | np.ndarray) and not isinstance(sequence, str)
    return list(sequence) if is_sequence else []


def _check_counts(**counts: Any) -> None:
    for name, n in counts.items():
        if not is_count(n):
            raise DataError(f"{name} must be a whole number of at least 1, got {n!r}")


def _are_positions(positions: Sequence[Any], n_inputs: int) -> bool:
    """Return whether there are positions of inputs, each once."""
    is_each = all(is_count(i, least=0) and i < n_inputs for i in positions)
    return is_each and 0 < len(set(positions)) == len(positions)


def _with_layers_before(
    network: Network,
    layers: Sequence[tuple[int, str, np.ndarray]],
    skips: tuple[tuple[int, int], ...],
    n_inputs: int | None = None,
) -> Network:
    """Put layers before a network: the units of each, their activation, and which connections and biases it has.

    The network is above the last of them; with `skips`, the inputs that it sees are units of several layers.
    """
    sizes, activations, connected = zip(*layers, strict=True)
    n, kept = len(layers), np.concatenate([np.ravel(one) for one in connected])
    before = np.where(kept, np.arange(len(kept)), ABSENT)
    above = weight_numbers(network)
    ties = np.concatenate([before, np.where(above == ABSENT, ABSENT, above + len(kept))])
    above_inputs = network.sizes[1:]
    return Network(
        (network.sizes[0] if n_inputs is None else n_inputs, *sizes, *above_inputs),
        activation=(*activations, *network.activation),
        output_activation=network.output_activation,
        loss=network.loss,
        bias=network.bias,
        skips=(*skips, *((lower + n, upper + n) for lower, upper in network.skips)),
        ties=tuple(ties.tolist()),
    )
