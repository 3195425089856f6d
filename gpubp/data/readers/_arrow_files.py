"""Parquet, Feather (Arrow IPC) and ORC files, read by pyarrow."""

from collections.abc import Iterable
from typing import Any

from gpubp._core.text import excerpt, shortened
from gpubp.data._arrow import TEXT_TYPES, arrow_columns, arrow_to_numpy, import_pyarrow
from gpubp.data.readers._input_file import InputFile
from gpubp.data.table import RawTable
from gpubp.errors import DataError

_BATCH_ROWS = 2**16
_FIX = "if it can be trusted, write it again as CSV, or in parts"


def read_parquet(source: InputFile) -> RawTable:
    """Read a Parquet file."""
    parquet, source = import_pyarrow("parquet", source.name), source.unpacked()
    with source.open() as binary, parquet.ParquetFile(binary) as file:
        schema = file.schema_arrow
        columns, notes = _flat_columns(schema, source)
        source.check_size(8 * file.metadata.num_rows * len(schema), _FIX)
        # Text columns are read as dictionaries; otherwise a few bytes could expand to any amount of text.
        texts = [field.name for field in schema if str(field.type) in TEXT_TYPES]
        with source.open() as again, parquet.ParquetFile(again, read_dictionary=texts) as with_dictionaries:
            batches = with_dictionaries.iter_batches(_BATCH_ROWS, columns=columns)
            raw = _table(batches, schema, columns, source, notes)
    # As a dictionary a column would count as categories, which only the file's own dictionaries are.
    return raw._replace(
        columns=[(name, arrow_to_numpy(values) if name in texts else values) for name, values in raw.columns]
    )


def read_feather(source: InputFile) -> RawTable:
    """Read an Arrow IPC file or stream; Feather's version 2 is such a file."""
    ipc, source = import_pyarrow("ipc", source.name), source.unpacked()
    with source.open() as binary:
        start = binary.read(6)
        binary.seek(0)
        if start[:4] == b"FEA1":
            raise DataError(f"{source.name} is a Feather file of version 1; write it again with a newer pyarrow")
        if start == b"ARROW1":
            file = ipc.open_file(binary)
            batches: Iterable[Any] = (_validated(file.get_batch(k)) for k in range(file.num_record_batches))
        else:
            file = ipc.open_stream(binary)
            batches = map(_validated, file)
        columns, notes = _flat_columns(file.schema, source)
        return _table(batches, file.schema, columns, source, notes)


def _validated(batch: Any) -> Any:
    """Check offsets and texts: pyarrow does not when it reads this format, and damaged ones would end the process."""
    batch.validate(full=True)
    return batch


def read_orc(source: InputFile) -> RawTable:
    """Read an ORC file."""
    orc, source = import_pyarrow("orc", source.name), source.unpacked()
    with source.open() as binary:
        file = orc.ORCFile(binary)
        source.check_size(8 * file.nrows * len(file.schema), _FIX)
        columns, notes = _flat_columns(file.schema, source)
        batches = (file.read_stripe(k, columns=columns) for k in range(file.nstripes))
        return _table(batches, file.schema, columns, source, notes)


def _flat_columns(schema: Any, source: InputFile) -> tuple[list[str], tuple[str, ...]]:
    """Return the columns of numbers, text and dates, and a note about those of lists and structures."""
    nested = [(field.name, str(field.type).partition("<")[0]) for field in schema if _is_nested(field.type)]
    flat = [field.name for field in schema if not _is_nested(field.type)]
    if nested and not flat:
        name, kind = nested[0]
        raise DataError(f"{source.name}: column {name!r} holds {kind}, not numbers or text; flatten it")
    return flat, note_left_out([f"{name!r} ({kind})" for name, kind in nested])


def note_left_out(columns: list[str]) -> tuple[str, ...]:
    """Describe columns that are left out because they are not of numbers, text or dates."""
    if not columns:
        return ()
    what = "columns that are neither numbers nor text are left out"
    return (f"{what}: {excerpt(shortened(columns, 6), 300)}",)


def _is_nested(dtype: Any) -> bool:
    return bool(dtype.num_fields) or "binary" in str(dtype)


def _table(
    batches: Iterable[Any], schema: Any, columns: list[str], source: InputFile, notes: tuple[str, ...]
) -> RawTable:
    """Collect batches of rows, whose size is checked on the way."""
    lib = import_pyarrow("lib", source.name)
    parts, n_bytes = [], 0
    for batch in batches:
        parts.append(batch.select(columns))
        n_bytes += batch.nbytes
        source.check_size(n_bytes, _FIX)
    if parts:
        table = lib.Table.from_batches(parts)
    else:
        table = lib.schema([schema.field(name) for name in columns]).empty_table()
    return RawTable(arrow_columns(table), source.name, notes=notes)
