"""CUDA C of a training step that goes layer by layer: samples gathered, sums over samples, the optimizer's update."""

from collections.abc import Iterable

from gpubp.engine.cuda.kernels import loss_scaling
from gpubp.engine.cuda.kernels.layers import Kernel, offsets
from gpubp.engine.cuda.kernels.preamble import SCALE_OF_MEAN, clipping, head, norm_over_block, penalty_in_c, rounds
from gpubp.engine.tracing.expressions import indented
from gpubp.engine.tracing.optimizers import UpdateCode

# the last batch of a network that has fewer samples than others is filled up with its last sample, of weight 0
GATHER = """
extern "C" __global__ void gather(
    integer n_gathered, integer batch_size, integer steps_of_epoch, const int* order, integer order_stride,
    const integer* row_ranges, const integer* counter, integer n_inputs, const real* x, integer x_stride,
    INPUT* x_to, integer x_to_stride, integer n_outputs, const real* targets, integer targets_stride,
    real* targets_to, integer targets_to_stride, const real* weights, real* weights_to, integer weights_to_stride
) {
    const integer network = blockIdx.z, n_samples = row_ranges[3 * network], step = counter[0];
    const integer first = step % steps_of_epoch * batch_size;  // of the steps from this one on
    const int* rows = order + step / steps_of_epoch * order_stride + row_ranges[3 * network + 1];
    x += network * x_stride;
    x_to += network * x_to_stride;
    targets += network * targets_stride;
    targets_to += network * targets_to_stride;
    for (integer c = blockIdx.x; c < n_gathered; c += gridDim.x) {
        const bool is_sample = first + c < n_samples;
        const integer from = rows[is_sample ? first + c : n_samples - 1];
        if (network == 0 || x_to_stride) {
            for (integer i = threadIdx.x; i < n_inputs; i += blockDim.x) {
                x_to[c * n_inputs + i] = TO_INPUT(x[from * n_inputs + i]);
            }
        }
        if (network == 0 || targets_to_stride) {
            for (integer j = threadIdx.x; j < n_outputs; j += blockDim.x) {
                targets_to[c * n_outputs + j] = targets[from * n_outputs + j];
            }
        }
        if (threadIdx.x == 0 && weights_to) {
            const real weight = weights ? weights[row_ranges[3 * network + 2] + from] : 1;
            weights_to[network * weights_to_stride + c] = is_sample ? weight : 0;
        }
    }
}
"""

