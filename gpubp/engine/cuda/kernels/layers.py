"""CUDA C of a training step, layer by layer: what the equations say, with loops around it.

A kernel goes through the units of all samples at once, or where it adds up over units, through the samples, a block of
threads for each. Of a stack each network has blocks of its own: their third coordinate tells which. No sum depends on
which thread comes first: the same training gives the same bits again.
"""

from collections.abc import Mapping
from typing import NamedTuple

from gpubp.engine.cuda.optimizers import Update
from gpubp.engine.tracing import symbols
from gpubp.engine.tracing.expressions import Code
from gpubp.engine.tracing.symbols import REDUCTIONS, Symbol
from gpubp.nn.activations import get_activation
from gpubp.nn.losses import output_loss
from gpubp.nn.network import Network

HEAD = """
typedef {real} real;
typedef long long whole;

extern __shared__ real shared[];  // at least one number for each thread of a block, of which there are a power of two

__device__ real sum_over_block(real mine, real* room) {{
    room[threadIdx.x] = mine;
    for (unsigned half = blockDim.x / 2; half > 0; half /= 2) {{
        __syncthreads();
        if (threadIdx.x < half) room[threadIdx.x] += room[threadIdx.x + half];
    }}
    __syncthreads();
    const real all = room[0];
    __syncthreads();  // before the room is used again
    return all;
}}

__device__ real largest_over_block(real mine, real* room) {{
    room[threadIdx.x] = mine;
    for (unsigned half = blockDim.x / 2; half > 0; half /= 2) {{
        __syncthreads();
        if (threadIdx.x < half) {{
            const real other = room[threadIdx.x + half];
            if (other > room[threadIdx.x] || other != other) room[threadIdx.x] = other;
        }}
    }}
    __syncthreads();
    const real all = room[0];
    __syncthreads();
    return all;
}}
"""

OVER_BLOCK = {REDUCTIONS["sum"]: "sum_over_block", REDUCTIONS["max"]: "largest_over_block"}

UNITS_OF_ALL_SAMPLES = """
extern "C" __global__ void {name}(whole b, whole n, {parameters}) {{
    const whole network = blockIdx.z;
{own}
    for (whole c = (whole)blockIdx.y * blockDim.y + threadIdx.y; c < b; c += (whole)gridDim.y * blockDim.y) {{
        for (whole j = (whole)blockIdx.x * blockDim.x + threadIdx.x; j < n; j += (whole)gridDim.x * blockDim.x) {{
{body}
        }}
    }}
}}
"""

SAMPLE_BY_SAMPLE = """
extern "C" __global__ void {name}(whole b, whole n, {parameters}) {{
    const whole network = blockIdx.z;
{own}
    for (whole c = blockIdx.x; c < b; c += gridDim.x) {{
{body}
    }}
}}
"""

OWN_UNITS = "for (whole j = threadIdx.x; j < n; j += blockDim.x)"

GATHER = """
extern "C" __global__ void gather(
    whole n_chosen, whole n, whole size, whole steps_of_epoch, const int* order, const whole* counter,
    const real* cases, whole n_cases, real* to, whole room
) {
    const whole network = blockIdx.z;
    cases += network * n_cases * n;
    to += network * room * n;
    const int* chosen = order + counter[0] % steps_of_epoch * size;  // of the steps from this one on
    for (whole c = blockIdx.x; c < n_chosen; c += gridDim.x) {
        const whole from = chosen[c];
        for (whole i = threadIdx.x; i < n; i += blockDim.x) to[c * n + i] = cases[from * n + i];
    }
}
"""

# a column of signals is where it begins, how far its samples are apart, and where their sum goes
SUMS = """
extern "C" __global__ void sums(
    whole b, const real* signals, const whole* columns, whole n_columns, real* gradients, whole n_parameters,
    const real* errors, const real* case_weights, whole weights_apart, const real* squares, whole n_squares,
    real half_l2, whole n_steps, whole* counter, double* found, real* share
) {
    const whole network = blockIdx.z, n_networks = gridDim.z;
    if (blockIdx.x < gridDim.x - 1) {  // the biases' gradients
        const whole column = (whole)blockIdx.x * 32 + threadIdx.x % 32;
        const unsigned first = threadIdx.x / 32, n_parts = blockDim.x / 32;
        double sum = 0;  // of many cases: in single precision digits would be lost
        if (column < n_columns) {
            const whole apart = columns[3 * column + 1];
            const real* signal = signals + columns[3 * column] + network * b * apart;
            for (whole c = first; c < b; c += n_parts) sum += signal[c * apart];
        }
        shared[threadIdx.x] = (real)sum;
        __syncthreads();
        if (first == 0 && column < n_columns) {
            for (unsigned part = 1; part < n_parts; ++part) sum += shared[part * 32 + threadIdx.x];
            gradients[network * n_parameters + columns[3 * column + 2]] = (real)sum;
        }
        return;
    }
    double own_error = 0, own_weight = 0, own_squares = 0;
    for (whole c = threadIdx.x; c < b; c += blockDim.x) {
        own_error += errors[network * b + c];
        own_weight += case_weights ? case_weights[network * weights_apart + c] : 1;
    }
    for (whole k = threadIdx.x; k < n_squares; k += blockDim.x) own_squares += squares[network * n_squares + k];
    const real error = sum_over_block((real)own_error, shared);
    const real weight = sum_over_block((real)own_weight, shared);
    const real squared = sum_over_block((real)own_squares, shared);
    if (threadIdx.x == 0) {
        const whole step = counter[network];
        share[network] = SHARE;
        found[step * n_networks + network] = (error + half_l2 * squared) * share[network];
        found[(n_steps + step) * n_networks + network] = weight;
        counter[network] = step + 1;
    }
}
"""
SHARE_OF_MEAN = "weight > 0 ? 1 / weight : 0"  # a batch whose samples all count nothing says nothing

