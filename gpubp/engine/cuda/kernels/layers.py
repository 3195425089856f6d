"""CUDA C of the layers, for networks that go layer by layer: activations, their derivatives, and the output layer.

A kernel goes through the units of all samples at once. If an equation sums over units, it goes through the samples
instead, with a block of threads for each. Each network of a stack has its own blocks, numbered by ``blockIdx.z``. No
sum depends on the order of the threads, so repeated training gives the same bits.
"""

from collections.abc import Mapping
from typing import NamedTuple

from gpubp.engine.cuda.kernels.loss_scaling import OF_OUTPUT, SCALE_OF_STEP
from gpubp.engine.cuda.kernels.narrow_outputs import TOTALS, threads_of_narrow_output
from gpubp.engine.cuda.kernels.preamble import BLOCK_REDUCTIONS, DROPOUT_PARAMETERS, dropout_mask
from gpubp.engine.tracing import symbols
from gpubp.engine.tracing.expressions import Code, indented
from gpubp.engine.tracing.symbols import Inexpressible, Symbol
from gpubp.nn.activations import get_activation, parametric, parametric_dE_da, parametric_dE_dx
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

MASK = dropout_mask("layer", "first_row + c", "j")
OF_DROPOUT = f", integer layer, integer first_row, const integer* counter, {DROPOUT_PARAMETERS}"

LOOP_OF_BLOCK = "for (integer j = threadIdx.x; j < n; j += blockDim.x)"


class Kernel(NamedTuple):
    """A kernel that goes through a layer, and whether it does so sample by sample.

    ``n_threads`` and ``n_shared`` are the threads of a block, and the numbers in its shared memory, if they do not
    follow from the layer.
    """

    name: str
    text: str
    sample_by_sample: bool = False
    n_threads: int = 0
    n_shared: int = 0


class LayerKernels(NamedTuple):
    """The kernels of a network's layers.

    Attributes
    ----------
    activations, derivatives : tuple of Kernel
        One for each hidden layer.
    output : Kernel
    total_input_needed : tuple of bool
        Whether the backward pass needs the total inputs, for each hidden layer.
    drop_inputs : Kernel, optional
        With dropout of the inputs.
    narrow : bool
        Whether the output layer has no products but those within kernels.
    """

    activations: tuple[Kernel, ...]
    derivatives: tuple[Kernel, ...]
    output: Kernel
    total_input_needed: tuple[bool, ...]
    drop_inputs: Kernel | None = None
    narrow: bool = False

    @property
    def each(self) -> tuple[Kernel, ...]:
        """All kernels, with those that layers share as often as they do."""
        of_inputs = () if self.drop_inputs is None else (self.drop_inputs,)
        return (*self.activations, *self.derivatives, self.output, *of_inputs)


def layer_kernels(
    network: Network,
    dtype: str,
    *,
    weighted: bool,
    drops: tuple[bool, ...] = (),
    rounds: bool = False,
    narrow: bool = False,
    loss_scaled: bool = False,
) -> LayerKernels:
    """Write the kernels of all layers.

    Parameters
    ----------
    weighted : bool
        Whether samples have weights.
    drops : tuple of bool
        Whether the inputs, and each hidden layer, have dropout; empty if none has.
    rounds : bool
        Whether outputs and signals are also stored as operands of 16 bits.
    narrow : bool
        Whether the output layer's products are computed within kernels.
    loss_scaled : bool
        Whether the signals of the output layer, and so all others, are multiplied by a scale.

    Raises
    ------
    Inexpressible
        If C cannot express an equation, or the network has members that share weights.
    """
    if network.n_members is not None:
        raise Inexpressible("the network has members that share weights")
    kinds = list(zip(network.activation, drops[1:] or (False,) * len(network.activation), strict=True))
    activations, derivatives, needed = [], [], []
    for name, drop in kinds:
        k = kinds.index((name, drop))  # layers of one kind share their kernels
        kernel = f"{'learned_' if get_activation(name).is_parametric else ''}derivative_{k}"
        derivative, total_input_needed = _derivative(kernel, name, dtype, drop=drop, rounds=rounds)
        stored = {"store_total": total_input_needed, "store_operand": drop or rounds}
        value = activation_kernel(f"activation_{k}", name, dtype, bias=network.bias, drop=drop, **stored)
        activations.append(value)
        derivatives.append(derivative)
        needed.append(total_input_needed)
    if narrow:
        name, drop = kinds[-1]
        derivatives[-1], _ = _derivative(
            "derivative_below_output", name, dtype, drop=drop, rounds=rounds, n_outputs=network.sizes[-1]
        )
    output = _output(network, dtype, weighted=weighted, rounds=rounds, narrow=narrow, loss_scaled=loss_scaled)
    drop_inputs = _drop_inputs(dtype) if any(drops[:1]) else None
    return LayerKernels(tuple(activations), tuple(derivatives), output, tuple(needed), drop_inputs, narrow)


