"""Import libraries that gpubp does not require, when they are first needed."""

import importlib
from typing import Any

from gpubp._core.installation import install_command
from gpubp.errors import GpubpError


def import_optional(
    module: str, purpose: str, library: str, packages: str = "", error: type[GpubpError] = GpubpError, extra: str = ""
) -> Any:
    """Import a module; say what needs it, and how to install it, if it is missing.

    Parameters
    ----------
    module : str
    purpose : str
        What needs it, for the message.
    library : str
        The name of the library.
    packages : str
        The names of its packages, if they are not that of the library.
    error : type
        The exception to raise.
    extra : str
        The extra of gpubp that has the packages, if the message is to install it.

    Examples
    --------
    >>> import_optional("no_such_module", "flying", "wings")
    Traceback (most recent call last):
        ...
    gpubp.errors.GpubpError: flying needs wings: pip install wings
    """
    try:
        return importlib.import_module(module)
    except ImportError as missing:
        raise error(f"{purpose} needs {library}: {install_command(packages or library, extra)}") from missing
