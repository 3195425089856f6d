"""CUDA C of all training steps of a small network, taken by one block of threads in its shared memory."""

from itertools import accumulate

from gpubp.engine.cuda.kernels.layers import loss_of_sample
from gpubp.engine.cuda.kernels.preamble import (
    DROPOUT_PARAMETERS,
    SCALE_OF_MEAN,
    clipping,
    dropout_mask,
    head,
    indented,
    norm_over_block,
    penalty_in_c,
)
from gpubp.engine.plain.step import Objective
from gpubp.engine.tracing import symbols
from gpubp.engine.tracing.expressions import Code
from gpubp.engine.tracing.optimizers import UpdateCode
from gpubp.engine.tracing.symbols import Inexpressible
from gpubp.nn.activations import get_activation
from gpubp.nn.network import Network

KERNEL = """
extern "C" __global__ void take_steps(
    integer begin, integer end, integer n_steps, integer size, const int* order, integer order_stride,
    const integer* row_ranges, const real* all_x, integer x_stride, const real* all_targets, integer targets_stride,
    const real* all_weights, const real* all_settings, integer step_stride, integer network_stride, double* results,
    real* all_thetas{parameters}
) {{
    const integer network = blockIdx.x, n_networks = gridDim.x;
    const real* x_of_network = all_x + network * x_stride;
    const real* targets_of_network = all_targets + network * targets_stride;
    const real* sample_weights = all_weights ? all_weights + row_ranges[3 * network + 2] : 0;
{state_pointers}
    real* next_free = shared + blockDim.x;
    real* thetas = next_free;
    next_free += {n_parameters};
    real* losses = next_free;
    next_free += size;
{arrays}
    for (int i = threadIdx.x; i < {n_parameters}; i += blockDim.x) thetas[i] = all_thetas[network * {n_parameters} + i];

    const integer n_samples = row_ranges[3 * network], steps_of_epoch = (n_samples + size - 1) / size;
    for (integer step = begin; step < end; ++step) {{
        const real* settings = all_settings + step * step_stride + network * network_stride;
        const real l2 = {l2};
        const integer first = step % steps_of_epoch * size;
        const int* rows = order + step / steps_of_epoch * order_stride + row_ranges[3 * network + 1] + first;
        const int b = n_samples - first < size ? n_samples - first : size;
        for (int at = threadIdx.x; at < b * {n_inputs}; at += blockDim.x) {{
            const int c = at / {n_inputs}, i = at % {n_inputs};
            inputs_0[at] = x_of_network[(integer)rows[c] * {n_inputs} + i]{input_mask};
        }}
        __syncthreads();
{forward}
        real loss = 0, weight = 0, squared = 0;
        for (int c = threadIdx.x; c < b; c += blockDim.x) {{
            loss += losses[c];
            weight += sample_weights ? sample_weights[rows[c]] : 1;
        }}
{squares}
        loss = sum_over_block(loss, shared);
        weight = sum_over_block(weight, shared);
        squared = sum_over_block(squared, shared);
        const real scale = {scale};
        if (threadIdx.x == 0) {{
            results[step * n_networks + network] = (loss + l2 / 2 * squared) * scale;
            results[(n_steps + step) * n_networks + network] = weight;
        }}
{backward}
{update}
        __syncthreads();
    }}

    real not_finite = 0;
    for (int i = threadIdx.x; i < {n_parameters}; i += blockDim.x) {{
        all_thetas[network * {n_parameters} + i] = thetas[i];
        if (thetas[i] - thetas[i] != 0) not_finite += 1;
    }}
    not_finite = sum_over_block(not_finite, shared);
    if (threadIdx.x == 0) results[2 * n_steps * n_networks + network] = not_finite;
}}
"""

TOTAL_INPUTS = """for (int at = threadIdx.x; at < b * {j}; at += blockDim.x) {{
    const int c = at / {j}, to = at % {j};
    real total = {bias};
    for (int i = 0; i < {i}; ++i) total += inputs_{k}[c * {i} + i] * thetas[{start} + i * {j} + to];
{store}
}}
__syncthreads();"""

# neighbouring threads begin with different units above: their weights are in different banks of memory
SIGNALS_BELOW = """for (int at = threadIdx.x; at < b * {i}; at += blockDim.x) {{
    const int c = at / {i}, i = at % {i}, first = {first};
    const real* signals = totals_{k} + c * {j};
    const real* weights = thetas + {start} + i * {j};
    real own_dE_dy = 0;
    for (int j = first; j < {j}; ++j) own_dE_dy += signals[j] * weights[j];
    for (int j = 0; j < first; ++j) own_dE_dy += signals[j] * weights[j];
{store}
}}
__syncthreads();"""

SAMPLES = """for (int c = threadIdx.x; c < b; c += blockDim.x) {{
{body}
}}
__syncthreads();"""

