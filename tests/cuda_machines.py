"""Devices, samples and comparisons for the tests of the CUDA engine."""

from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np
import pytest

from gpubp.backends.backend import choose_backend, to_backend, to_numpy, with_matmul
from gpubp.distributed.process_group import SINGLE_PROCESS
from gpubp.engine import epoch as epoch_module
from gpubp.engine.cuda.device import CudaDevice
from gpubp.engine.cuda.epoch import CudaEpochRunner, cuda_epoch_runner
from gpubp.engine.plain.dropout import Dropout
from gpubp.engine.plain.minibatches import ArrayBatches, Batch
from gpubp.engine.plain.step import ModelState, Objective
from gpubp.nn.activations import ACTIVATIONS
from gpubp.nn.architectures import with_equal_layers
from gpubp.nn.initialization import initial_weights
from gpubp.nn.input_layers import with_embedded_inputs, with_periodic_inputs, with_scaled_inputs
from gpubp.nn.losses import LOSSES, get_loss
from gpubp.nn.network import Network
from gpubp.optim.first_order import momentum
from gpubp.testing import assert_agree
from tests import emulated_cuda
from tests.emulated_cuda import EmulatedDevice

needs_compiler = pytest.mark.skipif(emulated_cuda.COMPILER is None, reason="needs g++ on Linux, which emulates CUDA")

ACTIVATION_NAMES = (*ACTIVATIONS, "leaky_relu(0.3)", "elu(0.5)")
LOSS_NAMES = (*LOSSES, "huber(0.1)")
PAIRS = [
    *((name, get_loss(name).output) for name in LOSS_NAMES),
    *((name, "logistic") for name in LOSS_NAMES if not get_loss(name).above_zero),
    *(("poisson", "softplus"), ("cross_entropy", "logistic"), ("binary_cross_entropy", "softmax")),
    *(("squared", "softmax"), ("squared", "gelu")),
]
DEEP = Network((2, *[2] * len(ACTIVATION_NAMES), 2), activation=ACTIVATION_NAMES)
SHALLOW = [Network((2, 2), output_activation=name, loss=loss_name, bias=False) for loss_name, name in PAIRS]
ABOVE = Network((2 + 2 + 2 * 3, 5, 4), activation="parametric(selu)", loss="cross_entropy")
NETWORKS = {  # of kinds that have no kernels, or kernels that others do not need
    "skips": Network((3, 4, 4, 2), activation="tanh", skips=((0, 2), (1, 3)), bias=False),
    "ties": with_equal_layers(Network((3, 4, 4, 4), activation="tanh"), [2, 3]),
    "parametric": Network((3, 5, 4), activation="parametric(tanh)", loss="cross_entropy"),
    "RealMLP": with_embedded_inputs(
        with_periodic_inputs(with_scaled_inputs(ABOVE), [2, 3], n_frequencies=2), [range(3)], n_outputs=2
    ),
    "TabM": Network((5, 6, 4, 3), loss="cross_entropy", n_members=2),
    "a linear layer of members": Network((5, 3), loss="cross_entropy", n_members=3),
    "several softmaxes": Network((3, 4, 4), output_activation="softmax(2,2)", loss="cross_entropy(2,2)"),
    "groups of hidden units": Network((3, 4, 2), activation="softmax(1,3)"),
}
N_SAMPLES, SIZE = 23, 8  # the last batch has 7 samples


class Machine(NamedTuple):
    """A device, and the backend whose arrays it takes."""

    backend: object
    device: object

    def asarray(self, array, dtype=None):
        return to_backend(self.backend, array, dtype)


def rounding(machine, products):
    """Return a machine, and a device, whose float32 products are in some precision."""
    device, backend = machine.device, with_matmul(machine.backend, products, "float32")
    if isinstance(device, EmulatedDevice):
        device.products = products
        return Machine(backend, device)
    return Machine(backend, CudaDevice(backend.device, products))


def emulated(**options):
    return Machine(choose_backend("cpu"), EmulatedDevice(**options))


