"""The registry of file formats. To add one, write a reader and add its suffix here."""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from gpubp.data.readers._arff import read_arff
from gpubp.data.readers._arrow_files import read_feather, read_orc, read_parquet
from gpubp.data.readers._databases import read_database
from gpubp.data.readers._input_file import COMPRESSIONS, InputFile
from gpubp.data.readers._json import read_json, read_json_lines
from gpubp.data.readers._numpy_arrays import read_numpy
from gpubp.data.readers._spreadsheets import read_spreadsheet
from gpubp.data.readers._statistical import read_sas, read_spss, read_stata
from gpubp.data.readers.dialect import TextOptions
from gpubp.data.readers.text import read_text
from gpubp.data.table import RawTable


class FileFormat(NamedTuple):
    """A reader, how to fix a file that it cannot read, and the separator that a suffix of text suggests."""

    read: Callable[[InputFile], RawTable]
    fix: str
    separator: str = ""
    has_parts: bool = False  # the sheets or tables of ``FILE::PART``
    options: tuple[str, ...] = ()  # names of options that it takes

    def read_with(self, source: InputFile, options: TextOptions) -> RawTable:
        """Read a table with the options that the caller has chosen."""
        if self.separator:
            return read_text(source, options, self.separator)
        return partial(self.read, **options.chosen)(source)


_TEXT_OPTIONS = tuple(TextOptions.__dataclass_fields__)


def _text(separator: str = ",") -> FileFormat:
    fix = "Each row needs as many fields as the header"
    return FileFormat(read_text, fix, separator, options=_TEXT_OPTIONS)


_SPREADSHEET = FileFormat(read_spreadsheet, "Save it as CSV UTF-8", has_parts=True, options=("header", "skip_rows"))
_DATABASE = FileFormat(read_database, "Write the table as CSV", has_parts=True)
_JSON_LINES = FileFormat(read_json_lines, "Write one record in each line")
_SPSS = FileFormat(read_spss, "Write it as CSV")
_SAS = FileFormat(read_sas, "Write it as CSV")

FORMATS: dict[str, FileFormat] = {
    ".csv": _text(),
    ".tsv": _text("\t"),
    ".tab": _text("\t"),
    ".txt": _text(),
    ".dat": _text(),
    ".data": _text(),
    ".parquet": FileFormat(read_parquet, "Write the Parquet file again"),
    ".feather": FileFormat(read_feather, "Write the Feather file again"),
    ".arrow": FileFormat(read_feather, "Write the Arrow file again"),
    ".orc": FileFormat(read_orc, "Write the ORC file again"),
    ".json": FileFormat(read_json, "Write an array of records"),
    ".jsonl": _JSON_LINES,
    ".ndjson": _JSON_LINES,
    ".xlsx": _SPREADSHEET,
    ".xls": _SPREADSHEET,
    ".xlsb": _SPREADSHEET,
    ".xlsm": _SPREADSHEET,
    ".ods": _SPREADSHEET,
    ".arff": FileFormat(read_arff, "Write it as CSV"),
    ".dta": FileFormat(read_stata, "Write it as CSV"),
    ".sav": _SPSS,
    ".zsav": _SPSS,
    ".por": _SPSS,
    ".sas7bdat": _SAS,
    ".xpt": _SAS,
    ".db": _DATABASE,
    ".sqlite": _DATABASE,
    ".sqlite3": _DATABASE,
    ".duckdb": _DATABASE,
    ".npy": FileFormat(read_numpy, "Save numbers, not Python objects: numpy.save(path, numpy.column_stack([x, y]))"),
    ".npz": FileFormat(read_numpy, "Save arrays, not Python objects: numpy.savez(path, x=x, y=y)"),
}
"""Formats by the suffix of the file's name."""

SUFFIXES: tuple[str, ...] = tuple(FORMATS)
"""The suffixes that :func:`gpubp.data.read_table` accepts, before those of COMPRESSIONS."""

TEXT_SUFFIXES: tuple[str, ...] = tuple(suffix for suffix, known in FORMATS.items() if known.separator)
"""The suffixes of text."""

_MAGIC = (
    (b"PAR1", ".parquet"),
    (b"ARROW1", ".arrow"),
    (b"ORC", ".orc"),
    (b"SQLite format 3\0", ".sqlite"),
    (b"\x93NUMPY", ".npy"),
    (b"$FL2", ".sav"),
    (b"<stata_dta>", ".dta"),
    (b"\xd0\xcf\x11\xe0", ".xls"),
)

_NO_TABLES = (b"%pdf", b"<!doctype", b"<html", b"<?xml", b"{\\rtf")
"""First bytes of documents that are text, and no tables."""


def format_suffix(name: str) -> str:
    """Return the suffix of a format with that of its compression, or "" if no format has it.

    Examples
    --------
    >>> [format_suffix(name) for name in ("A.CSV", "a.csv.gz", "a.zip", "a.pdf")]
    ['.csv', '.csv.gz', '.zip', '']
    """
    lower = name.lower()
    packing = next((suffix for suffix in COMPRESSIONS if lower.endswith(suffix)), "")
    inner = lower.removesuffix(packing)
    suffix = next((suffix for suffix in SUFFIXES if inner.endswith(suffix) and inner != suffix), "")
    return suffix + packing if suffix or packing == ".zip" else ""


def suffix_of_content(start: bytes) -> str:
    """Return the suffix of the format that the first bytes of a file show: that of text if no other, "" for documents.

    Examples
    --------
    >>> suffix_of_content(b"PAR1..."), suffix_of_content(b'[{"a": 1}]'), suffix_of_content(b"a,b")
    ('.parquet', '.json', '.csv')
    """
    if start.lower().startswith(_NO_TABLES):
        return ""
    if start[8:12] == b"DUCK":
        return ".duckdb"
    known = next((suffix for magic, suffix in _MAGIC if start.startswith(magic)), None)
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    if known is None and (text.startswith(b'[{"') or text.startswith(b'{"') or re.match(rb"[\[{]\s+[\[{\"]", text)):
        return ".json"
    if known is None and re.match(rb"(%[^\n]*\s+)*@relation", text, re.IGNORECASE):
        return ".arff"
    return known or ".csv"


def separator_of(path: Path) -> str:
    """Return the separator that the name of a text file suggests."""
    suffix = format_suffix(path.name)
    return next((FORMATS[known].separator for known in FORMATS if suffix.startswith(known)), "") or ","
