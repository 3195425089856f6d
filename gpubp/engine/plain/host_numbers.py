"""Settings of an optimizer that have a number for each network, in the precision of the host."""

import operator
from collections.abc import Callable
from numbers import Real
from typing import Any

import numpy as np

from gpubp._typing import Array

Operator = Callable[["HostNumbers", Any], Any]


def _operator_pair(name: str) -> tuple[Operator, Operator]:
    function = getattr(operator, name)
    return lambda a, b: a.combined(function, b), lambda a, b: a.combined(lambda one, other: function(other, one), b)


class HostNumbers:
    """Numbers that the host computes with in float64; only what meets an array is rounded, and moved to its device.

    So ``1 - beta`` has all digits in float32 too, as it does if a setting is one Python number for all networks.

    Parameters
    ----------
    numbers : (K, 1) array of NumPy
    to_device : callable
        Moves such an array to the device, in the precision of the computation.
    """

    __array_ufunc__ = None  # arrays of NumPy leave the operators to this class, as other libraries' arrays do

    def __init__(self, numbers: np.ndarray, to_device: Callable[[np.ndarray], Array]) -> None:
        self.numbers, self.to_device = np.asarray(numbers, "float64"), to_device

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape, by which a setting is known to have a number for each network."""
        return self.numbers.shape

    def combined(self, function: Callable[[Any, Any], Any], other: Any) -> Any:
        """Combine with a number, with numbers of the host, or with an array of the device."""
        if isinstance(other, HostNumbers):
            other = other.numbers
        elif not isinstance(other, Real):
            return function(self.to_device(self.numbers), other)
        return HostNumbers(function(self.numbers, other), self.to_device)

    __add__, __radd__ = _operator_pair("add")
    __sub__, __rsub__ = _operator_pair("sub")
    __mul__, __rmul__ = _operator_pair("mul")
    __truediv__, __rtruediv__ = _operator_pair("truediv")
    __pow__, __rpow__ = _operator_pair("pow")

    def __neg__(self) -> "HostNumbers":
        return HostNumbers(-self.numbers, self.to_device)
