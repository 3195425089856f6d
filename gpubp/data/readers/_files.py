"""The files of a table: one, those of a folder, or those that fit a pattern; and the part in a file."""

import glob
import os
from collections.abc import Container
from os import PathLike, fspath
from pathlib import Path
from urllib.parse import unquote

from gpubp.data.readers._formats import FORMATS, format_suffix
from gpubp.data.readers._input_file import COMPRESSIONS

STANDARD_INPUT = "-"

DESCRIPTIVE = (".txt", ".json")
"""Suffixes of files that often describe the others in a folder."""


def split_part(path: str | PathLike[str]) -> tuple[Path, str | None]:
    """Divide ``FILE::PART`` into the file and the sheet or table in it.

    Examples
    --------
    >>> [(str(path), part) for path, part in map(split_part, ("shop.db::sales", "a::b.csv"))]
    [('shop.db', 'sales'), ('a::b.csv', None)]
    """
    text = fspath(path)
    file, colons, part = text.rpartition("::")
    suffix = format_suffix(Path(file).name)
    base = next((known for known in FORMATS if suffix.startswith(known)), "")
    if not colons or not part or not base or not FORMATS[base].has_parts or os.path.lexists(text):
        return Path(text), None
    return Path(file), part


def is_pattern(path: Path) -> bool:
    """Return whether a path is a pattern such as ``data/*.csv``, and no file of this name exists."""
    return glob.has_magic(str(path)) and not os.path.lexists(path)


def files_in(path: Path, suffixes: Container[str]) -> list[Path]:
    """List files: those that fit a pattern, or those in a folder at any depth, except hidden ones and ``_*``.

    Files of `DESCRIPTIVE` suffixes, such as a ``README.txt``, belong to a folder's table only if it has no others.
    """
    if is_pattern(path):
        found = [Path(name) for name in glob.glob(str(path), recursive=True)]
        return sorted(file for file in found if file.is_file() and format_suffix(file.name) in suffixes)
    inside = (file for file in path.rglob("*") if format_suffix(file.name) in suffixes and file.is_file())
    files = sorted(file for file in inside if not any(part[0] in "._" for part in file.relative_to(path).parts))
    return [file for file in files if not format_suffix(file.name).startswith(DESCRIPTIVE)] or files


def path_columns(path: Path, folder: Path) -> dict[str, str]:
    """Return the columns in a path below a folder.

    Examples
    --------
    >>> path_columns(Path("rain/year=2001/part.csv"), Path("rain"))
    {'year': '2001'}
    """
    inside = path.relative_to(folder).parts[:-1] if path.is_relative_to(folder) else ()
    folders = [name.partition("=") for name in inside]
    return {unquote(name): unquote(value) for name, equals, value in folders if equals and name}


def stem(path: str) -> str:
    """Return the name of a file without its suffixes: ``a`` for ``a.csv.gz``.

    Examples
    --------
    >>> stem("data/a.csv.gz"), stem("shop.db::sales"), stem("-"), stem("data/*.csv")
    ('a', 'shop_sales', 'table', 'data')
    """
    file, part = split_part(path)
    if path == STANDARD_INPUT:
        return "table"
    if is_pattern(file):
        fixed = [name for name in file.parts if not glob.has_magic(name) and name not in (os.sep, ".")]
        return fixed[-1] if fixed else "table"
    name = file.name
    suffix = format_suffix(name)
    name = name[: len(name) - len(suffix)] if suffix else name.rpartition(".")[0] or name
    for packing in COMPRESSIONS:
        name = name.removesuffix(packing)
    return f"{name}_{part}" if part else name
