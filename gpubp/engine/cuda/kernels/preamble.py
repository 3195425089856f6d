"""The beginning of every CUDA source: types, sums over a block of threads, and the scale of a mean."""

from gpubp.engine.tracing.expressions import PATTERNS, functions_of_c
from gpubp.engine.tracing.optimizers import UpdateCode
from gpubp.engine.tracing.symbols import REDUCTIONS

HEAD = """
typedef {real} real;
typedef long long integer;

extern __shared__ real shared[];
"""

# each block has a power of two of whole warps; all threads get the result, and the same bits in each run
OVER_BLOCK = """
__device__ real {name}_over_lanes(real mine, unsigned n_lanes) {{
    for (unsigned lanes = n_lanes / 2; lanes > 0; lanes /= 2) {{
        const real other = __shfl_xor_sync(0xffffffff, mine, lanes);
        mine = {combined};
    }}
    return mine;
}}

__device__ void {name}_of_warp(real mine, real* of_warps) {{
    mine = {name}_over_lanes(mine, 32);
    if (threadIdx.x % 32 == 0) of_warps[threadIdx.x / 32] = mine;
}}

__device__ real {name}_of_block(const real* of_warps) {{
    const unsigned n_warps = blockDim.x / 32;
    return {name}_over_lanes(of_warps[threadIdx.x % n_warps], n_warps);
}}

__device__ real {name}_over_block(real mine, real* scratch) {{
    if (blockDim.x == 32) return {name}_over_lanes(mine, 32);
    __syncthreads();  // others may still read the scratch memory
    {name}_of_warp(mine, scratch);
    __syncthreads();
    return {name}_of_block(scratch);
}}
"""

BLOCK_REDUCTIONS = {REDUCTIONS["sum"]: "sum_over_block", REDUCTIONS["max"]: "max_over_block"}

# gpubp/engine/plain/dropout.py says what is computed; the words of a step are its epoch, the position of its first
# sample, and the threshold of each layer
DROPOUT = """
__device__ real dropout_mask(
    const unsigned* key, const unsigned* words, const real* factors, integer step, unsigned layer, unsigned row,
    unsigned unit
) {
    words += step * (2 + N_LAYERS);
    unsigned c0 = unit / 4, c1 = words[1] + row, c2 = words[0], c3 = layer, k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; ++round) {  // Philox 4x32
        const unsigned long long p0 = 0xD2511F53ull * c0, p1 = 0xCD9E8D57ull * c2;
        c0 = (unsigned)(p1 >> 32) ^ c1 ^ k0;
        c1 = (unsigned)p1;
        c2 = (unsigned)(p0 >> 32) ^ c3 ^ k1;
        c3 = (unsigned)p0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    const unsigned low = unit % 2 ? c1 : c0, high = unit % 2 ? c3 : c2;
    return (unit % 4 < 2 ? low : high) < words[2 + layer] ? 0 : factors[step * N_LAYERS + layer];
}
"""

NORM = """real largest = 0, of_parts = 0;
{loop} {{
    const real size = {abs}({number});
    if (size > largest || size != size) largest = size;
}}
largest = max_over_block(largest, shared);
const real divisor = largest > 0 ? largest : 1;  // the square of the largest number could overflow
{loop} {{
    const real part = ({number}) / divisor;
    of_parts += part * part;
}}
const real norm = divisor * {sqrt}(sum_over_block(of_parts, shared));"""

CLIPPING = "const real clipping = {max_norm} / (norm < {max_norm} ? {max_norm} : norm);"

SCALE_OF_MEAN = "weight != 0 ? 1 / weight : 0"  # a batch whose weights sum to 0 changes nothing


# what matrix products read
OPERANDS = """
typedef real operand;

__device__ operand to_operand(real x) { return x; }
__device__ real to_real(operand x) { return x; }
"""

OPERANDS_OF_16_BITS = """
typedef unsigned short operand;
"""

# to nearest, ties to even; by bits, so that all devices have the same result

