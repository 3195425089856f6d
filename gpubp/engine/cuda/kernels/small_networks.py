"""CUDA C of all training steps of a small network, taken by one block of threads in its shared memory.

The widths of the layers are arguments: networks have the same source, compiled once, if their layers are of the same
kinds and their products have the same tiles (:mod:`gpubp.engine.cuda.kernels.products`).

Rows of samples have an odd stride, so that neighbouring threads, which take neighbouring samples, read from different
banks of memory. A column of ones stands for the bias.
"""

from typing import Any

from gpubp.engine.cuda.kernels.layers import loss_of_sample
from gpubp.engine.cuda.kernels.preamble import (
    DROPOUT_PARAMETERS,
    SCALE_OF_MEAN,
    clipping,
    dropout_mask,
    head,
    norm_over_block,
    penalty_in_c,
)
from gpubp.engine.cuda.kernels.products import FUNCTIONS, MAX_THREADS, tiles_of
from gpubp.engine.plain.step import Objective
from gpubp.engine.tracing import symbols
from gpubp.engine.tracing.expressions import Code, indented
from gpubp.engine.tracing.optimizers import UpdateCode
from gpubp.engine.tracing.symbols import Inexpressible
from gpubp.nn.activations import get_activation
from gpubp.nn.network import Network

SCRATCH = 4 * 32  # numbers at the beginning of shared memory: one for each warp, for four sums


KERNEL = """
extern "C" __global__ __launch_bounds__({max_threads}, 1) void take_steps(
    integer begin, integer end, integer n_steps, integer size, {widths}, const int* order, integer order_stride,
    const integer* row_ranges, const real* all_x, integer x_stride, const real* all_targets, integer targets_stride,
    const real* all_weights, const real* all_settings, integer step_stride, integer network_stride, double* results,
    real* all_thetas{parameters}
) {{
    const integer network = blockIdx.x, n_networks = gridDim.x;
    const real* x_of_network = all_x + network * x_stride;
    const real* targets_of_network = all_targets + network * targets_stride;
{sizes}
{pointers}
    real* sums = shared + 32;  // of the warps
    real* next_free = shared + {scratch};
    real* thetas = next_free;
    next_free += n_parameters;
{arrays}
    for (int i = threadIdx.x; i < n_parameters; i += blockDim.x) thetas[i] = all_thetas[network * n_parameters + i];

    const integer n_samples = row_ranges[3 * network], steps_of_epoch = (n_samples + size - 1) / size;
    for (integer step = begin; step < end; ++step) {{
        const real* settings = all_settings + step * step_stride + network * network_stride;
        const integer first = step % steps_of_epoch * size;
        const int* rows = order + step / steps_of_epoch * order_stride + row_ranges[3 * network + 1] + first;
        const int b = n_samples - first < size ? n_samples - first : size;
        const Table place = table(n_0);
        for (int c = place.y; c < b; c += place.height) {{
            const real* x = x_of_network + (integer)rows[c] * n_0;
            for (int i = place.x; i < n_0; i += place.width) inputs_0[c * row_0 + i] = x[i]{input_mask};
        }}
        WAIT();
{body}
        WAIT();
        const real value = ({value}) * scale;
        if (threadIdx.x == 0) {{
            results[step * n_networks + network] = value;
            results[(n_steps + step) * n_networks + network] = weight;
        }}
    }}

    real not_finite = 0;
    for (int i = threadIdx.x; i < n_parameters; i += blockDim.x) {{
        all_thetas[network * n_parameters + i] = thetas[i];
        if (thetas[i] - thetas[i] != 0) not_finite += 1;
    }}
    not_finite = sum_over_block(not_finite, shared);
    if (threadIdx.x == 0) results[2 * n_steps * n_networks + network] = not_finite;
}}
"""

TOTAL_INPUTS = """multiply<{tile}>(
    b, n_{k}, n_{below} + {bias}, inputs_{below}, row_{below}, 1, thetas + start_{k}, 1, n_{k},
    [&](int c, int j, real sum) {{ totals_{k}[c * row_{k} + j] = sum; }},
    [&](int c, int j) {{
{then}
    }}
);
WAIT();"""

SIGNALS_BELOW = """multiply<{tile}>(
    b, n_{below}, n_{k}, totals_{k}, row_{k}, 1, thetas + start_{k}, n_{k}, 1,
    [&](int c, int j, real sum) {{
{use}
    }},
    [&](int c, int j) {{
{then}
    }}
);
WAIT();"""

