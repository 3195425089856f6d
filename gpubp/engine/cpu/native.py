"""What compiled code needs and numba has not: calls by address, SciPy's BLAS, pointers, and atomic operations.

An address is a plain number, so one compiled function serves every network, whatever functions it is given.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import get_cython_function_address, intrinsic, register_jitable
from numba.np.arrayobj import make_array

GEMM = {
    "float32": get_cython_function_address("scipy.linalg.cython_blas", "sgemm"),
    "float64": get_cython_function_address("scipy.linalg.cython_blas", "dgemm"),
}
"""Where Fortran's product of matrices is, by precision."""


def _pass_by_value(context: Any, builder: Any, kind: Any, value: Any) -> Any:
    if isinstance(kind, types.Array):
        return builder.bitcast(make_array(kind)(context, builder, value).data, ir.IntType(8).as_pointer())
    return value


def _pass_by_reference(context: Any, builder: Any, kind: Any, value: Any) -> Any:
    if isinstance(kind, types.Integer):
        value = builder.trunc(value, ir.IntType(32))  # the integers of SciPy's BLAS
    if isinstance(kind, types.Integer | types.Float):
        return cgutils.alloca_once_value(builder, value)
    return _pass_by_value(context, builder, kind, value)


def _caller(passed: Callable[..., Any], returned: Any, result: Any) -> Callable[..., Any]:
    def call(typingctx: Any, address: Any, arguments: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            kinds = enumerate(signature.args[1])
            given = [passed(context, builder, kind, builder.extract_value(values[1], k)) for k, kind in kinds]
            function = ir.FunctionType(returned, [value.type for value in given])
            answer = builder.call(builder.inttoptr(values[0], function.as_pointer()), given)
            return answer if result is not types.void else context.get_dummy_value()

        return result(types.int64, arguments), generate

    made: Callable[..., Any] = intrinsic(call)
    return made


call = _caller(_pass_by_value, ir.DoubleType(), types.float64)
"""``call(address, arguments)``: call a function of C that returns a double; arrays go in as pointers."""

call_fortran = _caller(_pass_by_reference, ir.VoidType(), types.void)
"""``call_fortran(address, arguments)``: call a subroutine of Fortran; numbers go in by reference."""

AS_IS, TRANSPOSED = ord("N"), ord("T")


@register_jitable
def multiply(gemm, m, n, k, a, a_form, a_step, b, b_form, b_step, number, kept, c, c_step):
    """Set ``c``, (m, n), to ``a``, (m, k), times ``b``, (k, n), and ``kept`` times what ``c`` was.

    A matrix may be given transposed, and as a part of a larger one: a step leads from one of its rows to the next.
    ``number`` is their type. Fortran sees rows as columns, and so makes the transposed product of the transposed
    matrices.
    """
    call_fortran(gemm, (b_form, a_form, n, m, k, number(1.0), b, b_step, a, a_step, number(kept), c, c_step))


@intrinsic
def pointer_to(typingctx: Any, address: Any, example: Any) -> Any:
    """Make a pointer to numbers like those of ``example``, an array, from an address."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.inttoptr(values[0], context.get_value_type(signature.return_type))

    return types.CPointer(example.dtype)(types.int64, example), generate


@intrinsic
def address_of(typingctx: Any, array: Any) -> Any:
    """Give the address of an array's first number."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.ptrtoint(make_array(signature.args[0])(context, builder, values[0]).data, ir.IntType(64))

    return types.int64(array), generate


@intrinsic
def address_at(typingctx: Any, pointer: Any) -> Any:
    """Give the address that a pointer holds."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.ptrtoint(values[0], ir.IntType(64))

    return types.int64(pointer), generate


def _atomic(emit: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    """Make an atomic operation on one number of an array of int64."""

    def operation(typingctx: Any, array: Any, at: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            data = make_array(signature.args[0])(context, builder, values[0]).data
            return emit(builder, builder.gep(data, [values[1]]))

        return types.int64(array, types.int64), generate

    made: Callable[..., Any] = intrinsic(operation)
    return made


add_one = _atomic(lambda builder, place: builder.atomic_rmw("add", place, ir.Constant(ir.IntType(64), 1), "seq_cst"))
read = _atomic(lambda builder, place: builder.load_atomic(place, "seq_cst", 8))


@intrinsic
def exchange_if(typingctx: Any, array: Any, at: Any, expected: Any, new: Any) -> Any:
    """Set one number of an array of int64, atomically, if it is what is expected; tell whether it was."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        place = builder.gep(make_array(signature.args[0])(context, builder, values[0]).data, [values[1]])
        return builder.extract_value(builder.cmpxchg(place, values[2], values[3], "seq_cst", "seq_cst"), 1)

    return types.boolean(array, types.int64, types.int64, types.int64), generate
