"""Parquet files, read by pyarrow."""

from pathlib import Path

from gpubp.data._arrow import arrow_columns, import_pyarrow
from gpubp.data._limits import check_unpacked_size
from gpubp.data.table import RawTable
from gpubp.errors import DataError

_BATCH_ROWS = 2**16


def read_parquet(path: Path) -> RawTable:
    """Read a Parquet file of flat columns."""
    parquet, lib = import_pyarrow("parquet", path), import_pyarrow("lib", path)
    fix = "if it can be trusted, write it again as CSV, or in parts"
    with parquet.ParquetFile(path) as file:
        schema = file.schema_arrow
        for field in schema:
            if field.type.num_fields:
                kind = str(field.type).partition("<")[0]
                raise DataError(f"{path}: column {field.name!r} holds {kind}, not numbers or text; flatten it")
        check_unpacked_size(path, 8 * file.metadata.num_rows * len(schema), fix)
    # Text columns are read as dictionaries; otherwise a few bytes could expand to any amount of text.
    texts = [field.name for field in schema if str(field.type) in ("string", "large_string", "string_view")]
    with parquet.ParquetFile(path, read_dictionary=texts) as file:
        batches, n_bytes = [], 0
        for batch in file.iter_batches(_BATCH_ROWS):
            batches.append(batch)
            n_bytes += batch.nbytes
            check_unpacked_size(path, n_bytes, fix)
        table = lib.Table.from_batches(batches) if batches else file.schema_arrow.empty_table()
    return RawTable(arrow_columns(table), str(path))
