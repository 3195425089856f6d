"""The options of the commands that decide what the columns of a table are, and how their text is parsed."""

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, cast, get_args

import typer

from gpubp.cli.options import READ_HELP, SEPARATOR_HELP
from gpubp.data import DATASETS
from gpubp.data.preprocessing import ColumnType, Task
from gpubp.data.readers import COMPRESSIONS, SUFFIXES
from gpubp.data.streaming.table_files import SUFFIXES as PART_SUFFIXES
from gpubp.errors import DataError

DATA_PANEL = "The data"
"""The panel of the help that shows these options."""

_data = partial(typer.Option, rich_help_panel=DATA_PANEL)


def _any_of(suffixes: Sequence[str]) -> str:
    return f"{', '.join(suffixes[:-1])} or {suffixes[-1]}"


@dataclass(frozen=True)
class TableOptions:
    """The options about a table and its columns, before their text is parsed."""

    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help=f"A {_any_of(SUFFIXES)} file, also compressed ({', '.join(COMPRESSIONS)}); FILE::NAME for a table "
            f"of a database or a sheet; a folder, or a pattern in quotation marks, of {_any_of(PART_SUFFIXES)} files; "
            f"- for standard input; or a built-in data set: {', '.join(DATASETS)}.",
            show_default=False,
        ),
    ]
    target: Annotated[
        list[str] | None,
        _data(
            metavar="NAME",
            help="The column to predict, or several numeric ones: a,b. The default is the column named target, label, "
            "class or y, else the last one.",
            show_default=False,
        ),
    ] = None
    task: Annotated[
        str,
        _data(metavar="NAME", help="auto, classification or regression."),
    ] = "auto"
    categorical: Annotated[
        list[str] | None,
        _data(
            metavar="NAME",
            help="A column to read as categories, or several: a,b. Those of a .csv or .tsv file are read as text, so "
            "that 01 and 1 differ. May be repeated.",
            show_default=False,
        ),
    ] = None
    drop: Annotated[
        list[str] | None,
        _data(metavar="NAME", help="A column to ignore, or several: a,b. May be repeated.", show_default=False),
    ] = None
    separator: Annotated[
        str | None,
        _data(metavar="CHARACTER", help=SEPARATOR_HELP, show_default=False),
    ] = None
    read: Annotated[
        list[str] | None,
        _data(metavar="NAME=VALUE", help=READ_HELP, show_default=False),
    ] = None
    stream: Annotated[
        bool,
        _data(
            "--stream",
            help="Read the rows in parts, for training again in each epoch, if they do not fit into memory. This is "
            "the default for folders, and for files larger than a quarter of the free memory.",
        ),
    ] = False
    type: Annotated[
        list[str] | None,
        _data(
            metavar="NAME=TYPE",
            help="The type of a column instead of the one that was found: number, category, date, words or drop. May "
            "be repeated.",
            show_default=False,
        ),
    ] = None
    missing: Annotated[
        list[str] | None,
        _data(
            metavar="TEXT",
            help="A text that means a missing value, besides NA, ?, an empty field and the like. May be repeated.",
            show_default=False,
        ),
    ] = None
    max_categories: Annotated[
        int,
        _data(metavar="N", min=2, help="Number of categories of a column with an input each; others share inputs."),
    ] = 100
    strict: Annotated[
        bool,
        _data("--strict", help="Refuse missing and unreadable values instead of filling and counting them."),
    ] = False

    @property
    def how_to_choose_target(self) -> str:
        """How to name the target of a file, "" if it was named, or the data have one."""
        is_chosen = self.target is not None or not Path(self.data).exists()
        return "" if is_chosen else "; --target NAME takes another column"

    def of_columns(self, names: Container[str]) -> dict[str, Any]:
        """Return the arguments of :func:`gpubp.data.fit_preprocessing` for a table with columns of these names."""
        return {
            "target": column_names(self.target, names) or None,
            "task": cast(Task, self.task),
            "categorical": column_names(self.categorical, names),
            "drop": column_names(self.drop, names),
            "max_categories": self.max_categories,
            "types": parse_types(self.type),
            "missing": tuple(self.missing or ()),
            "strict": self.strict,
        }


def parse_types(texts: Iterable[str] | None) -> dict[str, ColumnType]:
    """Parse types of columns such as ``"zip=category"``.

    Examples
    --------
    >>> parse_types(["zip=category", "week=number"])
    {'zip': 'category', 'week': 'number'}
    """
    types: dict[str, ColumnType] = {}
    for text in texts or ():
        name, separator, column_type = text.rpartition("=")
        if not separator or column_type not in get_args(ColumnType):
            raise DataError(f"--type must be NAME=TYPE with one of {', '.join(get_args(ColumnType))}, got {text!r}")
        types[name] = cast(ColumnType, column_type)
    return types


def column_names(texts: Iterable[str] | None, columns: Container[str]) -> list[str]:
    """Split lists of column names at commas, unless a column has the whole text as its name."""
    return [
        name
        for text in texts or ()
        for name in ([text] if text in columns or "," not in text else map(str.strip, text.split(",")))
    ]
