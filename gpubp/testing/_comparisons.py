"""The comparisons of two devices: equations, networks and optimizers, on data from one seed."""

import importlib.util
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from gpubp._typing import Array
from gpubp.backends.backend import Backend, to_numpy, with_matmul
from gpubp.backends.matmul_precision import FORMATS
from gpubp.backends.sparse_matmul import for_samples
from gpubp.engine.plain.minibatches import Batch
from gpubp.engine.plain.step import Objective, make_step
from gpubp.nn import equations
from gpubp.nn.activations import ACTIVATIONS, get_activation
from gpubp.nn.encodings import piecewise_linear, smooth_clip
from gpubp.nn.jacobian import jacobian
from gpubp.nn.losses import LOSSES, get_loss
from gpubp.nn.network import Network
from gpubp.nn.passes import loss_and_gradient, output_layer
from gpubp.optim import first_order, loss_scaling, second_order, wrappers
from gpubp.testing._comparison import Comparison, draw_data, draw_weights, dtype_name
from gpubp.testing._fit_comparisons import fit_comparisons
from gpubp.testing._prediction_comparisons import prediction_comparisons
from gpubp.testing._table_comparisons import table_comparisons


def comparisons() -> list[Comparison]:
    """List what :func:`gpubp.testing.check_agreement` computes, with data from one host seed.

    Examples
    --------
    >>> comparisons()[0].what
    'eq. (1) total input'
    """
    generator = np.random.default_rng(1986)
    parts = (_equations, _activations, _losses, _encodings, _networks, _optimizers, fit_comparisons, _rounded_products)
    return [
        comparison for part in (*parts, prediction_comparisons, table_comparisons) for comparison in part(generator)
    ]


def _equations(generator: np.random.Generator) -> Iterator[Comparison]:
    # two networks at once, 8 samples, 4 units below and 6 above
    y_below, targets = generator.uniform(0.0, 1.0, (2, 8, 4)), generator.uniform(0.0, 1.0, (2, 8, 6))
    x, y, dE_dy = generator.normal(0.0, 3.0, (2, 8, 6)), generator.uniform(0.0, 1.0, (2, 8, 6)), targets - 0.5
    w, plain_w = generator.normal(size=(2, 5, 6)), generator.normal(size=(2, 4, 6))
    gradient, previous = generator.normal(size=(2, 51)), generator.normal(size=(2, 51))

    def make_comparison(
        kind: str, what: str, equation: Callable[..., Array], *arrays: np.ndarray, **options: Any
    ) -> Comparison:
        return Comparison(
            kind,
            f"eq. {what}",
            lambda backend, *device_arrays: equation(backend.xp, *device_arrays, **options),
            arrays,
            is_pure=True,
        )

    yield make_comparison("forward", "(1) total input", equations.total_input, y_below, w)
    yield make_comparison("forward", "(1) total input, no biases", equations.total_input, y_below, plain_w, bias=False)
    yield make_comparison("elementwise", "(2) logistic", equations.logistic, x)
    yield make_comparison("elementwise", "(3) squared error", equations.squared_error, y, targets)
    yield make_comparison("elementwise", "(4) dE/dy", equations.squared_error_dE_dy, y, targets)
    yield make_comparison("elementwise", "(5) dE/dx", equations.logistic_dE_dx, dE_dy, y)
    yield make_comparison("gradient", "(6) dE/dw", equations.dE_dw, dE_dy, y_below)
    yield make_comparison("gradient", "(6) dE/dw, no biases", equations.dE_dw, dE_dy, y_below, bias=False)
    yield make_comparison("gradient", "(7) dE/dy below", equations.dE_dy_below, dE_dy, w)
    yield make_comparison("gradient", "(7) dE/dy below, no biases", equations.dE_dy_below, dE_dy, plain_w, bias=False)
    yield make_comparison("elementwise", "(8) gradient descent", equations.gradient_descent, gradient, rate=0.1)
    yield make_comparison(
        "elementwise", "(9) momentum", equations.momentum_descent, gradient, previous, rate=0.1, momentum=0.9
    )


