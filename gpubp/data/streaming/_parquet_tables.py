"""Parquet files whose blocks are their row groups."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gpubp._core.text import brief
from gpubp.data._arrow import TEXT_TYPES, import_pyarrow
from gpubp.data._written_texts import WrittenTexts
from gpubp.data.readers import path_columns
from gpubp.data.streaming._source import FileState
from gpubp.data.streaming.table_source import PIECE_BYTES, Piece, choose_piece_rows
from gpubp.data.table import Table, table_from_mapping
from gpubp.errors import DataError

FIX = "Write it again, and reopen the stream"

CHUNK_METADATA_BYTES = 900
"""Measured bytes of a file's metadata per column of a row group."""

MAX_METADATA_BYTES = 16 << 20
"""Maximum bytes of metadata kept in memory; the metadata of further files is read each time."""

NO_PARTITION = "__HIVE_DEFAULT_PARTITION__"


class ParquetFile(NamedTuple):
    """A file, its metadata if that stays in memory, and the columns in its path: ``year=2001/part.parquet``."""

    state: FileState
    metadata: Any
    path_columns: dict[str, str]


class RowGroup(NamedTuple):
    """A row group: its file, its number in the file, its number of rows, and the number of rows before it."""

    file: ParquetFile
    number: int
    n_rows: int
    first: int


class ParquetTables:
    """Parquet files with the same columns, some of which may be part of the paths below the folder."""

    def __init__(self, paths: list[Path], folder: Path) -> None:
        self.name, self.groups = str(folder), list[RowGroup]()
        self.columns: list[str] = []
        self.texts: list[str] = []  # read as dictionaries
        self.names: tuple[str, ...] = ()
        self.dtype, largest, held, not_held = "float32", 0, 0, 0
        for path in paths:
            file = _open(path, folder)
            schema = file.metadata.schema.to_arrow_schema()
            if path == paths[0]:
                self._set_columns(schema, file)
            if lacking := set[str](self.names) - {*schema.names, *file.path_columns}:
                raise DataError(
                    f"{path} lacks the column {min(lacking)!r}, which {paths[0]} has; all files need the same columns"
                )
            groups = [file.metadata.row_group(number) for number in range(file.metadata.num_row_groups)]
            largest = max([largest, *(group.total_byte_size for group in groups)])
            metadata_bytes = CHUNK_METADATA_BYTES * len(groups) * len(schema)
            if held + metadata_bytes <= MAX_METADATA_BYTES:
                held += metadata_bytes
            else:
                file, not_held = file._replace(metadata=None), max(not_held, metadata_bytes)
            ends = np.cumsum([group.num_rows for group in groups]).tolist()
            self.groups += [
                RowGroup(file, number, group.num_rows, end - group.num_rows)
                for number, (group, end) in enumerate(zip(groups, ends, strict=True))
                if group.num_rows
            ]
        if not self.groups:
            raise DataError(f"{self.name} holds no rows; at least one is needed")
        values = [(name, text) for group in self.groups for name, text in group.file.path_columns.items()]
        self.text_path_columns = {name for name, text in values if not text.lstrip("-").isdecimal()}
        self.counts = np.asarray([group.n_rows for group in self.groups], np.int64)
        self.starts = np.cumsum(self.counts) - self.counts
        self.metadata_bytes = held + not_held
        self.reading_bytes = largest + 3 * PIECE_BYTES + self.metadata_bytes

    @property
    def notes(self) -> tuple[str, ...]:
        """What was decided about the files: nothing, as they name types and columns."""
        return ()

    def pieces(self, blocks: Iterable[int] | None = None) -> Iterator[Piece]:
        """Read row groups."""
        for block in range(len(self.groups)) if blocks is None else blocks:
            yield from self._read_group(self.groups[int(block)], int(self.starts[int(block)]))

    def _set_columns(self, schema: Any, file: ParquetFile) -> None:
        self.columns = [name for name in schema.names if not name.startswith("__index_level_")]
        self.texts = [field.name for field in schema if str(field.type) in TEXT_TYPES]
        self.names = (*self.columns, *(name for name in file.path_columns if name not in self.columns))
        self.dtype = "float64" if any(str(field.type) == "double" for field in schema) else "float32"

    def _read_group(self, group: RowGroup, number: int) -> Iterator[Piece]:
        path, n_read = group.file.state.path, 0
        described = f"row group {group.number}, rows {group.first + 1:,} to {group.first + group.n_rows:,}"
        group.file.state.check(described)
        size = choose_piece_rows(len(self.names))
        try:
            with import_pyarrow("parquet", path).ParquetFile(
                path, metadata=group.file.metadata, pre_buffer=False, read_dictionary=self.texts
            ) as file:
                batches = file.iter_batches(size, row_groups=[group.number], columns=self.columns, use_threads=False)
                for batch in batches:
                    table = self._table(batch, group.file, group.first + n_read)
                    yield Piece(table, str(path), group.first + n_read, number + n_read)
                    n_read += batch.num_rows
        except DataError:
            raise
        except Exception as error:  # pyarrow raises many kinds of exceptions
            group.file.state.check(described)
            raise DataError(f"{path} cannot be read in {described}: {brief(error)}. {FIX}") from error
        if n_read != group.n_rows:
            raise DataError(f"{path} cannot be read in {described}: {n_read:,} rows were read. {FIX}")

    def _table(self, batch: Any, file: ParquetFile, first_row: int) -> Table:
        import pyarrow

        table = table_from_mapping(pyarrow.Table.from_batches([batch]), source=str(file.state.path))
        columns, written = dict(table.columns), dict[str, WrittenTexts]()
        for name in self.names[len(self.columns) :]:
            text = file.path_columns[name]
            if name in self.text_path_columns:
                columns[name] = np.full(batch.num_rows, None if text == NO_PARTITION else text, dtype=object)
            else:  # like a field of a text file, it may be a number or a code: 01
                columns[name] = np.full(batch.num_rows, int(text))
                written[name] = WrittenTexts(pyarrow.chunked_array([pyarrow.repeat(text, batch.num_rows)]))
        # As a dictionary a column would count as categories, which only the file's own dictionaries are.
        categorical = table.categorical.difference(self.texts)
        return replace(table, columns=columns, written=written, first_row=first_row, categorical=categorical)


def _open(path: Path, folder: Path) -> ParquetFile:
    state = FileState.of(path)
    try:
        metadata = import_pyarrow("parquet", path).read_metadata(path)
    except DataError:
        raise
    except Exception as error:
        raise DataError(f"{path} cannot be read: {brief(error)}. {FIX}") from error
    return ParquetFile(state, metadata, path_columns(path, folder))