GRADIENT = """multiply<{tile}>(
    n_{k}, n_{below} + {bias}, b, totals_{k}, 1, row_{k}, inputs_{below}, 1, row_{below},
    [&](int j, int i, real sum) {{ {to}[i * n_{k} + j] = sum; }},
    [&](int j, int i) {{
{then}
    }}
);"""

PENALTY = """if (i == n_{below}) return;  // a bias
const real theta = thetas[start_{k} + i * n_{k} + j];
{to}[i * n_{k} + j] += l2 * theta;{squares}"""

SAMPLES = """for (int c = threadIdx.x; c < b; c += blockDim.x) {{
{body}
}}"""

UPDATE = """const auto update = [&](int first, int end) {{
    for (int index = first + threadIdx.x; index < end; index += blockDim.x) {{
        const real own_theta = thetas[index], own_gradient = gradients[index - first] * {factor};{factors}
{statements}
        thetas[index] = new_theta;
{stores}
    }}
}};"""

LOOP = "for (int index = threadIdx.x; index < n_parameters; index += blockDim.x)"


def state_of_one_network(k: int) -> str:
    """Return where :data:`UPDATE` finds array ``k`` of the optimizer's state for a parameter."""
    return f"part_{k}[index]"


def row_stride(n_units: int) -> int:
    """Return the stride from one sample's units to the next one's, as kernels compute it."""
    return n_units | 1


def small_network_source(
    objective: Objective,
    update: UpdateCode,
    dtype: str,
    *,
    weighted: bool,
    clipped: bool = False,
    drops: tuple[bool, ...] = (),
    size: int = 1,
) -> str:
    """Write the kernel for one network.

    Parameters
    ----------
    weighted : bool
        Whether samples have weights.
    clipped : bool
        Whether the norm of the gradient is limited.
    drops : tuple of bool
        Whether the inputs, and each hidden layer, have dropout; empty if none has.
    size : int
        Samples of a batch, by which tiles are chosen.

    Raises
    ------
    Inexpressible
        If C cannot express an equation, or the network is of a kind that this kernel does not train.
    """
    network = objective.network
    if network.skips or network.ties or network.n_members is not None or any(network.activation_weights):
        raise Inexpressible("one block of threads has only layers whose weights are all free, each above the last")
    n_layers, n_parts, bias = len(network.shapes), len(update.parts), int(network.bias)
    dropped = drops or (False,) * n_layers
    parameters = "".join(f", real* all_part_{k}" for k in range(n_parts))
    pointers = [f"real* part_{k} = all_part_{k} + network * n_parameters;" for k in range(n_parts)]
    parameters += "".join(f", const real* all_{name}, integer {name}_stride" for name in update.factors)
    pointers += [f"const real* {name} = all_{name} + network * {name}_stride;" for name in update.factors]
    if weighted:
        pointers.append("const real* sample_weights = all_weights + row_ranges[3 * network + 2];")
    mean = SCALE_OF_MEAN if objective.reduction == "mean" else "1"
    has_l2 = objective.penalised
    reports_l2 = has_l2 and objective.penalty_reported
    layers: list[dict[str, Any]] = [
        {"k": k, "below": k - 1, "bias": bias, "tiles": tiles}
        for k, tiles in enumerate(tiles_of(network, size, dtype), start=1)
    ]
    body = [f"const real l2 = {penalty_in_c(update, clipped=clipped)};"] * has_l2
    for layer, name, drop in zip(layers, network.activation, dropped[1:], strict=False):
        body += _forward(layer, name, dtype, drop=drop)
    body += [TOTAL_INPUTS.format(**layers[-1], tile=layers[-1]["tiles"].forward, then="")]
    body += [_output(network, dtype, weighted=weighted), f"const real scale = {mean};"]
    for layer, name, drop in zip(layers[:0:-1], network.activation[::-1], dropped[:0:-1], strict=True):
        body += _backward(layer, name, dtype, drop=drop)
    body += ["real squared = 0;"] * reports_l2
    change = UPDATE.format(
        factor="scale * clipping" if clipped else "scale",
        factors="".join(f"\n        const real own_{name} = {name}[index];" for name in update.factors),
        statements=indented(update.statements, 8),
        stores=indented("\n".join(f"{state_of_one_network(k)} = new_{k};" for k in range(n_parts)), 8),
    )
    gradients = [_gradient(layer, has_l2=has_l2, reports_l2=reports_l2, clipped=clipped) for layer in layers]
    if clipped:  # the norm needs the gradients of all layers
        norm = norm_over_block(LOOP, "gradients[index] * scale", dtype)
        body += [*gradients, "WAIT();", norm, clipping(update), change, "update(0, n_parameters);"]
    else:
        body.append(change)
        for layer, gradient in zip(layers, gradients, strict=True):
            k = layer["k"]
            body += ["WAIT();"] * (k > 1) + [gradient, "WAIT();", f"update(start_{k}, start_{k + 1});"]
    body += ["sum_of_warp(squared, sums + 64);"] * reports_l2
    text = KERNEL.format(
        max_threads=MAX_THREADS,
        scratch=SCRATCH,
        widths=", ".join(f"integer width_{k}" for k in range(n_layers + 1)),
        parameters=parameters + (f", {DROPOUT_PARAMETERS}" if drops else ""),
        sizes=indented("\n".join(_sizes(n_layers, bias)), 4),
        pointers=indented("\n".join(pointers), 4),
        arrays=indented("\n".join(_arrays(network, dropped)), 4),
        input_mask=f" * {dropout_mask('0', 'c', 'i')}" if dropped[0] else "",
        body=indented("\n".join(body), 8),
        value="sum_of_block(sums) + l2 / 2 * sum_of_block(sums + 64)" if reports_l2 else "sum_of_block(sums)",
    )
    return head(dtype, len(drops)) + FUNCTIONS + text