def _activations(generator: np.random.Generator) -> Iterator[Comparison]:
    x, dE_dy = generator.normal(0.0, 3.0, (2, 8, 6)), generator.normal(size=(2, 8, 6))

    def value_and_derivative(backend: Backend, x: Array, dE_dy: Array, *, name: str) -> tuple[Array, Array]:
        activation = get_activation(name)
        y = activation.value(backend.xp, x)
        return y, activation.dE_dx(backend.xp, dE_dy, x, y)

    for name in ACTIVATIONS:
        yield Comparison(
            "elementwise", f"activation {name}", partial(value_and_derivative, name=name), (x, dE_dy), is_pure=True
        )


def _losses(generator: np.random.Generator) -> Iterator[Comparison]:
    x, y, targets = generator.normal(0.0, 3.0, (2, 8, 6)), *generator.uniform(0.02, 0.98, (2, 2, 8, 6))

    def value_and_derivative(backend: Backend, x: Array, y: Array, targets: Array, *, name: str) -> tuple[Array, ...]:
        xp, loss = backend.xp, get_loss(name)
        from_outputs = loss.value(xp, y, targets), loss.dE_dy(xp, y, targets)
        return from_outputs + (() if loss.at_total_inputs is None else loss.at_total_inputs(xp, x, targets))

    for name in LOSSES:
        yield Comparison(
            "elementwise", f"loss {name}", partial(value_and_derivative, name=name), (x, y, targets), is_pure=True
        )


def _encodings(generator: np.random.Generator) -> Iterator[Comparison]:
    x, edges = generator.normal(0.0, 3.0, (8, 1)), np.sort(generator.normal(0.0, 3.0, 7))

    def encoded(backend: Backend, x: Array, lows: Array, highs: Array) -> tuple[Array, Array]:
        return smooth_clip(backend.xp, x), piecewise_linear(backend.xp, x, lows, highs)

    yield Comparison("elementwise", "encodings of numbers", encoded, (x, edges[:-1], edges[1:]), is_pure=True)


_NETWORKS = (
    Network((4, 6, 3), activation="logistic", output_activation="logistic"),
    Network((4, 6, 5, 3), activation=("tanh", "relu"), loss="cross_entropy"),
    Network((4, 6, 3), activation="gelu", loss="poisson", bias=False),
    Network((64, 100, 10), loss="cross_entropy"),
    Network((4, 6, 3), activation="tanh", loss="cross_entropy", n_members=2),
)


def _outputs(backend: Backend, theta: Array, x: Array, *_: Array, network: Network) -> tuple[Array, Array]:
    return output_layer(backend.xp, network, theta, x)


def _gradients(backend: Backend, *arrays: Array, network: Network) -> tuple[Array, Array]:
    return loss_and_gradient(backend.xp, network, *arrays)


def _networks(generator: np.random.Generator) -> Iterator[Comparison]:
    def jacobians(backend: Backend, theta: Array, x: Array, *_: Array, network: Network) -> Array:
        return jacobian(backend.xp, network, theta, x)

    for network in _NETWORKS:
        members = f" of {network.n_members} members" if network.n_members else ""
        name = "-".join(map(str, network.sizes)) + f"{members} {network.loss}"
        data = draw_data(network, generator)
        yield Comparison("forward", name, partial(_outputs, network=network), data, is_pure=True)
        yield Comparison("gradient", name, partial(_gradients, network=network), data, is_pure=True)
    small_network = _NETWORKS[0]
    yield Comparison(
        "gradient",
        "Jacobian",
        partial(jacobians, network=small_network),
        draw_data(small_network, generator),
        is_pure=True,
    )
    stack = np.stack([draw_weights(small_network, generator) for _ in range(2)])
    _, x, targets, sample_weight = draw_data(small_network, generator)
    yield Comparison(
        "gradient",
        "a stack of 2",
        partial(_gradients, network=small_network),
        (stack, x, targets, sample_weight),
        is_pure=True,
    )
    if importlib.util.find_spec("scipy"):
        # computed operation by operation: JAX compiles each once for layers of one size
        network = Network((4, 4, 4), activation="logistic", output_activation="logistic")
        theta, x, *others = draw_data(network, np.random.default_rng(1986))
        few = (theta, np.where(np.abs(x) > 1.0, x, 0.0), *others)
        yield Comparison("gradient", "sparse samples", partial(_of_sparse, network=network), few)