# a column of signals is: where it begins, the stride from sample to sample, and where the sum goes; after them come the
# weights of a narrow output layer, in order; totals are the loss and the weight of each network's batch so far, of
# its parts and then of all processes
SUMS = """
extern "C" __global__ void sums(
    integer b, integer is_first, integer is_last, const real* signals, const integer* columns, integer n_columns,
    const operand* below, integer n_below, const operand* output_signals, integer n_outputs, integer first_weight,
    real* gradients, integer n_parameters, const real* losses, const real* sample_weights, integer weights_stride,
    const real* squares, integer n_squares, const real* all_settings, integer step_stride, integer network_stride,
    integer n_steps, integer* counter, real* totals, double* results, real* scale
) {
    const integer network = blockIdx.z, n_networks = gridDim.z;
    const integer n_weights = n_below * n_outputs;
    if (blockIdx.x < gridDim.x - 1) {  // gradients
        const integer column = (integer)blockIdx.x * 32 + threadIdx.x % 32;
        const int of_weight = column - n_columns, n_out = n_outputs;
        const unsigned first = threadIdx.x / 32, n_parts = blockDim.x / 32;
        double sum = 0;  // over many samples: single precision would lose digits
        if (column < n_columns) {
            const integer stride = columns[3 * column + 1];
            const real* signal = signals + columns[3 * column] + network * b * stride;
            for (integer c = first; c < b; c += n_parts) sum += signal[c * stride];
        } else if (of_weight < n_weights) {
            const operand* signal = output_signals + network * b * n_outputs + of_weight % n_out;
            const operand* y = below + network * b * n_below + of_weight / n_out;
            real own = 0;
            for (integer c = first; c < b; c += n_parts) {
                own += to_real(y[c * n_below]) * to_real(signal[c * n_outputs]);
            }
            sum = own;
        }
        shared[threadIdx.x] = (real)sum;
        __syncthreads();
        if (first == 0 && of_weight < n_weights) {
            for (unsigned part = 1; part < n_parts; ++part) sum += shared[part * 32 + threadIdx.x];
            real* gradient = gradients + network * n_parameters;
            gradient += of_weight < 0 ? columns[3 * column + 2] : first_weight + of_weight;
            *gradient = (is_first ? 0 : *gradient) + (real)sum;
        }
        return;
    }
    double own_loss = 0, own_weight = 0, own_squares = 0;
    for (integer c = threadIdx.x; c < b; c += blockDim.x) {
        own_loss += losses[network * b + c];
        own_weight += sample_weights ? sample_weights[network * weights_stride + c] : 1;
    }
    for (integer k = threadIdx.x; k < n_squares; k += blockDim.x) own_squares += squares[network * n_squares + k];
    real loss = sum_over_block((real)own_loss, shared);
    real weight = sum_over_block((real)own_weight, shared);
    const real squared = sum_over_block((real)own_squares, shared);
    if (threadIdx.x == 0) {
        loss += is_first ? 0 : totals[network];
        weight += is_first ? 0 : totals[n_networks + network];
        totals[network] = loss;
        totals[n_networks + network] = weight;
        if (!is_last) return;
        const integer step = counter[network];
        results += step * n_networks + network;
        const real* settings = all_settings + step * step_stride + network * network_stride;
        scale[network] = SCALE;
        results[0] = (loss + L2 / 2 * squared) * scale[network];
        results[n_steps * n_networks] = weight;
        counter[network] = step + 1;
    }
}
"""

# before the first step; then each update computes them anew, in the same order
OVER_PARAMETERS = """
extern "C" __global__ void squares_of_weights(
    integer n, const real* thetas, const unsigned char* is_weight, real* squares
) {
    thetas += blockIdx.z * n;
    double own = 0;
    for (integer i = (integer)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (integer)gridDim.x * blockDim.x) {
        if (is_weight[i]) own += thetas[i] * thetas[i];
    }
    const real sum = sum_over_block((real)own, shared);
    if (threadIdx.x == 0) squares[blockIdx.z * gridDim.x + blockIdx.x] = sum;
}

extern "C" __global__ void count_not_finite(integer n, const real* thetas, double* counts) {
    thetas += blockIdx.z * n;
    double own = 0;
    for (integer i = (integer)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (integer)gridDim.x * blockDim.x) {
        if (thetas[i] - thetas[i] != 0) own += 1;
    }
    const real sum = sum_over_block((real)own, shared);
    if (threadIdx.x == 0) counts[blockIdx.z * gridDim.x + blockIdx.x] = sum;
}
"""

ROUND = """
extern "C" __global__ void to_operands(integer n, const real* numbers, operand* operands) {{
    {loop} operands[i] = to_operand(numbers[i]);
}}
"""

# of the kernels that read the gradient
PARAMETERS = """
    integer n, const integer* counter, const real* all_settings, integer step_stride, integer network_stride,
    const real* scale, const unsigned char* is_weight, const real* gradients, real* norms"""
BEGIN = """    const integer network = blockIdx.z, step = counter[network] - 1;
    const real* settings = all_settings + step * step_stride + network * network_stride;"""
GRADIENT = "(gradients[i]{unscaled} + (is_weight && is_weight[i] ? {l2} * thetas[i] : 0)) * scale[network]"

NORMS = """
extern "C" __global__ void partial_norms({parameters}, const real* thetas) {{
{begin}
{offsets}
{norm}
    if (threadIdx.x == 0) norms[network * gridDim.x + blockIdx.x] = norm;
}}
"""

