"""CUDA C of a narrow output layer, whose products are computed within the kernels beside them, not by cuBLAS.

A product with few columns takes a launch and reads its operand again for hardly any arithmetic. So the kernel of the
loss multiplies the outputs of the layer below by the weights, that of the derivative below multiplies the signals, and
that of the sums over samples computes the weights' gradient: three launches of a step fewer.
"""

from gpubp.nn.network import Network

MOST_OUTPUTS, MOST_UNITS_BELOW, MOST_SAMPLES = 16, 1024, 2048
"""The widest output layer and layer below it, and the largest batch, for which this is done. The kernels read weights
and signals again from the cache for each sample, where cuBLAS keeps them in registers, and sums over samples add an
eighth of them one after the other. No GPU has measured where that begins to cost more."""

TOTALS = """const operand* y = below + c * {n_below};
real own[{n}];
for (int k = 0; k < {n}; ++k) own[k] = 0;
for (int i = threadIdx.x; i < {n_below}; i += blockDim.x) {{
    for (int k = 0; k < {n}; ++k) own[k] += to_real(y[i]) * to_real(weights[i * {n} + k]);
}}
__syncthreads();  // the shared memory of the sample before is not used any more
for (int k = 0; k < {n}; ++k) shared[threadIdx.x * {n} + k] = own[k];
__syncthreads();
real total = 0;  // of the thread's own unit: there are no fewer threads than units
if (threadIdx.x < {n}) {{
    for (unsigned k = threadIdx.x; k < {n} * blockDim.x; k += {n}) total += shared[k];
}}
__syncthreads();
"""


def has_narrow_output(network: Network, n_samples: int) -> bool:
    """Return whether a network's output layer is narrow, and batches are not too large for this form."""
    *_, n_below, n = network.sizes
    is_narrow = len(network.sizes) > 2 and n <= MOST_OUTPUTS and n_below <= MOST_UNITS_BELOW
    return is_narrow and n_samples <= MOST_SAMPLES


def threads_of_narrow_output(network: Network) -> int:
    """Count the threads for a sample: a power of two; each takes about 8 units of the layer below."""
    return min(128, max(32, 1 << ((network.sizes[-2] - 1) // 8).bit_length()))
