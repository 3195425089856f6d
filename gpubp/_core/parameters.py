"""The parameters of an estimator in scikit-learn's way: the arguments of ``__init__``, kept as they are."""

from collections.abc import Mapping
from typing import Any


def keep_parameters(estimator: Any, arguments: Mapping[str, Any]) -> None:
    """Set each argument of ``__init__``, given as ``locals()``, as an attribute."""
    for name, value in arguments.items():
        if name not in ("self", "__class__"):
            setattr(estimator, name, value)
