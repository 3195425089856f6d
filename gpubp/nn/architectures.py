"""Networks whose layers are partly connected or share weights: locally connected, convolutional, recurrent.

Each function returns a :class:`gpubp.nn.network.Network` with ``ties``: the number of the weight at each position of
``theta``, with -1 for no connection and equal numbers for equal weights.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from gpubp._core.counts import is_count
from gpubp.errors import DataError
from gpubp.nn.network import Network, views
from gpubp.nn.weight_sharing import ABSENT


def with_blocks(network: Network, layer: int, blocks: Sequence[tuple[int, int]]) -> Network:
    """Divide a layer into groups of units, each connected to one group of the units below.

    Parameters
    ----------
    network : Network
    layer : int
        1 is the first layer above the inputs.
    blocks : sequence of (int, int)
        For each group, in order: the number of units below, and the number of units of the layer.

    Returns
    -------
    Network

    Raises
    ------
    DataError
        If there is no such layer, or the groups do not add up to it.

    Examples
    --------
    >>> network = with_blocks(Network((4, 2, 1)), 1, [(2, 1), (2, 1)])
    >>> network.tied.mask[:8].reshape(4, 2).tolist()
    [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]
    """
    numbers = weight_numbers(network)
    block = _layer(network, numbers, layer)
    n_below, n_units = block.shape[0] - network.bias, block.shape[1]
    pairs = [tuple(pair) if isinstance(pair, Iterable) else () for pair in blocks]
    fit = all(len(pair) == 2 and all(map(is_count, pair)) for pair in pairs)
    if not fit or tuple(map(sum, zip(*pairs, strict=True))) != (n_below, n_units):
        raise DataError(
            f"blocks must add up to the {n_below} units below layer {layer} and its {n_units} units, as pairs such as "
            f"[({n_below}, {n_units})]; got {list(blocks)!r}"
        )
    absent = np.ones((n_below, n_units), dtype=bool)
    row = column = 0
    for rows, columns in blocks:
        absent[row : row + rows, column : column + columns] = False
        row, column = row + rows, column + columns
    block[:n_below][absent] = ABSENT
    return _with_ties(network, numbers)


def with_equal_layers(network: Network, layers: Sequence[int]) -> Network:
    """Make the weights and biases of several layers equal: a recurrent network whose inputs are its first state.

    Parameters
    ----------
    network : Network
    layers : sequence of int
        1 is the first layer above the inputs.

    Returns
    -------
    Network

    Raises
    ------
    DataError
        If there are no such layers, or if their shapes differ.

    Notes
    -----
    Rumelhart, Hinton & Williams (1986): an iterative net that runs for several time steps is equivalent to a layered
    net with one layer for each step and equal weights. Each copy changes by the average of the copies' derivatives.

    Examples
    --------
    >>> network = with_equal_layers(Network((3, 3, 3, 3)), [1, 2, 3])
    >>> network.n_parameters, len(set(network.ties))
    (36, 12)
    """
    numbers = weight_numbers(network)
    first, *others = [_layer(network, numbers, layer) for layer in layers] or [np.empty((0, 0))]
    for block, layer in zip(others, layers[1:], strict=True):
        if block.shape != first.shape:
            raise DataError(
                f"layers {layers[0]} and {layer} have weights of shapes {first.shape} and {block.shape}; only those of "
                "one shape can be equal"
            )
        block[...] = first
    return _with_ties(network, numbers)


def with_fields(
    network: Network, layer: int, plane: tuple[int, int], field: tuple[int, int], *, n_feature_maps: int = 1
) -> Network:
    """Make a layer convolutional: each unit sees a small field of the plane below.

    The units of a feature map have equal weights. Each map has a unit for every position of the field in the plane,
    in row order; one map follows the other. A map is itself a plane, in which the layer above can have fields again.

    Parameters
    ----------
    network : Network
    layer : int
        1 is the first layer above the inputs.
    plane : (rows, columns)
        The arrangement of the units below; if there are more, they form several planes, and a field sees all of them.
    field : (rows, columns)
    n_feature_maps : int

    Returns
    -------
    Network

    Raises
    ------
    DataError
        If there is no such layer, or if plane, field and feature maps do not match the sizes of the layers.

    Examples
    --------
    >>> network = with_fields(Network((25, 9, 1)), 1, (5, 5), (3, 3))
    >>> ties = np.reshape(network.ties[: 26 * 9], (26, 9))
    >>> np.count_nonzero(ties >= 0, axis=0).tolist()  # 3 x 3 weights and a bias for each unit
    [10, 10, 10, 10, 10, 10, 10, 10, 10]
    >>> len(np.unique(ties[ties >= 0]))
    10
    """
    numbers = weight_numbers(network)
    block = _layer(network, numbers, layer)
    n_below, n_units = network.sizes[layer - 1], network.sizes[layer]
    (rows, columns), (field_rows, field_columns) = _check_extent("plane", plane), _check_extent("field", field)
    if not is_count(n_feature_maps):
        raise DataError(f"n_feature_maps must be a whole number of at least 1, got {n_feature_maps!r}")
    down, across = rows - field_rows + 1, columns - field_columns + 1
    if min(down, across) < 1:
        raise DataError(f"a field must fit in its plane of {rows} x {columns}, got {field_rows} x {field_columns}")
    n_cells, n_positions = rows * columns, down * across
    if n_below % n_cells or n_units != n_feature_maps * n_positions:
        raise DataError(
            f"a field of {field_rows} x {field_columns} has {down} x {across} positions in a plane of "
            f"{rows} x {columns}; so layer {layer} must have {n_feature_maps * n_positions} units, and the layer below "
            f"it {n_cells} or a multiple of that; got {n_units} and {n_below}"
        )
    below = block[:n_below].reshape(-1, rows, columns, n_feature_maps, down, across)  # a view
    field_weights = below[:, :field_rows, :field_columns, :, 0, 0].copy()
    below[...] = ABSENT
    for row in range(down):
        for column in range(across):
            below[:, row : row + field_rows, column : column + field_columns, :, row, column] = field_weights
    if network.bias:
        block[-1] = np.repeat(block[-1, ::n_positions], n_positions)
    return _with_ties(network, numbers)


def with_sums(network: Network, layer: int, groups: Sequence[int]) -> Network:
    """Connect a layer to sums over groups of the units below: all units of a group have equal weights.

    Parameters
    ----------
    network : Network
    layer : int
        1 is the first layer above the inputs.
    groups : sequence of int
        The number of units below in each group, in order.

    Returns
    -------
    Network

    Raises
    ------
    DataError
        If there is no such layer, or the groups do not add up to the layer below.

    Examples
    --------
    >>> with_sums(Network((5, 1)), 1, [2, 3]).ties  # the last is the bias
    (0, 0, 2, 2, 2, 5)
    """
    numbers = weight_numbers(network)
    block = _layer(network, numbers, layer)
    n_below = network.sizes[layer - 1]
    if not all(map(is_count, groups)) or sum(groups) != n_below:
        raise DataError(f"groups must add up to the {n_below} units below layer {layer}, got {list(groups)!r}")
    start = 0
    for n in groups:
        block[start : start + n] = block[start]
        start += n
    return _with_ties(network, numbers)


def iterative(
    n_inputs: int,
    n_units: int,
    n_steps: int,
    n_outputs: int,
    *,
    activation: str = "logistic",
    output_activation: str = "logistic",
    loss: str = "squared",
    bias: bool = True,
) -> Network:
    """Unroll a recurrent network: at each time step its units see new inputs, and their own outputs one step before.

    Before the first step these outputs are 0. The output layer sees the units after the last step.

    Parameters
    ----------
    n_inputs : int
        The number of inputs of one step. A sample has ``n_steps * n_inputs`` numbers, those of the first step first.
    n_units, n_steps, n_outputs : int
    activation, output_activation, loss, bias
        See :class:`gpubp.nn.network.Network`.

    Returns
    -------
    Network
        With one layer for each step, all with the same weights.

    Examples
    --------
    >>> network = iterative(1, 2, n_steps=5, n_outputs=1)
    >>> len(network.sizes), len(set(network.ties) - {-1})  # 2 x (1 + 2 + 1) weights of the units, 3 of the output
    (7, 11)
    """
    sizes = (n_steps * n_inputs, *[n_units] * n_steps, n_outputs)
    skips = tuple((0, step) for step in range(2, n_steps + 1))
    network = Network(
        sizes, activation=activation, output_activation=output_activation, loss=loss, bias=bias, skips=skips
    )
    numbers = weight_numbers(network)
    blocks = views(np, network, numbers)
    from_inputs = blocks[0][:n_inputs].copy()
    biases = blocks[0][-1].copy()
    for step, block in enumerate(blocks[:-1]):
        first = n_units if step else 0  # the rows of the units themselves come first
        block[first : first + n_steps * n_inputs] = ABSENT
        block[first + step * n_inputs : first + (step + 1) * n_inputs] = from_inputs
        if step > 1:
            block[:n_units] = blocks[1][:n_units]
        if bias:
            block[-1] = biases
    return _with_ties(network, numbers)


def transfer_weights(theta: np.ndarray, network: Network, other: Network) -> np.ndarray:
    """Transfer weights to a network with more or fewer copies of them: more time steps, or a larger plane.

    Parameters
    ----------
    theta : (..., P) array of NumPy
        Parameters of ``network``.
    network, other : Network
        Made in the same way by the functions of this module, so that their distinct weights have the same order.

    Returns
    -------
    (..., P) array of NumPy
        Parameters of ``other``.

    Raises
    ------
    DataError
        If the numbers of distinct weights differ, or if a network has no ties.

    Examples
    --------
    >>> two, five = (with_equal_layers(Network((3,) * (n + 1)), range(1, n + 1)) for n in (2, 5))
    >>> transfer_weights(np.arange(24) % 12, two, five).shape
    (60,)
    """
    if network.tied is None or other.tied is None:
        raise DataError("weights can be transferred only between networks with ties")
    n_weights, n_others = len(network.tied.first), len(other.tied.first)
    if n_weights != n_others:
        raise DataError(f"both networks must have the same number of distinct weights, got {n_weights} and {n_others}")
    transferred = np.zeros((*theta.shape[:-1], other.n_parameters), dtype=theta.dtype)
    transferred[..., other.tied.present] = theta[..., network.tied.first[other.tied.index]]
    return transferred


def weight_numbers(network: Network) -> np.ndarray:
    """Return the number of the weight at each position of ``theta``: (P,)."""
    if network.n_members is not None:
        raise DataError("a network with members has no receptive fields, groups or ties; leave n_members out")
    return np.arange(network.n_parameters) if network.ties is None else np.asarray(network.ties)


def _with_ties(network: Network, numbers: np.ndarray) -> Network:
    return replace(network, ties=tuple(numbers.tolist()))


def _layer(network: Network, numbers: np.ndarray, layer: int) -> np.ndarray:
    """Return a layer's block of weight numbers, as a view."""
    n_layers = len(network.shapes)
    if not (is_count(layer) and layer <= n_layers):
        raise DataError(f"layer must be from 1 to {n_layers}, the outputs, got {layer!r}")
    block: np.ndarray = views(np, network, numbers)[layer - 1]
    return block


def _check_extent(name: str, extent: tuple[int, int]) -> tuple[int, int]:
    """Validate rows and columns."""
    numbers = np.asarray(extent)
    if numbers.shape != (2,) or numbers.dtype.kind not in "iu" or numbers.min() < 1:
        raise DataError(f"{name} must be (rows, columns), two whole numbers of at least 1, got {extent!r}")
    return int(numbers[0]), int(numbers[1])
