"""Files from outside, opened only where they are ordinary ones."""

import errno
import os
import stat
from os import PathLike
from typing import BinaryIO


def open_ordinary(path: str | PathLike[str]) -> BinaryIO:
    """Open a file to read its bytes, but no pipe, which may wait for ever, and no device, which may never end.

    Raises
    ------
    OSError
        If it cannot be opened or is no ordinary file; ``strerror`` says which.
    ValueError
        If the path holds a zero byte.
    """
    file = open(path, "rb", opener=_without_waiting)  # noqa: SIM115 - who asked for it closes it
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "it is a pipe or a device, not an ordinary file", os.fspath(path))
    return file


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
