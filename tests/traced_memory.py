"""The memory of a piece of work, in bytes that Python and NumPy allocate."""

import tracemalloc


def peak_of(work):
    """Return the most bytes that were allocated at once while ``work`` ran."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
