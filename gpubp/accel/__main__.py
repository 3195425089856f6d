"""``python -m gpubp.accel script.py``: run a script or a module with scikit-learn's networks computed by gpubp."""

import argparse
import os
import runpy
import sys
from collections.abc import Sequence

from gpubp.accel import install, report
from gpubp.errors import DeviceError


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a script or a module as Python would, and print a report to stderr at the end."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if not options.program:
        parser.error("name a script, or -m and a module")
    if not options.module and not os.path.exists(options.program[0]):
        parser.error(f"there is no file {options.program[0]}")
    try:
        install(options.device, compare=options.compare)
    except DeviceError as error:
        parser.error(str(error))
    sys.argv = options.program
    try:
        if options.module:
            runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
        else:
            if not sys.flags.safe_path:
                sys.path[0] = os.path.dirname(os.path.realpath(sys.argv[0]))
            runpy.run_path(sys.argv[0], run_name="__main__")
    finally:
        if not options.quiet:
            sys.stdout.flush()
            print(report(), file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m gpubp.accel",
        usage="%(prog)s [--device DEVICE] [--compare] [--quiet] (SCRIPT | -m MODULE) [ARGUMENTS]",
        description="Run a program in which gpubp computes scikit-learn's MLPClassifier and MLPRegressor.",
        allow_abbrev=False,
    )
    parser.add_argument("--device", default="auto", help='where to compute: "auto" (a GPU if one works), "cpu", "cuda"')
    parser.add_argument("--compare", action="store_true", help="let scikit-learn do the same, to measure time saved")
    parser.add_argument("--quiet", action="store_true", help="print no report")
    parser.add_argument("-m", dest="module", action="store_true", help="run a module instead of a script")
    parser.add_argument("program", nargs=argparse.REMAINDER, help="the script or the module, and its arguments")
    return parser


if __name__ == "__main__":
    main()