def gpu():
    backend = choose_backend("cuda")
    return Machine(backend, CudaDevice(backend.device))


MACHINES = {"emulated": emulated, "backwards": partial(emulated, backwards=True), "gpu": gpu}


def samples(network, dtype, weighted=False, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(N_SAMPLES, network.sizes[0]))
    targets = rng.dirichlet(np.ones(network.sizes[-1]), N_SAMPLES)  # fits every loss
    weights = rng.uniform(0.0, 2.0, N_SAMPLES).astype(dtype) if weighted else None
    return Batch(x.astype(dtype), targets.astype(dtype), weights)


def dropout_of(network, *rates, stack=None):
    n_members = () if network.n_members is None else (network.n_members,)
    keys = np.random.default_rng(0).integers(2**63, size=(*(() if stack is None else (stack,)), *n_members))
    n_layers = len(network.sizes) - 1
    return Dropout(network.sizes[:-1], (*rates, *(0.0,) * n_layers)[:n_layers], keys.astype("uint64"))


def to_machine(machine, batch):
    return Batch(*(None if part is None else machine.asarray(part) for part in batch[:3]))


def run_epochs(
    machine,
    way,
    network,
    optimizer,
    dtype,
    *,
    epochs=4,
    size=SIZE,
    shuffled=True,
    weighted=False,
    stack=None,
    dropout=None,
    processes=SINGLE_PROCESS,
    state_from=lambda state: state,
):
    """Run epochs from a fixed start; return where they end, and the last result.

    ``state_from`` makes the optimizer's state from its first one.
    """
    xp, data = machine.backend.xp, to_machine(machine, samples(network, dtype, weighted))
    seed = 1 if stack is None else range(stack)
    theta = machine.asarray(initial_weights(network, seed, scheme="uniform", scale=0.5, dtype=dtype))
    position, rng = ModelState(theta, state_from(optimizer.init(xp, theta))), np.random.default_rng(2)
    for _ in range(epochs):
        batches = ArrayBatches(machine.backend, data, size, rng.permutation(N_SAMPLES) if shuffled else None)
        batches = replace(batches, processes=processes)
        if dropout is not None:
            batches = replace(batches, dropout=dropout.at(epoch=position.epoch))
        report = way(position, batches)
        position.epoch += 1
    return position, report


def plain_way(machine, objective, optimizer, dtype):
    return epoch_module.plain_epoch_runner(machine.backend, objective, optimizer, dtype)


def plain_and_compiled(machine, network, optimizer=None, dtype="float64", options=None, **options_of_run):
    optimizer, objective = optimizer or momentum(0.05, 0.9), Objective(network, **(options or {}))
    plain = plain_way(machine, objective, optimizer, dtype)
    fast = cuda_epoch_runner(machine.device, objective, optimizer, dtype, plain)
    assert isinstance(fast, CudaEpochRunner)
    return [run_epochs(machine, way, network, optimizer, dtype, **options_of_run) for way in (plain, fast)]


def assert_same_report(report, expected, dtype):
    for name in ("values", "weights"):
        actual, reference = (to_numpy(getattr(one, name)).astype(dtype) for one in (report, expected))
        assert_agree(actual, reference, "steps")


def _parts(state):
    for part in state:
        yield from _parts(part) if isinstance(part, tuple) else (part,)


def assert_same(results, kind="steps"):
    (plain, report), (fast, other_report) = results
    assert_agree(fast.theta, plain.theta, kind)
    assert type(fast.state) is type(plain.state)
    for part, other in zip(_parts(fast.state), _parts(plain.state), strict=True):
        if isinstance(other, int):
            assert part == other
        else:
            assert_agree(part, other, kind)
    dtype = str(to_numpy(plain.theta).dtype)
    assert_same_report(other_report, report, dtype)
    np.testing.assert_array_equal(other_report.sizes, report.sizes)
    np.testing.assert_array_equal(to_numpy(other_report.finite), to_numpy(report.finite))


class DeviceOfNumPy(str):
    """NumPy's device, which can be made the current one, as CuPy's can."""

    compute_capability = "90"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass
