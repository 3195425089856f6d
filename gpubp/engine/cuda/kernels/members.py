"""CUDA C of networks whose members share weights: their forward pass, and the means of the members' outputs.

The rows of all members are multiplied together; ``blockIdx.z`` numbers the members of all networks one after another.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from gpubp.engine.cuda.kernels.layers import (
    LOOP_OF_BLOCK,
    SAMPLE_BY_SAMPLE,
    Kernel,
    kernel_over_layer,
    offsets,
    total_input,
)
from gpubp.engine.cuda.kernels.outputs import SAMPLES_OF_A_SUM, SUMS_OF_LOSSES
from gpubp.engine.cuda.kernels.preamble import BLOCK_REDUCTIONS, head, rounds
from gpubp.engine.cuda.kernels.steps import LOOP, ROUND
from gpubp.engine.tracing import symbols
from gpubp.engine.tracing.expressions import PATTERNS, Code, functions_of_c, indented, literal
from gpubp.engine.tracing.symbols import Inexpressible
from gpubp.nn import equations
from gpubp.nn.activations import get_activation
from gpubp.nn.batch_ensemble import has_logarithms
from gpubp.nn.losses import output_loss

MEAN = """
__device__ real mean_of_members(const real* numbers, integer n_members, integer stride) {{
    real sum = 0;
#pragma unroll 1
    for (integer k = 0; k < n_members; ++k) sum += numbers[k * stride];
    return sum / n_members;
}}

__device__ real log_of_mean(real mean) {{ return {log}({largest}); }}
"""


NETWORK = "(integer)(blockIdx.z / (unsigned)n_members)"  # of a member; dividing numbers of 64 bits is slow


class MemberKernels(NamedTuple):
    """The kernels of the members' layers, and that of the means; ``activations`` are of the hidden layers."""

    scaled_inputs: Kernel
    activations: tuple[Kernel, ...]
    outputs: Kernel
    means: Kernel


@lru_cache(maxsize=256)
def member_source(
    activations: tuple[str, ...],
    loss: str,
    dtype: str,
    products: str,
    *,
    weighted: bool | None = None,
    outputs_wanted: bool = True,
) -> tuple[MemberKernels, str] | None:
    """Write the kernels that pass samples forward; parameters and result as in ``output_source`` of networks."""
    *names, last = activations
    try:
        of_kinds = {
            name: _activation(f"member_activation_{k}", name, dtype) for k, name in enumerate(dict.fromkeys(names))
        }
        kernels = MemberKernels(
            _scaled_inputs(dtype),
            tuple(of_kinds[name] for name in names),
            _outputs(last, dtype),
            _means(loss, last, dtype, weighted=weighted, outputs_wanted=outputs_wanted),
        )
    except Inexpressible:
        return None
    log, smallest = functions_of_c(dtype)["log"], literal(float(np.finfo(dtype).smallest_normal), dtype)
    texts = [kernel.text for kernel in (kernels.scaled_inputs, *of_kinds.values(), kernels.outputs, kernels.means)]
    if rounds(products, dtype):
        texts.append(ROUND.format(loop=LOOP))
    if weighted is not None:
        texts.append(SUMS_OF_LOSSES.format(size=SAMPLES_OF_A_SUM))
    means = MEAN.format(log=log, largest=PATTERNS["maximum"].format("mean", smallest))
    return kernels, "".join([head(dtype, products=products), means, *texts])


def _of_member(name: str) -> str:
    """Read a member's own number of a unit; the members' are side by side in the parameters of each network."""
    return f"{name}[{NETWORK} * n_parameters + blockIdx.z % (unsigned)n_members * n + j]"


def _scaled_inputs(dtype: str) -> Kernel:
    """Write the inputs of each member, multiplied by its scales if there is a hidden layer, which has them."""
    cells = {
        "x": f"inputs[{NETWORK} * inputs_stride + c * n + j]",
        "r": f"(scales ? {_of_member('scales')} : (real)1)",
    }
    code = Code(dtype, cells)
    x, r = (symbols.variable(name, dtype) for name in cells)
    parameters = (
        "integer n_members, integer n_parameters, const real* inputs, integer inputs_stride, const real* scales, "
        "operand* operands"
    )
    store = "operands[c * n + j] = to_operand(scaled);"
    return kernel_over_layer("scaled_inputs", parameters, {"operands": "b * n"}, code, {"scaled": x * r}, store, False)


