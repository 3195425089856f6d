"""What comes next, made on a thread while what is here is used."""

import threading
import time
from collections.abc import Callable, Generator, Iterator
from queue import SimpleQueue
from typing import NamedTuple, TypeVar

T = TypeVar("T")

TO_BEGIN = 1.0  # seconds that a thread is given to begin, where Ctrl-C came while it was started


class Made(NamedTuple):
    """What the thread has to give: an item, an exception, or neither at the end."""

    item: tuple[object, ...] = ()
    error: BaseException | None = None


def one_ahead(make: Callable[[Callable[[], bool]], Iterator[T]]) -> Generator[T, None, None]:
    """Give what an iterator gives; the next is made on a thread from the moment that the present one is given.

    Parameters
    ----------
    make : callable
        Makes the iterator. It is given a function that tells whether nobody wants more, and may then end early. What
        it raises is raised here.

    Notes
    -----
    The thread has ended when this has: at the end, with an exception, or when it is closed.

    Examples
    --------
    >>> list(one_ahead(lambda stopped: iter("abc")))
    ['a', 'b', 'c']
    """
    stop, wanted, made = threading.Event(), threading.Semaphore(0), SimpleQueue[Made]()

    items = make(stop.is_set)

    def work() -> None:
        while wanted.acquire() and not stop.is_set():
            try:
                made.put(Made((next(items),)))
            except StopIteration:
                made.put(Made())
            except BaseException as error:
                made.put(Made(error=error))
        if isinstance(items, Generator):
            items.close()

    # a daemon: whoever keeps a generator that is not done must not keep the interpreter from its end
    thread = threading.Thread(target=work, name="gpubp-stream", daemon=True)
    try:
        thread.start()
        wanted.release()
        while (found := made.get()).item:
            wanted.release()
            yield found.item[0]  # type: ignore[misc]
        if found.error is not None:
            raise found.error
    finally:
        stop.set()
        wanted.release()
        _join(thread)


def _join(thread: threading.Thread) -> None:
    """Wait until a thread has ended: one, too, whose start was interrupted, which cannot be joined before it begins."""
    stop_when = time.monotonic() + TO_BEGIN
    while thread in threading.enumerate() and time.monotonic() < stop_when:
        try:
            thread.join()
        except RuntimeError:  # it is about to begin
            time.sleep(0.001)
