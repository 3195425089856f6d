"""What is compared: each function with its formula, its inputs, and how NumPy and the compiled engine compute it."""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from benchmarks.truth import engine, formulas, inputs
from benchmarks.truth.bounds import CUDA_ULPS, bound_of
from benchmarks.truth.errors import Truth, truth
from benchmarks.truth.products import Product, products
from gpubp._core.names import Parametric
from gpubp.backends.numpy_namespace import NUMPY_NAMESPACE
from gpubp.nn.activations import ACTIVATIONS, get_activation
from gpubp.nn.encodings import smooth_clip
from gpubp.nn.losses import LOSSES, get_loss
from gpubp.nn.network import Network
from gpubp.optim.first_order import OPTIMIZERS, adamw, gradient_descent, momentum
from gpubp.optim.wrappers import DECAY_FACTORS, RATE_FACTORS, clipped, decay_scaled, decayed, rate_scaled
from gpubp.training.fit import train

DERIVATIVE = "derivative"
UPDATES = (1, 2, 1000)  # of Adam
N_OUTPUTS = 3
MAX_NORM = 1.5


class Function(NamedTuple):
    """A function of numbers.

    Attributes
    ----------
    kind, name : str
    formula : callable
        Of mpmath's numbers: one of each array, then the settings.
    arrays : tuple of (n,) arrays
    settings : tuple of float
    plain : callable
        ``plain(xp, *arrays)`` computes it from arrays of any library.
    compiled : callable or None
        ``compiled(*arrays)`` computes it from NumPy's arrays in the engine, if that does.
    """

    kind: str
    name: str
    formula: Callable[..., Any]
    arrays: tuple[np.ndarray, ...]
    settings: tuple[float, ...]
    plain: Callable[..., Any]
    compiled: Callable[..., np.ndarray] | None

    @property
    def dtype(self) -> str:
        """The precision."""
        return str(self.arrays[0].dtype)

    @property
    def operands(self) -> tuple[np.ndarray, ...]:
        """The arguments of ``plain``: here the arrays."""
        return self.arrays

    @property
    def scale(self) -> np.ndarray | None:
        """The size of which an absolute error of a few epsilons is allowed, (n,); None if none is."""
        scale = SCALES.get((self.kind, self.name))
        return None if scale is None else scale(*(array.astype(float) for array in self.arrays))

    def truth(self) -> Truth:
        """Return the true values and the condition numbers."""
        return truth(self.formula, self.arrays, self.settings)

    def computed(self) -> np.ndarray:
        """Return what NumPy computes, as on the device "cpu"."""
        return self.plain(NUMPY_NAMESPACE, *self.arrays)

    def computed_by_engine(self) -> np.ndarray | None:
        """Return what the engine computes, if it does."""
        return None if self.compiled is None else self.compiled(*self.arrays)

    def bound_of_cuda(self) -> np.ndarray:
        """Bound the absolute errors on CUDA."""
        return bound_of(self.plain, self.arrays, self.dtype, CUDA_ULPS[self.dtype])


SCALES: dict[tuple[str, str], Callable[..., np.ndarray]] = {
    (DERIVATIVE, "logistic"): np.ones_like,
    (DERIVATIVE, "tanh"): np.ones_like,
    (DERIVATIVE, "elu"): np.ones_like,
}
"""Functions that do not keep all digits of small values: their absolute error is a few epsilons of this instead.

They are computed from the output, as in the paper, and it is 1 (or -1) to the last digit where it is saturated. To keep
the digits takes the total input and another exponential, and so slower steps.
"""


def functions(dtype: str, size: float = 1.0) -> Iterator[Function | Product]:
    """List all functions, with inputs; ``size`` scales how many these are, but for products."""
    yield from _elementary(dtype, size)
    yield from _activations(dtype, size)
    yield from _softmax(dtype, size)
    yield from _losses(dtype, size)
    yield from _losses_at_total_inputs(dtype, size)
    yield from _optimizers(dtype, size)
    yield from _wrapped_optimizers(dtype, size)
    yield from _clipping(dtype, size)
    yield from products(dtype)


# --- functions of the libraries themselves ---


def _elementary(dtype: str, size: float) -> Iterator[Function]:
    for name, formula in formulas.ELEMENTARY.items():
        x = inputs.elementary(dtype, size, name)
        yield Function("elementary", name, formula, (x,), (), lambda xp, x, name=name: getattr(xp, name)(x), None)


# --- activations ---


def _parameters(registry: Any, name: str) -> tuple[float, ...]:
    """Return the default parameter of an entry, as a tuple of none or one."""
    entry = registry[name]
    if not isinstance(entry, Parametric) or entry.is_variadic:
        return ()
    made = entry.make()
    return tuple(made.value.keywords.values())


