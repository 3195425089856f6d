"""Compiled training for NVIDIA GPUs: the equations as CUDA kernels, many steps per launch (CuPy and nvmath-python)."""

import functools
import importlib
import logging

logger = logging.getLogger("gpubp")


FEW_STEPS = 20  # below this, preparing the kernels costs more milliseconds than they save


def is_wanted(requested: str, n_steps: int) -> bool:
    """Decide whether to use compiled kernels; ``requested`` is "always", "never" or "auto"."""
    return requested != "never" and (requested == "always" or n_steps >= FEW_STEPS) and nvmath_works()


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
