"""Initial weights, drawn on the host so that every backend starts from the same numbers."""

import enum
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gpubp._core.counts import is_count
from gpubp._core.names import unknown
from gpubp.errors import DataError
from gpubp.nn import batch_ensemble
from gpubp.nn.batch_ensemble import Members
from gpubp.nn.network import Network, views
from gpubp.nn.passes import forward

Seed = int | np.random.Generator


@enum.unique
class Purpose(enum.IntEnum):
    """What random numbers are for beside the initial weights; each purpose has its own stream of a seed."""

    ORDER = 1
    DROPOUT = 2
    STANDARDIZATION = 3
    INPUT_SCALES = 4


SCHEMES = ("glorot", "he", "uniform", "ntk", "fan_in", "periodic", "normal", "ones", "zeros")
PERIODIC_SIGMA = 0.1


@np.errstate(all="ignore")
def initial_weights(
    network: Network,
    seed: Seed | Sequence[Seed] = 0,
    *,
    scheme: str | Sequence[str] = "glorot",
    scale: float = 0.3,
    dtype: str = "float32",
) -> np.ndarray:
    r"""Draw the initial parameters of one network, or of a stack of networks.

    Parameters
    ----------
    network : Network
    seed : int, Generator, or a sequence of them
        One seed gives ``(P,)``. A sequence of K seeds gives ``(K, P)``; each row is what its seed gives alone.
    scheme : {"glorot", "he", "uniform", "ntk", "fan_in", "periodic", "normal", "ones", "zeros"} or a sequence of them
        One scheme for all layers, or one for each.
        ``"glorot"``: uniform in :math:`\pm\sqrt{6 / (n_{in} + n_{out})}` (Glorot & Bengio 2010); ``"he"``: uniform in
        :math:`\pm\sqrt{6 / n_{in}}` (He et al. 2015), for relu and similar activations; both with biases of 0.
        ``"uniform"``: weights and biases uniform in ``-scale`` to ``scale``, as in Rumelhart, Hinton & Williams (1986)
        with 0.3. ``"ntk"``: weights normal with standard deviation :math:`1 / \sqrt{n_{in}}`, biases with 1, as in the
        neural tangent kernel's parametrization (Jacot et al. 2018); see :func:`ntk_rate_factors`. ``"fan_in"``:
        weights and biases uniform in :math:`\pm 1 / \sqrt{n}` with the unit's own number n of connections.
        ``"periodic"``, for cosine units: weights normal with standard deviation :math:`2 \pi \cdot 0.1`, biases uniform
        in :math:`\pm\pi` (Holzmüller et al. 2024). ``"normal"``, for embeddings of categories: weights normal with
        standard deviation 1. ``"ones"`` and ``"zeros"``: all weights are that. The biases of these three are 0.
        Members that share weights draw them so, with equal biases; the scales of their inputs are random signs, all
        others 1, and each has an output layer of its own (Gorishniy et al. 2025).
        The weights of parametric activations are 1.
    scale : float
        The range of ``"uniform"``.
    dtype : {"float32", "float64"}
        The numbers are drawn in float64 and rounded, so that both precisions start from the same numbers.

    Returns
    -------
    (P,) or (K, P) NumPy array

    Raises
    ------
    DataError
        If the scheme, the scale, a seed or the dtype is invalid.

    Examples
    --------
    >>> network = Network((2, 1))
    >>> initial_weights(network, seed=[0, 1]).shape
    (2, 3)
    """
    schemes = [scheme] * len(network.shapes) if isinstance(scheme, str) else _items(scheme)
    for name in schemes:
        if name not in SCHEMES:
            raise DataError(unknown("scheme", name, SCHEMES))
    if len(schemes) != len(network.shapes):
        raise DataError(f"scheme must be one name, or {len(network.shapes)}, one for each layer, got {scheme!r}")
    if dtype not in ("float32", "float64"):
        raise DataError(f"dtype must be 'float32' or 'float64', got {dtype!r}")
    if not _is_factor(scale):
        raise DataError(f"scale must be a finite number, 0 or more, got {scale!r}")
    rows = [_draw(network, single_seed, schemes, scale).astype(dtype) for single_seed in check_seeds(seed)]
    return np.stack(rows) if is_sequence(seed) else rows[0]


def _items(sequence: Any) -> list[Any]:
    """Return the items of a sequence; none of what is not one."""
    array = np.asarray(sequence, dtype=object)
    return array.tolist() if array.ndim == 1 else []


def _is_factor(number: Any) -> bool:
    """Return whether a value is a finite number, 0 or more; True and False are not."""
    is_number = isinstance(number, int | float | np.floating) and not isinstance(number, bool)
    return is_number and math.isfinite(number) and number >= 0.0


def is_sequence(seed: Any) -> bool:
    """Return whether ``seed`` is a sequence of seeds, which makes a stack of networks, and not one seed."""
    return isinstance(seed, list | tuple | range) or (isinstance(seed, np.ndarray) and seed.ndim == 1)


