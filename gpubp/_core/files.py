"""Open files from untrusted sources, only if they are regular files."""

import errno
import os
import stat
from os import PathLike
from typing import BinaryIO


def open_regular(path: str | PathLike[str]) -> BinaryIO:
    """Open a regular file to read its bytes; not a pipe, which may block, or a device, which may never end.

    Raises
    ------
    OSError
        If it cannot be opened or is not a regular file; ``strerror`` says why.
    ValueError
        If the path contains a null byte.
    """
    file = open(path, "rb", opener=_open_without_blocking)  # noqa: SIM115 - the caller closes it
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "it is a pipe or a device, not a regular file", os.fspath(path))
    return file


def _open_without_blocking(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
