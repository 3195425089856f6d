"""Do two devices agree? The one table of tolerances, and the comparison of a device with NumPy.

In your own tests, on the machine with the GPU::

    from gpubp.testing import check_agreement

    assert all(row.ok for row in check_agreement("cuda"))
"""

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import array_api_compat
import numpy as np

from gpubp._core.names import unknown
from gpubp._typing import Array, Device, Namespace
from gpubp.backends.backend import Backend, choose_backend, to_backend, to_numpy, with_matmul
from gpubp.backends.matmul_precision import FORMATS
from gpubp.engine.argument_checks import choose_precision
from gpubp.engine.plain.minibatches import Batch
from gpubp.engine.plain.step import Objective, make_step
from gpubp.engine.prediction import predict
from gpubp.errors import DataError
from gpubp.nn import equations
from gpubp.nn.activations import ACTIVATIONS, get_activation
from gpubp.nn.initialization import initial_weights
from gpubp.nn.losses import LOSSES, get_loss
from gpubp.nn.network import Network, jacobian, loss_and_gradient, output_layer
from gpubp.optim import first_order, second_order
from gpubp.training.fit import train

logger = logging.getLogger("gpubp")


class Tolerance(NamedTuple):
    """Two values agree where ``|actual - expected| <= atol + rtol * |expected|``, for the reason given."""

    rtol: float
    atol: float
    reason: str


TOLERANCES: dict[tuple[str, str], Tolerance] = {
    ("elementwise", "float64"): Tolerance(1e-14, 1e-14, "45 units in the last place; seen 5e-16, with noise 3e-15"),
    ("elementwise", "float32"): Tolerance(2e-6, 2e-6, "17 units in the last place; seen 2e-7, with noise 1.4e-6"),
    ("forward", "float64"): Tolerance(1e-13, 1e-13, "sums of up to 100 products; seen 2e-15, with noise 5e-15"),
    ("forward", "float32"): Tolerance(1e-5, 1e-5, "sums of up to 100 products; seen 4e-7, with noise 3e-6"),
    ("gradient", "float64"): Tolerance(1e-13, 1e-13, "sums over samples behind those; seen 3e-15, with noise 2e-14"),
    ("gradient", "float32"): Tolerance(1e-5, 1e-5, "sums over samples behind those; seen 9e-7, with noise 6e-6"),
    ("differences", "float64"): Tolerance(1e-7, 1e-7, "the step's square, 4e-11, times third derivatives; seen 4e-9"),
    ("steps", "float64"): Tolerance(1e-12, 1e-12, "rounding grown over 100 changes; seen 3e-15, with noise 4e-14"),
    ("steps", "float32"): Tolerance(1e-4, 1e-4, "rounding grown over 100 changes; seen 4e-6, with noise 2e-5"),
    ("fit", "float64"): Tolerance(1e-12, 1e-12, "rounding grown over 100 changes; seen 3e-16, with noise 2e-15"),
    ("fit", "float32"): Tolerance(1e-4, 1e-4, "rounding grown over 100 changes; seen 2e-7, with noise 8e-7"),
    ("forward tf32", "float32"): Tolerance(1.5e-2, 1.5e-2, "with noise 2e-4; where a GPU cuts off, not rounds, 5e-3"),
    ("forward bfloat16", "float32"): Tolerance(5e-3, 5e-3, "noise that rounds the other way: a step of 2^-8; 1.4e-3"),
    ("forward float16", "float32"): Tolerance(1e-3, 1e-3, "noise that rounds the other way: a step of 2^-11; 1.9e-4"),
    ("gradient tf32", "float32"): Tolerance(2e-2, 2e-2, "with noise 6e-4; where a GPU cuts off, not rounds, 7e-3"),
    ("gradient bfloat16", "float32"): Tolerance(1.5e-2, 1.5e-2, "sums over samples behind those; with noise 4e-3"),
    ("gradient float16", "float32"): Tolerance(2e-3, 2e-3, "sums over samples behind those; with noise 5e-4"),
    ("steps tf32", "float32"): Tolerance(1e-2, 1e-2, "with noise 1.1e-4; where a GPU cuts off, not rounds, 3e-3"),
    ("steps bfloat16", "float32"): Tolerance(3e-3, 3e-3, "rounding grown over 100 changes; with noise 9e-4"),
    ("steps float16", "float32"): Tolerance(6e-4, 6e-4, "rounding grown over 100 changes; with noise 1.7e-4"),
}
"""How far two devices may differ, by what is compared and its precision: the only place with such numbers.

The reasons give the largest differences met, as parts of ``1 + |expected|``: "seen" between NumPy and torch on a CPU in
the comparisons below, and "with noise" there against a NumPy whose every exponential, logarithm, root, sum and product
is wrong by a random part of 2 units in the last place. "differences" are the gradient against central differences of
the error. Names of a format stand for products of matrices in it (``matmul_precision``), over 50 draws of the data;
cuBLAS makes TF32 of float32 itself, and whether it rounds or cuts off is its own. Optimizers that divide by the size of
the gradient let rounding grow without bound once a weight has nothing left to gain; the comparisons end before that.
"""


