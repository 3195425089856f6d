"""Compiled training for NVIDIA GPUs: the equations as CUDA kernels, many steps per launch (CuPy and nvmath-python)."""

import functools
import importlib
import logging

from gpubp.backends.backend import Backend

logger = logging.getLogger("gpubp")


def is_wanted(backend: Backend, requested: str) -> bool:
    """Decide whether a backend computes with compiled kernels; ``requested`` is "always", "never" or "auto".

    The number of steps does not matter, so that a short fit gives the bits of the beginning of a long one.
    """
    if not backend.is_cuda or requested == "never" or not nvmath_works():
        return False
    from gpubp.engine.cuda.device import multiplies

    return multiplies(backend.device, backend.matmul_precision)


@functools.cache
def nvmath_works() -> bool:
    """Return whether nvmath-python, which launches the matrix products, can be imported; log once why not."""
    try:
        importlib.import_module("nvmath.bindings.cublas")
    except Exception as error:  # ImportError, and the exceptions of its libraries if they are not found
        logger.warning(
            "equations run one at a time on the GPU, because nvmath-python cannot be loaded (%s); to fix it: "
            "pip install nvmath-python",
            error,
        )
        return False
    return True
