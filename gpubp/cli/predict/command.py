"""``gpubp predict``: predict the target of each row of a table with a model file."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from gpubp.cli import options
from gpubp.cli.formatting import metric_name, number
from gpubp.cli.output import console, notes, print_facts, print_json, print_note, print_reading
from gpubp.cli.paths import check_output
from gpubp.cli.predict.compute import predict_in_parts, predict_whole
from gpubp.cli.predict.formats import FORMATS, open_writer
from gpubp.data.preprocessing import preprocessing_of
from gpubp.data.readers import read_table_with
from gpubp.data.readers.dialect import TextOptions
from gpubp.data.streaming.table_files import open_tables, reason_to_stream
from gpubp.errors import DataError
from gpubp.io.model_file import load_model
from gpubp.tabular import network_outputs


def predict(
    model: options.Model,
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="A file with the columns that the model was trained on, in any order; a folder of such files; or a "
            "built-in data set.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help=f"A {' or '.join(FORMATS)} file. The default is CSV on stdout.",
            show_default=False,
        ),
    ] = None,
    separator: options.Separator = None,
    read: options.Read = None,
    stream: Annotated[
        bool,
        typer.Option(
            "--stream",
            help="Read and write in parts, for data larger than memory. This is the default for folders and very "
            "large files.",
        ),
    ] = False,
    device: options.Device = "auto",
    matmul_precision: options.MatmulPrecision = "float32",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of CSV.")] = False,
) -> None:
    """Predict the target of each row, as CSV on stdout or as a file.

    For classification the probability of each class is included. If DATA has the target, scores are printed on stderr.
    """
    if output is not None:
        check_output(output, (*FORMATS,), inputs=[data, model])
    trained = load_model(model)
    preprocessing = preprocessing_of(trained)
    compute = partial(network_outputs, trained, device=device, matmul_precision=matmul_precision)
    reading = TextOptions.parse(read or (), separator)
    if stream or reason_to_stream(Path(data)):
        if as_json and output is None:
            raise DataError(
                "--json prints all predictions in one object, but DATA is read in parts; pass --output FILE"
            )
        tables = open_tables(Path(data), reading)
        predicted = predict_in_parts(preprocessing, compute, tables, output)
        print_reading(tables.notes)
    else:
        table = read_table_with(data, reading)
        print_reading(table.notes)
        predicted = predict_whole(preprocessing, compute, table)
        if output is not None or not as_json:
            with open_writer(output) as write:
                write(predicted.columns)
    if as_json:
        columns = {name: values.tolist() for name, values in predicted.columns.items()}
        where = {"output": str(output)} if output else {"predictions": columns}
        print_json({"rows": predicted.n_rows, **where, "scores": predicted.scores})
    elif output is not None:
        print_facts([("written", f"{output} ({predicted.n_rows:,} rows)")], console)
    if predicted.scores and not as_json:
        scores = ", ".join(f"{metric_name(name)} {number(value)}" for name, value in predicted.scores.items())
        print_facts([("scores", scores)], notes)
        if trained.about.get("source") == Path(predicted.source).name:
            print_note(f"these seem to include rows that the model was trained on; see gpubp show {model}")