def deviation(actual: Array, expected: Array, kind: str) -> float:
    """Measure the largest difference between two arrays, as a multiple of what the table allows for ``actual``'s dtype.

    Parameters
    ----------
    actual, expected : arrays of one shape, of whatever namespaces and devices
    kind : str
        A kind of :data:`TOLERANCES`.

    Returns
    -------
    float
        At most 1 where they agree; infinite where one is not a number and the other is.

    Raises
    ------
    DataError
        If the shapes differ, or the table has no such row.

    Examples
    --------
    >>> import numpy as np
    >>> deviation(np.asarray([1.0, 2.0]), np.asarray([1.0, 2.0]), "gradient")
    0.0
    """
    return _largest(actual, expected, kind).deviation


def assert_agree(
    actual: Array, expected: Array, kind: str, *, namespace: Namespace | None = None, device: Device | None = None
) -> None:
    """Assert that an array has the values, dtype, shape, namespace and device that it must have.

    Parameters
    ----------
    actual : array
    expected : array
        Of whatever namespace; the values, dtype and shape to have.
    kind : str
        A kind of :data:`TOLERANCES`.
    namespace : module, optional
        The namespace to have; without it that of ``expected``.
    device : device, optional
        The device to have; without it that of ``expected``, or the default one of a given ``namespace``.

    Raises
    ------
    AssertionError
        If anything differs: the message says what, by how much, where, and what the table allows.

    Examples
    --------
    >>> import numpy as np
    >>> assert_agree(np.asarray([1.0]), np.asarray([1.001]), "forward")
    Traceback (most recent call last):
    AssertionError: forward: ... times the tolerance at [0]: got 1.0, expected 1.001, ...
    """
    if namespace is None:
        namespace = array_api_compat.array_namespace(expected)
        device = array_api_compat.device(expected) if device is None else device
    _, fault = _compare(actual, expected, kind, namespace, device)
    if fault:
        raise AssertionError(fault)


class Agreement(NamedTuple):
    """What came of one comparison.

    Attributes
    ----------
    kind : str
        The kind of :data:`TOLERANCES`.
    what : str
        What was computed.
    dtype : str
    deviation : float
        The largest deviation as a multiple of the tolerance; infinite where dtype, shape, namespace or device is wrong.
    ok : bool
    fault : str
        What is wrong, and nothing where it agrees.
    """

    kind: str
    what: str
    dtype: str
    deviation: float
    ok: bool
    fault: str


