"""Readers of tables: one module per kind of file, and one registry of the formats, ``_formats.py``."""

from gpubp.data.readers._files import files_in as files_in
from gpubp.data.readers._files import is_pattern as is_pattern
from gpubp.data.readers._files import path_columns as path_columns
from gpubp.data.readers._files import stem as stem
from gpubp.data.readers._formats import SUFFIXES as SUFFIXES
from gpubp.data.readers._formats import TEXT_SUFFIXES as TEXT_SUFFIXES
from gpubp.data.readers._formats import format_suffix as format_suffix
from gpubp.data.readers._formats import separator_of as separator_of
from gpubp.data.readers._input_file import COMPRESSIONS as COMPRESSIONS
from gpubp.data.readers._read import read_table as read_table
from gpubp.data.readers._read import read_table_with as read_table_with
