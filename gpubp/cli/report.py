"""``gpubp report``: a model, or several side by side, as one HTML page."""

import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from gpubp._core.text import shortened
from gpubp.cli import options
from gpubp.cli.output import console, print_facts, print_note, print_reading
from gpubp.cli.paths import check_output
from gpubp.cli.train.options import PAGES
from gpubp.data.preprocessing import preprocessing_of
from gpubp.data.readers import read_table_with
from gpubp.data.readers.dialect import TextOptions
from gpubp.data.streaming.table_files import reason_to_stream
from gpubp.data.table import Table
from gpubp.errors import DataError, TableWarning
from gpubp.io.atomic_files import write_atomically
from gpubp.io.model_file import Model, load_model
from gpubp.reports import ModelReport, report_page
from gpubp.tabular.estimator_parameters import parameters_in
from gpubp.tabular.estimators import TabularClassifier, TabularRegressor
from gpubp.tabular.inspected_table import InspectedTable
from gpubp.tabular.made_again import code_again
from gpubp.tabular.report import is_of_training, report_of


def report(
    models: Annotated[
        list[Path], typer.Argument(metavar="MODEL...", help="Model files written by gpubp train.", show_default=False)
    ],
    data: Annotated[
        str | None,
        typer.Option(
            metavar="DATA",
            help="A table with the target, whose rows the models were not trained on: adds scores, confusion or "
            "errors, calibration and importance on it.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="The page. The default is the first MODEL with .html.",
            show_default=False,
        ),
    ] = None,
    separator: options.Separator = None,
    read: options.Read = None,
    device: options.Device = "auto",
) -> None:
    """Write a report of a model as one HTML page to keep and send; of several models, side by side.

    The page has scores, learning curves, columns, the network and its settings, and needs no other file. With --data
    there are also confusion or errors, calibration and permutation importance on that table; gpubp train --report shows
    them on the rows that it held out.
    """
    models = list(dict.fromkeys(models))  # a model given twice is shown once
    page = output or models[0].with_suffix(".html")
    check_output(page, PAGES, inputs=[*models, *([data] if data is not None else [])])
    loaded = {path: load_model(path) for path in models}
    if bare := [str(path) for path, model in loaded.items() if model.preprocessing is None]:
        raise DataError(
            f"{shortened(bare)}: no preprocessing; a report is of a model of a table, as gpubp train writes it"
        )
    table = None
    if data is not None:
        if reason := reason_to_stream(Path(data)):
            raise DataError(f"{data} is {reason}: a report needs a table in memory; pass one file, of fewer rows")
        table = read_table_with(data, TextOptions.parse(read or (), separator))
        print_reading(table.notes)
    stems = [path.stem for path in models]
    names = stems if len({*stems}) == len(stems) else [str(path) for path in models]
    reports = [_report(model, name, table, device) for model, name in zip(loaded.values(), names, strict=True)]
    text = report_page(reports, made=f"written on {datetime.now(UTC):%d %B %Y}")
    write_atomically(page, text.encode())
    print_facts([("written", f"{page} (open it in a browser)")], console)


def _report(model: Model, name: str, table: Table | None, device: str) -> ModelReport:
    kind = TabularClassifier if preprocessing_of(model).task == "classification" else TabularRegressor
    code = code_again(model, kind(**parameters_in(kind, model)[0]))
    inspected = None if table is None else InspectedTable(model, table, device=device)
    doubts = []
    if table is not None and is_of_training(model, table):
        doubts.append(f"{name} was trained on a table with the same values, so its scores on these rows flatter.")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", TableWarning)
        made = report_of(model, title=name, code=code, notes=doubts, inspected=inspected, scored_as="given")
    for text in doubts:
        print_note(text)
    for text in dict.fromkeys(str(one.message) for one in caught):
        print_note(f"{name}: {text}")
    return made
