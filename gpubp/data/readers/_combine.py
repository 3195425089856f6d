"""Tables of several files as one: those of a folder, or those that fit a pattern."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpubp._core.text import excerpt
from gpubp.data._arrow import arrow_to_numpy, is_arrow
from gpubp.data._written_texts import WrittenTexts
from gpubp.data.table import RawTable
from gpubp.errors import DataError


def combine(tables: Sequence[RawTable], in_paths: Sequence[dict[str, str]], source: str) -> RawTable:
    """Return the rows of several tables with the same columns, one table after the other."""
    import pyarrow

    first = tables[0]
    names = [name for name, _ in first.columns]
    columns, written = [], dict[str, WrittenTexts]()
    for table in tables:
        given = [name for name, _ in table.columns]
        if sorted(given) != sorted(names):
            raise DataError(
                f"{table.source} has the columns {excerpt(', '.join(given), 100)}, {first.source} has "
                f"{excerpt(', '.join(names), 100)}; all files need the same columns"
            )
    by_name = [dict(table.columns) for table in tables]
    for name in names:
        parts = [by_table[name] for by_table in by_name]
        if all(name in table.written for table in tables):
            chunks = [chunk for table in tables for chunk in table.written[name].part().chunks]
            written[name] = WrittenTexts(pyarrow.chunked_array(chunks, pyarrow.string()))
        has_text = any(isinstance(part, WrittenTexts) for part in parts)  # perhaps numbers in another file
        columns.append((name, written[name] if has_text else _concatenated(parts)))
    for name in [] if not in_paths else in_paths[0]:
        if name not in names:
            values = [in_path.get(name, "") for in_path in in_paths]
            rows = [len(by_table[names[0]]) for by_table in by_name]
            columns.append(_path_column(name, values, rows, written))
    notes = dict.fromkeys(note for table in tables for note in table.notes)
    raw = RawTable(columns, source, first.targets, written, first.has_header, notes=tuple(notes))
    marked = max(tables, key=lambda table: (table.decimal != ".", table.thousands))  # others may not show their marks
    return raw._replace(decimal=marked.decimal, thousands=marked.thousands)


def _path_column(name: str, values: list[str], rows: list[int], written: dict[str, WrittenTexts]) -> tuple[str, Any]:
    import pyarrow

    if all(value.lstrip("-").isdecimal() for value in values):  # like a field of a text file, a number or a code
        texts = pyarrow.chunked_array([pyarrow.repeat(v, n) for v, n in zip(values, rows, strict=True)])
        written[name] = WrittenTexts(texts)
        return name, np.repeat([int(value) for value in values], rows)
    missing = "__HIVE_DEFAULT_PARTITION__"
    return name, np.repeat(np.array([None if value == missing else value for value in values], dtype=object), rows)


def _concatenated(parts: list[Any]) -> Any:
    if all(map(is_arrow, parts)):
        import pyarrow

        if len({str(part.type) for part in parts}) == 1:
            return pyarrow.chunked_array([chunk for part in parts for chunk in getattr(part, "chunks", [part])])
    parts = [arrow_to_numpy(part) if is_arrow(part) else part for part in parts]
    if all(isinstance(part, np.ndarray) and part.dtype.kind in "iuf" for part in parts):
        return np.concatenate(parts)
    if all(isinstance(part, np.ndarray) and part.dtype == parts[0].dtype for part in parts):
        return np.concatenate(parts)
    return [value for part in parts for value in (part.tolist() if hasattr(part, "tolist") else part)]