def _drop_inputs(dtype: str) -> Kernel:
    """Write dropout of the inputs."""
    parameters, strides = (
        "const real* inputs, integer stride, operand* operands",
        {"inputs": "stride", "operands": "b * n"},
    )
    code, x = Code(dtype, {"x": "inputs[c * n + j]"}), symbols.variable("x", dtype)
    store = f"operands[c * n + j] = to_operand(input * {MASK});"
    return kernel_over_layer("drop_inputs", parameters, strides, code, {"input": x}, store, True)


def activation_kernel(
    kernel: str,
    name: str,
    dtype: str,
    *,
    bias: bool,
    drop: bool = False,
    store_total: bool = False,
    store_output: bool = True,
    store_operand: bool = False,
) -> Kernel:
    """Add the biases, eq. (1), and set the outputs, eq. (2), and what the next layer multiplies if it is not these."""
    code = Code(dtype, {"x": total_input(bias), "a": "activation_weights[j]"})
    x, activation = symbols.variable("x", dtype), get_activation(name)
    strides = {"totals": "b * n"} | ({"biases": "n_parameters"} if bias else {})
    parameters = "const real* biases, integer n_parameters, real* totals"
    value = activation.value(symbols, x)
    if activation.is_parametric:
        value = parametric(symbols, x, value, symbols.variable("a", dtype))
        parameters, strides["activation_weights"] = parameters + ", const real* activation_weights", "n_parameters"
    results, stores = {"value": value}, ""
    if store_total and bias:
        results, stores = {"with_bias": x, **results}, "totals[c * n + j] = with_bias;\n"
    if store_output:
        parameters, strides["outputs"] = parameters + ", real* outputs", "b * n"
        stores += "outputs[c * n + j] = value;\n"
    if store_operand:
        parameters, strides["operands"] = parameters + ", operand* operands", "b * n"
        stores += f"operands[c * n + j] = to_operand({f'value * {MASK}' if drop else 'value'});\n"
    return kernel_over_layer(kernel, parameters, strides, code, results, stores, drop)


def _derivative(
    kernel: str, name: str, dtype: str, *, drop: bool, rounds: bool, n_outputs: int = 0
) -> tuple[Kernel, bool]:
    """Write eq. (5), derivatives by the total inputs; return the kernel and whether it reads the total inputs.

    Of a parametric activation it also writes the derivatives by its weights, for each sample. Below a narrow output
    layer, of ``n_outputs`` units, it also computes eq. (7).
    """
    dE_dy = (
        f"dot({n_outputs}, above + c * {n_outputs}, weights + j * {n_outputs})" if n_outputs else "signals[c * n + j]"
    )
    dE_dy = f"{dE_dy} * {MASK}" if drop else dE_dy
    activation, cells = get_activation(name), {"dE_dy": dE_dy, "x": "totals[c * n + j]", "y": "outputs[c * n + j]"}
    cells["a"] = "activation_weights[j]"
    code = Code(dtype, cells)
    at_y, x, y, a = (symbols.variable(cell, dtype) for cell in cells)
    results = {"dE_dx": activation.dE_dx(symbols, at_y, x, y)}
    if activation.is_parametric:
        of_weights = parametric_dE_da(symbols, activation, at_y, x)
        results = {"dE_dx": parametric_dE_dx(symbols, activation, at_y, x, a), "dE_da": of_weights}
    total_input_needed = any(code.uses("x", result) for result in results.values())
    strides = dict.fromkeys(("totals", "outputs", "signals"), "b * n")
    parameters = "const real* totals, const real* outputs, real* signals"
    if activation.is_parametric:
        strides |= {"activation_weights": "n_parameters", "weight_signals": "b * n"}
        parameters = f"const real* activation_weights, real* weight_signals, {parameters}"
    if n_outputs or activation.is_parametric:
        parameters = f"integer n_parameters, {parameters}"
    if n_outputs:
        strides |= {"above": f"b * {n_outputs}", "weights": "n_parameters"}
        parameters = f"const operand* above, const operand* weights, {parameters}"
    parameters, store = _with_signal_operands(parameters, strides, rounds=rounds)
    if activation.is_parametric:
        store += "\nweight_signals[c * n + j] = dE_da;"
    return kernel_over_layer(kernel, parameters, strides, code, results, store, drop), total_input_needed