def check_agreement(device: str = "auto", *, dtypes: Sequence[str] | None = None) -> list[Agreement]:
    """Compare a device with NumPy: every equation, unit, error and optimizer, a few networks, and whole fits.

    Parameters
    ----------
    device : str
        See :func:`gpubp.backends.backend.choose_backend`. Name the device that you mean: ``"auto"`` on a machine
        without a GPU compares NumPy with itself.
    dtypes : sequence of {"float64", "float32"}, optional
        The precisions to compare; without it those of the two that the device has.

    Returns
    -------
    list of Agreement
        One row for each comparison and precision; a precision that was not compared has no rows.

    Raises
    ------
    DeviceError
        If the device cannot be used.
    DataError
        If the device lacks a precision that was asked for.

    Examples
    --------
    >>> all(row.ok for row in check_agreement("cpu", dtypes=["float32"]))
    True
    """
    backend = choose_backend(device)
    if dtypes is None:
        both = ("float64", "float32")
        dtypes = [dtype for dtype in both if choose_precision(backend, None, np.empty(0, dtype)) == dtype]
        if "float64" not in dtypes:
            logger.warning("%s has no float64: only float32 is compared", backend.name)
    dtypes = [choose_precision(backend, dtype) for dtype in dtypes]
    all_of_them = comparisons()
    return [compare(one, backend, dtype) for dtype in dtypes for one in all_of_them if dtype in one.dtypes]


class Comparison(NamedTuple):
    """Something to compute on two devices: ``compute(backend, *arrays)`` gives an array, or a tuple of them.

    ``dtypes`` are the precisions that it can be computed in.
    """

    kind: str
    what: str
    compute: Callable[..., Any]
    arrays: tuple[np.ndarray, ...]
    dtypes: tuple[str, ...] = ("float64", "float32")


def compare(comparison: Comparison, backend: Backend, dtype: str) -> Agreement:
    """Compute on a device and on NumPy, and compare.

    Parameters
    ----------
    comparison : Comparison
        One of :func:`comparisons`.
    backend : Backend
    dtype : {"float64", "float32"}
    """
    computed, expected = _results(comparison, backend, dtype), _results(comparison, choose_backend("cpu"), dtype)
    # astype: a precision that NumPy and the device both lose is a fault too
    found = [
        _compare(one, other.astype(dtype), comparison.kind, backend.xp, backend.device)
        for one, other in zip(computed, expected, strict=True)
    ]
    fault = "; ".join(fault for _, fault in found if fault)
    return Agreement(comparison.kind, comparison.what, dtype, max(part for part, _ in found), not fault, fault)


def _results(comparison: Comparison, backend: Backend, dtype: str) -> tuple[Array, ...]:
    host = [array.astype(dtype) for array in comparison.arrays]
    for array in host:
        array.flags.writeable = False  # who writes to an input of NumPy's raises
    with backend.active():
        results = comparison.compute(backend, *(to_backend(backend, array) for array in host))
    return tuple(results) if isinstance(results, tuple | list) else (results,)


def _compare(
    actual: Array, expected: Array, kind: str, namespace: Namespace, device: Device | None
) -> tuple[float, str]:
    """Measure the deviation, infinite where more than values differ, and word the fault where there is one."""
    for of, got, wanted in _properties(actual, expected, namespace, device):
        if got != wanted:
            return math.inf, f"{kind}: {of} is {got}, expected {wanted}"
    largest, place, row = _largest(actual, expected, kind)
    if largest <= 1.0:
        return largest, ""
    got, wanted = to_numpy(actual)[place], to_numpy(expected)[place]
    return largest, (
        f"{kind}: {largest:.4g} times the tolerance at {[int(i) for i in place]}: got {got}, expected {wanted}, a "
        f"difference of {abs(float(got) - float(wanted)):.3g}; the table's row for {kind}, {_dtype_name(actual)}: "
        f"rtol={row.rtol:g}, atol={row.atol:g} ({row.reason})"
    )


def _properties(
    actual: Array, expected: Array, namespace: Namespace, device: Device | None
) -> Iterator[tuple[str, Any, Any]]:
    sample = namespace.asarray([0.0], dtype=namespace.float32, device=device)
    yield "namespace", _namespace_name(actual), _namespace_name(sample)
    yield "device", array_api_compat.device(actual), array_api_compat.device(sample)
    yield "dtype", _dtype_name(actual), _dtype_name(expected)
    yield "shape", tuple(actual.shape), tuple(expected.shape)


