"""Each CUDA kernel on an emulated device, and all sources under the compiler of the CUDA toolkit."""

import shutil
import subprocess
from itertools import chain

import numpy as np
import pytest

from gpubp.engine.cuda.kernels.layers import layer_kernels
from gpubp.engine.cuda.kernels.preamble import head
from gpubp.engine.cuda.kernels.products import FUNCTIONS, threads_of_block, tiles_of
from gpubp.engine.cuda.kernels.small_networks import small_network_source, state_of_one_network
from gpubp.engine.cuda.kernels.steps import state_in_global_memory, step_source
from gpubp.engine.plain.step import Objective
from gpubp.engine.tracing.optimizers import settings_of_steps, update_code
from gpubp.nn.activations import get_activation
from gpubp.nn.losses import output_loss
from gpubp.nn.network import Network
from gpubp.optim.first_order import OPTIMIZERS, adam, adamw, momentum
from gpubp.optim.wrappers import decay_scaled, decayed, rate_scaled
from gpubp.testing import assert_agree
from tests.cuda_machines import (
    ACTIVATION_NAMES,
    DEEP,
    PAIRS,
    SHALLOW,
    needs_compiler,
)
from tests.emulated_cuda import EmulatedDevice

pytestmark = pytest.mark.once

NVCC = shutil.which("nvcc")


def renamed(kernel, name):
    return kernel.text.replace(f"void {kernel.name}(", f"void {name}(")


