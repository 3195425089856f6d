"""Parquet files in blocks that are their row groups."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

import numpy as np

from gpubp._core.text import brief
from gpubp.data.readers import Table, table_from_mapping
from gpubp.data.streaming.sources import FileState
from gpubp.data.streaming.tables import PIECE_BYTES, Piece, pyarrow_module, rows_of_a_piece
from gpubp.errors import DataError

FIX = "Write it again, and open the stream anew"
BYTES_OF_A_CHUNK = 900  # that a column of a row group takes where a file's description of itself is held: measured
MOST_DESCRIBED = 16 << 20  # bytes of descriptions that are held; of more files they are read each time
TEXTS = ("string", "large_string", "string_view")  # types of texts, as pyarrow names them
NO_PARTITION = "__HIVE_DEFAULT_PARTITION__"


class ParquetPart(NamedTuple):
    """A file, its description of itself where it is held, and the columns in its path: ``year=2001/part.parquet``."""

    state: FileState
    metadata: Any
    in_path: dict[str, str]


class Group(NamedTuple):
    """A row group: its file, its number there, how many rows it has, and how many of the file lie before it."""

    part: ParquetPart
    number: int
    n_rows: int
    first: int


class ParquetTables:
    """Parquet files with the same columns; those in the paths below a folder are some of them."""

    def __init__(self, files: list[Path], folder: Path) -> None:
        self.name, self.groups = str(folder), list[Group]()
        self.columns: list[str] = []
        self.texts: list[str] = []  # read as a number for each row, and each text once
        self.names: tuple[str, ...] = ()
        self.dtype, largest, held, not_held = "float32", 0, 0, 0
        for file in files:
            part, found = _part(file, folder), self.names
            schema = part.metadata.schema.to_arrow_schema()
            if not found:
                self.columns = [name for name in schema.names if not name.startswith("__index_level_")]
                self.texts = [field.name for field in schema if str(field.type) in TEXTS]
                self.names = (*self.columns, *(name for name in part.in_path if name not in self.columns))
                self.dtype = "float64" if any(str(field.type) == "double" for field in schema) else "float32"
            elif lacking := set(found) - {*schema.names, *part.in_path}:
                raise DataError(
                    f"{file} lacks the column {min(lacking)!r}, which {files[0]} has; all files need the same columns"
                )
            groups = [part.metadata.row_group(number) for number in range(part.metadata.num_row_groups)]
            largest = max([largest, *(group.total_byte_size for group in groups)])
            described = BYTES_OF_A_CHUNK * len(groups) * len(schema)
            if held + described <= MOST_DESCRIBED:
                held += described
            else:
                part, not_held = part._replace(metadata=None), max(not_held, described)
            ends = np.cumsum([group.num_rows for group in groups]).tolist()
            self.groups += [
                Group(part, number, group.num_rows, end - group.num_rows)
                for number, (group, end) in enumerate(zip(groups, ends, strict=True))
                if group.num_rows
            ]
        if not self.groups:
            raise DataError(f"{self.name} holds no rows; at least one is needed")
        values = [(name, text) for group in self.groups for name, text in group.part.in_path.items()]
        self.words = {name for name, text in values if not text.lstrip("-").isdecimal()}
        self.counts = np.asarray([group.n_rows for group in self.groups], np.int64)
        self.begins = np.cumsum(self.counts) - self.counts
        self.bytes_described = held + not_held
        self.bytes_in_hand = largest + 3 * PIECE_BYTES + self.bytes_described

    def pieces(self, blocks: Iterable[int] | None = None) -> Iterator[Piece]:
        """Read row groups."""
        for block in range(len(self.groups)) if blocks is None else blocks:
            yield from self._group(self.groups[int(block)], int(self.begins[int(block)]))

    def _group(self, group: Group, number: int) -> Iterator[Piece]:
        path, done = group.part.state.path, 0
        doing = f"row group {group.number}, rows {group.first + 1:,} to {group.first + group.n_rows:,}"
        group.part.state.check(doing)
        size = rows_of_a_piece(len(self.names))
        try:
            with pyarrow_module("parquet", path).ParquetFile(
                path, metadata=group.part.metadata, pre_buffer=False, read_dictionary=self.texts
            ) as file:
                batches = file.iter_batches(size, row_groups=[group.number], columns=self.columns, use_threads=False)
                for batch in batches:
                    yield Piece(self._table(batch, group.part), str(path), group.first + done, number + done)
                    done += batch.num_rows
        except DataError:
            raise
        except Exception as error:  # pyarrow raises many kinds; each means that these rows cannot be had
            group.part.state.check(doing)
            raise DataError(f"{path} cannot be read in {doing}: {_said(error)}. {FIX}") from error
        if done != group.n_rows:
            raise DataError(f"{path} cannot be read in {doing}: it gave {done:,} rows. {FIX}")

    def _table(self, batch: Any, part: ParquetPart) -> Table:
        import pyarrow

        table = table_from_mapping(pyarrow.Table.from_batches([batch]), source=str(part.state.path))
        for name in self.names[len(self.columns) :]:
            text = part.in_path[name]
            value: Any = None if text == NO_PARTITION else text if name in self.words else int(text)
            table.columns[name] = np.full(batch.num_rows, value, dtype=None if isinstance(value, int) else object)
        return table


def _part(file: Path, folder: Path) -> ParquetPart:
    state = FileState.of(file)
    try:
        metadata = pyarrow_module("parquet", file).read_metadata(file)
    except DataError:
        raise
    except Exception as error:
        raise DataError(f"{file} cannot be read: {_said(error)}. {FIX}") from error
    steps = file.relative_to(folder).parts[:-1]
    return ParquetPart(state, metadata, {unquote(k): unquote(v) for k, _, v in (s.partition("=") for s in steps) if v})


def _said(error: Exception) -> str:
    return (brief(" ".join(str(error).split()), 200) or type(error).__name__).rstrip(".")
