"""Python runs this at the start of each process that an accelerated one starts; gpubp.accel._child_processes says how.

It also runs the environment's own ``sitecustomize``, which it hides.
"""

import importlib.machinery
import importlib.util
import os
import sys


def _run_hidden() -> None:
    folder = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [path for path in sys.path if os.path.abspath(path) != folder]
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize")
    if spec is not None and spec.loader is not None:
        sys.modules["sitecustomize"] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)


if "GPUBP_ACCEL" in os.environ:
    _run_hidden()
    try:
        from gpubp.accel._installed import join
    except ImportError:  # a Python of another environment, without gpubp
        pass
    else:
        join()
