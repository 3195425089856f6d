"""Small networks on a CUDA device: one block of threads takes all steps of a network, of many epochs, in one launch.

Parameters, and what passes forward and backward, stay in the block's shared memory. A stack has a block for each of its
networks.
"""

from collections.abc import Iterator
from itertools import accumulate, chain
from typing import Any

import numpy as np

from gpubp._typing import Array
from gpubp.engine.cuda.source import SHARE_OF_MEAN, error_of_sample, head, indented
from gpubp.engine.cuda.steps import NDIM, THREADS, Cut, Work, apart, one_for_all
from gpubp.engine.plain.minibatches import Batch
from gpubp.engine.tracing import symbols
from gpubp.engine.tracing.expressions import Code
from gpubp.engine.tracing.symbols import Inexpressible
from gpubp.nn.activations import get_activation
from gpubp.nn.network import Network

OPERATIONS_OF_A_LAUNCH = 5e9  # of a block: Python looks between two launches whether Ctrl-C was pressed
BLOCKS_AT_ONCE = 100  # about

KERNEL = """
extern "C" __global__ void take_steps(
    whole begin, whole end, whole n_steps, whole size, whole n_cases, const int* order,
    const real* all_x, whole x_apart, const real* all_d, whole d_apart, const real* all_weights, whole weights_apart,
    const real* all_settings, whole of_step, whole of_network, real l2, double* found, real* all_thetas{parameters}
) {{
    const whole network = blockIdx.x, n_networks = gridDim.x;
    const real* own_x = all_x + network * x_apart;
    const real* own_d = all_d + network * d_apart;
    const real* case_weights = all_weights ? all_weights + network * weights_apart : 0;
{own_parts}
    real* room = shared + blockDim.x;
    real* thetas = room;
    room += {n_parameters};
    real* errors = room;
    room += size;
{places}
    for (int i = threadIdx.x; i < {n_parameters}; i += blockDim.x) thetas[i] = all_thetas[network * {n_parameters} + i];

    const whole steps_of_epoch = (n_cases + size - 1) / size;
    for (whole step = begin; step < end; ++step) {{
        const real* settings = all_settings + step * of_step + network * of_network;
        const whole first = step % steps_of_epoch * size;
        const int* chosen = order + first;
        const int b = n_cases - first < size ? n_cases - first : size;
        for (int at = threadIdx.x; at < b * {n_inputs}; at += blockDim.x) {{
            outputs_0[at] = own_x[(whole)chosen[at / {n_inputs}] * {n_inputs} + at % {n_inputs}];
        }}
        __syncthreads();
{forward}
        real error = 0, weight = 0, squared = 0;
        for (int c = threadIdx.x; c < b; c += blockDim.x) {{
            error += errors[c];
            weight += case_weights ? case_weights[chosen[c]] : 1;
        }}
{squares}
        error = sum_over_block(error, shared);
        weight = sum_over_block(weight, shared);
        squared = sum_over_block(squared, shared);
        const real share = {share};
        if (threadIdx.x == 0) {{
            found[step * n_networks + network] = (error + l2 / 2 * squared) * share;
            found[(n_steps + step) * n_networks + network] = weight;
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
    if (threadIdx.x == 0) found[2 * n_steps * n_networks + network] = not_finite;
}}
"""

TOTALS = """for (int at = threadIdx.x; at < b * {j}; at += blockDim.x) {{
    const int c = at / {j}, to = at % {j};
    real total = {bias};
    for (int i = 0; i < {i}; ++i) total += outputs_{k}[c * {i} + i] * thetas[{start} + i * {j} + to];
{then}
}}
__syncthreads();"""

# threads beside each other begin with different units above: their weights are in different banks of memory
SIGNALS_BELOW = """for (int at = threadIdx.x; at < b * {i}; at += blockDim.x) {{
    const int c = at / {i}, i = at % {i}, first = {first};
    const real* signals = totals_{k} + c * {j};
    const real* weights = thetas + {start} + i * {j};
    real own_dE_dy = 0;
    for (int j = first; j < {j}; ++j) own_dE_dy += signals[j] * weights[j];
    for (int j = 0; j < first; ++j) own_dE_dy += signals[j] * weights[j];
{then}
}}
__syncthreads();"""

SAMPLES = """for (int c = threadIdx.x; c < b; c += blockDim.x) {{
{body}
}}
__syncthreads();"""

UPDATE = """for (int at = threadIdx.x; at < {n}; at += blockDim.x) {{
    const int i = at / {j}, j = at % {j}, place = {start} + at;
    const real own_theta = thetas[place];
    real sum = 0;
    if (i < {i}) {{
        for (int c = 0; c < b; ++c) sum += outputs_{k}[c * {i} + i] * totals_{k}[c * {j} + j];
        sum += l2 * own_theta;
    }} else {{
        for (int c = 0; c < b; ++c) sum += totals_{k}[c * {j} + j];
    }}
    const real own_gradient = sum * share;
{statements}
    thetas[place] = new_theta;
{stores}
}}"""

