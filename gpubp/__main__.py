"""``python -m gpubp`` and the ``gpubp`` command."""

import contextlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence

from gpubp.errors import GpubpError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; expected errors are printed in one line, without a traceback.

    Parameters
    ----------
    arguments : sequence of str, optional
        The default is those of the process.

    Returns
    -------
    int
        The exit code: 0 for success, 1 if ``doctor`` found a fault or training diverged, 2 for bad input or usage,
        130 or 143 after an interrupt.
    """
    _open_closed_streams()
    try:
        return _main(arguments)
    except KeyboardInterrupt:
        return 130


def _open_closed_streams() -> None:
    """Open the null device for each standard stream that is closed; the next file would get its number otherwise."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115


def _main(arguments: Sequence[str] | None) -> int:
    try:
        import rich  # noqa: F401
        import typer  # noqa: F401
    except ImportError:
        from gpubp._core.installation import install_command

        command = install_command("typer rich pyarrow matplotlib", "cli")
        print(f"gpubp's command line needs: {command}", file=sys.stderr)
        return 2
    with _exit_on_interrupt():
        from gpubp.cli.app import make_app, needed_commands
        from gpubp.cli.output import error_text, print_error

        app = make_app(needed_commands(sys.argv[1:] if arguments is None else arguments))

    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # for encodings that lack a character
    logging.getLogger("gpubp").addHandler(logging.NullHandler())  # the commands print which device they use
    try:
        code = _run(app, arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        _discard_stdout()  # the reader has closed the pipe
        return 1
    except GpubpError as error:
        print_error(str(error))
        return 2
    except OSError as error:
        print_error(error_text(error))
        try:
            sys.stdout.flush()
        except OSError:
            _discard_stdout()
        return 2
    except MemoryError as error:
        reasons = ["there is not enough memory; use fewer rows or smaller layers", *getattr(error, "__notes__", ())]
        print_error("; ".join(reasons))
        return 2
    return code


def _discard_stdout() -> None:
    """Redirect stdout to the null device: the interpreter flushes it on exit, which would fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextlib.contextmanager
def _exit_on_interrupt() -> Iterator[None]:
    """Exit on Ctrl-C immediately: a module that is being imported may swallow a KeyboardInterrupt."""
    previous_handler = signal.getsignal(signal.SIGINT)
    if previous_handler is not signal.default_int_handler or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous_handler)


def _run(app: object, arguments: Sequence[str] | None) -> int:
    try:
        app(args=arguments, prog_name="gpubp")  # type: ignore[operator]
    except SystemExit as exit:
        return exit.code if isinstance(exit.code, int) else 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