OVER_PARAMETERS = """
extern "C" __global__ void squares_of_weights(
    whole n, const real* thetas, const unsigned char* is_weight, real* squares
) {
    thetas += blockIdx.z * n;
    double own = 0;
    for (whole i = (whole)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (whole)gridDim.x * blockDim.x) {
        if (is_weight[i]) own += thetas[i] * thetas[i];
    }
    const real sum = sum_over_block((real)own, shared);
    if (threadIdx.x == 0) squares[blockIdx.z * gridDim.x + blockIdx.x] = sum;
}

extern "C" __global__ void count_not_finite(whole n, const real* thetas, double* counts) {
    thetas += blockIdx.z * n;
    double own = 0;
    for (whole i = (whole)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (whole)gridDim.x * blockDim.x) {
        if (thetas[i] - thetas[i] != 0) own += 1;
    }
    const real sum = sum_over_block((real)own, shared);
    if (threadIdx.x == 0) counts[blockIdx.z * gridDim.x + blockIdx.x] = sum;
}
"""

UPDATE = """
extern "C" __global__ void update(
    whole n, const whole* counter, const real* all_settings, whole of_step, whole of_network,
    const real* share, real l2, const unsigned char* is_weight, const real* gradients, real* thetas{parameters}
) {{
    const whole network = blockIdx.z;
    const real* settings = all_settings + (counter[network] - 1) * of_step + network * of_network;
{own}
    for (whole i = (whole)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (whole)gridDim.x * blockDim.x) {{
        const real own_theta = thetas[i];
        const real own_gradient = (gradients[i] + (is_weight && is_weight[i] ? l2 * own_theta : 0)) * share[network];
{statements}
        thetas[i] = new_theta;
{stores}
    }}
}}
"""


class Kernel(NamedTuple):
    """A kernel that goes through a layer, and whether it does so sample by sample."""

    name: str
    text: str
    sample_by_sample: bool


class Layers(NamedTuple):
    """The kernels of a network's layers: units and slopes of the hidden ones, and the output layer.

    ``total_kept`` tells of each hidden layer whether the pass backward needs the total inputs.
    """

    units: tuple[Kernel, ...]
    slopes: tuple[Kernel, ...]
    output: Kernel
    total_kept: tuple[bool, ...]


def head(dtype: str) -> str:
    """Write what every source begins with."""
    return HEAD.format(real={"float32": "float", "float64": "double"}[dtype])


# --- layers ---


def layers_of(network: Network, dtype: str, *, weighed: bool) -> Layers:
    """Write the kernels of all layers; ``weighed`` tells whether samples have weights."""
    kinds = list(dict.fromkeys(network.activation))
    units, slopes, kept = [], [], []
    for name in network.activation:
        slope, needs_total = _slopes(f"slopes_{kinds.index(name)}", name, dtype)
        unit = _units(f"units_{kinds.index(name)}", name, dtype, bias=network.bias, keep_total=needs_total)
        units.append(unit)
        slopes.append(slope)
        kept.append(needs_total)
    return Layers(tuple(units), tuple(slopes), _output(network, dtype, weighed=weighed), tuple(kept))


def _units(name: str, unit: str, dtype: str, *, bias: bool, keep_total: bool) -> Kernel:
    """Add the biases, eq. (1), and set the outputs, eq. (2)."""
    code = Code(dtype, {"x": _total_input(bias)})
    x = symbols.variable("x", dtype)
    results, stores = {"value": get_activation(unit).value(symbols, x)}, ""
    if keep_total and bias:
        results, stores = {"with_bias": x, **results}, "totals[c * n + j] = with_bias;\n"
    own = {"totals": "b * n", "outputs": "b * n"} | ({"biases": "n_parameters"} if bias else {})
    parameters = "const real* biases, whole n_parameters, real* totals, real* outputs"
    return _kernel(name, parameters, own, code, results, stores + "outputs[c * n + j] = value;")