def _namespace_name(array: Array) -> str:
    if not array_api_compat.is_array_api_obj(array):
        return f"none, a {type(array).__name__}"
    return str(array_api_compat.array_namespace(array).__name__).removeprefix("array_api_compat.")


def _dtype_name(array: Array) -> str:
    return str(array.dtype).rpartition(".")[2]


class _Largest(NamedTuple):
    deviation: float
    place: tuple[Any, ...]
    row: Tolerance


def _largest(actual: Array, expected: Array, kind: str) -> _Largest:
    """Find where two arrays of one shape differ most, by the table's measure."""
    dtype = _dtype_name(actual)
    if (kind, dtype) not in TOLERANCES:
        raise DataError(unknown("row of the tolerance table", f"{kind}, {dtype}", map(", ".join, TOLERANCES)))
    if tuple(actual.shape) != tuple(expected.shape):
        raise DataError(f"arrays of shapes {tuple(actual.shape)} and {tuple(expected.shape)} cannot be compared")
    row = TOLERANCES[kind, dtype]
    a, e = to_numpy(actual).astype("float64"), to_numpy(expected).astype("float64")
    with np.errstate(invalid="ignore", divide="ignore"):
        parts = np.abs(a - e) / (row.atol + row.rtol * np.abs(e))
    parts = np.where((a == e) | (np.isnan(a) & np.isnan(e)), 0.0, np.where(np.isnan(parts), np.inf, parts))
    if parts.size == 0:
        return _Largest(0.0, (), row)
    place = np.unravel_index(np.argmax(parts), parts.shape)
    return _Largest(float(parts[place]), place, row)


def comparisons() -> list[Comparison]:
    """List what :func:`check_agreement` computes, with data from one host seed."""
    generator = np.random.default_rng(1986)
    parts = (_equations, _units, _errors, _networks, _optimizers, _fits, _rounded_products)
    return [comparison for part in parts for comparison in part(generator)]


def _equations(generator: np.random.Generator) -> Iterator[Comparison]:
    # two networks at once, of 7 samples, 4 units below and 3 above
    y_below, targets = generator.uniform(0.0, 1.0, (2, 7, 4)), generator.uniform(0.0, 1.0, (2, 7, 3))
    x, y, dE_dy = generator.normal(0.0, 3.0, (2, 7, 3)), generator.uniform(0.0, 1.0, (2, 7, 3)), targets - 0.5
    w, plain_w = generator.normal(size=(2, 5, 3)), generator.normal(size=(2, 4, 3))
    gradient, previous = generator.normal(size=(2, 9)), generator.normal(size=(2, 9))

    def compared(
        kind: str, what: str, equation: Callable[..., Array], *arrays: np.ndarray, **options: Any
    ) -> Comparison:
        return Comparison(kind, f"eq. {what}", lambda to, *given: equation(to.xp, *given, **options), arrays)

    yield compared("forward", "(1) total input", equations.total_input, y_below, w)
    yield compared("forward", "(1) total input, no biases", equations.total_input, y_below, plain_w, bias=False)
    yield compared("elementwise", "(2) logistic", equations.logistic, x)
    yield compared("elementwise", "(3) squared error", equations.squared_error, y, targets)
    yield compared("elementwise", "(4) dE/dy", equations.squared_error_dE_dy, y, targets)
    yield compared("elementwise", "(5) dE/dx", equations.logistic_dE_dx, dE_dy, y)
    yield compared("gradient", "(6) dE/dw", equations.dE_dw, dE_dy, y_below)
    yield compared("gradient", "(6) dE/dw, no biases", equations.dE_dw, dE_dy, y_below, bias=False)
    yield compared("gradient", "(7) dE/dy below", equations.dE_dy_below, dE_dy, w)
    yield compared("gradient", "(7) dE/dy below, no biases", equations.dE_dy_below, dE_dy, plain_w, bias=False)
    yield compared("elementwise", "(8) gradient descent", equations.gradient_descent, gradient, rate=0.1)
    yield compared(
        "elementwise", "(9) momentum", equations.momentum_descent, gradient, previous, rate=0.1, momentum=0.9
    )