def _sizes(n_layers: int, bias: int) -> list[str]:
    """Declare the numbers of units, the strides of rows, and where the parameters of each layer start."""
    lines = [f"const int n_{k} = (int)width_{k};" for k in range(n_layers + 1)]
    lines += [f"const int row_{k} = (n_{k} + {bias}) | 1;" for k in range(n_layers)]
    lines += [f"const int row_{n_layers} = n_{n_layers} | 1, start_1 = 0;"]
    lines += [f"const int start_{k + 1} = start_{k} + (n_{k - 1} + {bias}) * n_{k};" for k in range(1, n_layers + 1)]
    return [*lines, f"const int n_parameters = start_{n_layers + 1};"]


def _arrays(network: Network, dropped: tuple[bool, ...]) -> list[str]:
    """Place the arrays in shared memory; :func:`numbers_in_shared_memory` counts them."""
    n_layers = len(network.shapes)
    lines = [_array("inputs_0", "size * row_0")]
    for k in range(1, n_layers):
        rows = f"size * row_{k}"
        lines += [_array(f"outputs_{k}", rows), _array(f"totals_{k}", rows)]
        lines.append(_array(f"inputs_{k}", rows) if dropped[k] else f"real* inputs_{k} = outputs_{k};")
    lines += [_array(f"totals_{n_layers}", f"size * row_{n_layers}")]
    lines.append("real* gradients = next_free;")
    if network.bias:
        ones = "".join(f" inputs_{k}[c * row_{k} + n_{k}] = 1;" for k in range(n_layers))
        lines.append(f"for (int c = threadIdx.x; c < size; c += blockDim.x) {{{ones} }}")
    return lines


def _array(name: str, n: str) -> str:
    return f"real* {name} = next_free;\nnext_free += {n};"


def numbers_in_shared_memory(
    network: Network, size: int, *, clipped: bool = False, drops: tuple[bool, ...] = ()
) -> int:
    """Count the numbers that a block has in shared memory for steps of ``size`` samples."""
    n_inputs, *hidden_sizes, n_outputs = network.sizes
    per_sample = row_stride(n_inputs + network.bias) + row_stride(n_outputs)
    for n, drop in zip(hidden_sizes, drops[1:] or (False,) * len(hidden_sizes), strict=True):
        per_sample += row_stride(n + network.bias) * (2 + drop)
    n_gradients = network.n_parameters if clipped else max(rows * columns for rows, columns in network.shapes)
    return SCRATCH + network.n_parameters + n_gradients + size * per_sample


