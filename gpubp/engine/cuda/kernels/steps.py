"""CUDA C of a training step that goes layer by layer: samples gathered, sums over samples, the optimizer's update."""

from gpubp.engine.cuda.kernels.layers import LayerKernels, offsets
from gpubp.engine.cuda.kernels.preamble import SCALE_OF_MEAN, head, indented
from gpubp.engine.tracing.optimizers import UpdateCode

GATHER = """
extern "C" __global__ void gather(
    integer n_gathered, integer n, integer batch_size, integer steps_of_epoch, const int* order, const integer* counter,
    const real* samples, integer n_samples, real* to, integer to_stride
) {
    const integer network = blockIdx.z;
    samples += network * n_samples * n;
    to += network * to_stride * n;
    const int* rows = order + counter[0] % steps_of_epoch * batch_size;  // for the steps from this one on
    for (integer c = blockIdx.x; c < n_gathered; c += gridDim.x) {
        const integer from = rows[c];
        for (integer i = threadIdx.x; i < n; i += blockDim.x) to[c * n + i] = samples[from * n + i];
    }
}
"""

# a column of signals is: where it begins, the stride from sample to sample, and where the sum goes
SUMS = """
extern "C" __global__ void sums(
    integer b, const real* signals, const integer* columns, integer n_columns, real* gradients, integer n_parameters,
    const real* losses, const real* sample_weights, integer weights_stride, const real* squares, integer n_squares,
    real half_l2, integer n_steps, integer* counter, double* results, real* scale
) {
    const integer network = blockIdx.z, n_networks = gridDim.z;
    if (blockIdx.x < gridDim.x - 1) {  // the biases' gradients
        const integer column = (integer)blockIdx.x * 32 + threadIdx.x % 32;
        const unsigned first = threadIdx.x / 32, n_parts = blockDim.x / 32;
        double sum = 0;  // over many samples: single precision would lose digits
        if (column < n_columns) {
            const integer stride = columns[3 * column + 1];
            const real* signal = signals + columns[3 * column] + network * b * stride;
            for (integer c = first; c < b; c += n_parts) sum += signal[c * stride];
        }
        shared[threadIdx.x] = (real)sum;
        __syncthreads();
        if (first == 0 && column < n_columns) {
            for (unsigned part = 1; part < n_parts; ++part) sum += shared[part * 32 + threadIdx.x];
            gradients[network * n_parameters + columns[3 * column + 2]] = (real)sum;
        }
        return;
    }
    double own_loss = 0, own_weight = 0, own_squares = 0;
    for (integer c = threadIdx.x; c < b; c += blockDim.x) {
        own_loss += losses[network * b + c];
        own_weight += sample_weights ? sample_weights[network * weights_stride + c] : 1;
    }
    for (integer k = threadIdx.x; k < n_squares; k += blockDim.x) own_squares += squares[network * n_squares + k];
    const real loss = sum_over_block((real)own_loss, shared);
    const real weight = sum_over_block((real)own_weight, shared);
    const real squared = sum_over_block((real)own_squares, shared);
    if (threadIdx.x == 0) {
        const integer step = counter[network];
        scale[network] = SCALE;
        results[step * n_networks + network] = (loss + half_l2 * squared) * scale[network];
        results[(n_steps + step) * n_networks + network] = weight;
        counter[network] = step + 1;
    }
}
"""

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

UPDATE = """
extern "C" __global__ void update(
    integer n, const integer* counter, const real* all_settings, integer step_stride, integer network_stride,
    const real* scale, real l2, const unsigned char* is_weight, const real* gradients, real* thetas{parameters}
) {{
    const integer network = blockIdx.z;
    const real* settings = all_settings + (counter[network] - 1) * step_stride + network * network_stride;
{offsets}
    for (integer i = (integer)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (integer)gridDim.x * blockDim.x) {{
        const real own_theta = thetas[i];{factors}
        const real own_gradient = (gradients[i] + (is_weight && is_weight[i] ? l2 * own_theta : 0)) * scale[network];
{statements}
        thetas[i] = new_theta;
{stores}
    }}
}}
"""


def step_source(layers: LayerKernels, update: UpdateCode, dtype: str, *, mean: bool) -> str:
    """Put all kernels of a training step into one source."""
    kernels = {kernel.name: kernel.text for kernel in (*layers.activations, *layers.derivatives, layers.output)}
    n_parts = len(update.parts)
    stores = "\n".join(f"part_{k}[i] = new_{k};" for k in range(n_parts))
    strides = dict.fromkeys(("gradients", "thetas", *(f"part_{k}" for k in range(n_parts))), "n")
    parameters = "".join(f", real* part_{k}" for k in range(n_parts))
    parameters += "".join(f", const real* {name}, integer {name}_stride" for name in update.factors)
    strides |= {name: f"{name}_stride" for name in update.factors}
    return "".join(
        [
            head(dtype),
            GATHER,
            *kernels.values(),
            SUMS.replace("SCALE", SCALE_OF_MEAN if mean else "1"),
            OVER_PARAMETERS,
            UPDATE.format(
                parameters=parameters,
                offsets=offsets(strides),
                factors="".join(f"\n        const real own_{name} = {name}[i];" for name in update.factors),
                statements=indented(update.statements, 8),
                stores=indented(stores, 8),
            ),
        ]
    )


def state_in_global_memory(k: int) -> str:
    """Return where :data:`UPDATE` finds array ``k`` of the optimizer's state for a parameter."""
    return f"part_{k}[i]"