def _of_sparse(backend: Backend, theta: Array, x: Array, *others: Array, network: Network) -> tuple[Array, Array]:
    import scipy.sparse

    samples = scipy.sparse.csr_array(to_numpy(x))
    return loss_and_gradient(for_samples(backend, samples).xp, network, theta, samples, *others)


def _descend(
    backend: Backend, theta: Array, *batch: Array, network: Network, optimizer: Any, steps: int
) -> tuple[Array, Array]:
    step = make_step(backend, Objective(network, l2=0.01), optimizer, dtype_name(theta))
    state = optimizer.init(backend.xp, theta)
    for _ in range(steps):
        theta, state, value = step(theta, state, Batch(*batch), 0.0)
    return theta, value


def _optimizers(generator: np.random.Generator) -> Iterator[Comparison]:
    network = Network((4, 6, 3), activation="tanh", loss="cross_entropy")
    optimizers = [make() for make in first_order.OPTIMIZERS.values()]
    optimizers += [wrappers.clipped(first_order.momentum(), 0.1), wrappers.decayed(first_order.momentum(), 0.002)]
    optimizers.append(wrappers.rate_scaled(first_order.adam(), np.linspace(0.0, 2.0, network.n_parameters)))
    # with these data a change of the first weights grows 20 times at most; with some, a million times by rmsprop
    data = draw_data(network, np.random.default_rng(0))
    for optimizer in optimizers:
        yield Comparison(
            "steps",
            f"100 of {optimizer.name}",
            partial(_descend, network=network, optimizer=optimizer, steps=100),
            data,
        )
    network = Network(network.sizes, activation="tanh")
    # with less damping the linear systems are too ill-conditioned for float32
    for method in (second_order.lbfgs(), second_order.levenberg_marquardt(damping=0.1, factor=2.0)):
        descended = partial(_descend, network=network, optimizer=method, steps=10)
        yield Comparison("steps", f"10 of {method.name}", descended, draw_data(network, generator))


def _rounded_products(generator: np.random.Generator) -> Iterator[Comparison]:
    def with_precision(compute: Callable[..., Any], precision: str) -> Callable[..., Any]:
        return lambda backend, *arrays: compute(with_matmul(backend, precision, "float32"), *arrays)

    # at a kink, as of relu, rounding to the other side would change a derivative entirely
    smooth = (
        Network((4, 6, 5, 3), activation=("tanh", "gelu"), loss="cross_entropy"),
        Network((64, 100, 10), activation="tanh", loss="cross_entropy"),
    )
    for precision in FORMATS:
        for network in smooth:
            name = "-".join(map(str, network.sizes)) + f" {network.loss}"
            data = draw_data(network, generator)
            for kind, compute in (("forward", _outputs), ("gradient", _gradients)):
                computed = with_precision(partial(compute, network=network), precision)
                yield Comparison(f"{kind} {precision}", name, computed, data, dtypes=("float32",), is_pure=True)
        network = Network((4, 6, 3), activation="tanh", loss="cross_entropy")
        data = draw_data(network, generator)
        for optimizer in (first_order.momentum(), first_order.adam()):
            optimizer = loss_scaling.loss_scaled(optimizer) if precision == "float16" else optimizer
            descended = with_precision(partial(_descend, network=network, optimizer=optimizer, steps=100), precision)
            yield Comparison(f"steps {precision}", f"100 of {optimizer.name}", descended, data, dtypes=("float32",))
