"""Import pyarrow when a file needs it, and convert its columns to NumPy arrays."""

import contextlib
import functools
import importlib
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpubp._core.optional_imports import import_optional
from gpubp.data._text_values import MISSING_TEXTS, read_number
from gpubp.errors import DataError

TEXT_TYPES = ("string", "large_string", "string_view")
"""Names of pyarrow's text types."""

_FEW = 100  # texts that are tried first


def import_pyarrow(module: str, path: str | Path) -> Any:
    """Import ``pyarrow.<module>`` to read `path`; raise a DataError if pyarrow is not installed."""
    return import_optional(f"pyarrow.{module}", f"reading {path}", "pyarrow", error=DataError)


@functools.cache
def _import_pandas() -> None:
    """Import pandas, if it is installed, before pyarrow does when it converts a column to NumPy.

    pyarrow's import discards every exception, also the KeyboardInterrupt of Ctrl-C.
    """
    with contextlib.suppress(Exception):
        importlib.import_module("pandas")


def arrow_columns(table: Any) -> list[tuple[str, Any]]:
    """Return the columns of a pyarrow table, without the row index that pandas stores."""
    columns = zip(table.column_names, table.columns, strict=True)
    return [(name, column) for name, column in columns if not name.startswith("__index_level_")]


def is_arrow(values: Any) -> bool:
    """Return whether an object is a column of pyarrow."""
    return type(values).__module__.partition(".")[0] == "pyarrow" and hasattr(values, "type")


def arrow_to_numpy(column: Any) -> NDArray[Any]:
    """Return a pyarrow column as a NumPy array; dictionary columns become object arrays that share their values."""
    _import_pandas()
    if not hasattr(column.type, "index_type"):
        return _of_pandas(column) if _is_of_pandas(column.type) else np.asarray(column)
    chunks = []
    for chunk in getattr(column, "chunks", [column]):
        values = chunk.dictionary
        distinct = _of_pandas(values).tolist() if _is_of_pandas(values.type) else values.to_pylist()
        # Index -1, the appended None, is a missing value.
        chunks.append(np.asarray([*distinct, None], dtype=object)[chunk.indices.fill_null(-1).to_numpy()])
    return np.concatenate(chunks) if chunks else np.empty(0, dtype=object)


def _is_of_pandas(kind: Any) -> bool:
    """Return whether a type of pyarrow is one that pandas added, such as intervals and periods."""
    return str(getattr(kind, "extension_name", "")).startswith("pandas.")


def _of_pandas(column: Any) -> NDArray[np.object_]:
    """Return a column of a type of pandas as the objects that pandas' own columns hold."""
    return np.asarray(column.to_pandas(), dtype=object)


def texts_to_numpy(texts: Any) -> NDArray[np.object_]:
    """Return a chunked pyarrow column of text as an object array, with None where it is null."""
    _import_pandas()
    chunks = texts.dictionary_encode().chunks
    if not chunks:
        return np.empty(0, dtype=object)
    distinct = np.asarray([*chunks[0].dictionary.to_pylist(), None], dtype=object)  # all chunks have this dictionary
    return np.concatenate([distinct[chunk.indices.fill_null(-1).to_numpy()] for chunk in chunks])


def numbers_in_texts(texts: Any) -> NDArray[Any] | None:
    """Return a chunked pyarrow column of text as numbers, NaN where missing.

    A null is missing. The result is None if a text is neither a number nor missing.
    """
    import pyarrow
    from pyarrow import compute

    _import_pandas()
    numbers_of: dict[str | None, int | float] = {None: math.nan}

    def are_numbers(column: Any) -> bool:
        for text in column.unique().drop_null().to_pylist():
            if text not in numbers_of:
                number = math.nan if text.strip() in MISSING_TEXTS else read_number(text)
                if number is None:
                    return False
                numbers_of[text] = number
        return True

    if (numbers := _cast(texts)) is not None:
        return numbers
    if not are_numbers(texts.slice(0, _FEW)):  # most columns of text end here
        return None
    is_missing = compute.is_in(texts, value_set=pyarrow.array(MISSING_TEXTS))
    present = compute.if_else(is_missing, pyarrow.scalar(None, pyarrow.string()), texts)
    if present.null_count == len(present):
        return np.full(len(texts), np.nan)
    if (numbers := _cast(present)) is not None:
        return numbers
    # pyarrow reads neither blanks around a number nor the minus sign of typeset text.
    if not all(map(are_numbers, present.chunks)):
        return None
    parsed = np.asarray([numbers_of[text] for text in arrow_to_numpy(present.dictionary_encode())])
    return parsed if parsed.dtype.kind == "i" else parsed.astype(np.float64)


def _cast(texts: Any) -> NDArray[Any] | None:
    import pyarrow
    from pyarrow import compute

    for dtype in (pyarrow.int64(), pyarrow.float64()):
        try:
            texts.slice(0, _FEW).cast(dtype)  # a failure takes a microsecond for each value of a chunk
            numbers = texts.cast(dtype)
        except pyarrow.ArrowInvalid:
            continue
        has_x = dtype == pyarrow.int64() and _may_have_x(texts)
        if has_x and compute.any(compute.match_substring_regex(texts, "[xX]")).as_py():
            return None  # hexadecimal
        return np.asarray(numbers)
    return None


def _may_have_x(texts: Any) -> bool:
    """Return whether the bytes of a column of text, or others next to them, have an x; a fast check."""
    buffers = [chunk.buffers()[-1] for chunk in getattr(texts, "chunks", [texts])]
    return any(letter in bytes(buffer) for buffer in buffers if buffer is not None for letter in (b"x", b"X"))