def numbers(shape, dtype, seed=0):
    """Return numbers of all sizes, and special values."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=shape) * 10.0 ** rng.uniform(-3, 1.3, shape)
    values[0, :3] = [0.0, 1.0, -1.0]
    return values.astype(dtype)


def launch_over_layer(device, kernel, sample_by_sample, b, n, *places):
    shape = (b, 32) if sample_by_sample else ((-(-n // 32), -(-b // 8)), (32, 8))
    device.launch(kernel, *shape, 256 * 8, b, n, *places)


@pytest.fixture(scope="module", params=["float64", "float32"])
def compiled(request):
    """All activations in one source, and all losses in another."""
    dtype, device = request.param, EmulatedDevice()
    layers = layer_kernels(DEEP, dtype, weighted=False)
    update = update_code(momentum(), dtype, state_in_global_memory)
    kernels_of_activations = device.kernels(step_source(layers.each, update, dtype, mean=True))
    outputs = [layer_kernels(network, dtype, weighted=True).output for network in SHALLOW]
    text = head(dtype) + "".join(renamed(output, f"output_{k}") for k, output in enumerate(outputs))
    return dtype, device, layers, kernels_of_activations, outputs, device.kernels(text)


class TestKernels:
    @needs_compiler
    @pytest.mark.parametrize("name", ACTIVATION_NAMES)
    @pytest.mark.parametrize("n", [1, 5, 70])
    def test_activations(self, compiled, name, n):
        dtype, device, layers, kernels, *_ = compiled
        k, x = ACTIVATION_NAMES.index(name), numbers((9, 70), dtype)[:, :n].copy()
        bias = numbers((1, 70), dtype, 1)[0, :n].copy()
        value, derivative = layers.activations[k], layers.derivatives[k]
        totals, y = x.copy(), np.full_like(x, np.nan)
        launch_over_layer(device, kernels[value.name], value.sample_by_sample, 9, n, bias, n, totals, y)
        assert_agree(y, get_activation(name).value(np, x + bias), "elementwise")
        np.testing.assert_array_equal(totals, x + bias if layers.total_input_needed[k] else x)
        dE_dy = numbers((9, 70), dtype, 2)[:, :n].copy()
        signals = dE_dy.copy()
        launch_over_layer(device, kernels[derivative.name], derivative.sample_by_sample, 9, n, totals, y, signals)
        assert_agree(signals, get_activation(name).dE_dx(np, dE_dy, x + bias, y), "elementwise")

    @needs_compiler
    @pytest.mark.parametrize("pair", PAIRS, ids=" on ".join)
    def test_losses(self, compiled, pair):
        dtype, device, _, _, outputs, kernels = compiled
        rng, k = np.random.default_rng(0), PAIRS.index(pair)
        x, targets = rng.normal(size=(9, 40)).astype(dtype), rng.dirichlet(np.ones(40), 9).astype(dtype)
        weights = rng.uniform(0.0, 2.0, 9).astype(dtype)
        signals, losses = np.full_like(x, np.nan), np.full(9, np.nan, dtype)
        places = (None, 0, x, targets, 0, weights, 0, signals, losses)
        launch_over_layer(device, kernels[f"output_{k}"], outputs[k].sample_by_sample, 9, 40, *places)
        y = get_activation(pair[1]).value(np, x)
        for c in range(9):  # the sum over one sample
            sample = slice(c, c + 1)
            expected, dE_dx = output_loss(np, *pair, x[sample], y[sample], targets[sample], weights[sample])
            assert_agree(losses[c], expected, "forward")
            assert_agree(signals[sample], dE_dx, "elementwise")

    @needs_compiler
    @pytest.mark.parametrize("name", [*OPTIMIZERS, "rate-scaled decay-scaled adamw"])
    def test_optimizers(self, name, dtype):
        device, factors = EmulatedDevice(), np.random.default_rng(3).uniform(0.0, 3.0, 600).astype(dtype)
        is_scaled = name.startswith("rate-scaled")
        optimizer = (
            rate_scaled(decay_scaled(adamw(), factors[::-1].copy()), factors) if is_scaled else OPTIMIZERS[name]()
        )
        update = update_code(optimizer, dtype, state_in_global_memory)
        layers = layer_kernels(Network((1, 1)), dtype, weighted=False)
        kernel = device.kernels(step_source(layers.each, update, dtype, mean=True))["update"]
        theta, gradient = numbers((1, 600), dtype)[0], numbers((1, 600), dtype, 1)[0]
        state = optimizer.init(np, theta)
        settings = settings_of_steps(update, optimizer.settings, state, np.zeros(3), {"l2": 0.0})[:, 0].astype(dtype)
        mine, parts = theta.copy(), [getattr(state, part).copy() for part in update.parts]
        for step in range(3):
            of_step = (np.asarray([step + 1]), settings, settings.shape[1], 0)
            fixed = (*of_step, np.asarray([0.5], dtype), None)
            more = (factors, 0, factors[::-1].copy(), 0) if is_scaled else ()
            device.launch(kernel, 2, 256, 4096, 600, *fixed, gradient, None, 0, None, mine, *parts, *more)
            change, state = optimizer.update(np, gradient * np.dtype(dtype).type(0.5), state, theta, optimizer.at(0))
            theta = theta + change
        assert_agree(mine, theta, "elementwise")
        for part, name_of_part in zip(parts, update.parts, strict=True):
            assert_agree(part, getattr(state, name_of_part), "elementwise")

    @needs_compiler
    def test_nan_is_propagated(self):
        device, update = EmulatedDevice(), update_code(adam(), "float64", state_in_global_memory)
        layers = layer_kernels(Network((1, 1, 1, 1), ("relu", "softmax"), bias=False), "float64", weighted=False)
        kernels = device.kernels(step_source(layers.each, update, "float64", mean=True))
        x = np.asarray([[1.0, np.nan, -1.0]])
        for kernel, expected in zip(layers.activations, ([[1.0, np.nan, 0.0]], [[np.nan] * 3]), strict=True):
            y = np.empty_like(x)
            launch_over_layer(device, kernels[kernel.name], kernel.sample_by_sample, 1, 3, None, 0, x.copy(), y)
            np.testing.assert_array_equal(y, expected)


def source_of(network, size, dtype="float32"):
    update = update_code(adam(), dtype, state_of_one_network)
    return small_network_source(Objective(network), update, dtype, weighted=False, size=size)


class TestSmallNetworks:
    """What is chosen for the kernel of a small network."""

    @pytest.mark.parametrize(
        ("one", "other"), [((6, 2, 1), (12, 5, 3)), ((20, 64, 64, 2), (24, 50, 70, 3))], ids=["single sums", "tiles"]
    )
    def test_networks_of_other_widths_have_the_same_source(self, one, other):
        sources = {source_of(Network(sizes), size) for sizes, size in ((one, 64), (other, 64), (one, 60))}
        assert len(sources) == 1

    def test_other_layers_have_another_source(self):
        networks = [
            Network((6, 2, 1)),
            Network((6, 2, 2, 1)),
            Network((6, 2, 1), "gelu"),
            Network((6, 2, 1), bias=False),
        ]
        assert len({source_of(network, 64) for network in networks}) == 4

    def test_tiles(self):
        assert tiles_of(Network((6, 2, 1)), 64, "float32") == [(1, 1, 1)] * 2
        assert tiles_of(Network((20, 64, 64, 2)), 64, "float32") == [(4, 2, 2), (4, 4, 4), (1, 4, 1)]
        assert max(chain(*tiles_of(Network((64, 64, 64)), 512, "float64"))) == 2

    @pytest.mark.parametrize(
        ("sizes", "size", "threads"), [((6, 2, 1), 64, 32), ((20, 64, 64, 2), 64, 512), ((64, 256, 64), 128, 512)]
    )
    def test_threads(self, sizes, size, threads):
        assert threads_of_block(Network(sizes), size, "float32") == threads

    @needs_compiler
    @pytest.mark.parametrize("side", [1, 2, 4])
    @pytest.mark.parametrize("n_threads", [32, 256])
    def test_products(self, side, n_threads):
        """All sums of a product, once each, also where tiles do not fit."""
        kernel = """