def _with_signal_operands(
    parameters: str, strides: dict[str, str], *, rounds: bool, signal: str = "dE_dx"
) -> tuple[str, str]:
    """Return a kernel's parameters, and what it stores: the signals, and with ``rounds`` also operands of products."""
    store = f"signals[c * n + j] = {signal};"
    if not rounds:
        return parameters, store
    strides["operands"] = "b * n"
    return f"{parameters}, operand* operands", f"{store}\noperands[c * n + j] = to_operand({signal});"


def _output(network: Network, dtype: str, *, weighted: bool, rounds: bool, narrow: bool, loss_scaled: bool) -> Kernel:
    """Write the output layer: eq. (1) to (4), and eq. (5) there."""
    *_, n_below, n = network.sizes
    total = total_input(network.bias)
    cells = {
        "x": total.replace("totals[c * n + j]", "total") if narrow else total,
        "target": "targets[c * n + j]",
        "sample_weight": "sample_weights[c]",
    }
    code = Code(dtype, cells)
    loss, dE_dx = loss_of_sample(network.loss, network.activations[-1], dtype, weighted=weighted)
    strides = {"targets": "targets_stride", "signals": "b * n", "losses": "b"}
    strides |= {"below": f"b * {n_below}", "weights": "n_parameters"} if narrow else {"totals": "b * n"}
    strides |= {"biases": "n_parameters"} if network.bias else {}
    strides |= {"sample_weights": "weights_stride"} if weighted else {}
    parameters = (
        "const real* biases, integer n_parameters, "
        f"{'const operand* below, const operand* weights' if narrow else 'const real* totals'}, const real* targets, "
        "integer targets_stride, const real* sample_weights, integer weights_stride, real* signals, real* losses"
    )
    signal = "dE_dx * loss_scale" if loss_scaled else "dE_dx"
    parameters, store = _with_signal_operands(parameters, strides, rounds=rounds, signal=signal)
    body = SCALE_OF_STEP if loss_scaled else ""
    body += code.over_units(LOOP_OF_BLOCK, BLOCK_REDUCTIONS, {"loss": loss}, {"dE_dx": dE_dx}, store)
    body += "\nif (threadIdx.x == 0) losses[c] = loss;"
    body = TOTALS.format(n=n, n_below=n_below) + body if narrow else body
    parameters += OF_OUTPUT if loss_scaled else ""
    name = "narrow_output" if narrow else "output"
    text = SAMPLE_BY_SAMPLE.format(name=name, parameters=parameters, offsets=offsets(strides), body=indented(body, 8))
    n_threads = threads_of_narrow_output(network) if narrow else 0
    return Kernel(name, text, sample_by_sample=True, n_threads=n_threads, n_shared=n * n_threads)


def loss_of_sample(loss_name: str, name: str, dtype: str, *, weighted: bool) -> tuple[Symbol, Symbol]:
    """Trace the loss of a sample, and its derivative by the total inputs, from x, target and sample_weight."""
    x, targets = symbols.variable("x", dtype), symbols.variable("target", dtype)
    sample_weight = symbols.variable("sample_weight", dtype, per_unit=False) if weighted else None
    y = get_activation(name).value(symbols, x)
    loss, dE_dx = output_loss(symbols, loss_name, name, x, y, targets, sample_weight)
    (sample_loss,) = loss.operands  # of the sum over samples
    return sample_loss, dE_dx


def offsets(strides: Mapping[str, str]) -> str:
    """Move pointers to a network's own numbers; ``strides`` are from one network to the next."""
    return "\n".join(f"    {name} += network * ({stride});" for name, stride in strides.items())


def total_input(bias: bool) -> str:
    """Write the total input of a unit, eq. (1)."""
    return "totals[c * n + j] + biases[j]" if bias else "totals[c * n + j]"


def kernel_over_layer(
    name: str,
    parameters: str,
    strides: Mapping[str, str],
    code: Code,
    results: Mapping[str, Symbol],
    stores: str,
    drop: bool,
) -> Kernel:
    """Write a kernel that computes results for each unit and stores them; ``drop`` adds what masks need."""
    sample_by_sample = code.has_sums(*results.values())
    if sample_by_sample:
        text = SAMPLE_BY_SAMPLE
        body = indented(code.over_units(LOOP_OF_BLOCK, BLOCK_REDUCTIONS, {}, results, stores), 8)
    else:
        text = ALL_SAMPLES_AT_ONCE
        body = indented(f"{code.statements(**results)}\n{stores}", 12)
    begin = offsets(strides)
    if drop:
        parameters, begin = parameters + OF_DROPOUT, f"{begin}\n    const integer step = counter[network];"
    text = text.format(name=name, parameters=parameters, offsets=begin, body=body)
    return Kernel(name, text, sample_by_sample)
