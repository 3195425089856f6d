"""Run a program on the emulated GPU: ``python -m tests.cuda_on_cpu -m MODULE`` or ``SCRIPT``, and its arguments."""

import runpy
import sys

from tests.cuda_on_cpu.activation import activate

activate()
if sys.argv[1] == "-m":
    sys.argv = sys.argv[2:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
else:
    sys.argv = sys.argv[1:]
    runpy.run_path(sys.argv[0], run_name="__main__")
