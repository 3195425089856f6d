"""Public names of a package that are loaded when they are first used, so that importing the package takes no time."""

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any


def load_on_first_use(
    package: str, public: Mapping[str, Iterable[str]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return the functions ``__getattr__`` and ``__dir__`` of a package.

    Parameters
    ----------
    package : str
        Its name, ``__name__`` in its ``__init__.py``.
    public : mapping
        From the name of a module within the package to the public names that this module has.
    """
    module_of = {name: module for module, names in public.items() for name in names}

    def load(name: str) -> Any:
        if name not in module_of:
            if not name.startswith("_") and importlib.util.find_spec(f"{package}.{name}") is not None:
                return importlib.import_module(f"{package}.{name}")  # as if the package had imported it
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(f"{package}.{module_of[name]}"), name)
        setattr(sys.modules[package], name, value)
        return value

    def listed() -> list[str]:
        return sorted([*module_of, *(name for name in vars(sys.modules[package]) if name.startswith("__"))])

    return load, listed
