"""Find the installed distributions of CuPy; there must be at most one."""

import re

from gpubp.backends.probe import install_command


def cupy_wheels() -> list[str]:
    """List the installed distributions that contain a ``cupy`` package; there must be at most one."""
    from importlib.metadata import distributions  # which loads slowly

    names = (distribution.metadata["Name"] for distribution in distributions())
    normal = {re.sub(r"[-_.]+", "-", name).lower() for name in names if name}
    return sorted(name for name in normal if re.fullmatch(r"cupy(-cuda\d+x?|-rocm-[\d-]+)?|amd-cupy", name))


def reinstall_command(wheels: list[str]) -> str:
    """Compose the command that removes every CuPy and installs the one that fits this machine."""
    return f"pip uninstall -y {' '.join(wheels) or 'cupy'} && {install_command()}"


def describe_duplicates(wheels: list[str]) -> str:
    """Describe which distributions are installed over each other."""
    return f"{len(wheels)} are installed over each other: {', '.join(wheels)}; there must be one"
