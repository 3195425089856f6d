"""Fast forms for NVIDIA GPUs: the same equations as CUDA kernels, many steps a launch (CuPy and nvmath-python)."""

import functools
import importlib
import logging

logger = logging.getLogger("gpubp")


FEW_STEPS = 20  # for which making kernels ready costs more than they save: about as many milliseconds


def is_wanted(asked: str, n_steps: int) -> bool:
    """Decide whether to use kernels of our own: ``asked`` is "always", "never" or "auto"."""
    return asked != "never" and (asked == "always" or n_steps >= FEW_STEPS) and nvmath_works()


@functools.cache
def nvmath_works() -> bool:
    """Tell whether products of matrices can be launched beside kernels of our own; say once why not."""
    try:
        importlib.import_module("nvmath.bindings.cublas")
    except Exception as error:  # ImportError, and what its libraries raise where they are not found
        logger.warning(
            "on the GPU equations run one by one, since nvmath-python cannot be loaded (%s); pip install nvmath-python "
            "fixes it",
            error,
        )
        return False
    return True
