"""Random networks, options, shapes and types: the compiled engine against the plain path.

By default there are few examples. ``nox -s tests_sanitized`` tries many, with an engine that ends the process at the
first access outside of its memory.
"""

import warnings
from contextlib import contextmanager
from unittest.mock import patch

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st

from gpubp.backends.backend import choose_backend
from gpubp.data.streaming.stream import open_stream
from gpubp.engine import cpu
from gpubp.engine.cpu import outputs as engine_outputs
from gpubp.engine.cpu import structures, workplace
from gpubp.engine.epoch import make_epoch_runner
from gpubp.engine.plain.dropout import Dropout
from gpubp.engine.plain.minibatches import Batch, PerNetworkBatches
from gpubp.engine.plain.step import ModelState, Objective
from gpubp.engine.prediction import predict
from gpubp.estimators.classifier import MLPClassifier
from gpubp.estimators.regressor import MLPRegressor
from gpubp.nn.activations import ACTIVATIONS
from gpubp.nn.initialization import initial_weights
from gpubp.nn.losses import LOSSES, get_loss
from gpubp.nn.network import Network
from gpubp.optim.first_order import OPTIMIZERS
from gpubp.optim.schedules import PiecewiseConstant
from gpubp.optim.wrappers import clipped, decay_scaled, decayed, rate_scaled
from gpubp.testing import assert_agree
from gpubp.training.fit import train

pytestmark = [pytest.mark.once, pytest.mark.skipif(bool(cpu.why_not()), reason="the compiled engine is not built")]

BACKEND = choose_backend("cpu")
booleans, seeds = st.booleans(), st.integers(0, 2**32 - 1)
dtypes = st.sampled_from(["float64", "float32"])
widths = st.one_of(st.integers(1, 9), st.sampled_from([15, 16, 17, 31, 33, 64, 65]))


def optional(strategy):
    return st.one_of(st.none(), strategy)


def memory_of_nan(n_bytes):
    """Allocate memory in which a number that is read before it is written makes the result NaN."""
    memory, address = structures.new_memory(n_bytes)
    memory[:] = 0xFF
    return memory, address