extern "C" __global__ void product(integer m, integer n, integer k, const real* a, const real* b, real* c, int* calls) {
    multiply<SIDE>((int)m, (int)n, (int)k, a, (int)k, 1, b, 1, (int)n,
        [&](int i, int j, real sum) { c[i * n + j] = sum; }, [&](int i, int j) { calls[i * n + j] += 1; });
}
"""
        device = EmulatedDevice()
        product = device.kernels(head("float64") + FUNCTIONS + kernel.replace("SIDE", str(side)))["product"]
        rng = np.random.default_rng(0)
        for m, n, k in ((1, 1, 3), (4, 8, 5), (5, 3, 2), (33, 7, 1), (2, 70, 4)):
            a, b, c, calls = (
                rng.normal(size=(m, k)),
                rng.normal(size=(k, n)),
                np.zeros((m, n)),
                np.zeros((m, n), "int32"),
            )
            device.launch(product, 1, n_threads, 0, m, n, k, a, b, c, calls)
            assert_agree(c, a @ b, "forward")
            np.testing.assert_array_equal(calls, 1)


@pytest.mark.slow
@pytest.mark.skipif(NVCC is None, reason="nvcc, of NVIDIA's toolkit, is not installed")
@pytest.mark.parametrize(("form", "dtype"), [("layer by layer", "float32"), ("small networks", "float64")])
def test_sources_compile_for_gpus(form, dtype, tmp_path):
    """NVIDIA's compiler accepts all kernels; test_nvrtc.py has the machine code of each generation of GPUs."""
    optimizer = decay_scaled(rate_scaled(decayed(adamw(), 0.01), [1.0]), [1.0])
    if form == "small networks":
        network = Network((3, 4, 4, 4, 2), activation=("tanh", "softmax", "gelu"), loss="cross_entropy")
        update = update_code(optimizer, dtype, state_of_one_network)
        text = small_network_source(Objective(network, l2=0.1), update, dtype, weighted=True)
    else:
        layers = layer_kernels(DEEP, dtype, weighted=False)
        text = step_source(layers.each, update_code(optimizer, dtype, state_in_global_memory), dtype, mean=True)
        outputs = [layer_kernels(network, dtype, weighted=True).output for network in SHALLOW]
        text += "".join(renamed(output, f"output_{k}") for k, output in enumerate(outputs))
    path = tmp_path / "all.cu"
    path.write_text(text)
    command = [NVCC, "--ptx", "-arch=compute_80", "-Werror=all-warnings", str(path), "-o", str(tmp_path / "all.ptx")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