def check_seeds(seed: Any) -> list[Seed]:
    """Return one seed or several as a list.

    Raises
    ------
    DataError
        If there is no seed, or if one is neither a non-negative integer nor a NumPy Generator.
    """
    seeds = list(seed) if is_sequence(seed) else [seed]
    for single_seed in seeds:
        if not isinstance(single_seed, np.random.Generator) and not (
            isinstance(single_seed, int | np.integer) and single_seed >= 0
        ):
            raise DataError(f"seed must be a whole number, 0 or more, or a numpy.random.Generator, got {single_seed!r}")
    if not seeds:
        raise DataError(f"seed must hold at least one seed, got {seed!r}")
    return seeds


def generator_for(seed: Seed, purpose: Purpose) -> np.random.Generator:
    """Return the generator of a seed for a purpose: `seed` itself if it is a Generator."""
    return seed if isinstance(seed, np.random.Generator) else np.random.default_rng((int(seed), int(purpose)))


def _draw(network: Network, seed: Seed, schemes: list[str], scale: float) -> np.ndarray:
    generator = np.random.default_rng(seed)
    theta = np.zeros(network.n_parameters)
    if network.members is not None:
        _draw_members(generator, network.members, theta, schemes, scale)
        return theta
    connected = np.ones(network.n_parameters) if network.tied is None else network.tied.mask
    for block, present, scheme in zip(views(np, network, theta), views(np, network, connected), schemes, strict=True):
        _draw_block(generator, block, present[: len(block) - network.bias], scheme, scale)
    theta[network.n_parameters - sum(network.activation_weights) :] = 1.0
    return theta if network.tied is None else network.tied.tie(theta)


def standardized_weights(
    network: Network, theta: np.ndarray, X: np.ndarray, seed: Seed | Sequence[Seed], *, layers: Sequence[int]
) -> np.ndarray:
    r"""Scale initial weights to samples: so that the total inputs of some layers have standard deviation 1.

    Layer after layer, the weights of each unit are divided by the standard deviation of :math:`t_c = \sum_i y_{ic} w_i`
    over the samples c, as by Mishkin & Matas (2016). Its bias becomes :math:`-\sum_k p_k t_{c_k}` with five samples
    :math:`c_k` drawn for each unit and random shares :math:`p_k`, so that it bends among the samples, as in RealMLP
    (Holzmüller et al. 2024; "he+5" of Steinwart 2019).

    Parameters
    ----------
    network : Network
    theta : (P,) or (K, P) NumPy array
        From :func:`initial_weights`.
    X : (b, i) NumPy array
    seed : int, Generator, or for a stack a sequence of them
    layers : sequence of int
        In ascending order; 1 is the first layer above the inputs.

    Returns
    -------
    (P,) or (K, P) NumPy array

    Raises
    ------
    DataError
        If there is another number of seeds than of networks, there are no samples of the network's inputs, or a layer
        does not exist.

    Examples
    --------
    >>> network, X = Network((2, 3, 1)), np.random.default_rng(0).normal(size=(50, 2))
    >>> theta = standardized_weights(network, initial_weights(network, dtype="float64"), X, 0, layers=[1])
    >>> np.std(X @ theta[:6].reshape(2, 3), axis=0).round(6).tolist()
    [1.0, 1.0, 1.0]
    """
    X, thetas = np.asarray(X, "float64"), np.atleast_2d(theta)
    generators = [generator_for(one, Purpose.STANDARDIZATION) for one in check_seeds(seed)]
    if len(generators) != len(thetas):
        raise DataError(f"seed must hold {len(thetas)} seeds, one for each network of theta, got {len(generators)}")
    if X.ndim != 2 or not len(X) or X.shape[1] != network.sizes[0]:
        raise DataError(f"X must be one or more samples of {network.sizes[0]} inputs, got an array {X.shape}")
    last = len(network.sizes) - 1
    if not all(is_count(layer) and layer <= last for layer in layers):
        raise DataError(f"layers must be numbers from 1, above the inputs, to {last}, the outputs, got {layers!r}")
    rows = [
        _standardize(network, one.astype("float64"), X, generator, layers)
        for one, generator in zip(thetas, generators, strict=True)
    ]
    return np.reshape(np.stack(rows), theta.shape).astype(theta.dtype)


def _standardize(
    network: Network, theta: np.ndarray, x: np.ndarray, generator: np.random.Generator, layers: Sequence[int]
) -> np.ndarray:
    for layer in layers:
        block = views(np, network, theta)[layer - 1]
        n_units, n_in = block.shape[1], block.shape[0] - network.bias
        block[n_in:] = 0.0
        total = forward(np, network, theta, x)[layer - 1].x
        spread = total.std(axis=0)
        rounding = np.finfo(spread.dtype).eps * max(len(x), n_in) * np.abs(total).max(axis=0)
        spread[spread <= rounding] = 1.0  # of a unit with the same total input for all samples
        block[:n_in] /= spread
        samples = generator.integers(len(x), size=(5, n_units))
        shares = generator.dirichlet(np.ones(5), n_units).T
        block[n_in:] = -np.sum(shares * (total / spread)[samples, np.arange(n_units)], axis=0)
    return theta if network.tied is None else network.tied.tie(theta)


