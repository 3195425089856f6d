"""Readers of tables: one module per file format, and one registry of the formats, ``_formats.py``."""

from gpubp.data.readers._formats import SUFFIXES
from gpubp.data.readers._read import read_table

__all__ = ["SUFFIXES", "read_table"]
