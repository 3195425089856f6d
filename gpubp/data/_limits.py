"""Limits on the sizes that a table's file may declare, so that an untrusted file cannot exhaust the memory."""

from gpubp.errors import DataError

MAX_LINE_BYTES = 16 * 2**20
"""Maximum bytes of one row of text, including line breaks in quoted fields."""

MAX_NAME_LENGTH = 1000
"""Maximum characters of a column's name."""

UNPACKED_FREE_BYTES = 2**28
"""Bytes to which any compressed file may expand."""

MAX_UNPACKED_RATIO = 100
"""A larger compressed file may expand to this many times its size."""


def too_long() -> str:
    """Describe a line that exceeds the limit, for messages."""
    return f"longer than {MAX_LINE_BYTES:,} bytes, perhaps because the quotation mark that closes a field is missing"


def max_unpacked_size(packed_size: int) -> int:
    """Return the bytes to which a file of `packed_size` bytes may expand."""
    return max(UNPACKED_FREE_BYTES, MAX_UNPACKED_RATIO * packed_size)


def check_unpacked_size(name: str, packed_size: int, n_bytes: int, fix: str) -> None:
    """Raise a DataError if a file expands far more than real tables do.

    Parameters
    ----------
    name : str
        The compressed file, for messages.
    packed_size : int
        Its size.
    n_bytes : int
        Unpacked bytes so far, or the unpacked size that the file declares.
    fix : str
        What a user who trusts the file can do.
    """
    limit = max_unpacked_size(packed_size)
    if n_bytes > limit:
        raise DataError(f"{name} unpacks to more than {limit:,} bytes, far more than its size suggests; {fix}")
