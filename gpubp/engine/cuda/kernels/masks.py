"""CUDA C of dropout masks that are arrays, for equations that kernels do not compute."""

from gpubp.engine.cuda.kernels.layers import ALL_SAMPLES_AT_ONCE, MASK, OF_DROPOUT, Kernel, offsets
from gpubp.engine.tracing.expressions import indented


def mask_kernel() -> Kernel:
    """Write the mask of a layer, for each network or for each of the members of all networks.

    The steps of all are the same, so all read the first one's counter.
    """
    begin = f"{offsets({'masks': 'b * n'})}\n    const integer step = counter[0];"
    body = indented(f"masks[c * n + j] = {MASK};", 12)
    text = ALL_SAMPLES_AT_ONCE.format(name="mask", parameters=f"real* masks{OF_DROPOUT}", offsets=begin, body=body)
    return Kernel("mask", text)
