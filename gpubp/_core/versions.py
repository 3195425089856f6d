"""Versions of what is installed; and files of newer versions of gpubp: how they are recognized, what an error says."""

import platform
import re
from contextlib import suppress
from typing import Any

from gpubp._core.text import excerpt
from gpubp._version import __version__


def installed_versions(*packages: str) -> dict[str, str]:
    """Return the versions of gpubp, Python, and the packages that are installed.

    Examples
    --------
    >>> list(installed_versions("numpy", "no-such-package"))
    ['gpubp', 'Python', 'numpy']
    """
    from importlib.metadata import PackageNotFoundError, version  # which load slowly

    versions = {"gpubp": __version__, "Python": platform.python_version()}
    for package in packages:
        with suppress(PackageNotFoundError):
            versions[package] = version(package)
    return versions


def is_newer(version: str) -> bool:
    """Return whether a version, as a file names it, is newer than this one.

    Examples
    --------
    >>> is_newer("1000.0"), is_newer("0.0.1"), is_newer("?")
    (True, False, False)
    """
    return _numbers(version) > _numbers(__version__)


def _numbers(version: str) -> list[int]:
    found = re.match(r"\d{1,9}(\.\d{1,9}){0,9}", version, flags=re.ASCII)
    return [int(number) for number in found[0].split(".")] if found else []


def newer_format(number: int, version: Any, newest: int) -> str:
    """Describe a file of a newer format than the newest that this version reads, as a predicate.

    Parameters
    ----------
    number, newest : int
        Its format, and the newest that is read.
    version : str
        The version of gpubp that wrote it, which may be anything in a forged file.

    Examples
    --------
    >>> newer_format(9, "1000.0", 3).partition("; ")[0]
    'has the format 9, from gpubp 1000.0'
    """
    written_by = f"has the format {excerpt(str(number), 40)}, from gpubp {excerpt(str(version), 40)}"
    return f"{written_by}; gpubp {__version__} reads up to {newest}. Upgrade gpubp to read it"
