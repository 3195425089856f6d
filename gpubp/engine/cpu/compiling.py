"""From equations to compiled loops, each compiled when it is first asked for, kept on disk, and called by its address.

An equation is given :mod:`gpubp.engine.cpu.scalar` as its array library, and so becomes a function of single numbers; a
loop over it is one pass over memory.
"""

import hashlib
import logging
import re
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from types import FunctionType
from typing import Any, NamedTuple

import numpy as np
from numba import cfunc, njit, types
from numba.extending import overload

from gpubp.nn import activations, equations, losses
from gpubp.optim import first_order

logger = logging.getLogger("gpubp")

_SOURCES = [Path(str(module.__file__)) for module in (activations, first_order, equations, losses)]
_DIGEST = hashlib.sha256(
    b"".join(path.read_bytes() for path in [*_SOURCES, *sorted(Path(__file__).parent.glob("*.py"))])
).hexdigest()[:12]

REAL = {"float32": types.float32, "float64": types.float64}


class Loop(NamedTuple):
    """Where a compiled loop is, and the equation's parameter, 0 where it has none."""

    address: int
    parameter: float


# --- from equations to loops ---


def compiled(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    """Compile a function on its first use, and keep it on disk where there is a place.

    It may neither make arrays nor return them: it counts no references to those that it is given, whose atomic counts
    take longer than all else in a step of a small network. Whoever calls it holds them.
    """
    _name_by_sources(function)
    options = {"nogil": True, "error_model": "numpy", "_nrt": False, **options}
    try:
        made: Callable[..., Any] = njit(cache=True, **options)(function)
    except RuntimeError:  # no place
        made = njit(**options)(function)
    return made


def _name_by_sources(function: Callable[..., Any], *names: str) -> None:
    """Name a function, and so its file on disk, by what it was made of, and by all that tells it from others like it.

    Numba asks itself only whether one source file is new, and two processes that write functions of one name at once
    can give each the other's code.
    """
    function.__qualname__ = ".".join([function.__qualname__, *names, _DIGEST])


@cache
def _tell_that_it_compiles() -> None:
    logger.info(
        "compiling for this CPU, for some seconds; what is compiled is kept on disk (gpubp warmup does it ahead)"
    )


_alive: list[Any] = []  # what is called by address must not be let go


def address_of_loop(loop: Callable[..., float], names: tuple[str, ...], *kinds: Any) -> int:
    """Compile a loop as a function of C that returns a double; ``names`` tell it from other loops."""
    if loop.__closure__ is None:  # one function, for both precisions
        loop = FunctionType(loop.__code__, loop.__globals__, loop.__name__)
        loop.__qualname__ = loop.__name__
    _name_by_sources(loop, *(re.sub(r"\W", "_", name) for name in names))
    signature = types.float64(*kinds)
    try:
        made = cfunc(signature, cache=True, error_model="numpy")(loop)
    except RuntimeError:  # no place on disk
        made = cfunc(signature, error_model="numpy")(loop)
    if not made.cache_hits:
        _tell_that_it_compiles()
    _alive.append(made)
    return int(made.address)


def _for_numbers(function: FunctionType, single: bool) -> FunctionType:
    """Copy a function for numba: its options taken by position, and for single precision its constants rounded to it.

    Array libraries take constants in the precision of the arrays beside them; numba would take them in its own.
    """
    code = function.__code__
    constants = tuple(np.float32(c) if single and isinstance(c, float) else c for c in code.co_consts)
    n_arguments = code.co_argcount + code.co_kwonlyargcount
    code = code.replace(co_consts=constants, co_argcount=n_arguments, co_kwonlyargcount=0)
    around = function.__globals__
    for name in code.co_names:  # functions beside it that it calls
        called = around.get(name)
        if isinstance(called, FunctionType) and called.__module__ == function.__module__:
            compilable(called)
    if single:
        around = {name: np.float32(value) if isinstance(value, float) else value for name, value in around.items()}
    return FunctionType(code, around, function.__name__, function.__defaults__, function.__closure__)


@cache
def compilable(equation: Any) -> Any:
    """Let compiled code call an equation."""

    @overload(equation, strict=False)
    def typed(*arguments: Any) -> Any:
        return _for_numbers(equation, single=types.float32 in arguments)

    return equation


for _equation in (equations.logistic, equations.logistic_dE_dx):
    compilable(_equation)  # called by other equations, through the module


def with_parameter(equation: Any) -> tuple[Any, float, bool]:
    """Take an equation and its parameter apart; whether it has one."""
    if not isinstance(equation, partial):
        return compilable(equation), 0.0, False
    (parameter,) = equation.keywords.values()
    return compilable(equation.func), float(parameter), True
