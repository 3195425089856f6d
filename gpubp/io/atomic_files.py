"""Files that are written completely or not at all."""

import contextlib
import os
import secrets
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import BinaryIO

from gpubp.errors import DataError


def write_atomically(path: str | PathLike[str], content: bytes) -> None:
    """Write a file completely or not at all: see :func:`open_atomically`."""
    with open_atomically(path) as file:
        file.write(content)


@contextlib.contextmanager
def open_atomically(path: str | PathLike[str]) -> Iterator[BinaryIO]:
    """Open a file for writing under a temporary name; it is renamed to `path` once it is complete.

    Readers therefore see the old file or the new one, never a part of it.

    Raises
    ------
    DataError
        If `path` is a folder, a pipe or a device.
    OSError
        If the file cannot be written; nothing is left behind.
    """
    path = Path(os.path.realpath(path))  # a link's target is replaced, not the link
    if path.exists() and not path.is_file():
        raise DataError(f"{path} is not a regular file and cannot be replaced; choose another path")
    temporary = path.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        with open(temporary, "xb") as file:  # with the permissions of any new file
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):  # the message names the user's path, not the temporary one
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
