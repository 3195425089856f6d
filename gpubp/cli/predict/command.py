"""``gpubp predict``: predict the target of each row of a table with a model file."""

from pathlib import Path
from typing import Annotated, Any

import typer

from gpubp._core.text import counted
from gpubp.cli import options
from gpubp.cli.output import console, notes, print_facts, print_json, print_reading, print_scores
from gpubp.cli.paths import check_output
from gpubp.cli.predict.compute import (
    Decode,
    Scoring,
    compute_with,
    note_scored_rows,
    note_training_rows,
    predict_in_parts,
    predict_whole,
    print_issues,
    scores_as_json,
)
from gpubp.cli.predict.formats import FORMATS, open_writer
from gpubp.data.preprocessing import preprocessing_of
from gpubp.data.readers import read_table_with
from gpubp.data.readers.dialect import TextOptions
from gpubp.data.streaming.table_files import open_tables, reason_to_stream
from gpubp.errors import DataError
from gpubp.io.model_file import Model, load_model
from gpubp.tabular import decode_outputs
from gpubp.tabular.predict import intervals


def predict(
    model: options.Model,
    data: options.Data,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help=f"A {', '.join(FORMATS)} file. The default is CSV on stdout.",
            show_default=False,
        ),
    ] = None,
    keep: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A column of DATA to write beside the predictions, such as an identifier, or several: a,b. May be "
            "repeated.",
            show_default=False,
        ),
    ] = None,
    interval: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            help="For numbers, add an interval that holds this share of the targets, such as 0.9.",
            show_default=False,
        ),
    ] = None,
    separator: options.Separator = None,
    read: options.Read = None,
    stream: options.Stream = False,
    strict: options.Strict = False,
    columns: options.Columns = False,
    device: options.Device = "auto",
    matmul_precision: options.MatmulPrecision = "float32",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of CSV.")] = False,
) -> None:
    """Predict the target of each row, as CSV on stdout or as a file.

    For classification the probability of each class is included. If DATA has the target, scores are printed on stderr.
    """
    if output is not None:
        check_output(output, (*FORMATS,), inputs=[data, model])
    in_parts = stream or reason_to_stream(Path(data)) is not None
    if in_parts and as_json and output is None:
        raise DataError("--json prints all predictions in one object, but DATA is read in parts; pass --output FILE")
    trained = load_model(model)
    compute = compute_with(trained, strict=strict, device=device, matmul_precision=matmul_precision)
    decode, scoring = _decode(trained, interval), Scoring(trained)
    reading = TextOptions.parse(read or (), separator)
    if in_parts:
        tables = open_tables(Path(data), reading)
        predicted = predict_in_parts(compute, decode, scoring, tables, output, keep or ())
        print_reading(tables.notes)
    else:
        table = read_table_with(data, reading)
        print_reading(table.notes)
        predicted = predict_whole(compute, decode, scoring, table, keep or ())
    if predicted.columns and (output is not None or not as_json):
        with open_writer(output) as write:
            write(predicted.columns)
    if as_json:
        values = {name: values.tolist() for name, values in predicted.columns.items()}
        where = {"output": str(output)} if output else {"predictions": values}
        print_json({"rows": predicted.n_rows, **where, **scores_as_json(predicted)})
    elif output is not None:
        print_facts([("written", f"{output} ({counted(predicted.n_rows, 'row')})")], console)
    print_issues(predicted, as_table=columns)
    if predicted.scores and not as_json:
        print_scores({"scores": predicted.scores}, {"scores": predicted.n_scored}, predicted.baseline, output=notes)
        note_scored_rows(predicted)
        note_training_rows(trained, predicted, model)


def _decode(trained: Model, interval: float | None) -> Decode:
    """Return a function that converts outputs to the columns to write."""

    def decode(outputs: Any) -> Any:
        predictions = decode_outputs(preprocessing_of(trained), outputs)
        return predictions if interval is None else predictions | intervals(trained, predictions, interval)

    return decode
