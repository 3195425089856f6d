"""The beginning of every CUDA source: types, sums over a block of threads, and the scale of a mean."""

from gpubp.engine.tracing.optimizers import UpdateCode
from gpubp.engine.tracing.symbols import REDUCTIONS

HEAD = """
typedef {real} real;
typedef long long integer;

extern __shared__ real shared[];  // one number or more for each thread; a block's threads are a power of two

__device__ real sum_over_block(real mine, real* scratch) {{
    scratch[threadIdx.x] = mine;
    for (unsigned half = blockDim.x / 2; half > 0; half /= 2) {{
        __syncthreads();
        if (threadIdx.x < half) scratch[threadIdx.x] += scratch[threadIdx.x + half];
    }}
    __syncthreads();
    const real all = scratch[0];
    __syncthreads();  // before the scratch memory is used again
    return all;
}}

__device__ real largest_over_block(real mine, real* scratch) {{
    scratch[threadIdx.x] = mine;
    for (unsigned half = blockDim.x / 2; half > 0; half /= 2) {{
        __syncthreads();
        if (threadIdx.x < half) {{
            const real other = scratch[threadIdx.x + half];
            if (other > scratch[threadIdx.x] || other != other) scratch[threadIdx.x] = other;
        }}
    }}
    __syncthreads();
    const real all = scratch[0];
    __syncthreads();
    return all;
}}
"""

BLOCK_REDUCTIONS = {REDUCTIONS["sum"]: "sum_over_block", REDUCTIONS["max"]: "largest_over_block"}

SCALE_OF_MEAN = "weight != 0 ? 1 / weight : 0"  # a batch whose weights sum to 0 changes nothing


def head(dtype: str) -> str:
    """Return the beginning of every source."""
    return HEAD.format(real={"float32": "float", "float64": "double"}[dtype])


def indented(text: str, n: int) -> str:
    """Indent lines by ``n`` spaces."""
    return "\n".join(" " * n + line for line in text.splitlines())


def penalty_in_c(update: UpdateCode) -> str:
    """Return where the settings of a step have the strength of the penalty: after those of the update."""
    return f"settings[{len(update.settings)}]"
