"""The table of tolerances."""

from typing import NamedTuple


class Tolerance(NamedTuple):
    """Two values agree if ``|actual - expected| <= atol + rtol * |expected|``; ``reason`` justifies the numbers.

    Examples
    --------
    >>> TOLERANCES["elementwise", "float64"].rtol
    1e-14
    """

    rtol: float
    atol: float
    reason: str


TOLERANCES: dict[tuple[str, str], Tolerance] = {
    ("elementwise", "float64"): Tolerance(1e-14, 1e-14, "45 units in the last place; observed 5e-16, with noise 3e-15"),
    ("elementwise", "float32"): Tolerance(2e-6, 2e-6, "17 units in the last place; observed 2e-7, with noise 1.4e-6"),
    ("forward", "float64"): Tolerance(1e-13, 1e-13, "sums of up to 100 products; observed 2e-15, with noise 5e-15"),
    ("forward", "float32"): Tolerance(1e-5, 1e-5, "sums of up to 100 products; observed 4e-7, with noise 3e-6"),
    ("gradient", "float64"): Tolerance(1e-13, 1e-13, "sums over samples of those; observed 3e-15, with noise 2e-14"),
    ("gradient", "float32"): Tolerance(1e-5, 1e-5, "sums over samples of those; observed 9e-7, with noise 6e-6"),
    ("differences", "float64"): Tolerance(
        1e-7, 1e-7, "the step's square, 4e-11, times third derivatives; observed 4e-9"
    ),
    ("steps", "float64"): Tolerance(1e-12, 1e-12, "rounding grown over 100 changes; observed 3e-15, with noise 4e-14"),
    ("steps", "float32"): Tolerance(1e-4, 1e-4, "rounding grown over 100 changes; observed 4e-6, with noise 2e-5"),
    ("fit", "float64"): Tolerance(1e-12, 1e-12, "rounding grown over 100 changes; observed 3e-16, with noise 2e-15"),
    ("fit", "float32"): Tolerance(1e-4, 1e-4, "rounding grown over 100 changes; observed 2e-7, with noise 8e-7"),
    ("forward tf32", "float32"): Tolerance(
        1.5e-2, 1.5e-2, "with noise 2e-4; if a GPU truncates instead of rounding, 5e-3"
    ),
    ("forward bfloat16", "float32"): Tolerance(5e-3, 5e-3, "noise that rounds the other way: a step of 2^-8; 1.4e-3"),
    ("forward float16", "float32"): Tolerance(1e-3, 1e-3, "noise that rounds the other way: a step of 2^-11; 1.9e-4"),
    ("gradient tf32", "float32"): Tolerance(
        2e-2, 2e-2, "with noise 6e-4; if a GPU truncates instead of rounding, 7e-3"
    ),
    ("gradient bfloat16", "float32"): Tolerance(1.5e-2, 1.5e-2, "sums over samples of those; with noise 4e-3"),
    ("gradient float16", "float32"): Tolerance(2e-3, 2e-3, "sums over samples of those; with noise 5e-4"),
    ("steps tf32", "float32"): Tolerance(1e-2, 1e-2, "with noise 1.1e-4; if a GPU truncates instead of rounding, 3e-3"),
    ("steps bfloat16", "float32"): Tolerance(3e-3, 3e-3, "rounding grown over 100 changes; with noise 9e-4"),
    ("steps float16", "float32"): Tolerance(6e-4, 6e-4, "rounding grown over 100 changes; with noise 1.7e-4"),
}
"""How far two devices may differ, by the kind of comparison and the dtype. No other place contains such numbers.

The reasons give the largest differences found, relative to ``1 + |expected|``. "observed" is between NumPy and torch on
a CPU, in the comparisons of :func:`gpubp.testing.comparisons`. "with noise" is the same against a NumPy whose every
exponential, logarithm, root, sum and product is off by a random part of 2 units in the last place. "differences"
compares the gradient with central differences of the loss. A format's name means matrix products in that format
(``matmul_precision``), over 50 draws of the data; cuBLAS converts float32 to TF32 itself, by rounding or truncation.
Optimizers that divide by the size of the gradient let rounding errors grow without bound once a weight has converged;
the comparisons end before that.

Examples
--------
>>> from gpubp.testing import TOLERANCES
>>> TOLERANCES["gradient", "float32"].rtol
1e-05
"""
