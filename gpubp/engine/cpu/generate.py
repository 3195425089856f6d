"""Write the C of all activations, losses and optimizers: ``python -m gpubp.engine.cpu.generate``.

Every entry of the registries in ``nn/`` and ``optim/`` is traced with symbols. The result is committed, so building the
engine needs no tracing; ``tests/engine/test_generated.py`` compares it with the registries.
"""

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gpubp._core.names import Parametric
from gpubp.engine.cpu.loops_in_c import DTYPE, LoopCode
from gpubp.engine.cpu.settings import FACTORS_OF_ENGINE, with_factors
from gpubp.engine.tracing import symbols
from gpubp.engine.tracing.expressions import indented
from gpubp.engine.tracing.optimizers import update_code
from gpubp.engine.tracing.symbols import Inexpressible, Symbol
from gpubp.nn.activations import ACTIVATIONS, Activation
from gpubp.nn.losses import LOSSES, Loss
from gpubp.optim.first_order import OPTIMIZERS, Optimizer
from gpubp.optim.wrappers import DECAY_FACTORS, decayed

COMMAND = "python -m gpubp.engine.cpu.generate"
PATH = Path(__file__).parent / "c" / "generated" / "functions.h"
AT_TOTAL_INPUTS = " at total inputs"
STATE_ARRAYS = ("first", "second")

HEAD = f"""\
/* Written by `{COMMAND}` from gpubp/nn/ and gpubp/optim/: do not edit. */
"""
VALUE = "real parameter, integer b, integer j, integer stride, const real* x, real* y"
DERIVATIVE = (
    "real parameter, integer b, integer j, integer stride, const real* x, const real* y, real* dE, integer dE_stride"
)
LOSS = (
    "real parameter, integer b, integer j, integer stride, const real* x, real* y, const real* targets, "
    "const real* weights, real* dE, real* workspace"
)
UPDATE = (
    "integer n_rows, integer n_columns, integer stride, real* thetas, const real* gradients, real* first, "
    "real* second, const real* rate_factors, const real* decay_factors, real l2, real scale, const real* settings"
)
CELLS = {
    "x_i": "x[c * stride + i]",
    "y_i": "y[c * stride + i]",
    "target": "targets[c * stride + i]",
    "dE_i": "dE[c * stride + i]",
    "p": "parameter",
}
WORKSPACE = "workspace[c * j + i]"
ROWS = """\
const integer flat = {condition}, rows = flat ? 1 : b, columns = flat ? b * j : j;
"""
TABLE = """\
static const struct {{
    const char* name;
    void* function;
}} generated[] = {{
{rows}}};
"""
UPDATE_LOOPS = """\
if (stride == n_columns) {{
    n_columns *= n_rows;
    n_rows = 1;
}}
const real s[] = {{{settings}}};
for (integer row = 0; row < n_rows; ++row) {{
    ELEMENTWISE_LOOP
    for (integer i = 0; i < n_columns; ++i) {{
        const real own_theta = thetas[row * stride + i];
        const real own_gradient = (gradients[row * n_columns + i] + l2 * own_theta) * scale;
{factors}
{statements}
        thetas[row * stride + i] = new_theta;
{stores}
    }}
}}"""


def generated() -> str:
    """Write the functions, and their table."""
    functions = dict[str, str]()  # by kind and name, such as "value tanh"
    for name in ACTIVATIONS:
        activation: Activation = _made(ACTIVATIONS[name])
        functions[f"value {name}"] = _value(f"value {name}", activation)
        functions[f"derivative {name}"] = _derivative(f"derivative {name}", activation)
    for name in LOSSES:
        loss: Loss = _made(LOSSES[name])
        forms = {name: _at_outputs}
        if loss.at_total_inputs is not None:
            forms[name + AT_TOTAL_INPUTS] = _at_total_inputs
        for form, results in forms.items():
            functions[f"loss {form}"] = _loss(f"loss {form}", *results(loss))
    for optimizer in _optimizers():
        functions[f"update {optimizer.name}"] = _update(f"update {optimizer.name}", optimizer)
    rows = [f'    {{"{name}", (void*){_identifier(name)}}},\n' for name in functions]
    return "\n".join([HEAD, *functions.values(), TABLE.format(rows="".join(rows))])


def _identifier(name: str) -> str:
    return re.sub(r"\W", "_", name)