def _units(generator: np.random.Generator) -> Iterator[Comparison]:
    x, dE_dy = generator.normal(0.0, 3.0, (2, 9, 5)), generator.normal(size=(2, 9, 5))

    def value_and_derivative(backend: Backend, x: Array, dE_dy: Array, *, name: str) -> tuple[Array, Array]:
        unit = get_activation(name)
        y = unit.value(backend.xp, x)
        return y, unit.dE_dx(backend.xp, dE_dy, x, y)

    for name in ACTIVATIONS:
        yield Comparison("elementwise", f"unit {name}", partial(value_and_derivative, name=name), (x, dE_dy))


def _errors(generator: np.random.Generator) -> Iterator[Comparison]:
    x, y, targets = generator.normal(0.0, 3.0, (2, 9, 5)), *generator.uniform(0.02, 0.98, (2, 2, 9, 5))

    def value_and_derivative(backend: Backend, x: Array, y: Array, targets: Array, *, name: str) -> tuple[Array, ...]:
        xp, error = backend.xp, get_loss(name)
        of_output = error.value(xp, y, targets), error.dE_dy(xp, y, targets)
        if error.value_at is None or error.dE_dx is None:
            return of_output
        return *of_output, error.value_at(xp, x, targets), error.dE_dx(xp, y, targets)

    for name in LOSSES:
        yield Comparison("elementwise", f"error {name}", partial(value_and_derivative, name=name), (x, y, targets))


_NETWORKS = (
    Network((4, 5, 3), activation="logistic", output_activation="logistic"),
    Network((4, 6, 5, 3), activation=("tanh", "relu"), loss="cross_entropy"),
    Network((4, 6, 2), activation="gelu", loss="poisson", bias=False),
    Network((64, 100, 10), loss="cross_entropy"),
)


def _outputs(backend: Backend, theta: Array, x: Array, *_: Array, network: Network) -> tuple[Array, Array]:
    return output_layer(backend.xp, network, theta, x)


def _gradients(backend: Backend, *arrays: Array, network: Network) -> tuple[Array, Array]:
    return loss_and_gradient(backend.xp, network, *arrays)


def _networks(generator: np.random.Generator) -> Iterator[Comparison]:
    def jacobians(backend: Backend, theta: Array, x: Array, *_: Array, network: Network) -> Array:
        return jacobian(backend.xp, network, theta, x)

    for network in _NETWORKS:
        name = "-".join(map(str, network.sizes)) + f" {network.loss}"
        data = _data(network, generator)
        yield Comparison("forward", name, partial(_outputs, network=network), data)
        yield Comparison("gradient", name, partial(_gradients, network=network), data)
    few = _NETWORKS[0]
    yield Comparison("gradient", "Jacobian", partial(jacobians, network=few), _data(few, generator))
    stack = np.stack([_weights(few, generator) for _ in range(3)])
    _, x, targets, sample_weight = _data(few, generator)
    yield Comparison("gradient", "a stack of 3", partial(_gradients, network=few), (stack, x, targets, sample_weight))


def _weights(network: Network, generator: np.random.Generator) -> np.ndarray:
    return initial_weights(network, generator, scheme="uniform", scale=0.5, dtype="float64")


def _data(network: Network, generator: np.random.Generator, n_samples: int = 20) -> tuple[np.ndarray, ...]:
    """Draw theta, x, d and sample weights."""
    x = generator.normal(size=(n_samples, network.sizes[0]))
    targets = generator.dirichlet(np.ones(network.sizes[-1]), n_samples)
    return _weights(network, generator), x, targets, generator.uniform(0.5, 2.0, n_samples)


