"""CUDA C of the layers, for networks that go layer by layer: activations, their derivatives, and the output layer.

A kernel goes through the units of all samples at once. If an equation sums over units, it goes through the samples
instead, with a block of threads for each. Each network of a stack has its own blocks, numbered by ``blockIdx.z``. No
sum depends on the order of the threads, so repeated training gives the same bits.
"""

from collections.abc import Mapping
from typing import NamedTuple

from gpubp.engine.cuda.kernels.preamble import BLOCK_REDUCTIONS, indented
from gpubp.engine.tracing import symbols
from gpubp.engine.tracing.expressions import Code
from gpubp.engine.tracing.symbols import Symbol
from gpubp.nn.activations import get_activation
from gpubp.nn.losses import output_loss
from gpubp.nn.network import Network

ALL_SAMPLES_AT_ONCE = """
extern "C" __global__ void {name}(integer b, integer n, {parameters}) {{
    const integer network = blockIdx.z;
{offsets}
    for (integer c = (integer)blockIdx.y * blockDim.y + threadIdx.y; c < b; c += (integer)gridDim.y * blockDim.y) {{
        for (integer j = (integer)blockIdx.x * blockDim.x + threadIdx.x; j < n; j += (integer)gridDim.x * blockDim.x) {{
{body}
        }}
    }}
}}
"""

SAMPLE_BY_SAMPLE = """
extern "C" __global__ void {name}(integer b, integer n, {parameters}) {{
    const integer network = blockIdx.z;
{offsets}
    for (integer c = blockIdx.x; c < b; c += gridDim.x) {{
{body}
    }}
}}
"""

LOOP_OF_BLOCK = "for (integer j = threadIdx.x; j < n; j += blockDim.x)"


class Kernel(NamedTuple):
    """A kernel that goes through a layer, and whether it does so sample by sample."""

    name: str
    text: str
    sample_by_sample: bool


class LayerKernels(NamedTuple):
    """The kernels of a network's layers.

    Attributes
    ----------
    activations, derivatives : tuple of Kernel
        One for each hidden layer.
    output : Kernel
    total_input_needed : tuple of bool
        Whether the backward pass needs the total inputs, for each hidden layer.
    """

    activations: tuple[Kernel, ...]
    derivatives: tuple[Kernel, ...]
    output: Kernel
    total_input_needed: tuple[bool, ...]


def layer_kernels(network: Network, dtype: str, *, weighted: bool) -> LayerKernels:
    """Write the kernels of all layers; ``weighted`` says whether samples have weights."""
    distinct = list(dict.fromkeys(network.activation))
    activations, derivatives, needed = [], [], []
    for name in network.activation:
        derivative, total_input_needed = _derivative(f"derivative_{distinct.index(name)}", name, dtype)
        value = _activation(
            f"activation_{distinct.index(name)}", name, dtype, bias=network.bias, store_total=total_input_needed
        )
        activations.append(value)
        derivatives.append(derivative)
        needed.append(total_input_needed)
    output = _output(network, dtype, weighted=weighted)
    return LayerKernels(tuple(activations), tuple(derivatives), output, tuple(needed))


def _activation(kernel: str, name: str, dtype: str, *, bias: bool, store_total: bool) -> Kernel:
    """Add the biases, eq. (1), and set the outputs, eq. (2)."""
    code = Code(dtype, {"x": _total_input(bias)})
    x = symbols.variable("x", dtype)
    results, stores = {"value": get_activation(name).value(symbols, x)}, ""
    if store_total and bias:
        results, stores = {"with_bias": x, **results}, "totals[c * n + j] = with_bias;\n"
    strides = {"totals": "b * n", "outputs": "b * n"} | ({"biases": "n_parameters"} if bias else {})
    parameters = "const real* biases, integer n_parameters, real* totals, real* outputs"
    return _kernel(kernel, parameters, strides, code, results, stores + "outputs[c * n + j] = value;")


