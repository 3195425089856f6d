"""Import pyarrow when a file needs it, and convert its columns to NumPy arrays."""

import importlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpubp.errors import DataError


def import_pyarrow(module: str, path: Path) -> Any:
    """Import ``pyarrow.<module>`` to read `path`; raise a DataError if pyarrow is not installed."""
    try:
        return importlib.import_module(f"pyarrow.{module}")
    except ImportError as error:
        raise DataError(f'reading {path} needs pyarrow: pip install "gpubp[cli]"') from error


def columns_from_arrow(table: Any) -> list[tuple[str, NDArray[Any]]]:
    """Return the columns of a pyarrow table as NumPy arrays, without the row index that pandas stores."""
    return [
        (name, arrow_to_numpy(column))
        for name, column in zip(table.column_names, table.columns, strict=True)
        if not name.startswith("__index_level_")
    ]


def arrow_to_numpy(column: Any) -> NDArray[Any]:
    """Return a pyarrow column as a NumPy array; dictionary columns become object arrays that share their values."""
    if not hasattr(column.type, "index_type"):
        return np.asarray(column)
    # Index -1, the appended None, is a missing value.
    chunks = [
        np.asarray([*chunk.dictionary.to_pylist(), None], dtype=object)[chunk.indices.fill_null(-1).to_numpy()]
        for chunk in getattr(column, "chunks", [column])
    ]
    return np.concatenate(chunks) if chunks else np.empty(0, dtype=object)