def _descend(
    backend: Backend, theta: Array, *batch: Array, network: Network, optimizer: Any, steps: int
) -> tuple[Array, Array]:
    step = make_step(backend, Objective(network, l2=0.01), optimizer, _dtype_name(theta))
    state = optimizer.init(backend.xp, theta)
    for _ in range(steps):
        theta, state, value = step(theta, state, Batch(*batch), 0.0)
    return theta, value


def _optimizers(generator: np.random.Generator) -> Iterator[Comparison]:
    network = Network((4, 6, 3), activation="tanh", loss="cross_entropy")
    optimizers = [make() for make in first_order.OPTIMIZERS.values()]
    optimizers += [first_order.clipped(first_order.momentum(), 0.1), first_order.decayed(first_order.momentum(), 0.002)]
    data = _data(network, generator)
    for optimizer in optimizers:
        yield Comparison(
            "steps",
            f"100 of {optimizer.name}",
            partial(_descend, network=network, optimizer=optimizer, steps=100),
            data,
        )
    network = Network((4, 3, 2), activation="tanh")
    data = _data(network, generator)
    # with less damping the equations to solve are too ill-conditioned for float32
    for method in (second_order.lbfgs(), second_order.levenberg_marquardt(damping=0.1, factor=2.0)):
        yield Comparison(
            "steps", f"10 of {method.name}", partial(_descend, network=network, optimizer=method, steps=10), data
        )


def _fits(generator: np.random.Generator) -> Iterator[Comparison]:
    def fitted(
        backend: Backend,
        x: Array,
        targets: Array,
        unseen_x: Array,
        unseen_targets: Array,
        *,
        network: Network,
        **options: Any,
    ) -> tuple[Array, ...]:
        to = backend.name
        fit = train(
            network,
            x,
            targets,
            validation_data=(unseen_x, unseen_targets),
            epochs=20,
            batch_size=8,
            device=to,
            **options,
        )
        history = np.asarray([fit.history.loss, fit.history.validation_loss])
        y = predict(network, fit.theta, unseen_x, device=to)
        return fit.theta, y, to_backend(backend, history, _dtype_name(x))

    network = Network((4, 6, 3), activation="tanh", loss="cross_entropy")
    _, x, targets, _ = _data(network, generator, n_samples=50)
    data = (x[:37], targets[:37], x[37:], targets[37:])
    yield Comparison("fit", "adam", partial(fitted, network=network, patience=20), data)
    rates = first_order.momentum(np.asarray([[0.05], [0.1]]), 0.9)
    yield Comparison(
        "fit", "a stack of 2, a rate each", partial(fitted, network=network, optimizer=rates, seed=[0, 1]), data
    )


def _rounded_products(generator: np.random.Generator) -> Iterator[Comparison]:
    def multiplying(compute: Callable[..., Any], precision: str) -> Callable[..., Any]:
        return lambda to, *arrays: compute(with_matmul(to, precision, "float32"), *arrays)

    # at a kink, such as relu's, a rounding that falls the other way would change a derivative by all of it
    smooth = (
        Network((4, 6, 5, 3), activation=("tanh", "gelu"), loss="cross_entropy"),
        Network((64, 100, 10), activation="tanh", loss="cross_entropy"),
    )
    for precision in FORMATS:
        for network in smooth:
            name = "-".join(map(str, network.sizes)) + f" {network.loss}"
            data = _data(network, generator)
            for kind, compute in (("forward", _outputs), ("gradient", _gradients)):
                computed = multiplying(partial(compute, network=network), precision)
                yield Comparison(f"{kind} {precision}", name, computed, data, dtypes=("float32",))
        network = Network((4, 6, 3), activation="tanh", loss="cross_entropy")
        data = _data(network, generator)
        for optimizer in (first_order.momentum(), first_order.adam()):
            optimizer = first_order.loss_scaled(optimizer) if precision == "float16" else optimizer
            descended = multiplying(partial(_descend, network=network, optimizer=optimizer, steps=100), precision)
            yield Comparison(f"steps {precision}", f"100 of {optimizer.name}", descended, data, dtypes=("float32",))