def _derivative(kernel: str, name: str, dtype: str) -> tuple[Kernel, bool]:
    """Write eq. (5), derivatives by the total inputs; return the kernel and whether it reads the total inputs."""
    cells = {"dE_dy": "signals[c * n + j]", "x": "totals[c * n + j]", "y": "outputs[c * n + j]"}
    code = Code(dtype, cells)
    dE_dx = get_activation(name).dE_dx(symbols, *(symbols.variable(cell, dtype) for cell in cells))
    total_input_needed = code.uses("x", dE_dx)
    strides = dict.fromkeys(("totals", "outputs", "signals"), "b * n")
    parameters = "const real* totals, const real* outputs, real* signals"
    text = _kernel(kernel, parameters, strides, code, {"dE_dx": dE_dx}, "signals[c * n + j] = dE_dx;")
    return text, total_input_needed


def _output(network: Network, dtype: str, *, weighted: bool) -> Kernel:
    """Write the output layer: eq. (1) to (4), and eq. (5) there."""
    cells = {"x": _total_input(network.bias), "target": "targets[c * n + j]", "sample_weight": "sample_weights[c]"}
    code = Code(dtype, cells)
    loss, dE_dx = loss_of_sample(network, dtype, weighted=weighted)
    store = "signals[c * n + j] = dE_dx;"
    body = code.over_units(LOOP_OF_BLOCK, BLOCK_REDUCTIONS, {"loss": loss}, {"dE_dx": dE_dx}, store)
    body += "\nif (threadIdx.x == 0) losses[c] = loss;"
    strides = {"totals": "b * n", "targets": "targets_stride", "signals": "b * n", "losses": "b"}
    strides |= {"biases": "n_parameters"} if network.bias else {}
    strides |= {"sample_weights": "weights_stride"} if weighted else {}
    parameters = (
        "const real* biases, integer n_parameters, const real* totals, const real* targets, integer targets_stride, "
        "const real* sample_weights, integer weights_stride, real* signals, real* losses"
    )
    text = SAMPLE_BY_SAMPLE.format(
        name="output", parameters=parameters, offsets=offsets(strides), body=indented(body, 8)
    )
    return Kernel("output", text, sample_by_sample=True)


def loss_of_sample(network: Network, dtype: str, *, weighted: bool) -> tuple[Symbol, Symbol]:
    """Trace the loss of a sample, and its derivative by the total inputs, from x, target and sample_weight."""
    x, targets = symbols.variable("x", dtype), symbols.variable("target", dtype)
    sample_weight = symbols.variable("sample_weight", dtype, per_unit=False) if weighted else None
    name = network.activations[-1]
    y = get_activation(name).value(symbols, x)
    loss, dE_dx = output_loss(symbols, network.loss, name, x, y, targets, sample_weight)
    (sample_loss,) = loss.operands  # of the sum over samples
    return sample_loss, dE_dx


def offsets(strides: Mapping[str, str]) -> str:
    """Move pointers to a network's own numbers; ``strides`` are from one network to the next."""
    return "\n".join(f"    {name} += network * ({stride});" for name, stride in strides.items())


def _total_input(bias: bool) -> str:
    return "totals[c * n + j] + biases[j]" if bias else "totals[c * n + j]"


def _kernel(
    name: str, parameters: str, strides: Mapping[str, str], code: Code, results: Mapping[str, Symbol], stores: str
) -> Kernel:
    sample_by_sample = code.has_sums(*results.values())
    if sample_by_sample:
        text = SAMPLE_BY_SAMPLE
        body = indented(code.over_units(LOOP_OF_BLOCK, BLOCK_REDUCTIONS, {}, results, stores), 8)
    else:
        text = ALL_SAMPLES_AT_ONCE
        body = indented(f"{code.statements(**results)}\n{stores}", 12)
    return Kernel(
        name, text.format(name=name, parameters=parameters, offsets=offsets(strides), body=body), sample_by_sample
    )
