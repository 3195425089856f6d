"""Tables of SQLite and DuckDB databases, opened to be read only."""

import sqlite3
from collections.abc import Sequence
from typing import Any

from gpubp._core.names import near_miss
from gpubp._core.optional_imports import import_optional
from gpubp._core.text import excerpt, shortened
from gpubp.data._arrow import arrow_columns
from gpubp.data._limits import MAX_LINE_BYTES
from gpubp.data.readers._arrow_files import note_left_out
from gpubp.data.readers._input_file import InputFile
from gpubp.data.table import RawTable
from gpubp.errors import DataError

_ROWS = 10_000
_FIX = "if it can be trusted, write the table as CSV"


def read_database(source: InputFile) -> RawTable:
    """Read the table that is named, or the only one there is."""
    if source.content is not None or source.compression:
        raise DataError(f"{source.name}: a database is read from a file that is not compressed; unpack it")
    with source.open() as file:
        start = file.read(16)
    return _read_duckdb(source) if start[8:12] == b"DUCK" else _read_sqlite(source)


def _read_sqlite(source: InputFile) -> RawTable:
    uri = f"{source.path.absolute().as_uri()}?mode=ro&immutable=1"
    connection = sqlite3.connect(uri, uri=True)
    try:
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_LINE_BYTES)
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.text_factory = lambda text: text.decode("utf-8")
        # A view may compute for ever, so only tables are read.
        stored = connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' AND rootpage > 0"
        )
        name = _choose([str(row[0]) for row in stored], source)
        cursor = connection.execute(f"SELECT * FROM {_quoted(name)}")
        names = [str(column[0]) for column in cursor.description]
        rows: list[Any] = []
        n_bytes = 0
        while several := cursor.fetchmany(_ROWS):
            rows += several
            n_bytes += sum(len(item) if isinstance(item, str | bytes) else 8 for row in several for item in row)
            source.check_size(n_bytes, _FIX)
    finally:
        connection.close()
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(names)
    kept, left_out = [], []
    for column, values in zip(names, columns, strict=True):
        if any(isinstance(value, bytes) for value in values):
            left_out.append(f"{column!r} (bytes)")
        else:
            kept.append((column, list(values)))
    if left_out and not kept:
        raise DataError(f"{source.name}: column {left_out[0]} does not hold numbers or text")
    return RawTable(kept, source.name, notes=note_left_out(left_out) + _note_log(source))


def _note_log(source: InputFile) -> tuple[str, ...]:
    """Describe changes that SQLite has written to its log and not to the file, which is opened as immutable."""
    log = source.path.with_name(f"{source.path.name}-wal")
    if not log.is_file() or not log.stat().st_size:
        return ()
    fix = f'sqlite3 {source.path} "PRAGMA wal_checkpoint(TRUNCATE)"'
    return (f"changes in {log.name} are not read; close the program that writes the database, or run: {fix}",)


def _read_duckdb(source: InputFile) -> RawTable:
    duckdb = import_optional("duckdb", f"reading {source.name}", "duckdb", error=DataError)
    # Views and macros of the file may not open other files or addresses.
    settings: dict[str, Any] = {"enable_external_access": "false", "autoload_known_extensions": "false"}
    connection = duckdb.connect(str(source.path.absolute()), read_only=True, config=settings)
    try:
        stored = connection.execute(
            "SELECT schema_name, table_name FROM duckdb_tables() "
            "WHERE NOT internal AND database_name = current_database()"
        ).fetchall()
        tables = {name if schema == "main" else f"{schema}.{name}": (schema, name) for schema, name in stored}
        schema, name = tables[_choose(list(tables), source)]
        reader = connection.sql(f"SELECT * FROM {_quoted(schema)}.{_quoted(name)}").to_arrow_table()
        source.check_size(reader.nbytes, _FIX)
    finally:
        connection.close()
    nested = [field for field in reader.schema if field.type.num_fields or "binary" in str(field.type)]
    flat = reader.drop_columns([field.name for field in nested])
    notes = note_left_out([f"{field.name!r} ({str(field.type).partition('<')[0]})" for field in nested])
    return RawTable(arrow_columns(flat), source.name, notes=notes)


def _choose(tables: Sequence[str], source: InputFile) -> str:
    """Return the name of the table to read."""
    shown = excerpt(shortened(tables), 300) or "none"
    if source.part is not None:
        if source.part not in tables:
            raise DataError(
                f"{source.path} has no table {source.part!r}{near_miss(source.part, tables)}; it has {shown}"
            )
        return source.part
    if len(tables) != 1:
        example = f"{source.path}::{tables[0] if tables else 'TABLE'}"
        raise DataError(f"{source.path} has {len(tables)} tables ({shown}); name one: {excerpt(example)}")
    return tables[0]


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
