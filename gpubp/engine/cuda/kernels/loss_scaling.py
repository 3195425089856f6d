"""CUDA C of loss scaling: the scale of derivatives, gradients that overflowed, and the scale of the next step.

``loss_scales``, (2, 2, K), holds the scale and the number of clean updates of each network, before even steps and
before odd ones: an update reads those of its own step while one of its threads writes those of the next.
"""

from gpubp.engine.tracing import symbols
from gpubp.engine.tracing.expressions import Code, indented
from gpubp.optim.loss_scaling import next_loss_scale

OF_OUTPUT = ", const real* loss_scales, const integer* counter"
SCALE_OF_STEP = "const real loss_scale = loss_scales[counter[network] % 2 * 2 * gridDim.z + network];\n"

# of the kernels that read the gradient
PARAMETERS = ", real* loss_scales, integer* overflows"
BEGIN = """
    const real* own_scale = loss_scales + step % 2 * 2 * gridDim.z + network;
    const real unscale = 1 / own_scale[0];  // of a power of two: exact"""

FIND_OVERFLOW = """
extern "C" __global__ void find_overflow({parameters}, const real* thetas) {{
{begin}
{offsets}
    {loop} {{
        const real number = {gradient};
        if (number - number != 0) overflows[network] = counter[network];  // whichever thread does, the same
    }}
}}
"""

NEXT_SCALE = """{statements}
if (blockIdx.x == 0 && threadIdx.x == 0) {{
    real* next = loss_scales + counter[network] % 2 * 2 * gridDim.z + network;
    next[0] = next_scale;
    next[gridDim.z] = next_clean;
}}
if (!applied) return;"""


def next_scale(dtype: str) -> str:
    """Write the scale of the next step, and leave the update if the gradient overflowed."""
    cells = {
        "finite": "overflows[network] != counter[network]",
        "loss_scale": "own_scale[0]",
        "clean": "own_scale[gridDim.z]",
    }
    names = ("applied", "next_scale", "next_clean")
    results = next_loss_scale(symbols, *(symbols.variable(cell, dtype) for cell in cells))
    statements = Code(dtype, cells).statements(**dict(zip(names, results, strict=True)))
    return indented(NEXT_SCALE.format(statements=statements), 4)
