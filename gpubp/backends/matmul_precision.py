"""Matrix products in reduced precision: operands are rounded, and the products are summed in float32.

The namespace is wrapped in one whose ``matmul`` rounds its operands. Parameters, activations, losses, sums and updates
stay in float32. So the precision of a GPU's tensor cores can be tried on any device.
"""

from typing import NamedTuple

import array_api_compat

from gpubp._typing import Array, Namespace
from gpubp.backends.tf32_matmul import has_tf32, matmul_in_tf32
from gpubp.backends.wrapped_namespace import WrappedNamespace


class FloatFormat(NamedTuple):
    """A binary floating-point format whose numbers are all float32 numbers."""

    bits: int  # explicit bits of the significand
    smallest_exponent: int = -126  # of a normal number; below it the spacing stays the same
    largest: float = float(2**128 - 2**104)  # finite number; what would round to a larger one becomes infinite


FORMATS = {
    "tf32": FloatFormat(bits=10),
    "bfloat16": FloatFormat(bits=7),
    "float16": FloatFormat(bits=10, smallest_exponent=-14, largest=65504.0),
}
MATMUL_PRECISIONS = ("float32", *FORMATS)
"""The values of ``matmul_precision``. "float32" does not round."""

_BITS = 23  # explicit bits of float32's significand


class RoundedMatmul(WrappedNamespace):
    """An array namespace whose ``matmul`` rounds its operands and sums the products in float32.

    Rounding is to nearest, ties to even (IEEE 754). The product of two rounded numbers is exact in float32.

    Parameters
    ----------
    xp : namespace
    precision : str
        A key of :data:`FORMATS`.
    """

    def __init__(self, xp: Namespace, precision: str) -> None:
        super().__init__(xp)
        self.precision = precision

    def matmul(self, a: Array, b: Array) -> Array:
        """Multiply float32 matrices ``(..., n, k)`` and ``(..., k, m)`` into ``(..., n, m)``."""
        if array_api_compat.is_cupy_namespace(self.plain):
            return _matmul_of_cupy(self.plain, self.precision, a, b)
        return self.plain.matmul(rounded(self.plain, a, self.precision), rounded(self.plain, b, self.precision))


def rounded(xp: Namespace, x: Array, precision: str) -> Array:
    """Round a float32 array to the numbers of a format, to nearest, ties to even.

    Parameters
    ----------
    x : float32 array of any shape
    precision : str
        A key of :data:`FORMATS`.

    Returns
    -------
    float32 array of the same shape

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
    dropped = _BITS - FORMATS[precision].bits
    bits = x.view(xp.int32)
    up = (1 << (dropped - 1)) - 1 + ((bits >> dropped) & 1)  # half of the last bit that stays; ties go to even
    return xp.where(xp.isfinite(x), ((bits + up) & -(1 << dropped)).view(xp.float32), x)


def rounded_by_arithmetic(xp: Namespace, x: Array, precision: str) -> Array:
    """Do the same as :func:`rounded` with the Array API standard alone, which has no bit views and no float16."""
    n_bits, smallest_exponent, largest = FORMATS[precision]
    size = xp.abs(x)
    lift = xp.where(size < 1.0, xp.full_like(x, 2.0**127), xp.ones_like(x))
    size = size * lift
    power = xp.ones_like(x)  # becomes the largest power of two that is not above ``size``
    for exponent in (64, 32, 16, 8, 4, 2, 1):
        larger = power * 2.0**exponent
        power = xp.where(larger <= size, larger, power)
    power = xp.maximum(power / lift, xp.full_like(x, 2.0**smallest_exponent))
    spacing = power * 2.0**-n_bits
    nearest = xp.round(x / spacing) * spacing
    return nearest * xp.where(xp.abs(nearest) > largest, xp.full_like(x, xp.inf), xp.ones_like(x))


def _matmul_of_cupy(xp: Namespace, precision: str, a: Array, b: Array) -> Array:
    """Multiply on tensor cores if the GPU has TF32.

    cuBLAS then rounds to TF32 itself and sums in float32. CuPy offers no product of bfloat16 or float16 that is summed
    in float32; but numbers rounded to these formats are TF32 numbers too, so their TF32 product is exact.
    """
    in_tf32 = has_tf32(a)
    if precision != "tf32" or not in_tf32:
        a, b = rounded(xp, a, precision), rounded(xp, b, precision)
    return matmul_in_tf32(xp, a, b) if in_tf32 else xp.matmul(a, b)