def _draw_members(
    generator: np.random.Generator, members: Members, theta: np.ndarray, schemes: list[str], scale: float
) -> None:
    """Draw the parameters of members, whose shared layers begin equal but for the signs of the inputs."""
    shared, last = batch_ensemble.views(np, members, theta)
    for layer, scheme in zip(shared, schemes, strict=False):
        block = np.zeros((len(layer.w) + 1, layer.w.shape[1]))
        _draw_block(generator, block, np.ones_like(layer.w), scheme, scale)
        layer.w[...], layer.b[...] = block[:-1], block[-1]
        layer.r[...] = layer.s[...] = 1.0
    if shared:
        shared[0].r[...] = generator.choice([-1.0, 1.0], shared[0].r.shape)
    for block in last:
        _draw_block(generator, block, np.ones_like(block[:-1]), schemes[-1], scale)


def _draw_block(
    generator: np.random.Generator, block: np.ndarray, present: np.ndarray, scheme: str, scale: float
) -> None:
    """Draw a layer's block of weights, which is zeros; `present` (i, j) is 1 where there is a connection."""
    n_in, n_out = present.shape
    if scheme in ("ones", "zeros"):
        block[:n_in] = float(scheme == "ones")
    elif scheme == "fan_in":
        block[...] = generator.uniform(-1.0, 1.0, block.shape)
        block /= np.sqrt(np.maximum(present.sum(axis=0), 1.0))
    elif scheme == "periodic":
        block[:n_in] = generator.normal(0.0, 2.0 * math.pi * PERIODIC_SIGMA, (n_in, n_out))
        block[n_in:] = generator.uniform(-math.pi, math.pi, (len(block) - n_in, n_out))
    elif scheme == "normal":
        block[:n_in] = generator.normal(size=(n_in, n_out))
    elif scheme == "uniform":
        block[...] = generator.uniform(-scale, scale, block.shape)
    elif scheme == "ntk":
        block[...] = generator.normal(size=block.shape)
        block[:n_in] /= math.sqrt(n_in)
    else:
        bound = math.sqrt(6.0 / (n_in + n_out if scheme == "glorot" else n_in))
        block[:n_in] = generator.uniform(-bound, bound, (n_in, n_out))


def ntk_rate_factors(
    network: Network,
    *,
    bias: float = 1.0,
    activation: float = 1.0,
    others: Mapping[int, tuple[float, float]] | None = None,
) -> np.ndarray:
    r"""Return the factors of the learning rate with which a network trains in the parametrization of the NTK.

    In it a layer computes :math:`W x / \sqrt{n_{in}} + b`, and the elements of :math:`W` are learned (Jacot et al.
    2018). A network whose weights are :math:`W / \sqrt{n_{in}}` computes the same. With an optimizer whose steps do not
    depend on the scale of the gradient, such as Adam, it also learns the same if the learning rate of its weights is
    multiplied by :math:`1 / \sqrt{n_{in}}`; with gradient descent, by the square of it. A penalty on the weights has
    another strength, and so has their decay, unless :func:`gpubp.decay_scaled` divides it by the same factor.

    Parameters
    ----------
    network : Network
    bias : float
        The factor of the biases; 0.1 in RealMLP (Holzmüller et al. 2024).
    activation : float
        The factor of the weights of parametric activations; 0.1 in RealMLP.
    others : mapping of int to (float, float), optional
        Layers that are not in this parametrization, with the factor of their weights and that of their biases. 1 is the
        first layer above the inputs. RealMLP has 6 for the layer that gives each input a learned weight.

    Returns
    -------
    (P,) NumPy array
        For :func:`gpubp.rate_scaled`.

    Examples
    --------
    >>> from gpubp import adamw, decay_scaled, rate_scaled
    >>> network = Network((4, 1))
    >>> factors = ntk_rate_factors(network, bias=0.1)
    >>> factors
    array([0.5, 0.5, 0.5, 0.5, 0.1])

    The same with a decay of :math:`W`, and none of the biases:

    >>> optimizer = rate_scaled(decay_scaled(adamw(0.04), network.weight_mask() / factors), factors)
    """
    n_layers, others = len(network.shapes), {} if others is None else others
    if not isinstance(others, Mapping):
        raise DataError(f"others must be a mapping, such as {{1: (6.0, 0.0)}}, got {others!r}")
    for layer, pair in others.items():
        if not (is_count(layer) and layer <= n_layers and len(_items(pair)) == 2):
            raise DataError(
                f"others must be layers from 1 to {n_layers}, each with the factors of its weights and of its biases, "
                f"got {layer!r}: {pair!r}"
            )
    for name, given in (
        ("bias", bias),
        ("activation", activation),
        *(("others", factor) for pair in others.values() for factor in pair),
    ):
        if not _is_factor(given):
            raise DataError(f"{name} must be a finite number, 0 or more, got {given!r}")
    factors = np.full(network.n_parameters, float(activation))
    for layer, block in enumerate(views(np, network, factors), start=1):
        n_in = block.shape[0] - network.bias
        block[:n_in], block[n_in:] = others.get(layer, (1.0 / math.sqrt(n_in), bias))
    return factors
