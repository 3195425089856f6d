"""``gpubp inspect``: say what each column of a table is taken for, and why; or what a model makes of them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gpubp._core.text import counted, excerpt
from gpubp.cli.columns import TYPE_ADVICE, print_columns
from gpubp.cli.inspect.model import inspect_model
from gpubp.cli.inspect.options import OF_MODELS, OF_TABLES, InspectOptions, refuse
from gpubp.cli.inspect.page import column_page
from gpubp.cli.options import options_of
from gpubp.cli.output import console, print_facts, print_json, print_note, print_reading
from gpubp.cli.paths import check_output
from gpubp.cli.table_options import TableOptions
from gpubp.data.preprocessing import ColumnOptions, decide_table, fit_columns
from gpubp.data.readers import read_table_with
from gpubp.data.readers.dialect import TextOptions
from gpubp.data.streaming.table_files import open_tables, reason_to_stream
from gpubp.data.table import Table
from gpubp.errors import DataError
from gpubp.io.atomic_files import open_atomically


@options_of(InspectOptions)
def inspect(options: InspectOptions) -> None:
    """Show what each column of a table is taken for and why, as gpubp train would: types, missing values, outliers.

    A table without a target that can be learned is shown as well, and with it why gpubp train would refuse it.

    With a model before the table, show which columns its predictions rely on (permutation importance), and draw how
    they depend on the most important ones and whether they are calibrated.
    """
    if options.table is not None:
        why = "a model knows its columns; leave this out, or inspect the table without a model"
        of_page = "" if options.html is None else "; what is found of a model, --picture draws and --json prints"
        refuse(options, OF_TABLES, why + of_page)
        inspect_model(options, options.table)
        return
    if options.data.endswith(".safetensors"):
        fix = f"pass a table as well, gpubp inspect {options.data} DATA, or print it with gpubp show {options.data}"
        raise DataError(f"{options.data} is a model: {fix}")
    refuse(options, OF_MODELS, "only with a model: gpubp inspect MODEL DATA")
    if options.html is not None:
        check_output(options.html, (".html",), inputs=[options.data])
    pieces, first, notes = _pieces(options)
    how = ColumnOptions(**options.of_columns(tuple(first.columns)))
    decisions = decide_table(pieces(), how, needs_target=False)
    fitted = fit_columns(decisions, _training(pieces()))
    summaries = fitted.preprocessing.summaries
    n_rows = next(iter(decisions.facts.values())).n_rows
    if options.html is not None:
        with open_atomically(options.html) as file:
            file.write(column_page(options.data, n_rows, first, fitted).encode())
    print_reading(notes)
    if options.as_json:
        print_json({"data": options.data, "rows": n_rows, "columns": [asdict(summary) for summary in summaries]})
    else:
        size = f"{counted(n_rows, 'row')}, {counted(len(summaries), 'column')}"
        facts = [("data", f"{first.source}: {size}")]
        targets = [excerpt(repr(summary.name), 60) for summary in summaries if summary.type == "target"]
        if targets and options.how_to_choose_target:
            facts.append(("target", ", ".join(targets) + options.how_to_choose_target))
        print_facts([*facts, ("", "")], console)
        print_columns(fitted.preprocessing, console, ranges=fitted.ranges)
        print_facts([("page", str(options.html))] if options.html is not None else [], console)
        print_note(TYPE_ADVICE)
    if fitted.unreadable:
        print_note(f"{options.data}: {fitted.unreadable}")
    if fitted.refusal:
        print_note(f"gpubp train would refuse this table: {fitted.refusal}")


def _pieces(options: TableOptions) -> tuple[Callable[[], Iterator[Table]], Table, Sequence[str]]:
    """Return a function that reads the table's pieces, the first of them, and notes about how they are read."""
    reading = TextOptions.parse(options.read or (), options.separator)
    if not options.stream and reason_to_stream(Path(options.data)) is None:
        table = read_table_with(options.data, reading)
        return lambda: iter([table]), table, table.notes
    tables = open_tables(Path(options.data), reading)
    return lambda: (piece.table for piece in tables.pieces()), next(iter(tables.pieces())).table, tables.notes


def _training(pieces: Iterator[Table]) -> Iterator[tuple[Table, NDArray[np.bool_]]]:
    for table in pieces:
        yield table, np.ones(table.n_rows, dtype=bool)
