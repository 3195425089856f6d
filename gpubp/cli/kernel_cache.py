"""Where CuPy keeps its compiled kernels."""

import os
from pathlib import Path
from typing import Literal, NamedTuple

from gpubp._core.text import size_in_words


class KernelCache(NamedTuple):
    """The cache of CuPy's compiled kernels."""

    kind: Literal["folder", "memory", "unwritable"]
    description: str


def find_kernel_cache() -> KernelCache:
    """Find the folder of CuPy's compiled kernels, and count them."""
    if os.environ.get("CUPY_CACHE_IN_MEMORY") == "1":
        return KernelCache("memory", "in memory only (CUPY_CACHE_IN_MEMORY): every start compiles again")
    folder = Path(os.environ.get("CUPY_CACHE_DIR") or "~/.cupy/kernel_cache").expanduser()
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not (existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)):
        return KernelCache("unwritable", f"{existing} is not writable: every start compiles again, or fails")
    if existing != folder:
        return KernelCache("folder", f"{folder}, which does not exist yet: the first run compiles for some seconds")
    with os.scandir(folder) as entries:
        sizes = [entry.stat().st_size for entry in entries if entry.is_file()]
    return KernelCache("folder", f"{folder}, {len(sizes)} kernels, {size_in_words(sum(sizes))}")