SQUARES = """for (int at = threadIdx.x; at < {n}; at += blockDim.x) {{
    squared += thetas[{start} + at] * thetas[{start} + at];
}}"""


def part_of_one_network(k: int) -> str:
    """Tell where :data:`UPDATE` finds part ``k`` of a parameter's state."""
    return f"part_{k}[place]"


def shared_memory(network: Network, size: int, dtype: str) -> int:
    """Count the bytes of shared memory that a network needs for steps of ``size`` samples."""
    inputs, *hidden, n_outputs = network.sizes
    of_a_sample = inputs + 2 * sum(hidden) + n_outputs + 1
    return int((THREADS + network.n_parameters + size * of_a_sample) * np.dtype(dtype).itemsize)


def source_of_tiny(work: Work, *, weighed: bool) -> str:
    """Write the kernel for one network; ``weighed`` tells whether samples have weights."""
    (objective, update, dtype), network = work, work.objective.network
    sizes, bias, n_layers, n_parts = network.sizes, network.bias, len(network.shapes), len(update.parts)
    starts = [0, *accumulate(rows * columns for rows, columns in network.shapes)]
    layers = [
        {"k": k, "i": sizes[k], "j": sizes[k + 1], "start": starts[k], "n": starts[k + 1] - starts[k]}
        for k in range(n_layers)
    ]
    forward, backward, changes, squares = [], [], [], []
    for layer, name in zip(layers, network.activations, strict=True):
        is_last = layer["k"] == n_layers - 1
        forward += _forward(layer, None if is_last else name, dtype, bias=bias)
    forward.append(_output(layers[-1], network, dtype, weighed=weighed))
    for layer, name in zip(layers[:0:-1], network.activation[::-1], strict=True):
        backward += _backward(layer, name, dtype)
    for layer in layers:
        stores = "\n".join(f"{part_of_one_network(k)} = new_{k};" for k in range(n_parts))
        statements = indented(update.statements, 4)
        changes.append(UPDATE.format(**layer, statements=statements, stores=indented(stores, 4)))
        squares.append(SQUARES.format(n=layer["i"] * layer["j"], start=layer["start"]))
    places = [f"real* outputs_0 = room;\nroom += size * {sizes[0]};"]
    for k, n in enumerate(sizes[1:]):
        places.append(f"real* totals_{k} = room;\nroom += size * {n};")
        if k < n_layers - 1:
            places.append(f"real* outputs_{k + 1} = room;\nroom += size * {n};")
    own_parts = [f"real* part_{k} = all_part_{k} + network * {network.n_parameters};" for k in range(n_parts)]
    has_penalty = objective.l2 and objective.penalty_reported
    text = KERNEL.format(
        parameters="".join(f", real* all_part_{k}" for k in range(n_parts)),
        n_parameters=network.n_parameters,
        n_inputs=sizes[0],
        own_parts=indented("\n".join(own_parts), 4),
        places=indented("\n".join(places), 4),
        forward=indented("\n".join(forward), 8),
        squares=indented("\n".join(squares), 8) if has_penalty else "",
        share=SHARE_OF_MEAN if objective.reduction == "mean" else "1",
        backward=indented("\n".join(backward), 8),
        update=indented("\n".join(changes), 8),
    )
    return head(dtype) + text


def _forward(layer: dict[str, int], unit: str | None, dtype: str, *, bias: bool) -> list[str]:
    """Set total inputs, eq. (1), and outputs, eq. (2), of one layer; of the output layer total inputs alone."""
    k, j = layer["k"], layer["j"]
    text_of_bias = f"thetas[{layer['start'] + layer['i'] * j} + to]" if bias else "0"
    of_totals = {**layer, "bias": text_of_bias}
    keep = f"totals_{k}[at] = total;"
    if unit is None:
        return [TOTALS.format(**of_totals, then=indented(keep, 4))]
    code = Code(dtype, {"x": "total"})
    value = get_activation(unit).value(symbols, symbols.variable("x", dtype))
    if not code.has_sums(value):
        then = f"{keep}\n{code.statements(value=value)}\noutputs_{k + 1}[at] = value;"
        return [TOTALS.format(**of_totals, then=indented(then, 4))]
    code = Code(dtype, {"x": f"totals_{k}[c * {j} + j]"})
    body = code.over_units(_over(j), {}, {}, {"value": value}, f"outputs_{k + 1}[c * {j} + j] = value;")
    return [TOTALS.format(**of_totals, then=indented(keep, 4)), SAMPLES.format(body=indented(body, 4))]


def _output(layer: dict[str, int], network: Network, dtype: str, *, weighed: bool) -> str:
    """Go through the output layer: eq. (2) to (5); derivatives take the place of the total inputs."""
    k, j = layer["k"], layer["j"]
    cell = f"totals_{k}[c * {j} + j]"
    code = Code(dtype, {"x": cell, "d": "desired[j]", "case_weight": "case_weights[chosen[c]]"})
    error, dE_dx = error_of_sample(network, dtype, weighed=weighed)
    body = f"const real* desired = own_d + (whole)chosen[c] * {j};\n"
    body += code.over_units(_over(j), {}, {"of_case": error}, {"dE_dx": dE_dx}, f"{cell} = dE_dx;")
    return SAMPLES.format(body=indented(body + "\nerrors[c] = of_case;", 4))