def _made(entry: Any) -> Any:
    """Return an entry of a registry, with its parameter as a variable in C."""
    if not isinstance(entry, Parametric):
        return entry
    if entry.is_variadic:
        return entry.make()
    if len(entry.ranges) != 1:
        raise Inexpressible(f"one parameter is possible, got {', '.join(entry.ranges)}")
    return entry.make(symbols.variable("p", DTYPE, per_unit=False))


def _optimizers() -> Iterator[Optimizer]:
    for make in OPTIMIZERS.values():
        for optimizer in (make(), decayed(make(), 0.0)):
            for factors in FACTORS_OF_ENGINE:
                if DECAY_FACTORS not in factors or "weight_decay" in optimizer.settings:
                    yield with_factors(optimizer, factors)


# --- layers ---


def _value(name: str, activation: Activation) -> str:
    code, y = LoopCode(CELLS), CELLS["y_i"]
    body = code.loops({y: activation.value(symbols, symbols.variable("x_i", DTYPE))}, {y: "x_i"})
    return _function(name, VALUE, body)


def _derivative(name: str, activation: Activation) -> str:
    cells = CELLS | {"dE_i": "dE[c * dE_stride + i]"}
    dE_dx = activation.dE_dx(symbols, *(symbols.variable(cell, DTYPE) for cell in ("dE_i", "x_i", "y_i")))
    return _function(name, DERIVATIVE, LoopCode(cells).loops({cells["dE_i"]: dE_dx}, {}))


def _at_outputs(loss: Loss) -> tuple[Symbol, Symbol, tuple[str, ...]]:
    """Return the loss of an output, its derivative, and the arrays that both may be computed in."""
    y, targets = symbols.variable("y_i", DTYPE), symbols.variable("target", DTYPE)
    return loss.value(symbols, y, targets), loss.dE_dy(symbols, y, targets), (CELLS["dE_i"], WORKSPACE)


def _at_total_inputs(loss: Loss) -> tuple[Symbol, Symbol, tuple[str, ...]]:
    x, targets = symbols.variable("x_i", DTYPE), symbols.variable("target", DTYPE)
    assert loss.at_total_inputs is not None
    return *loss.at_total_inputs(symbols, x, targets), (CELLS["dE_i"], CELLS["y_i"], WORKSPACE)


def _loss(name: str, value: Symbol, derivative: Symbol, arrays: tuple[str, ...]) -> str:
    body = LoopCode(CELLS).loops({WORKSPACE: value, CELLS["dE_i"]: derivative}, dict.fromkeys(arrays))
    return _function(name, LOSS, f"{body}\nreturn weighted_loss(b, j, workspace, weights, dE, stride);", "double")


# --- optimizers ---


def _update(name: str, optimizer: Optimizer) -> str:
    update = update_code(optimizer, DTYPE, lambda k: f"{STATE_ARRAYS[k]}[row * stride + i]", LoopCode)
    stores = [f"{STATE_ARRAYS[k]}[row * stride + i] = new_{k};" for k in range(len(update.parts))]
    factors = [f"const real own_{name} = {name}[row * stride + i];" for name in update.factors]
    body = UPDATE_LOOPS.format(
        settings=", ".join(f"settings[{k}]" for k in range(len(update.settings))),
        factors=indented("\n".join(factors), 8),
        statements=indented(update.statements.replace("settings[", "s["), 8),
        stores=indented("\n".join(stores), 8),
    )
    return _function(name, UPDATE, body)


# --- functions ---


def _function(name: str, parameters: str, body: str, returned: str = "void") -> str:
    conditions = [f"{stride} == j" for stride in ("stride", "dE_stride") if f", integer {stride}" in parameters]
    if "< columns" in body:
        body = ROWS.format(condition=" && ".join(conditions)) + body
    unused = [word for word in re.findall(r"(\w+)(?:,|$)", parameters) if not re.search(rf"\b{word}\b", body)]
    ignored = "".join(f"(void){word};\n" for word in unused)
    body = "\n".join(line for line in (ignored + body).splitlines() if line.strip())
    head = textwrap.fill(f"static {returned} {_identifier(name)}({parameters}) {{", 120, subsequent_indent=" " * 8)
    return f"{head}\n{indented(body, 4)}\n}}\n"


if __name__ == "__main__":
    PATH.write_text(generated(), encoding="utf-8", newline="\n")
