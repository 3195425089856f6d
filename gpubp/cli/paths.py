"""Check paths of output files before a long computation."""

import os
from collections.abc import Sequence
from pathlib import Path

from gpubp.errors import DataError


def check_output(path: Path, suffixes: Sequence[str] = (), *, inputs: Sequence[str | Path] = ()) -> None:
    """Check that a file can be written, and that writing it does not overwrite an input.

    Raises
    ------
    DataError
        If the folder does not exist or is not writable, or if the path is a folder, an input, or has another suffix.
    """
    if suffixes and path.suffix.lower() not in suffixes:
        raise DataError(f"{path}: cannot write a file of that kind; its name must end in {' or '.join(suffixes)}")
    if path.is_dir():
        raise DataError(f"{path} is a folder; give the name of a file in it")
    if path.exists() and not path.is_file():
        raise DataError(f"{path} is not a regular file and cannot be replaced; choose another path")
    folder = path.absolute().parent
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder} to write {path.name} to; create it, or choose another path")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise DataError(f"the folder {folder} is not writable; choose another path")
    for source in map(Path, inputs):
        if path.exists() and source.exists() and path.samefile(source):
            raise DataError(f"{path} is an input and would be overwritten; choose another path")
