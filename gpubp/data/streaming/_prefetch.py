"""Compute the next item of an iterator on a thread while the current one is used."""

import threading
import time
from collections.abc import Callable, Generator, Iterator
from queue import SimpleQueue
from typing import NamedTuple, TypeVar

T = TypeVar("T")

START_SECONDS = 1.0
"""Seconds to wait for a thread to begin after a Ctrl-C during its start."""


class _Result(NamedTuple):
    """The result of the thread: an item, an exception, or neither at the end."""

    item: tuple[object, ...] = ()
    error: BaseException | None = None


def prefetch(make: Callable[[Callable[[], bool]], Iterator[T]]) -> Generator[T, None, None]:
    """Yield the items of an iterator; a thread computes the next item as soon as one is yielded.

    Parameters
    ----------
    make : callable
        Creates the iterator. Its argument is a function that returns whether no more items are needed, so that the
        iterator can end early. Exceptions of the iterator are raised by the generator.

    Notes
    -----
    The thread has ended when the generator ends, raises an exception or is closed.

    Examples
    --------
    >>> list(prefetch(lambda stopped: iter("abc")))
    ['a', 'b', 'c']
    """
    stop, requests, results = threading.Event(), threading.Semaphore(0), SimpleQueue[_Result]()

    items = make(stop.is_set)

    def work() -> None:
        while requests.acquire() and not stop.is_set():
            try:
                results.put(_Result((next(items),)))
            except StopIteration:
                results.put(_Result())
            except BaseException as error:
                results.put(_Result(error=error))
        if isinstance(items, Generator):
            items.close()

    # a daemon, so that an unfinished generator does not prevent the interpreter from exiting
    thread = threading.Thread(target=work, name="gpubp-stream", daemon=True)
    try:
        thread.start()
        requests.release()
        while (result := results.get()).item:
            requests.release()
            yield result.item[0]  # type: ignore[misc]
        if result.error is not None:
            raise result.error
    finally:
        stop.set()
        requests.release()
        _join(thread)


def _join(thread: threading.Thread) -> None:
    """Wait until a thread has ended, even one whose start was interrupted, which cannot be joined before it begins."""
    deadline = time.monotonic() + START_SECONDS
    while thread in threading.enumerate() and time.monotonic() < deadline:
        try:
            thread.join()
        except RuntimeError:  # it is about to begin
            time.sleep(0.001)
