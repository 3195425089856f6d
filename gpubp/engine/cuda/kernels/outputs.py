"""CUDA C of predictions and evaluations: training's hidden layers, and output layers without derivatives.

No source depends on the widths of the layers, so networks share what has been compiled.
"""

from functools import lru_cache

from gpubp.engine.cuda.kernels.layers import (
    LOOP_OF_BLOCK,
    SAMPLE_BY_SAMPLE,
    Kernel,
    LayerKernels,
    activation_kernel,
    kernel_over_layer,
    loss_of_sample,
    offsets,
    total_input,
)
from gpubp.engine.cuda.kernels.preamble import BLOCK_REDUCTIONS, head, rounds
from gpubp.engine.cuda.kernels.steps import LOOP, ROUND
from gpubp.engine.tracing import symbols
from gpubp.engine.tracing.expressions import Code, indented
from gpubp.engine.tracing.symbols import Inexpressible
from gpubp.nn.activations import get_activation

SAMPLES_OF_A_SUM = 4096
"""Samples whose losses a block of threads adds up; the host adds these sums."""

SUMS_OF_LOSSES = """
extern "C" __global__ void sums_of_losses(integer n, const real* losses, real* sums) {{
    losses += blockIdx.z * n;
    const integer first = (integer)blockIdx.x * {size}, end = first + {size} < n ? first + {size} : n;
    double own = 0;  // over many samples: single precision would lose digits
    for (integer c = first + threadIdx.x; c < end; c += blockDim.x) own += losses[c];
    const real sum = sum_over_block((real)own, shared);
    if (threadIdx.x == 0) sums[blockIdx.z * gridDim.x + blockIdx.x] = sum;
}}
"""


@lru_cache(maxsize=256)
def output_source(
    activations: tuple[str, ...],
    loss: str,
    dtype: str,
    products: str,
    *,
    bias: bool,
    weighted: bool | None = None,
    outputs_wanted: bool = True,
) -> tuple[LayerKernels, str] | None:
    """Write the kernels that pass samples forward; return None if C cannot express an equation.

    Parameters
    ----------
    activations, loss, bias
        As in :class:`gpubp.nn.network.Network`.
    dtype, products : str
        The precision, and that of matrix products.
    weighted : bool, optional
        Whether samples have weights in their losses; None without losses.
    outputs_wanted : bool
        Whether the outputs are stored, as they always are without losses.
    """
    rounded, *names = rounds(products, dtype), *activations[:-1]
    try:
        of_kinds = {
            name: activation_kernel(
                f"activation_{k}", name, dtype, bias=bias, store_output=not rounded, store_operand=rounded
            )
            for k, name in enumerate(dict.fromkeys(names))
        }
        if weighted is None:
            output = _predictions(activations[-1], dtype, bias=bias)
        else:
            output = _evaluation(
                loss, activations[-1], dtype, bias=bias, weighted=weighted, outputs_wanted=outputs_wanted
            )
    except Inexpressible:
        return None
    texts = [kernel.text for kernel in (*of_kinds.values(), output)]
    if rounded:
        texts.append(ROUND.format(loop=LOOP))
    if weighted is not None:
        texts.append(SUMS_OF_LOSSES.format(size=SAMPLES_OF_A_SUM))
    layers = LayerKernels(tuple(of_kinds[name] for name in names), (), output, ())
    return layers, "".join([head(dtype, products=products), *texts])


def _predictions(name: str, dtype: str, *, bias: bool) -> Kernel:
    """Write the output layer, eq. (1) and (2), of some of ``n_samples`` samples."""
    code = Code(dtype, {"x": total_input(bias)})
    y = get_activation(name).value(symbols, symbols.variable("x", dtype))
    strides = {"totals": "b * n", "outputs": "n_samples * n"} | ({"biases": "n_parameters"} if bias else {})
    parameters = "const real* biases, integer n_parameters, const real* totals, integer n_samples, real* outputs"
    return kernel_over_layer("predictions", parameters, strides, code, {"y": y}, "outputs[c * n + j] = y;", False)


def _evaluation(loss_name: str, name: str, dtype: str, *, bias: bool, weighted: bool, outputs_wanted: bool) -> Kernel:
    """Write the output layer and the losses, eq. (1) to (3), of some of ``n_samples`` samples."""
    cells = {"x": total_input(bias), "target": "targets[c * n + j]", "sample_weight": "sample_weights[c]"}
    code = Code(dtype, cells)
    loss, _ = loss_of_sample(loss_name, name, dtype, weighted=weighted)
    y = get_activation(name).value(symbols, symbols.variable("x", dtype))
    strides = {"totals": "b * n", "targets": "targets_stride", "losses": "n_samples"}
    strides |= {"biases": "n_parameters"} if bias else {}
    strides |= {"sample_weights": "weights_stride"} if weighted else {}
    parameters = (
        "const real* biases, integer n_parameters, const real* totals, integer n_samples, const real* targets, "
        "integer targets_stride, const real* sample_weights, integer weights_stride, real* losses"
    )
    if outputs_wanted:
        parameters, strides["outputs"] = f"{parameters}, real* outputs", "n_samples * n"
    of_units = {"y": y} if outputs_wanted else {}
    body = code.over_units(LOOP_OF_BLOCK, BLOCK_REDUCTIONS, {"loss": loss}, of_units, "outputs[c * n + j] = y;")
    body = indented(f"{body}\nif (threadIdx.x == 0) losses[c] = loss;", 8)
    text = SAMPLE_BY_SAMPLE.format(name="evaluation", parameters=parameters, offsets=offsets(strides), body=body)
    return Kernel("evaluation", text, sample_by_sample=True)
