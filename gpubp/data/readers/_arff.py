"""ARFF files of Weka and OpenML: declared columns, then rows as in a text file."""

import re

from gpubp._core.text import excerpt
from gpubp.data._limits import MAX_LINE_BYTES
from gpubp.data.readers._encoding import find_encoding
from gpubp.data.readers._header import unique_names
from gpubp.data.readers._input_file import InputFile
from gpubp.data.readers.dialect import Dialect
from gpubp.data.readers.sniffing import Layout
from gpubp.data.readers.text import read_rows
from gpubp.data.table import RawTable
from gpubp.errors import DataError

_ATTRIBUTE = re.compile(r"@attribute\s+('(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|\S+)\s+(.*)", re.IGNORECASE)
_NUMERIC = ("numeric", "real", "integer")
_MAX_LINES = 1_000_000


def read_arff(source: InputFile) -> RawTable:
    """Read an ARFF file of dense rows."""
    names: list[str] = []
    types: list[str] = []
    with source.open() as file:
        start, encoding = 0, "utf-8"
        for _ in range(_MAX_LINES):
            line = file.readline(MAX_LINE_BYTES)
            if not line:
                raise DataError(f"{source.name} has no line @data, after which the rows come; write it again")
            start += len(line)
            encoding, _ = find_encoding(line) if encoding == "utf-8" else (encoding, b"")
            text = line.decode(encoding, "replace").strip().removeprefix("\ufeff")
            if text.lower().startswith("@data"):
                break
            if match := _ATTRIBUTE.match(text):
                names.append(_unquoted(match[1]))
                types.append(match[2].strip())
            elif text.lower().startswith("@attribute"):
                raise DataError(f"{source.name}: this line names no column and type: {excerpt(text, 100)}")
        sample = file.read(1 << 16)
    if not names:
        raise DataError(f"{source.name} declares no columns (@attribute NAME TYPE)")
    relational = [name for name, kind in zip(names, types, strict=True) if kind.lower().startswith("relational")]
    if relational or re.search(rb"^\s*\{", sample):
        what = f"column {relational[0]!r} holds tables" if relational else "its rows are sparse"
        raise DataError(f"{source.name}: {what}, which is not supported; write it as CSV")
    rows = b"".join(line for line in sample.splitlines(keepends=True) if not line.lstrip().startswith(b"%"))
    separator = "\t" if b"\t" in rows and b"," not in rows else ","
    chosen = unique_names(names)
    dialect = Dialect(
        separator=separator,
        quote="'" if rows.count(b"'") > rows.count(b'"') else '"',
        escape="\\" if b"\\" in rows else "",
        comment="%",
        header=False,
        encoding=encoding,
        pads=b", " in rows,
    )
    layout = Layout(dialect, chosen.names, start, needs_repair=dialect.pads, notes=chosen.notes)
    texts = [name for name, kind in zip(chosen.names, types, strict=True) if not kind.lower().startswith(_NUMERIC)]
    return read_rows(source, layout, texts_only=texts, missing="?")


def _unquoted(name: str) -> str:
    return re.sub(r"\\(.)", r"\1", name[1:-1]) if len(name) > 1 and name[0] == name[-1] and name[0] in "'\"" else name
