"""Names for types that the Array API standard leaves open."""

from types import ModuleType
from typing import Any

Array = Any
"""An array of any namespace that implements the Array API standard."""

Namespace = ModuleType | Any
"""The module that implements the standard for an array, as array-api-compat wraps it."""

Device = Any
"""A device as its namespace names it: ``"cpu"``, ``cupy.cuda.Device(0)``, ``torch.device("cuda:0")``, ..."""
