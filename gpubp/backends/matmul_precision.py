"""Products of matrices in lower precision than everything around them: operands rounded, products summed in float32.

A namespace is wrapped whose ``matmul`` rounds; parameters, units, errors, sums and updates stay float32. What a GPU's
tensor cores would learn is so seen on any device.
"""

import sys
from typing import Any, NamedTuple

import array_api_compat

from gpubp._typing import Array, Namespace


class FloatFormat(NamedTuple):
    """A binary format for operands, as a part of float32."""

    kept: int  # explicit bits of the significand
    smallest_exponent: int = -126  # of a normal number; below it the spacing stays the same
    largest: float = float(2**128 - 2**104)  # finite number; what is rounded beyond it is infinite


FORMATS = {
    "tf32": FloatFormat(kept=10),
    "bfloat16": FloatFormat(kept=7),
    "float16": FloatFormat(kept=10, smallest_exponent=-14, largest=65504.0),
}
MATMUL_PRECISIONS = ("float32", *FORMATS)
"""What ``matmul_precision`` may be; "float32" is the precision of the arrays, whatever that is: nothing is rounded."""

_BITS = 23  # explicit bits of float32's significand


class RoundedMatmul:
    """An array namespace whose ``matmul`` rounds its operands and sums the products in float32.

    Rounding is to nearest, ties to even, as IEEE 754 has it; the product of two rounded numbers is exact in float32.
    """

    def __init__(self, xp: Namespace, precision: str) -> None:
        self.plain = xp
        self.precision = precision

    def __getattr__(self, name: str) -> Any:
        """Give everything else as the namespace has it."""
        return getattr(self.plain, name)

    def matmul(self, a: Array, b: Array) -> Array:
        """Multiply matrices ``(..., n, k)`` and ``(..., k, m)`` of float32."""
        if array_api_compat.is_cupy_namespace(self.plain):
            return _matmul_of_cupy(self.plain, self.precision, a, b)
        return self.plain.matmul(rounded(self.plain, a, self.precision), rounded(self.plain, b, self.precision))


def plain_namespace(xp: Namespace) -> Namespace:
    """Find the namespace that arrays are of, without another ``matmul``."""
    return xp.plain if isinstance(xp, RoundedMatmul) else xp


def rounded(xp: Namespace, x: Array, precision: str) -> Array:
    """Round an array of float32 to the numbers of a format, to nearest, ties to even; it stays float32.

    Examples
    --------
    >>> import numpy as np
    >>> rounded(np, np.asarray([1.00390625, 1.01171875], dtype="float32"), "bfloat16")
    array([1.      , 1.015625], dtype=float32)
    """
    if not hasattr(x, "view"):
        return rounded_by_arithmetic(xp, x, precision)
    if precision == "float16":
        return xp.astype(xp.astype(x, xp.float16), xp.float32)
    dropped = _BITS - FORMATS[precision].kept
    bits = x.view(xp.int32)
    up = (1 << (dropped - 1)) - 1 + ((bits >> dropped) & 1)  # half of what is kept last, and ties to even
    return xp.where(xp.isfinite(x), ((bits + up) & -(1 << dropped)).view(xp.float32), x)


def rounded_by_arithmetic(xp: Namespace, x: Array, precision: str) -> Array:
    """Do what :func:`rounded` does with the Array API standard alone, which has no view of bits and no float16."""
    kept, smallest_exponent, largest = FORMATS[precision]
    size = xp.abs(x)
    lift = xp.where(size < 1.0, xp.full_like(x, 2.0**127), xp.ones_like(x))
    size = size * lift
    power = xp.ones_like(x)  # the largest power of two that is no larger
    for exponent in (64, 32, 16, 8, 4, 2, 1):
        larger = power * 2.0**exponent
        power = xp.where(larger <= size, larger, power)
    power = xp.maximum(power / lift, xp.full_like(x, 2.0**smallest_exponent))
    spacing = power * 2.0**-kept
    nearest = xp.round(x / spacing) * spacing
    return nearest * xp.where(xp.abs(nearest) > largest, xp.full_like(x, xp.inf), xp.ones_like(x))


def _matmul_of_cupy(xp: Namespace, precision: str, a: Array, b: Array) -> Array:
    """Multiply on tensor cores, where there are any for this: cuBLAS rounds to TF32 itself, and sums in float32.

    CuPy gives bfloat16 and float16 no sums in float32. Numbers rounded to them are TF32 numbers too, so that the TF32
    product of these is exact.
    """
    has_tf32 = int(a.device.compute_capability) >= 80
    if precision != "tf32" or not has_tf32:
        a, b = rounded(xp, a, precision), rounded(xp, b, precision)
    if not has_tf32:
        return xp.matmul(a, b)
    core = sys.modules["cupy"]._core
    before = core.get_compute_type("float32")
    core.set_compute_type("float32", core._routines_linalg.COMPUTE_TYPE_TF32)
    try:
        return xp.matmul(a, b)
    finally:
        core.set_compute_type("float32", before)
