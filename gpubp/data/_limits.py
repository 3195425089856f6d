"""Limits on the sizes that a table's file may declare, so that an untrusted file cannot exhaust the memory."""

from pathlib import Path

from gpubp.errors import DataError

MAX_LINE_BYTES = 16 * 2**20
"""Maximum bytes of one row of text, including line breaks in quoted fields."""

MAX_NAME_LENGTH = 1000
"""Maximum characters of a column's name."""

UNPACKED_FREE_BYTES = 2**28
"""Bytes to which any compressed file may expand."""

MAX_UNPACKED_RATIO = 100
"""A larger compressed file may expand to this many times its size."""


def check_unpacked_size(path: Path, n_bytes: int, fix: str) -> None:
    """Raise a DataError if a file expands far more than real tables do.

    Parameters
    ----------
    path : Path
        The compressed file.
    n_bytes : int
        Unpacked bytes so far, or the unpacked size that the file declares.
    fix : str
        What a user who trusts the file can do.
    """
    limit = max(UNPACKED_FREE_BYTES, MAX_UNPACKED_RATIO * path.stat().st_size)
    if n_bytes > limit:
        raise DataError(f"{path} unpacks to more than {limit:,} bytes, far more than its size suggests; {fix}")