TO_FLOAT16 = """
__device__ operand to_operand(real x) {
    const unsigned bits = __float_as_uint(x), sign = bits >> 16 & 0x8000u, size = bits & 0x7FFFFFFFu;
    if (size > 0x7F800000u) return sign | 0x7E00u;  // NaN
    if (size >= 0x477FF000u) return sign | 0x7C00u;  // from 65520 on: infinity
    // below 2^-14 numbers are multiples of 2^-24, as those of float32 from 0.5 to 1
    if (size < 0x38800000u) return sign | (__float_as_uint(__uint_as_float(size) + 0.5f) - 0x3F000000u);
    return sign | (size - 0x38000000u + 0xFFFu + (size >> 13 & 1u)) >> 13;
}

__device__ real to_real(operand x) {
    const unsigned sign = (x & 0x8000u) << 16, size = x & 0x7FFFu;
    if (size >= 0x7C00u) return __uint_as_float(sign | 0x7F800000u | (size << 13));
    if (size < 0x400u) return (sign ? -5.9604644775390625e-8f : 5.9604644775390625e-8f) * size;  // multiples of 2^-24
    return __uint_as_float(sign | ((size << 13) + 0x38000000u));
}
"""

TO_BFLOAT16 = """
__device__ operand to_operand(real x) {
    const unsigned bits = __float_as_uint(x);
    if ((bits & 0x7FFFFFFFu) > 0x7F800000u) return bits >> 16 | 0x40u;  // NaN
    return (bits + 0x7FFFu + (bits >> 16 & 1u)) >> 16;
}

__device__ real to_real(operand x) { return __uint_as_float((unsigned)x << 16); }
"""

PRODUCT = """
__device__ real dot(int n, const operand* a, const operand* b) {
    real sum = 0;
    for (int k = 0; k < n; ++k) sum += to_real(a[k]) * to_real(b[k]);
    return sum;
}
"""

ROUNDING = {"bfloat16": TO_BFLOAT16, "float16": TO_FLOAT16}


DROPOUT_PARAMETERS = "const unsigned* keys, const unsigned* words, const real* factors"


def rounds(products: str, dtype: str) -> bool:
    """Return whether kernels round the operands of matrix products to 16 bits."""
    return products in ROUNDING and dtype == "float32"


def head(dtype: str, n_layers: int = 0, products: str = "float32") -> str:
    """Return the beginning of every source.

    Parameters
    ----------
    dtype : str
    n_layers : int
        The number of layers that dropout has a rate for.
    products : str
        The precision of matrix products.
    """
    text = HEAD.format(real={"float32": "float", "float64": "double"}[dtype])
    for name, reduction in REDUCTIONS.items():
        text += OVER_BLOCK.format(name=name, combined=PATTERNS[reduction].format("mine", "other"))
    text += (OPERANDS_OF_16_BITS + ROUNDING[products] if rounds(products, dtype) else OPERANDS) + PRODUCT
    return text + DROPOUT.replace("N_LAYERS", str(n_layers)) if n_layers else text


def dropout_mask(layer: str, row: str, column: str) -> str:
    """Compute what dropout multiplies a unit by, in a kernel that has a ``network`` and a ``step``."""
    return f"dropout_mask(keys + 2 * network, words, factors, step, {layer}, {row}, {column})"


def norm_over_block(loop: str, number: str, dtype: str) -> str:
    """Compute the norm of the numbers through which the threads of a block loop."""
    return NORM.format(loop=loop, number=number, **functions_of_c(dtype))


def penalty_in_c(update: UpdateCode, *, clipped: bool) -> str:
    """Return where the settings of a step have the strength of the penalty: after those of the update and the norm."""
    return f"settings[{len(update.settings) + clipped}]"


def clipping(update: UpdateCode) -> str:
    """Compute by what a gradient with a norm is multiplied so that its norm is not larger than the setting."""
    return CLIPPING.format(max_norm=f"settings[{len(update.settings)}]")