def _activations(dtype: str, size: float) -> Iterator[Function]:
    for name, (value, slope) in formulas.SLOPES.items():
        activation, settings = get_activation(name), _parameters(ACTIVATIONS, name)
        parameter = settings[0] if settings else 0.0
        x = inputs.numbers(dtype, size)
        if name == "cosine":
            x = x[np.abs(x) < 1e5]
        yield Function(
            "activation", name, value, (x,), settings,
            lambda xp, x, f=activation: f.value(xp, x),
            lambda x, name=name, p=parameter: engine.value(dtype, name, p, x)[1][0],
        )  # fmt: skip
        yield Function(
            DERIVATIVE, name, slope, (x,), settings,
            lambda xp, x, f=activation: f.dE_dx(xp, xp.ones_like(x), x, f.value(xp, x)),
            lambda x, name=name, p=parameter: engine.derivative(dtype, name, p, (x,), (np.ones_like(x),))[0],
        )  # fmt: skip


def _softmax(dtype: str, size: float) -> Iterator[Function]:
    softmax, x = get_activation("softmax"), inputs.samples(dtype, size)
    dE_dy = tuple(np.random.default_rng(3).normal(size=(N_OUTPUTS, len(x[0]))).astype(dtype))

    def derivative(xp, *arrays):
        x, dE_dy = (xp.stack(part, axis=-1) for part in (arrays[:N_OUTPUTS], arrays[N_OUTPUTS:]))
        return softmax.dE_dx(xp, dE_dy, x, softmax.value(xp, x))[..., 0]

    yield Function(
        "activation", "softmax", formulas.softmax, x, (),
        lambda xp, *x: softmax.value(xp, xp.stack(x, axis=-1))[..., 0],
        lambda *x: engine.value(dtype, "softmax", 0.0, *x)[1][:, 0],
    )  # fmt: skip
    yield Function(
        DERIVATIVE, "softmax", formulas.softmax_slope, (*x, *dE_dy), (), derivative,
        lambda *a: engine.derivative(dtype, "softmax", 0.0, a[:N_OUTPUTS], a[N_OUTPUTS:])[:, 0],
    )  # fmt: skip


# --- losses ---


def _loss_inputs(dtype: str, size: float, name: str, settings: tuple[float, ...]) -> tuple[np.ndarray, ...]:
    if name in ("cross_entropy", "binary_cross_entropy"):
        return inputs.probabilities(dtype, size)
    if name == "poisson":
        return inputs.counts(dtype, size)
    return inputs.pairs(dtype, size, width=settings[0] if settings and name != "quantile" else None)


def _losses(dtype: str, size: float) -> Iterator[Function]:
    for name, (value, slope) in formulas.LOSSES.items():
        loss, settings = get_loss(name), _parameters(LOSSES, name)
        arrays = _loss_inputs(dtype, size, name, settings)
        parameter = settings[0] if settings else 0.0

        def compiled(y, targets, *, which, name=name, parameter=parameter):
            return engine.loss(dtype, name, parameter, None, (y,), (targets,))[which][0]

        yield Function(
            "loss", name, value, arrays, settings,
            lambda xp, y, targets, loss=loss: loss.value(xp, y, targets),
            lambda y, targets, f=compiled: f(y, targets, which=0),
        )  # fmt: skip
        yield Function(
            "loss derivative", name, slope, arrays, settings,
            lambda xp, y, targets, loss=loss: loss.dE_dy(xp, y, targets),
            lambda y, targets, f=compiled: f(y, targets, which=1),
        )  # fmt: skip


def _losses_at_total_inputs(dtype: str, size: float) -> Iterator[Function]:
    for name, (value, slope) in formulas.LOSSES_AT_TOTAL_INPUTS.items():
        loss = get_loss(name)
        if name == "cross_entropy":
            x = inputs.samples(dtype, size)
            targets = np.random.default_rng(4).dirichlet(np.ones(N_OUTPUTS), len(x[0]))
            targets[::2] = np.eye(N_OUTPUTS)[np.arange(len(targets[::2])) % N_OUTPUTS]
            arrays, n = (*x, *targets.astype(dtype).T), N_OUTPUTS
        else:
            highest = 1.0 if name == "binary_cross_entropy" else 1e6
            arrays, n = inputs.total_inputs(dtype, size, highest_target=highest), 1

        def plain(xp, *arrays, which, n=n, loss=loss):
            x, targets = (xp.stack(part, axis=-1) if n > 1 else part[0] for part in (arrays[:n], arrays[n:]))
            result = loss.at_total_inputs(xp, x, targets)[which]
            return result[..., 0] if n > 1 else result

        def compiled(*arrays, which, n=n, name=name):
            results = engine.loss(dtype, f"{name} at total inputs", 0.0, arrays[:n], None, arrays[n:])
            return results[which][:, 0] if n > 1 else results[which][0]

        label = f"{name} of {loss.output}"
        for which, (kind, formula) in enumerate((("loss", value), ("loss derivative", slope))):
            yield Function(
                kind, label, formula, arrays, (),
                lambda xp, *a, f=plain, which=which: f(xp, *a, which=which),
                lambda *a, f=compiled, which=which: f(*a, which=which),
            )  # fmt: skip


# --- optimizers ---


