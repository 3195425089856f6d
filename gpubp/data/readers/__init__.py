"""Readers of tables: one module per kind of file, and one registry of the formats, ``_formats.py``."""

from gpubp.data.readers._files import files_in, is_pattern, path_columns, stem
from gpubp.data.readers._formats import SUFFIXES, TEXT_SUFFIXES, format_suffix, separator_of
from gpubp.data.readers._input_file import COMPRESSIONS
from gpubp.data.readers._read import read_table, read_table_with

__all__ = [
    "COMPRESSIONS",
    "SUFFIXES",
    "TEXT_SUFFIXES",
    "files_in",
    "format_suffix",
    "is_pattern",
    "path_columns",
    "read_table",
    "read_table_with",
    "separator_of",
    "stem",
]
