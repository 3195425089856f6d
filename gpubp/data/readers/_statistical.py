"""Files of Stata, SPSS and SAS, read by pandas; numbers that all have labels become these labels."""

import importlib
from collections.abc import Callable
from typing import Any

from gpubp._core.optional_imports import import_optional
from gpubp.data.readers._input_file import InputFile
from gpubp.data.table import RawTable
from gpubp.errors import DataError


def read_stata(source: InputFile) -> RawTable:
    """Read a ``.dta`` file."""
    pandas = _import("pandas", source)
    plain = _with_file(source, lambda file: pandas.read_stata(file, convert_categoricals=False))
    try:
        labelled = _with_file(source, lambda file: pandas.read_stata(file, convert_categoricals=True))
    except ValueError:  # labels that repeat
        labelled = plain
    return _raw_table(plain, labelled, source)


def read_sas(source: InputFile) -> RawTable:
    """Read a ``.sas7bdat`` or ``.xpt`` file."""
    pandas = _import("pandas", source)
    with source.unpacked().open() as file:
        start = file.read(80)
    if start.startswith(b"HEADER") and b"LIBV8" in start:  # pandas reads version 5
        return _from_pyreadstat(source, "read_xport", has_labels=False)
    kind = "xport" if start.startswith(b"HEADER") else "sas7bdat"
    try:
        frame = _with_file(source, lambda file: pandas.read_sas(file, format=kind, encoding="utf-8"))
    except UnicodeDecodeError:
        frame = _with_file(source, lambda file: pandas.read_sas(file, format=kind, encoding="cp1252"))
    return _raw_table(frame, frame, source)


def read_spss(source: InputFile) -> RawTable:
    """Read a ``.sav``, ``.zsav`` or ``.por`` file."""
    return _from_pyreadstat(source, "read_por" if source.path.suffix.lower() == ".por" else "read_sav")


def _from_pyreadstat(source: InputFile, reader: str, *, has_labels: bool = True) -> RawTable:
    """Read a file that pyreadstat opens by its path."""
    if source.content is not None or source.compression:
        raise DataError(f"{source.name} is in a format that is read from a file that is not compressed; unpack it")
    read = getattr(_import("pyreadstat", source), reader)
    with source.open():
        pass  # a regular file
    path = str(source.path.absolute())
    plain, _ = read(path)
    labelled = read(path, apply_value_formats=True)[0] if has_labels else plain
    return _raw_table(plain, labelled, source)


def _with_file(source: InputFile, read: Callable[[Any], Any]) -> Any:
    with source.unpacked().open() as file:
        return read(file)


def _raw_table(plain: Any, labelled: Any, source: InputFile) -> RawTable:
    """Return the columns; those in which only some values have labels are numbers."""
    columns = []
    for name in plain.columns:
        values, labels = plain[name], labelled[name]
        if isinstance(labels.dtype, importlib.import_module("pandas").CategoricalDtype):
            present = labels[labels.notna()].unique()
            if all(isinstance(label, str) for label in present) and labels.notna().sum() == values.notna().sum():
                values = labels
        columns.append((str(name), values))
    return RawTable(columns, source.name)


def _import(module: str, source: InputFile) -> Any:
    return import_optional(module, f"reading {source.name}", module, error=DataError)
