"""``gpubp inspect``: say what each column of a table is taken for, and why."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from gpubp.cli import options
from gpubp.cli.columns import TYPE_ADVICE, print_columns
from gpubp.cli.inspect.page import column_page
from gpubp.cli.output import console, print_facts, print_json, print_note, print_reading
from gpubp.cli.paths import check_output
from gpubp.cli.train.options import column_names, parse_types
from gpubp.data.preprocessing import ColumnOptions, decide_table, fit_columns
from gpubp.data.readers import read_table_with
from gpubp.data.readers.dialect import TextOptions
from gpubp.data.streaming.table_files import open_tables, reason_to_stream
from gpubp.data.table import Table
from gpubp.io.atomic_files import open_atomically


def inspect(
    data: options.Data,
    target: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="The column to predict, as for gpubp train.", show_default=False),
    ] = None,
    column_type: Annotated[
        list[str] | None,
        typer.Option(
            "--type", metavar="NAME=TYPE", help="The type of a column, as for gpubp train.", show_default=False
        ),
    ] = None,
    missing: Annotated[
        list[str] | None,
        typer.Option(metavar="TEXT", help="A text that means a missing value, as for gpubp train.", show_default=False),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the report as a page with histograms.", show_default=False),
    ] = None,
    separator: options.Separator = None,
    read: options.Read = None,
    as_json: options.AsJson = False,
) -> None:
    """Show what each column of a table is taken for and why, as gpubp train would: types, missing values, outliers."""
    if html is not None:
        check_output(html, (".html",), inputs=[data])
    pieces, first, notes = _pieces(data, TextOptions.parse(read or (), separator))
    names = tuple(first.columns)
    how = ColumnOptions(
        column_names(target, names) or None, types=parse_types(column_type), missing=tuple(missing or ())
    )
    decisions = decide_table(pieces(), how)
    fitted = fit_columns(decisions, _training(pieces()))
    summaries = fitted.preprocessing.summaries
    n_rows = decisions.facts[names[0]].n_rows
    if html is not None:
        with open_atomically(html) as file:
            file.write(column_page(data, n_rows, first, fitted.preprocessing).encode())
    print_reading(notes)
    if as_json:
        print_json({"data": data, "rows": n_rows, "columns": [asdict(summary) for summary in summaries]})
        return
    print_facts([("data", f"{first.source}: {n_rows:,} rows, {len(names):,} columns"), ("", "")], console)
    print_columns(fitted.preprocessing, console)
    print_facts([("page", str(html))] if html is not None else [], console)
    print_note(TYPE_ADVICE)


def _pieces(data: str, reading: TextOptions) -> tuple[Callable[[], Iterator[Table]], Table, Sequence[str]]:
    """Return a function that reads the table's pieces, the first of them, and notes about how they are read."""
    if reason_to_stream(Path(data)) is None:
        table = read_table_with(data, reading)
        return lambda: iter([table]), table, table.notes
    tables = open_tables(Path(data), reading)
    return lambda: (piece.table for piece in tables.pieces()), next(iter(tables.pieces())).table, tables.notes


def _training(pieces: Iterator[Table]) -> Iterator[tuple[Table, NDArray[np.bool_]]]:
    for table in pieces:
        yield table, np.ones(table.n_rows, dtype=bool)