GRADIENT = """for (int at = threadIdx.x; at < {n}; at += blockDim.x) {{
    const int i = at / {j}, j = at % {j}, index = {start} + at;
    real sum = 0;
    if (i < {i}) {{
        for (int c = 0; c < b; ++c) sum += inputs_{k}[c * {i} + i] * totals_{k}[c * {j} + j];
        sum += l2 * thetas[index];
    }} else {{
        for (int c = 0; c < b; ++c) sum += totals_{k}[c * {j} + j];
    }}
{use}
}}"""

UPDATE = """    const real own_theta = thetas[index], own_gradient = {gradient};{factors}
{statements}
    thetas[index] = new_theta;
{stores}"""

LOOP = "for (int index = threadIdx.x; index < {n_parameters}; index += blockDim.x)"

SQUARES = """for (int at = threadIdx.x; at < {n}; at += blockDim.x) {{
    squared += thetas[{start} + at] * thetas[{start} + at];
}}"""


def state_of_one_network(k: int) -> str:
    """Return where :data:`UPDATE` finds array ``k`` of the optimizer's state for a parameter."""
    return f"part_{k}[index]"


def small_network_source(
    objective: Objective,
    update: UpdateCode,
    dtype: str,
    *,
    weighted: bool,
    clipped: bool = False,
    drops: tuple[bool, ...] = (),
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
    """
    network = objective.network
    sizes, bias, n_layers, n_parts = network.sizes, network.bias, len(network.shapes), len(update.parts)
    starts = [0, *accumulate(rows * columns for rows, columns in network.shapes)]
    layers = [
        {"k": k, "i": sizes[k], "j": sizes[k + 1], "start": starts[k], "n": starts[k + 1] - starts[k]}
        for k in range(n_layers)
    ]
    dropped = drops or (False,) * n_layers
    forward, backward, squares = [], [], []
    parameters = "".join(f", real* all_part_{k}" for k in range(n_parts))
    state_pointers = [f"real* part_{k} = all_part_{k} + network * {network.n_parameters};" for k in range(n_parts)]
    parameters += "".join(f", const real* all_{name}, integer {name}_stride" for name in update.factors)
    state_pointers += [f"const real* {name} = all_{name} + network * {name}_stride;" for name in update.factors]
    factors = "".join(f"\n    const real own_{name} = {name}[index];" for name in update.factors)
    for layer, name, drop in zip(layers, network.activations, (*dropped[1:], False), strict=True):
        is_last = layer["k"] == n_layers - 1
        forward += _forward(layer, None if is_last else name, dtype, bias=bias, drop=drop)
    forward.append(_output(layers[-1], network, dtype, weighted=weighted))
    for layer, name, drop in zip(layers[:0:-1], network.activation[::-1], dropped[:0:-1], strict=True):
        backward += _backward(layer, name, dtype, drop=drop)
    for layer in layers:
        squares.append(SQUARES.format(n=layer["i"] * layer["j"], start=layer["start"]))
    stores = "\n".join(f"{state_of_one_network(k)} = new_{k};" for k in range(n_parts))
    change = UPDATE.format(
        gradient="gradients[index] * clipping" if clipped else "sum * scale",
        factors=factors,
        statements=indented(update.statements, 4),
        stores=indented(stores, 4),
    )
    use = "    gradients[index] = sum * scale;" if clipped else change
    changes = [GRADIENT.format(**layer, use=use) for layer in layers]
    loop = LOOP.format(n_parameters=network.n_parameters)
    if clipped:
        norm = norm_over_block(loop, "gradients[index]", dtype)
        # other threads wrote some of the numbers that a thread reads
        changes += ["__syncthreads();", norm, clipping(update), f"{loop} {{\n{change}\n}}"]
    arrays = [_array("inputs_0", f"size * {sizes[0]}")]
    arrays += [_array("gradients", str(network.n_parameters))] * clipped
    for k, n in enumerate(sizes[1:]):
        arrays.append(_array(f"totals_{k}", f"size * {n}"))
        if k < n_layers - 1:
            arrays.append(_array(f"outputs_{k + 1}", f"size * {n}"))
            own = _array(f"inputs_{k + 1}", f"size * {n}")
            arrays.append(own if dropped[k + 1] else f"real* inputs_{k + 1} = outputs_{k + 1};")
    has_penalty = objective.penalised and objective.penalty_reported
    text = KERNEL.format(
        parameters=parameters + (f", {DROPOUT_PARAMETERS}" if drops else ""),
        l2=penalty_in_c(update, clipped=clipped),
        input_mask=f" * {dropout_mask('0', 'c', 'i')}" if dropped[0] else "",
        n_parameters=network.n_parameters,
        n_inputs=sizes[0],
        state_pointers=indented("\n".join(state_pointers), 4),
        arrays=indented("\n".join(arrays), 4),
        forward=indented("\n".join(forward), 8),
        squares=indented("\n".join(squares), 8) if has_penalty else "",
        scale=SCALE_OF_MEAN if objective.reduction == "mean" else "1",
        backward=indented("\n".join(backward), 8),
        update=indented("\n".join(changes), 8),
    )
    return head(dtype, len(drops)) + text


def _array(name: str, n: str) -> str:
    return f"real* {name} = next_free;\nnext_free += {n};"


def _forward(layer: dict[str, int], name: str | None, dtype: str, *, bias: bool, drop: bool) -> list[str]:
    """Set total inputs, eq. (1), and outputs, eq. (2), of one layer; of the output layer (``None``) only the former."""
    k, j = layer["k"], layer["j"]
    bias_in_c = f"thetas[{layer['start'] + layer['i'] * j} + to]" if bias else "0"
    fields = {**layer, "bias": bias_in_c}
    store_total = f"totals_{k}[at] = total;"
    if name is None:
        return [TOTAL_INPUTS.format(**fields, store=indented(store_total, 4))]
    code = Code(dtype, {"x": "total"})
    value = get_activation(name).value(symbols, symbols.variable("x", dtype))
    if not code.has_sums(value):
        store = f"{store_total}\n{code.statements(value=value)}\noutputs_{k + 1}[at] = value;"
        if drop:
            store += f"\ninputs_{k + 1}[at] = value * {dropout_mask(str(k + 1), 'c', 'to')};"
        return [TOTAL_INPUTS.format(**fields, store=indented(store, 4))]
    code = Code(dtype, {"x": f"totals_{k}[c * {j} + j]"})
    store = f"outputs_{k + 1}[c * {j} + j] = value;"
    if drop:
        store += f"\ninputs_{k + 1}[c * {j} + j] = value * {dropout_mask(str(k + 1), 'c', 'j')};"
    body = code.over_units(_loop(j), {}, {}, {"value": value}, store)
    return [TOTAL_INPUTS.format(**fields, store=indented(store_total, 4)), SAMPLES.format(body=indented(body, 4))]


def _output(layer: dict[str, int], network: Network, dtype: str, *, weighted: bool) -> str:
    """Go through the output layer, eq. (2) to (5); the derivatives replace the total inputs."""
    k, j = layer["k"], layer["j"]
    cell = f"totals_{k}[c * {j} + j]"
    code = Code(dtype, {"x": cell, "target": "targets[j]", "sample_weight": "sample_weights[rows[c]]"})
    loss, dE_dx = loss_of_sample(network, dtype, weighted=weighted)
    body = f"const real* targets = targets_of_network + (integer)rows[c] * {j};\n"
    body += code.over_units(_loop(j), {}, {"own_loss": loss}, {"dE_dx": dE_dx}, f"{cell} = dE_dx;")
    return SAMPLES.format(body=indented(body + "\nlosses[c] = own_loss;", 4))


def _backward(layer: dict[str, int], name: str, dtype: str, *, drop: bool) -> list[str]:
    """Pass derivatives to the layer below, eq. (7), and to its total inputs, eq. (5), which they replace."""
    lower, i, j = layer["k"] - 1, layer["i"], layer["j"]
    mask = f" * {dropout_mask(str(lower + 1), 'c', 'i')}" if drop else ""
    code = Code(dtype, {"dE_dy": f"own_dE_dy{mask}", "x": f"totals_{lower}[at]", "y": f"outputs_{lower + 1}[at]"})
    dE_dx = get_activation(name).dE_dx(symbols, *(symbols.variable(cell, dtype) for cell in ("dE_dy", "x", "y")))
    fields = {**layer, "first": f"i % {j}" if j % 2 == 0 else "0"}
    if not code.has_sums(dE_dx):
        store = f"{code.statements(dE_dx=dE_dx)}\ntotals_{lower}[at] = dE_dx;"
        return [SIGNALS_BELOW.format(**fields, store=indented(store, 4))]
    if code.uses("x", dE_dx):
        raise Inexpressible(f"{name} needs its total inputs, which its derivatives have replaced")
    cell = f"[c * {i} + j]"
    code = Code(dtype, {"dE_dy": f"totals_{lower}{cell}", "y": f"outputs_{lower + 1}{cell}"})
    body = code.over_units(_loop(i), {}, {}, {"dE_dx": dE_dx}, f"totals_{lower}{cell} = dE_dx;")
    store = indented(f"totals_{lower}[at] = own_dE_dy{mask};", 4)
    return [SIGNALS_BELOW.format(**fields, store=store), SAMPLES.format(body=indented(body, 4))]


def _loop(n: int) -> str:
    return f"for (int j = 0; j < {n}; ++j)"