@contextmanager
def form(name, n_threads):
    """Use one form; the engine with some threads, however little there is to do."""
    with (
        patch.dict("os.environ", {cpu.ENVIRONMENT_VARIABLE: name}),
        patch.multiple(
            workplace,
            new_memory=memory_of_nan,
            threads_allowed=lambda: n_threads,
            WORTH_A_THREAD=1.0,
            UNITS_OF_A_SHARE=1,
            WORTH_MOVING=4,
        ),
        patch.multiple(engine_outputs, new_memory=memory_of_nan, threads_allowed=lambda: n_threads),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        yield


def assert_equal_results(compute, n_threads, kind):
    """Assert that both forms compute the same arrays, or raise the same error."""
    results = []
    for name in ("never", "always"):
        with form(name, n_threads):
            try:
                results.append(compute())
            except (ValueError, TypeError, AttributeError) as error:
                results.append(error)
    expected, actual = results
    if isinstance(expected, Exception) or isinstance(actual, Exception):
        assert repr(actual) == repr(expected)
        return
    for one, other in zip(actual, expected, strict=True):
        if np.asarray(other).dtype.kind == "f":
            assert_agree(np.asarray(one), np.asarray(other), kind)
        else:
            np.testing.assert_array_equal(one, other, strict=True)


# --- networks and optimizers ---


@st.composite
def networks(draw, may_have_members=False):
    sizes = tuple(draw(st.lists(widths, min_size=2, max_size=5)))
    more = ("leaky_relu(0.3)", "elu(0.5)", "parametric(selu)", "parametric(tanh)")
    names = [name for name in (*ACTIVATIONS, *more) if name != "exp"]  # it soon overflows
    activation = [draw(st.sampled_from(names)) for _ in sizes[1:-1]]
    for layer, n in enumerate(sizes[1:-1]):
        if n > 2 and draw(st.integers(0, 9)) == 0:
            activation[layer] = f"softmax(1,{n - 1})"
    loss = draw(st.sampled_from([*LOSSES, "huber(0.1)", "quantile(0.9)"]))
    if loss == "cross_entropy" and sizes[-1] > 2 and draw(booleans):
        loss = f"cross_entropy(1,{sizes[-1] - 1})"
    of_loss = get_loss(loss)
    if may_have_members and len(sizes) > 2 and draw(st.integers(0, 4)) == 0:
        activation = [name if "parametric" not in name else "tanh" for name in activation]
        return Network(sizes, tuple(activation), None, loss, n_members=draw(st.integers(1, 4)))
    output = draw(st.sampled_from([None, "logistic"] if of_loss.output != "softmax" else [None]))
    pairs = [(below, above) for above in range(2, len(sizes)) for below in range(above - 1)]
    skips = tuple(draw(st.lists(st.sampled_from(pairs), unique=True, max_size=3))) if pairs else ()
    network = Network(sizes, tuple(activation), output, loss, draw(booleans), skips)
    if draw(st.integers(0, 4)) == 0:
        rng, n = np.random.default_rng(draw(seeds)), network.n_parameters
        numbers = np.arange(n) if draw(booleans) else rng.integers(0, n, n)
        network = Network(
            sizes, tuple(activation), output, loss, network.bias, skips, np.where(rng.random(n) < 0.2, -1, numbers)
        )
    return network


rates = st.sampled_from([1e-3, 0.02, PiecewiseConstant({0: 0.02, 0.4: 0.01, 1.5: 0.0})])


@st.composite
def optimizers(draw):
    make = OPTIMIZERS[draw(st.sampled_from(sorted(OPTIMIZERS.keys() - {"lion"})))]  # rounding decides its signs
    optimizer = make(learning_rate=draw(rates))
    if "epsilon" in optimizer.settings:  # with a small one, a gradient of rounding errors is a step like any other
        optimizer = make(learning_rate=optimizer.settings["learning_rate"], epsilon=1e-3)
    for wrap in draw(st.sampled_from([(), (clipped,), (decayed,), (clipped, decayed), (decayed, clipped)])):
        optimizer = wrap(optimizer, draw(st.sampled_from([1e-3, 0.5])))
    return optimizer


# --- arrays ---

FORMS = {
    "C": lambda a: a,
    "Fortran": np.asfortranarray,
    "columns apart": lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
    "rows apart": lambda a: np.repeat(a, 3, axis=0)[::3],
    "backwards": lambda a: np.ascontiguousarray(a[::-1])[::-1],
    "columns backwards": lambda a: np.ascontiguousarray(a[..., ::-1])[..., ::-1],
    "unaligned": lambda a: unaligned(a),
    "read-only": lambda a: read_only(a),
    "rows in common": lambda a: np.broadcast_to(a[:1], a.shape),
    "byte-swapped": lambda a: a.astype(a.dtype.newbyteorder("S")),
    "float16": lambda a: a.astype(np.float16),
    "float32": lambda a: a.astype(np.float32),
    "longdouble": lambda a: a.astype(np.longdouble),
    "int8": lambda a: a.astype(np.int8),
    "uint64": lambda a: np.abs(a).astype(np.uint64),
    "bool": lambda a: a > 0,
    "object": lambda a: a.astype(object),
    "list": lambda a: a.tolist(),
}


def unaligned(array):
    buffer = np.zeros(array.nbytes + 1, np.uint8)
    other = buffer[1:].view(array.dtype).reshape(array.shape)
    other[...] = array
    return other


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


forms = st.sampled_from(list(FORMS))


def targets_for(loss, rng, shape):
    """Draw targets for which the loss is defined; some are 0, a half or 1, and classes."""
    has_ties = rng.random() < 0.3
    if loss.startswith("cross_entropy") or loss == "binary_cross_entropy":
        targets = rng.dirichlet(np.ones(shape[-1]), shape[:-1])
        return (targets == targets.max(axis=-1, keepdims=True)).astype(float) if has_ties else targets
    targets = rng.uniform(size=shape)
    return np.round(2 * targets) / 2 if has_ties else targets


@given(
    network=networks(),
    optimizer=optimizers(),
    n=st.integers(1, 40),
    batch_size=st.one_of(st.integers(1, 45), st.just("full")),
    stack=optional(st.integers(1, 4)),
    own=booleans,
    weighted=booleans,
    l2=st.sampled_from([0.0, 0.1]),
    factors=st.sampled_from([None, "shared", "own"]),
    options=st.fixed_dictionaries(
        {
            "epochs": st.integers(1, 3),
            "shuffle": booleans,
            "reduction": st.sampled_from(["mean", "sum"]),
            "dtype": dtypes,
            "gradient_accumulation": st.sampled_from([1, 1, 1, 2]),
            "dropout": st.sampled_from([0.0, 0.0, 0.3]),
        }
    ),
    validated=booleans,
    equal_outputs=booleans,
    x_form=forms,
    targets_form=st.sampled_from(["C", "Fortran", "columns apart", "unaligned", "byte-swapped"]),
    theta_form=st.sampled_from(["C", "Fortran", "columns apart", "unaligned", "byte-swapped", "longdouble"]),
    seed=seeds,
    n_threads=st.integers(1, 3),
)
def test_train(
    network, optimizer, n, batch_size, stack, own, weighted, l2, factors, options, validated, equal_outputs, x_form,
    targets_form, theta_form, seed, n_threads,
):  # fmt: skip
    rng, leading = np.random.default_rng(seed), () if stack is None else (stack,)
    of_samples = leading if own else ()
    x = FORMS[x_form](2 * rng.normal(size=(*of_samples, n, network.sizes[0])))
    targets = FORMS[targets_form](targets_for(network.loss, rng, (*of_samples, n, network.sizes[-1])))
    weights = np.round(rng.uniform(0.0, 2.0, (*of_samples, n)), 1) if weighted else None
    theta = initial_weights(network, 1 if stack is None else range(stack), dtype="float64")
    if equal_outputs and network.ties is None:  # of all classes, and a half of a logistic function
        theta = np.where(np.arange(network.n_parameters) < network.n_parameters // 2, theta, 0.0)
    theta = FORMS[theta_form](theta)
    held_out = (x, targets) if validated else None
    if factors is not None:
        shape = (*(leading if factors == "own" else ()), network.n_parameters)
        factors = rng.uniform(0.0, 2.0, shape)
        factors = factors if network.tied is None else network.tied.tie(factors)
        if "weight_decay" in optimizer.settings and rng.random() < 0.5:
            optimizer = decay_scaled(optimizer, factors)
        optimizer = rate_scaled(optimizer, factors)

    def compute():
        fit = train(
            network, x, targets, theta=theta, optimizer=optimizer, batch_size=batch_size, l2=l2, sample_weight=weights,
            validation_data=held_out, device="cpu", **options,
        )  # fmt: skip
        return fit.theta, np.asarray(fit.history.loss, fit.theta.dtype)

    assert_equal_results(compute, n_threads, "fit")


@given(
    network=networks(may_have_members=True),
    n=st.integers(1, 40),
    batch_size=st.integers(1, 45),
    block_rows=st.integers(1, 41),
    dropout=st.sampled_from([0.0, 0.3]),
    dtype=dtypes,
    seed=seeds,
    n_threads=st.integers(1, 3),
)
def test_streams(network, n, batch_size, block_rows, dropout, dtype, seed, n_threads):
    """In the order of the file a stream gives the bits of arrays."""
    rng = np.random.default_rng(seed)
    x, targets = 2 * rng.normal(size=(n, network.sizes[0])), targets_for(network.loss, rng, (n, network.sizes[-1]))
    options = {"epochs": 2, "batch_size": batch_size, "shuffle": False, "dropout": dropout, "dtype": dtype}

    def compute():
        fits = [
            train(network, *samples, seed=2, device="cpu", **options)
            for samples in ((x, targets), (open_stream(x, targets, block_rows=block_rows),))
        ]
        np.testing.assert_array_equal(fits[1].theta, fits[0].theta)
        return fits[0].theta, np.asarray(fits[1].history.loss, dtype)

    assert_equal_results(compute, n_threads, "fit")


@given(
    network=networks(),
    n=st.one_of(st.integers(0, 3), st.integers(4, 700)),
    x_form=forms,
    theta_form=forms,
    dtype=optional(dtypes),
    seed=seeds,
    n_threads=st.integers(1, 3),
)
def test_predict(network, n, x_form, theta_form, dtype, seed, n_threads):
    rng = np.random.default_rng(seed)
    theta = FORMS[theta_form](initial_weights(network, 0, dtype="float64"))
    x = FORMS[x_form](2 * rng.normal(size=(n, network.sizes[0])))

    def compute():
        first = predict(network, theta, x, device="cpu", dtype=dtype)
        return first, predict(network, theta, x, device="cpu", dtype=dtype)  # theta is not checked again

    assert_equal_results(compute, n_threads, "forward")


# --- estimators ---


def sparse(array, form, rng):
    """Make a sparse matrix with rows that are empty; of several kinds that SciPy allows."""
    array = np.where(rng.random(array.shape) < 0.3, array, 0.0)
    array[rng.random(len(array)) < 0.3] = 0.0
    made = scipy.sparse.csr_array(array)
    if form == "unsorted":
        for start, end in zip(made.indptr[:-1], made.indptr[1:], strict=True):
            shuffled = start + rng.permutation(end - start)
            made.indices[start:end], made.data[start:end] = made.indices[shuffled], made.data[shuffled]
    elif form == "duplicates":
        made = scipy.sparse.csr_array(
            (np.repeat(made.data, 2) / 2, np.repeat(made.indices, 2), made.indptr * 2), shape=made.shape
        )
    elif form == "64 bits":
        made.indices, made.indptr = made.indices.astype(np.int64), made.indptr.astype(np.int64)
    elif form == "16 bits":
        made.indices, made.indptr = made.indices.astype(np.int16), made.indptr.astype(np.int16)
    elif form == "unequal bits":
        made.indptr = made.indptr.astype(np.int64)
    elif form == "longer arrays":
        made.indices, made.data = np.append(made.indices, [0] * 3).astype(np.int32), np.append(made.data, [np.e] * 3)
    elif form == "byte-swapped":
        made.data = made.data.astype(">f8")
    elif form != "csr":
        made = made.asformat(form)
    return made


SPARSE = (
    *("csr", "csc", "coo", "lil", "unsorted", "duplicates", "64 bits", "16 bits", "unequal bits"),
    *("longer arrays", "byte-swapped"),
)
x_forms = st.one_of(forms, st.sampled_from(SPARSE))


@given(
    classes=optional(st.integers(1, 4)),
    n=st.integers(1, 40),
    n_inputs=widths,
    x_form=x_forms,
    y_form=st.sampled_from(["C", "columns apart", "unaligned", "byte-swapped", "float16", "list"]),
    n_outputs=st.integers(1, 3),
    weighted=booleans,
    options=st.fixed_dictionaries(
        {
            "hidden_layer_sizes": st.lists(widths, min_size=0, max_size=3).map(tuple),
            "activation": st.sampled_from([name for name in ACTIVATIONS if name != "exp"]),
            "solver": st.sampled_from(["sgd", "momentum", "adam", "adamw", "rmsprop", "lbfgs"]),
            "batch_size": st.one_of(st.integers(1, 50), st.just("auto")),
            "max_iter": st.integers(1, 3),
            "shuffle": booleans,
            "random_state": seeds,
            "learning_rate": st.sampled_from(["constant", "invscaling", "adaptive"]),
            "learning_rate_init": st.sampled_from([1e-3, 0.01]),
            "nesterovs_momentum": booleans,
            "early_stopping": st.sampled_from([False, False, True]),
            "dropout": st.sampled_from([0.0, 0.0, 0.3]),
            "max_grad_norm": optional(st.sampled_from([1e-3, 0.5])),
            "alpha": st.sampled_from([0.0, 1e-4, 0.1]),
            "dtype": optional(dtypes),
            "n_restarts": st.sampled_from([1, 1, 3]),
            "epsilon": st.just(1e-3),
        }
    ),
    partial=booleans,
    seed=seeds,
    n_threads=st.integers(1, 3),
)
def test_estimators(
    classes, n, n_inputs, x_form, y_form, n_outputs, weighted, options, partial, seed, n_threads
):  # fmt: skip
    rng = np.random.default_rng(seed)
    x = 2 * rng.normal(size=(n, n_inputs))
    x = sparse(x, x_form, rng) if x_form in SPARSE else FORMS[x_form](x)
    weights = np.round(rng.uniform(0.0, 2.0, n), 1) if weighted else None
    y = rng.normal(size=(n, n_outputs)) if classes is None else rng.integers(0, classes, (n, 1))
    y = FORMS[y_form](y if n_outputs > 1 and classes is None else y[:, 0])

    def compute():
        model = (MLPRegressor if classes is None else MLPClassifier)(**options)
        if partial:
            for _ in range(2):
                extra = {} if classes is None else {"classes": np.arange(classes)}
                model.partial_fit(x, y, sample_weight=weights, **extra)
        else:
            model.fit(x, y, sample_weight=weights)
        outputs = model.predict(x) if classes is None else model.predict_proba(x)
        loss = np.asarray(model.loss_, model.coefs_[0].dtype)
        return outputs, loss, *model.coefs_, *model.intercepts_

    assert_equal_results(compute, n_threads, "fit")


# --- networks with samples of their own ---


@given(
    network=networks(),
    optimizer=optimizers(),
    dtype=dtypes,
    size=st.integers(1, 14),
    n_steps=st.integers(1, 4),
    n_networks=st.integers(1, 6),
    shared=booleans,
    n_weights=st.integers(0, 3),
    rate=optional(st.sampled_from([0.0, 0.3])),
    l2=st.sampled_from([0.0, 0.1]),
    seed=seeds,
    n_threads=st.integers(1, 3),
)
def test_networks_with_samples_of_their_own(
    network, optimizer, dtype, size, n_steps, n_networks, shared, n_weights, rate, l2, seed, n_threads
):
    rng, n = np.random.default_rng(seed), 13
    samples = Batch(
        rng.normal(size=(n, network.sizes[0])).astype(dtype),
        targets_for(network.loss, rng, (n, network.sizes[-1])).astype(dtype),
        rng.uniform(0.5, 2.0, (n_weights, n)).astype(dtype) if n_weights else None,
    )
    counts = rng.integers((n_steps - 1) * size + 1, n_steps * size + 1, 1 if shared else n_networks)
    counts = np.repeat(counts, n_networks) if shared else counts
    starts = np.zeros(n_networks, int) if shared else np.cumsum(counts) - counts
    order = rng.integers(0, n, counts[0] if shared else sum(counts))
    weights_of = rng.integers(0, n_weights, n_networks) if n_weights else None
    dropout = None
    if rate is not None:
        n_units = network.sizes[:-1]
        layers = (rate, *[0.2] * (len(n_units) - 1))
        dropout = Dropout(n_units, layers, rng.integers(0, 2**64, n_networks, dtype=np.uint64))
    batches = PerNetworkBatches(BACKEND, samples, size, order, starts, counts, weights_of, dropout)
    theta = initial_weights(network, range(n_networks), dtype=dtype)

    def compute():
        model = ModelState(theta, optimizer.init(np, theta))
        run_epoch = make_epoch_runner(BACKEND, Objective(network, l2=l2), optimizer, dtype)
        results = [run_epoch(model, batches) for _ in range(2)]
        return model.theta, *(result.values.astype(dtype) for result in results), results[-1].finite

    assert_equal_results(compute, n_threads, "steps")