def _activation(kernel: str, name: str, dtype: str) -> Kernel:
    """Write a hidden layer of the members: what the layer above multiplies, with its scales if it has any."""
    code = Code(dtype, {"product": "totals[c * n + j]", "s": _of_member("scales"), "bias": _of_member("biases")})
    product, s, bias = (symbols.variable(cell, dtype) for cell in code.variables)
    value = get_activation(name).value(symbols, product * s + bias)
    parameters = (
        "integer n_members, integer n_parameters, const real* scales, const real* biases, const real* scales_above, "
        "const real* totals, operand* operands"
    )
    scaled = f"scales_above ? value * {_of_member('scales_above')} : value"
    store = f"operands[c * n + j] = to_operand({scaled});"
    strides = {"totals": "b * n", "operands": "b * n"}
    return kernel_over_layer(kernel, parameters, strides, code, {"value": value}, store, False)


def _outputs(name: str, dtype: str) -> Kernel:
    """Write the members' outputs, and in place of their total inputs what the means need: 1 - y for the logistic."""
    code = Code(dtype, {"x": total_input(True)})
    x = symbols.variable("x", dtype)
    y = get_activation(name).value(symbols, x)
    other = equations.logistic(symbols, -x) if name == "logistic" else x
    parameters = "const real* biases, integer n_biases, real* totals, real* outputs"
    strides = {"biases": "n_biases", "totals": "b * n", "outputs": "b * n"}
    store = "outputs[c * n + j] = y;\ntotals[c * n + j] = other;"
    return kernel_over_layer("member_outputs", parameters, strides, code, {"y": y, "other": other}, store, False)


def _means(loss_name: str, name: str, dtype: str, *, weighted: bool | None, outputs_wanted: bool) -> Kernel:
    """Write the means of the members' outputs, and with ``weighted`` not None their losses."""
    of_outputs, of_others = (
        f"mean_of_members({array} + c * n + j, n_members, b * n)" for array in ("outputs", "others")
    )
    total = f"log_of_mean({of_outputs}) - log_of_mean({of_others})" if name == "logistic" else of_others
    cells = {"x": total, "mean": of_outputs, "target": "targets[c * n + j]", "sample_weight": "sample_weights[c]"}
    code = Code(dtype, cells)
    x, y, target = (symbols.variable(cell, dtype) for cell in ("x", "mean", "target"))
    if has_logarithms(name):  # of the mean that is read for y
        x = symbols.log(symbols.maximum(y, symbols.finfo(dtype).smallest_normal))
    parameters = "integer n_members, const real* others, const real* outputs, integer n_samples"
    strides = dict.fromkeys(("others", "outputs"), "n_members * b * n")
    results, store = {"y": y} if outputs_wanted else {}, "means[c * n + j] = y;"
    if weighted is None:
        parameters, strides["means"] = f"{parameters}, real* means", "n_samples * n"
        return kernel_over_layer("means_of_members", parameters, strides, code, results, store, False)
    weight = symbols.variable("sample_weight", dtype, per_unit=False) if weighted else None
    (loss,) = output_loss(symbols, loss_name, name, x, y, target, weight)[0].operands  # of the sum over samples
    parameters += (
        ", const real* targets, integer targets_stride, const real* sample_weights, integer weights_stride, "
        "real* losses"
    )
    strides |= {"targets": "targets_stride", "losses": "n_samples"}
    strides |= {"sample_weights": "weights_stride"} if weighted else {}
    if outputs_wanted:
        parameters, strides["means"] = f"{parameters}, real* means", "n_samples * n"
    body = code.over_units(LOOP_OF_BLOCK, BLOCK_REDUCTIONS, {"loss": loss}, results, store)
    body = indented(f"{body}\nif (threadIdx.x == 0) losses[c] = loss;", 8)
    text = SAMPLE_BY_SAMPLE.format(name="losses_of_means", parameters=parameters, offsets=offsets(strides), body=body)
    return Kernel("losses_of_means", text, sample_by_sample=True)
