"""Keep what was learned when training is interrupted, and report warnings as notes."""

import signal
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gpubp.cli.output import print_note
from gpubp.errors import CheckpointWarning, DivergenceWarning, TableWarning


@contextmanager
def sigterm_as_interrupt() -> Iterator[list[int]]:
    """Raise KeyboardInterrupt on SIGTERM, as Ctrl-C does; yield the list of the signals received."""
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():  # handlers can be set in the main thread only
        yield received
        return

    def interrupt(number: int, frame: object) -> None:
        received.append(number)
        raise KeyboardInterrupt

    previous_handler = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield received
    finally:
        signal.signal(signal.SIGTERM, previous_handler)


@contextmanager
def warnings_as_notes() -> Iterator[None]:
    """Print warnings of checkpoints and tables as notes of one line, and leave divergence to the report at the end."""
    with warnings.catch_warnings():
        show = warnings.showwarning

        def show_as_note(message: Warning | str, category: type[Warning], *location: Any, **options: Any) -> None:
            if issubclass(category, CheckpointWarning | TableWarning):
                print_note(str(message))
            else:
                show(message, category, *location, **options)

        warnings.showwarning = show_as_note
        warnings.simplefilter("always", CheckpointWarning)
        warnings.simplefilter("always", TableWarning)
        warnings.simplefilter("ignore", DivergenceWarning)
        yield


def restart_advice(has_checkpoints: bool) -> str:
    """Describe how to restart after one of several processes has failed."""
    if has_checkpoints:
        return "The same command with --resume continues from the last checkpoint"
    return "The same command starts it again"