def _forward(layer: dict[str, Any], name: str, dtype: str, *, drop: bool) -> list[str]:
    """Set total inputs, eq. (1), and outputs, eq. (2), of a hidden layer."""
    k, fields = layer["k"], {**layer, "tile": layer["tiles"].forward}
    code = Code(dtype, {"x": f"totals_{k}[at]"})
    value = get_activation(name).value(symbols, symbols.variable("x", dtype))
    store = f"outputs_{k}[at] = value;"
    if drop:
        store += f"\ninputs_{k}[at] = value * {dropout_mask(str(k), 'c', 'j')};"
    at = f"const int at = c * row_{k} + j;"
    if not code.has_sums(value):
        return [TOTAL_INPUTS.format(**fields, then=indented(f"{at}\n{code.statements(value=value)}\n{store}", 8))]
    code = Code(dtype, {"x": f"totals_{k}[c * row_{k} + j]"})
    body = code.over_units(_loop(k), {}, {}, {"value": value}, f"{at}\n{store}")
    return [TOTAL_INPUTS.format(**fields, then=""), _samples(body), "WAIT();"]


def _output(network: Network, dtype: str, *, weighted: bool) -> str:
    """Go through the output layer, eq. (2) to (5); the derivatives replace the total inputs."""
    k = len(network.shapes)
    cell = f"totals_{k}[c * row_{k} + j]"
    code = Code(dtype, {"x": cell, "target": "targets[j]", "sample_weight": "sample_weights[rows[c]]"})
    loss, dE_dx = loss_of_sample(network.loss, network.activations[-1], dtype, weighted=weighted)
    body = f"const real* targets = targets_of_network + (integer)rows[c] * n_{k};\n"
    body += code.over_units(_loop(k), {}, {"own_loss": loss}, {"dE_dx": dE_dx}, f"{cell} = dE_dx;")
    body += "\nloss += own_loss;" + "\nown_weight += sample_weights[rows[c]];" * weighted
    lines = ["real loss = 0;", *["real own_weight = 0;"] * weighted, _samples(body), "sum_of_warp(loss, sums);"]
    lines += ["sum_of_warp(own_weight, sums + 32);"] * weighted
    return "\n".join([*lines, "WAIT();", f"const real weight = {'sum_of_block(sums + 32)' if weighted else 'b'};"])


def _backward(layer: dict[str, Any], name: str, dtype: str, *, drop: bool) -> list[str]:
    """Pass derivatives to the layer below, eq. (7), and to its total inputs, eq. (5), which they replace."""
    below, fields = layer["below"], {**layer, "tile": layer["tiles"].backward}
    mask = f" * {dropout_mask(str(below), 'c', 'j')}" if drop else ""
    total, output = (f"{array}_{below}[c * row_{below} + j]" for array in ("totals", "outputs"))
    code = Code(dtype, {"dE_dy": f"{total}{mask}", "x": total, "y": output})
    dE_dx = get_activation(name).dE_dx(symbols, *(symbols.variable(cell, dtype) for cell in code.variables))
    use, store = indented(f"{total} = sum;", 8), f"{total} = dE_dx;"
    if not code.has_sums(dE_dx):
        reads_total = code.uses("x", dE_dx)  # the sum must not replace it
        if reads_total:
            code = Code(dtype, {**code.variables, "dE_dy": f"sum{mask}"})
        body = indented(f"{code.statements(dE_dx=dE_dx)}\n{store}", 8)
        return [SIGNALS_BELOW.format(**fields, use=body if reads_total else use, then="" if reads_total else body)]
    if code.uses("x", dE_dx):
        raise Inexpressible(f"{name} needs its total inputs, which its derivatives have replaced")
    code = Code(dtype, {"dE_dy": total, "y": output})
    body = code.over_units(_loop(below), {}, {}, {"dE_dx": dE_dx}, store)
    then = indented(f"{total} *= {mask[3:]};", 8) if drop else ""
    return [SIGNALS_BELOW.format(**fields, use=use, then=then), _samples(body), "WAIT();"]


def _gradient(layer: dict[str, Any], *, has_l2: bool, reports_l2: bool, clipped: bool) -> str:
    """Compute the sums over samples, eq. (6), and add the derivatives of the penalty."""
    k = layer["k"]
    fields = {**layer, "to": f"(gradients + start_{k})" if clipped else "gradients"}
    squares = "\nsquared += theta * theta;" if reports_l2 else ""
    then = indented(PENALTY.format(**fields, squares=squares), 8) if has_l2 else ""
    return GRADIENT.format(**fields, tile=layer["tiles"].gradient, then=then)


def _samples(body: str) -> str:
    return SAMPLES.format(body=indented(body, 4))


def _loop(k: int) -> str:
    return f"for (int j = 0; j < n_{k}; ++j)"