def _backward(layer: dict[str, int], unit: str, dtype: str) -> list[str]:
    """Hand derivatives on to the layer below, eq. (7), and to its total inputs, whose place they take, eq. (5)."""
    below, i, j = layer["k"] - 1, layer["i"], layer["j"]
    code = Code(dtype, {"dE_dy": "own_dE_dy", "x": f"totals_{below}[at]", "y": f"outputs_{below + 1}[at]"})
    dE_dx = get_activation(unit).dE_dx(symbols, *(symbols.variable(name, dtype) for name in ("dE_dy", "x", "y")))
    of_signals = {**layer, "first": f"i % {j}" if j % 2 == 0 else "0"}
    if not code.has_sums(dE_dx):
        then = f"{code.statements(dE_dx=dE_dx)}\ntotals_{below}[at] = dE_dx;"
        return [SIGNALS_BELOW.format(**of_signals, then=indented(then, 4))]
    if code.uses("x", dE_dx):
        raise Inexpressible(f"{unit} needs its total inputs, whose place its derivatives have taken")
    cell = f"[c * {i} + j]"
    code = Code(dtype, {"dE_dy": f"totals_{below}{cell}", "y": f"outputs_{below + 1}{cell}"})
    body = code.over_units(_over(i), {}, {}, {"dE_dx": dE_dx}, f"totals_{below}{cell} = dE_dx;")
    then = indented(f"totals_{below}[at] = own_dE_dy;", 4)
    return [SIGNALS_BELOW.format(**of_signals, then=then), SAMPLES.format(body=indented(body, 4))]


def _over(n: int) -> str:
    return f"for (int j = 0; j < {n}; ++j)"


class TinySteps:
    """Places on a device for the steps of some small networks, and their launches.

    It has the attributes and methods of :class:`gpubp.engine.cuda.steps.Steps`; ``thetas`` and ``parts`` are ``(...,
    P)``.
    """

    def __init__(self, device: Any, work: Work, stack: tuple[int, ...], samples: Batch, cut: Cut) -> None:
        self.device, self.work, self.stack, self.samples, self.cut = device, work, stack, samples, cut
        network, update, dtype = work.objective.network, work.update, work.dtype
        self.n_networks, self.n_parameters = int(np.prod(stack, dtype=int)), network.n_parameters
        self.thetas = device.empty((*stack, self.n_parameters), dtype)
        self.parts = [device.empty((*stack, self.n_parameters), dtype) for _ in update.parts]
        self.order, self.feed, self.most_steps = device.empty((cut.n_samples,), "int32"), None, 0
        self.settings: Array
        self.shared_memory = shared_memory(network, cut.size, dtype)
        weighed = samples.sample_weight is not None
        self.kernel = device.kernels(source_of_tiny(work, weighed=weighed))["take_steps"]

    def make_room(self, n_epochs: int, n_own: int) -> None:
        """Prepare for the steps of some epochs; ``n_own`` networks have settings of their own, or 1 for all."""
        self.n_steps = n_epochs * self.cut.n_steps
        if self.n_steps > self.most_steps or self.settings.shape[1] != n_own:
            self.most_steps = max(self.n_steps, self.most_steps)
            n_settings = len(self.work.update.settings)
            self.settings = self.device.empty((self.most_steps, n_own, n_settings), self.work.dtype)
            self.found = self.device.empty((2 * self.most_steps + 1, self.n_networks), "float64")

    def launches(self) -> Iterator[int]:
        """Take the steps of the epochs, as many in each launch as do not take long; tell after each how many."""
        cut, n_samples, n_steps = self.cut, self.cut.n_samples, self.n_steps
        operations = 6.0 * cut.size * self.n_parameters * max(1.0, self.n_networks / BLOCKS_AT_ONCE)
        at_once = max(1, int(OPERATIONS_OF_A_LAUNCH / operations))
        given = [(part, apart(part, ndim)) for part, ndim in zip(self.samples[:3], NDIM, strict=True)]
        n_own, n_settings = self.settings.shape[1:]
        settings = (self.settings, n_own * n_settings, n_settings if n_own > 1 else 0)
        l2 = np.dtype(self.work.dtype).type(self.work.objective.l2)
        for begin in range(0, n_steps, at_once):
            end = min(begin + at_once, n_steps)
            counted = (begin, end, n_steps, cut.size, n_samples, self.order)
            arguments = (*counted, *chain(*given), *settings, l2, self.found, self.thetas, *self.parts)
            self.device.launch(self.kernel, self.n_networks, THREADS, self.shared_memory, *arguments)
            yield end - begin

    def read(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Wait for the device; give the values and weights of the steps, and whether all parameters are finite."""
        n = self.n_steps
        found = np.reshape(self.device.download(self.found[: 2 * n + 1]), (-1, *self.stack))
        weights = found[n : 2 * n]
        return found[:n], one_for_all(weights, self.samples) if self.stack else weights, found[-1] == 0.0