UPDATE = """
extern "C" __global__ void update({parameters}, integer n_norms, real* squares, real* thetas{more_parameters}) {{
{begin}
{offsets}
{loss_scaling}
{clipping}
    double own_squares = 0;  // of the new weights: the next step reports their penalty
    {loop} {{
        const real own_theta = thetas[i];{factors}
        const real own_gradient = {gradient};
{statements}
        thetas[i] = new_theta;
{operand}{stores}
        if (squares && is_weight[i]) own_squares += new_theta * new_theta;
    }}
    if (!squares) return;
    const real sum = sum_over_block((real)own_squares, shared);
    if (threadIdx.x == 0) squares[network * gridDim.x + blockIdx.x] = sum;
}}
"""


LOOP = "for (integer i = (integer)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (integer)gridDim.x * blockDim.x)"
LOOP_OVER_NORMS = "for (integer k = threadIdx.x; k < n_norms; k += blockDim.x)"


def step_source(
    of_layers: Iterable[Kernel],
    update: UpdateCode,
    dtype: str,
    *,
    mean: bool,
    clipped: bool = False,
    loss_scaled: bool = False,
    n_layers: int = 0,
    products: str = "float32",
) -> str:
    """Put all kernels of a training step into one source; ``n_layers`` and ``products`` are as in the head."""
    kernels = {kernel.name: kernel.text for kernel in of_layers}
    is_rounded = rounds(products, dtype)
    if is_rounded:
        kernels["to_operands"] = ROUND.format(loop=LOOP)
    n_parts, l2 = len(update.parts), penalty_in_c(update, clipped=clipped)
    gradient, clip = GRADIENT.format(unscaled=" * unscale" if loss_scaled else "", l2=l2), ""
    begin = {"parameters": PARAMETERS, "begin": BEGIN}
    own = offsets({"gradients": "n", "thetas": "n"})
    if loss_scaled:
        begin = {"parameters": PARAMETERS + loss_scaling.PARAMETERS, "begin": BEGIN + loss_scaling.BEGIN}
        kernels["find_overflow"] = loss_scaling.FIND_OVERFLOW.format(**begin, offsets=own, loop=LOOP, gradient=gradient)
    if clipped:
        norm = indented(norm_over_block(LOOP, gradient, dtype), 4)
        kernels["partial_norms"] = NORMS.format(**begin, offsets=own, norm=norm)
        norm = norm_over_block(LOOP_OVER_NORMS, "norms[network * n_norms + k]", dtype)
        gradient, clip = f"{gradient} * clipping", indented(f"{norm}\n{clipping(update)}", 4)
    stores = "\n".join(f"part_{k}[i] = new_{k};" for k in range(n_parts))
    strides = dict.fromkeys(("gradients", "thetas", *(f"part_{k}" for k in range(n_parts))), "n")
    parameters = ", operand* operands" if is_rounded else ""
    parameters += "".join(f", real* part_{k}" for k in range(n_parts))
    parameters += "".join(f", const real* {name}, integer {name}_stride" for name in update.factors)
    strides |= {name: f"{name}_stride" for name in update.factors} | ({"operands": "n"} if is_rounded else {})
    of_x = ("operand", "to_operand") if is_rounded and "drop_inputs" not in kernels else ("real", "")
    return "".join(
        [
            head(dtype, n_layers, products),
            GATHER.replace("TO_INPUT", of_x[1]).replace("INPUT", of_x[0]),
            *kernels.values(),
            SUMS.replace("SCALE", SCALE_OF_MEAN if mean else "1").replace("L2", l2),
            OVER_PARAMETERS,
            UPDATE.format(
                **begin,
                more_parameters=parameters,
                loss_scaling=loss_scaling.next_scale(dtype) if loss_scaled else "",
                clipping=clip,
                loop=LOOP,
                gradient=gradient,
                offsets=offsets(strides),
                factors="".join(f"\n        const real own_{name} = {name}[i];" for name in update.factors),
                statements=indented(update.statements, 8),
                operand="        operands[i] = to_operand(new_theta);\n" if is_rounded else "",
                stores=indented(stores, 8),
            ),
        ]
    )


def state_in_global_memory(k: int) -> str:
    """Return where :data:`UPDATE` finds array ``k`` of the optimizer's state for a parameter."""
    return f"part_{k}[i]"
