"""Pure functions compiled as a whole, with the array libraries that can, such as JAX.

Otherwise JAX compiles each operation for each shape, and starts one after the other. Only gpubp's own equations and
optimizers are compiled: a user's function may look at the numbers of arrays, which have none while it is compiled.
"""

from collections.abc import Callable, Hashable
from functools import lru_cache, partial
from typing import Any

from gpubp.backends.backend import Backend
from gpubp.backends.libraries import Library
from gpubp.backends.sparse_matmul import SparseMatmul
from gpubp.nn.activations import get_activation
from gpubp.nn.losses import get_loss
from gpubp.nn.network import Network

KEPT = 64
"""The number of compiled functions that are kept for later fits and predictions."""


def compiled(backend: Backend, function: Callable[..., Any], *fixed: Hashable) -> Callable[..., Any]:
    """Bind the namespace and the first arguments of a pure function, and compile it if :func:`can_compile`.

    Parameters
    ----------
    function : callable
        ``function(xp, *fixed, *arrays)``, in which an array may be a number, or a tuple, list or dictionary of arrays.
    *fixed : hashable
        The same compiled function is returned for equal ones.

    Returns
    -------
    callable
        A function of ``*arrays``.
    """
    if can_compile(backend, *fixed):
        return _compiled(backend.library, function, backend.xp, *fixed)
    return partial(function, backend.xp, *fixed)


def can_compile(backend: Backend, *parts: Any) -> bool:
    """Return whether the library compiles, nothing is computed on the host, and networks and functions are gpubp's."""
    compiles = backend.library.compile is not None and not isinstance(backend.xp, SparseMatmul)
    return compiles and all(map(is_own, parts))


@lru_cache(maxsize=KEPT)
def _compiled(library: Library, function: Callable[..., Any], *fixed: Hashable) -> Callable[..., Any]:
    assert library.compile is not None
    return library.compile(partial(function, *fixed))


def is_own(part: Any) -> bool:
    """Return whether a function and what is bound to it, or the functions of a network, are gpubp's."""
    if isinstance(part, Network):
        return is_own((*map(get_activation, part.activations), get_loss(part.loss)))
    if isinstance(part, partial):
        return is_own((part.func, *part.args))
    if isinstance(part, tuple):
        return all(map(is_own, part))
    return not callable(part) or str(part.__module__).startswith("gpubp.")
