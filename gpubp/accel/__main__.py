"""``python -m gpubp.accel script.py``: run a script or a module with scikit-learn's networks computed by gpubp."""

import argparse
import atexit
import builtins
import importlib.util
import io
import os
import runpy
import sys
import zipfile
from collections.abc import Sequence
from importlib.abc import InspectLoader
from types import CodeType, ModuleType, TracebackType
from typing import Any

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
    if not options.quiet:  # at the end of the process: threads of the program, and what it registered, may still fit
        atexit.register(_print_report)
    sys.argv = options.program
    try:
        if options.module:
            _run_module(sys.argv[0])
        else:
            _run_script(sys.argv[0])
    except Exception as error:
        sys.stdout.flush()
        error = error.with_traceback(_of_program(error.__traceback__))
        sys.excepthook(type(error), error, error.__traceback__)
        raise SystemExit(1) from None


def _run_script(path: str) -> None:
    """Run a script as the module ``__main__``, which stays when it has ended, as threads and pickles need it."""
    if not sys.flags.safe_path:
        sys.path[0] = os.path.dirname(os.path.realpath(path))
    if path.endswith(".pyc") or os.path.isdir(path) or zipfile.is_zipfile(path):
        runpy.run_path(path, run_name="__main__")
        return
    path = os.path.abspath(path)
    with io.open_code(path) as file:
        _run(compile(file.read(), path, "exec", dont_inherit=True), __file__=path)


def _run_module(name: str) -> None:
    """Run a module, or the module ``__main__`` of a package, as :func:`_run_script` runs a script."""
    spec = importlib.util.find_spec(name)
    if spec is not None and spec.submodule_search_locations is not None:
        spec = importlib.util.find_spec(f"{name}.__main__")
    code = spec.loader.get_code(spec.name) if spec is not None and isinstance(spec.loader, InspectLoader) else None
    if spec is None or code is None:
        raise ImportError(f"there is no module {name} to run", name=name)
    sys.argv[0] = str(spec.origin)
    _run(code, __file__=spec.origin, __spec__=spec, __package__=spec.parent, __loader__=spec.loader)


def _run(code: CodeType, **attributes: Any) -> None:
    sys.modules["__main__"] = module = ModuleType("__main__")
    vars(module).update(attributes, __builtins__=builtins)
    exec(code, vars(module))


def _print_report() -> None:
    sys.stdout.flush()
    print(report(), file=sys.stderr)


def _of_program(traceback: TracebackType | None) -> TracebackType | None:
    """Leave out of a traceback how the program was started."""
    starters = (__file__, runpy.run_path.__code__.co_filename)
    while traceback is not None and traceback.tb_frame.f_code.co_filename in starters:
        traceback = traceback.tb_next
    return traceback


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