def _optimizers(dtype: str, size: float) -> Iterator[Function]:
    for name, make in OPTIMIZERS.items():
        optimizer = make()
        example = optimizer.init(np, np.zeros(1, dtype))
        parts = [field for field in getattr(example, "_fields", ()) if field != "updates"]
        squares = name in ("adam", "adamw", "rmsprop", "adagrad")
        arrays = inputs.weights(dtype, len(parts), size, squares=squares)
        counts = UPDATES if "updates" in getattr(example, "_fields", ()) else (None,)
        for k, updates in product(range(1 + len(parts)), counts):
            what = "weight" if k == 0 else parts[k - 1]
            counted = () if updates is None else (float(updates),)
            state = partial(_state, example, updates)

            def plain(xp, theta, gradient, *parts, k=k, optimizer=optimizer, state=state):
                change, new_state = optimizer.update(xp, gradient, state(*parts), theta, optimizer.at(0))
                return (theta + change, *new_state)[k]

            def compiled(theta, gradient, *parts, k=k, optimizer=optimizer, state=state):
                return engine.update(dtype, optimizer, state(*parts), theta, gradient, *parts)[k]

            yield Function(
                "optimizer", f"{name}: {what}",
                lambda *a, f=formulas.OPTIMIZERS[name], k=k: f(*a)[k],
                arrays, (*counted, *map(float, optimizer.settings.values())), plain, compiled,
            )  # fmt: skip


def _wrapped_optimizers(dtype: str, size: float) -> Iterator[Function]:
    """List optimizers in wrappers; each has the factors of its wrapper, if any, as its last array."""
    for optimizer, label, formula, factors in (
        (decayed(momentum(), 0.002), "momentum (decayed)", formulas.decayed_momentum, ""),
        (rate_scaled(momentum(), [1.0]), "momentum (rate-scaled)", formulas.rate_scaled_momentum, RATE_FACTORS),
        (decay_scaled(adamw(), [1.0]), "adamw (decay-scaled)", formulas.decay_scaled_adamw, DECAY_FACTORS),
    ):
        example = optimizer.init(np, np.zeros(1, dtype))
        updates = UPDATES[-1] if "updates" in example._fields else None
        n_arrays = len(example) - (updates is not None)
        arrays = inputs.weights(dtype, n_arrays, size, squares=updates is not None)
        if factors:
            arrays += (np.random.default_rng(5).uniform(0.0, 2.0, len(arrays[0])).astype(dtype),)
        state = partial(_state, example, updates)

        def plain(xp, theta, gradient, *parts, optimizer=optimizer, state=state, factors=factors):
            *parts, last = parts
            values = optimizer.at(0) | ({factors: last} if factors else {})
            change, _ = optimizer.update(xp, gradient, state(*parts, *([] if factors else [last])), theta, values)
            return theta + change

        def compiled(theta, gradient, *parts, optimizer=optimizer, state=state, factors=factors):
            *parts, last = parts
            parts, more = (parts, {factors: last}) if factors else ([*parts, last], {})
            return engine.update(dtype, optimizer, state(*parts), theta, gradient, *parts, **more)[0]

        settings = [float(value) for name, value in optimizer.settings.items() if name != factors]
        counted = () if updates is None else (float(updates),)
        yield Function(
            "optimizer", f"{label}: weight", lambda *a, f=formula: f(*a)[0],
            arrays, (*counted, *settings), plain, compiled,
        )  # fmt: skip


# --- clipping ---


def _clipping(dtype: str, size: float) -> Iterator[Function]:
    """List the clipping of a gradient of three numbers by its norm, and of an input by its size."""
    optimizer = clipped(gradient_descent(1.0), MAX_NORM)

    def plain(xp, *gradient):
        gradient = xp.stack(gradient, axis=-1)
        return -optimizer.update(xp, gradient, (), gradient, optimizer.at(0))[0][..., 0]

    def compiled(*gradient):
        """Take a step from weights of 0, where the samples are the gradients."""
        x = np.stack(gradient, axis=-1)
        network = Network((x.shape[-1], 1), output_activation="identity", bias=False)
        theta, targets = np.zeros_like(x), np.full((len(x), 1, 1), -1.0, dtype)
        options = {"epochs": 1, "optimizer": optimizer, "seed": range(len(x)), "device": "cpu"}
        return -train(network, x[:, None], targets, theta=theta, **options).theta[:, 0]

    yield Function(
        "clipping", "gradient by norm", formulas.clipped, inputs.gradients(dtype, size, norm=MAX_NORM), (MAX_NORM,),
        plain, compiled,
    )  # fmt: skip
    yield Function(
        "clipping", "input by size", formulas.smooth_clip, (inputs.numbers(dtype, size),), (3.0,), smooth_clip, None
    )


def _state(example: Any, updates: int | None, *parts: np.ndarray) -> Any:
    """Make a state before an update, counted from 1, of the type of an example."""
    counted = () if updates is None else (updates - 1,)
    return type(example)(*parts, *counted) if hasattr(example, "_fields") else ()
