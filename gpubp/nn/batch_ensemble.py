r"""BatchEnsemble: the members of an ensemble as one network, with shared weights and scales of their own.

In a hidden layer, member k computes from the outputs :math:`y` of the layer below, with weights W for all members
(Wen, Tran & Ba 2020),

.. math:: x_k = s_k \odot ((r_k \odot y_k)\, W) + b_k

Its output layer is its own. The loss is the mean of the members' losses, and the network's outputs are the means of
their outputs: TabM (Gorishniy, Kotelnikov & Babenko 2025).

Shapes are written with the letters ``...`` for networks, ``k`` for members, ``b`` for samples, ``i`` for the units of
the layer below and ``j`` for those of the layer above. Activations are ``(..., k, b, j)``, so that the rows of all
members are multiplied with W in one product.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from gpubp._typing import Array, Namespace
from gpubp.nn import equations
from gpubp.nn.activations import get_activation
from gpubp.nn.losses import output_loss


@dataclass(frozen=True)
class Members:
    """The topology of ``n`` members; ``activations`` has one name for each layer above the inputs.

    In ``theta``, a hidden layer has W (i, j), r (n, i), s (n, j) and b (n, j) one after the other, and the output layer
    n blocks (i + 1, j) whose last rows are the biases.
    """

    n: int
    sizes: tuple[int, ...]
    activations: tuple[str, ...]
    loss: str

    @property
    def parameters_of_layers(self) -> tuple[int, ...]:
        """The number of parameters of each layer above the inputs."""
        *shared, last = pairwise(self.sizes)
        return (*(i * j + self.n * (i + 2 * j) for i, j in shared), self.n * (last[0] + 1) * last[1])


class SharedLayer(NamedTuple):
    """The parameters of a hidden layer that members share: w (..., i, j), r (..., k, 1, i), s and b (..., k, 1, j)."""

    w: Array
    r: Array
    s: Array
    b: Array


class Outputs(NamedTuple):
    """What a layer computed: the scaled outputs below (..., k, b, i), their product with w, total inputs x, outputs y.

    The output layer has no product of its own, and its outputs below are not scaled.
    """

    below: Array
    product: Array | None
    x: Array
    y: Array


def views(xp: Namespace, members: Members, theta: Array) -> tuple[list[SharedLayer], Array]:
    """Return the parameters of the hidden layers, and the blocks (..., k, i + 1, j) of the output layer.

    They are views of ``theta`` (..., P), or copies if the namespace has no views.
    """
    leading, start = theta.shape[:-1], 0

    def part(*shape: int) -> Array:
        nonlocal start
        size = 1
        for n in shape:
            size *= n
        start += size
        return xp.reshape(theta[..., start - size : start], (*leading, *shape))

    *shared, (n_below, n_outputs) = pairwise(members.sizes)
    n = members.n
    layers = [SharedLayer(part(i, j), part(n, 1, i), part(n, 1, j), part(n, 1, j)) for i, j in shared]
    return layers, part(n, n_below + 1, n_outputs)


def forward(
    xp: Namespace,
    members: Members,
    theta: Array,
    x: Array,
    masks: tuple[Array | None, ...] = (),
    *,
    outputs_wanted: bool = True,
) -> Iterator[Outputs]:
    """Compute the layers of all members one after the other, the output layer last.

    Parameters
    ----------
    theta : (..., P) array
    x : (..., b, i) array
        The samples, which all members see.
    masks : tuple of (..., k, b, n) arrays or None, optional
        What dropout multiplies the inputs and the outputs of each hidden layer by.
    outputs_wanted : bool
        Whether to compute the outputs of the output layer; they are None else.
    """
    shared, last = views(xp, members, theta)
    y = masked(x[..., None, :, :], masks, 0)
    for number, (layer, name) in enumerate(zip(shared, members.activations, strict=False), start=1):
        below = y * layer.r
        product = _shared_product(xp, below, layer.w)
        total = product * layer.s + layer.b
        outputs = get_activation(name).value(xp, total)
        yield Outputs(below, product, total, outputs)
        y = masked(outputs, masks, number)
    total = equations.total_input(xp, y, last)
    outputs = get_activation(members.activations[-1]).value(xp, total) if outputs_wanted else None
    yield Outputs(y, None, total, outputs)


def mean_output(xp: Namespace, members: Members, theta: Array, x: Array) -> tuple[Array, Array]:
    """Compute the mean of the members' outputs, and total inputs that would give it: ``(..., b, j)`` each.

    Total inputs exist where the loss has a stable form for them: they are logarithms of the mean outputs, 0 in the
    working precision being the smallest normal number. Elsewhere they are the mean of the total inputs.
    """
    name = members.activations[-1]
    (layer,) = deque(forward(xp, members, theta, x), maxlen=1)  # the layers below it are not kept
    smallest = float(xp.finfo(layer.y.dtype).smallest_normal)

    def log_of_mean(values: Array) -> Array:
        return xp.log(xp.maximum(xp.mean(values, axis=-3), smallest))

    y = xp.mean(layer.y, axis=-3)
    if name == "logistic":
        return log_of_mean(layer.y) - log_of_mean(equations.logistic(xp, -layer.x)), y
    return log_of_mean(layer.y) if has_logarithms(name) else xp.mean(layer.x, axis=-3), y


def has_logarithms(activation: str) -> bool:
    """Return whether the total inputs that give an output are its logarithm."""
    return activation == "exp" or activation.startswith("softmax")


def loss_and_gradient(
    xp: Namespace,
    members: Members,
    theta: Array,
    x: Array,
    targets: Array,
    sample_weight: Array | None = None,
    masks: tuple[Array | None, ...] = (),
    loss_scale: Array | None = None,
) -> tuple[Array, Array]:
    """Compute the mean of the members' losses, ``(...)``, and its gradient, ``(..., P)``.

    Parameters are those of :func:`gpubp.nn.passes.loss_and_gradient`, with masks ``(..., k, b, n)``.
    """
    shared, last = views(xp, members, theta)
    *layers, outputs = forward(xp, members, theta, x, masks, outputs_wanted=False)
    weights = None if sample_weight is None else sample_weight[..., None, :]
    targets = targets[..., None, :, :]
    E, dE_dx = output_loss(xp, members.loss, members.activations[-1], outputs.x, None, targets, weights)
    dE_dx = dE_dx / members.n
    if loss_scale is not None:
        dE_dx = dE_dx * loss_scale[..., None, None, None]
    parts = [equations.dE_dw(xp, dE_dx, outputs.below)]
    dE_dy = equations.dE_dy_below(xp, dE_dx, last)
    for number in range(len(shared), 0, -1):
        layer, computed, name = shared[number - 1], layers[number - 1], members.activations[number - 1]
        dE_dx = get_activation(name).dE_dx(xp, masked(dE_dy, masks, number), computed.x, computed.y)
        dE_dproduct = dE_dx * layer.s
        dE_dbelow = _shared_product(xp, dE_dproduct, xp.matrix_transpose(layer.w))
        y_below = masked(layers[number - 2].y if number > 1 else x[..., None, :, :], masks, number - 1)
        parts[:0] = [
            xp.matmul(xp.matrix_transpose(_rows(xp, computed.below)), _rows(xp, dE_dproduct)),
            xp.sum(dE_dbelow * y_below, axis=-2),
            xp.sum(dE_dx * computed.product, axis=-2),
            xp.sum(dE_dx, axis=-2),
        ]
        dE_dy = dE_dbelow * layer.r
    gradient = xp.concat([xp.reshape(part, (*theta.shape[:-1], -1)) for part in parts], axis=-1)
    return xp.mean(E, axis=-1), gradient if loss_scale is None else gradient / loss_scale[..., None]


def _rows(xp: Namespace, array: Array) -> Array:
    """Join the rows of all members: from (..., k, b, n) to (..., k * b, n)."""
    *leading, k, b, n = array.shape
    return xp.reshape(array, (*leading, k * b, n))


def _shared_product(xp: Namespace, array: Array, w: Array) -> Array:
    """Multiply (..., k, b, i) with weights (..., i, j) that all members share."""
    return xp.reshape(xp.matmul(_rows(xp, array), w), (*array.shape[:-1], w.shape[-1]))


def masked(y: Array, masks: tuple[Array | None, ...], layer: int) -> Array:
    """Multiply the outputs of a layer, or the derivative at them, by its mask if it has one."""
    mask = masks[layer] if layer < len(masks) else None
    return y if mask is None else y * mask
