"""CUDA C of tied weights and absent connections: gradients that are averaged, or 0."""

import numpy as np

from gpubp.engine.cuda.kernels.layers import Kernel
from gpubp.nn.weight_sharing import Ties

AVERAGE_TIED = """
extern "C" __global__ void average_tied(
    integer n, integer n_tied, const integer* starts, const integer* positions, real* gradients, integer n_parameters
) {
    gradients += blockIdx.z * n_parameters;
    for (integer i = (integer)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (integer)gridDim.x * blockDim.x) {
        const integer begin = starts[i], end = starts[i + 1];
        double sum = 0;
        for (integer k = begin; i < n_tied && k < end; ++k) sum += gradients[positions[k]];
        const real average = (real)sum / (end - begin);
        for (integer k = begin; k < end; ++k) gradients[positions[k]] = average;
    }
}
"""

KERNEL = Kernel("average_tied", AVERAGE_TIED)
"""For ``n`` groups of parameters it averages the derivatives of the first ``n_tied``; those of the others become 0."""


def groups_of(ties: Ties) -> tuple[int, np.ndarray, np.ndarray]:
    """Return how many weights are tied, where the groups begin and end in the positions, ``(n + 1,)``, and these.

    After the groups of tied weights each absent connection is one.
    """
    is_tied = ties.counts > 1
    present = np.flatnonzero(ties.present)[np.argsort(ties.index, kind="stable")]
    absent = np.flatnonzero(~ties.present)
    sizes = np.concatenate([ties.counts[is_tied], np.ones(len(absent), np.int64)])
    positions = np.concatenate([present[np.repeat(is_tied, ties.counts)], absent])
    return int(np.sum(is_tied)), np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64), positions.astype(np.int64)