def _slopes(name: str, unit: str, dtype: str) -> tuple[Kernel, bool]:
    """Turn the derivatives at the outputs into those at the total inputs, eq. (5); whether that needs these."""
    cells = {"dE_dy": "signals[c * n + j]", "x": "totals[c * n + j]", "y": "outputs[c * n + j]"}
    code = Code(dtype, cells)
    dE_dx = get_activation(unit).dE_dx(symbols, *(symbols.variable(cell, dtype) for cell in cells))
    needs_total = code.uses("x", dE_dx)
    own = dict.fromkeys(("totals", "outputs", "signals"), "b * n")
    parameters = "const real* totals, const real* outputs, real* signals"
    return _kernel(name, parameters, own, code, {"dE_dx": dE_dx}, "signals[c * n + j] = dE_dx;"), needs_total


def _output(network: Network, dtype: str, *, weighed: bool) -> Kernel:
    """Go through the output layer: eq. (1) to (4), and eq. (5) there."""
    code = Code(dtype, {"x": _total_input(network.bias), "d": "desired[c * n + j]", "case_weight": "case_weights[c]"})
    error, dE_dx = error_of_sample(network, dtype, weighed=weighed)
    body = code.over_units(OWN_UNITS, OVER_BLOCK, {"error": error}, {"dE_dx": dE_dx}, "signals[c * n + j] = dE_dx;")
    body += "\nif (threadIdx.x == 0) errors[c] = error;"
    own = {"totals": "b * n", "desired": "desired_apart", "signals": "b * n", "errors": "b"}
    own |= {"biases": "n_parameters"} if network.bias else {}
    own |= {"case_weights": "weights_apart"} if weighed else {}
    parameters = (
        "const real* biases, whole n_parameters, const real* totals, const real* desired, whole desired_apart, "
        "const real* case_weights, whole weights_apart, real* signals, real* errors"
    )
    text = SAMPLE_BY_SAMPLE.format(name="output", parameters=parameters, own=_own(own), body=indented(body, 8))
    return Kernel("output", text, sample_by_sample=True)


def error_of_sample(network: Network, dtype: str, *, weighed: bool) -> tuple[Symbol, Symbol]:
    """Find the error of a sample, and its derivative at the total inputs, from the variables x, d and sample_weight."""
    x, targets = symbols.variable("x", dtype), symbols.variable("d", dtype)
    sample_weight = symbols.variable("case_weight", dtype, per_unit=False) if weighed else None
    unit = network.activations[-1]
    y = get_activation(unit).value(symbols, x)
    error, dE_dx = output_loss(symbols, network.loss, unit, x, y, targets, sample_weight)
    (of_sample,) = error.operands  # of the sum over samples
    return of_sample, dE_dx


def _total_input(bias: bool) -> str:
    return "totals[c * n + j] + biases[j]" if bias else "totals[c * n + j]"


def _own(apart: Mapping[str, str]) -> str:
    """Point to what a network has for itself; networks are so far apart."""
    return "\n".join(f"    {name} += network * ({numbers});" for name, numbers in apart.items())


def _kernel(
    name: str, parameters: str, own: Mapping[str, str], code: Code, results: Mapping[str, Symbol], stores: str
) -> Kernel:
    sample_by_sample = code.has_sums(*results.values())
    if sample_by_sample:
        text = SAMPLE_BY_SAMPLE
        body = indented(code.over_units(OWN_UNITS, OVER_BLOCK, {}, results, stores), 8)
    else:
        text = UNITS_OF_ALL_SAMPLES
        body = indented(f"{code.statements(**results)}\n{stores}", 12)
    return Kernel(name, text.format(name=name, parameters=parameters, own=_own(own), body=body), sample_by_sample)


# --- a step ---


def source_of_step(layers: Layers, update: Update, dtype: str, *, mean: bool) -> str:
    """Put all kernels of a training step into one source."""
    kernels = {kernel.name: kernel.text for kernel in (*layers.units, *layers.slopes, layers.output)}
    n_parts = len(update.parts)
    stores = "\n".join(f"part_{k}[i] = new_{k};" for k in range(n_parts))
    own = dict.fromkeys(("gradients", "thetas", *(f"part_{k}" for k in range(n_parts))), "n")
    return "".join(
        [
            head(dtype),
            GATHER,
            *kernels.values(),
            SUMS.replace("SHARE", SHARE_OF_MEAN if mean else "1"),
            OVER_PARAMETERS,
            UPDATE.format(
                parameters="".join(f", real* part_{k}" for k in range(n_parts)),
                own=_own(own),
                statements=indented(update.statements, 8),
                stores=indented(stores, 8),
            ),
        ]
    )


def part_in_global_memory(k: int) -> str:
    """Tell where :data:`UPDATE` finds part ``k`` of a parameter's state."""
    return f"part_{k}[i]"


def indented(text: str, n: int) -> str:
    """Indent lines."""
    return "\n".join(" " * n + line for line in text.splitlines())
