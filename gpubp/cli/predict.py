"""``gpubp predict``: a model file and a table to predictions."""

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from gpubp.cli.output import (
    check_output,
    console,
    metric_name,
    notes,
    number,
    print_facts,
    print_json,
    print_note,
)
from gpubp.data.files import Column, Table, read_table
from gpubp.data.preprocessing import Preprocessing, encode_target, preprocessing_of
from gpubp.errors import DataError
from gpubp.persistence import load_model, write_whole
from gpubp.precision import MATMUL_PRECISIONS
from gpubp.tabular import decoded, outputs, score
from gpubp.wording import plain

SUFFIXES = (".csv", ".parquet")


def predict(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="A model file, as gpubp train writes it.", show_default=False)
    ],
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="A file with the columns that the model was trained on, in any order, or a built-in set.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="A .csv or .parquet file; stdout without it.", show_default=False
        ),
    ] = None,
    separator: Annotated[
        str | None,
        typer.Option(
            metavar="CHARACTER", help="What stands between the fields of a .csv or .tsv DATA: ';'.", show_default=False
        ),
    ] = None,
    device: Annotated[str, typer.Option(metavar="NAME", help="auto, cpu, cuda or cuda:N.")] = "auto",
    matmul_precision: Annotated[
        str, typer.Option(metavar="NAME", help=f"What matrix products round to: {', '.join(MATMUL_PRECISIONS)}.")
    ] = "float32",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs, instead of CSV.")] = False,
) -> None:
    """Predict the target of each row: CSV on stdout, or a file.

    A class comes with the probability of each class. Where DATA has the target too, scores go to stderr.
    """
    if output is not None:
        check_output(output, SUFFIXES, inputs=[data, model])
    trained = load_model(model)
    preprocessing = preprocessing_of(trained)
    table = read_table(data, separator=separator)
    y = outputs(trained, table, device=device, matmul_precision=matmul_precision)
    predictions = decoded(preprocessing, y)
    scores = _scores(preprocessing, table, y)
    if output is not None:
        write_whole(output, _parquet(predictions) if output.suffix.lower() == ".parquet" else _csv(predictions))
    if as_json:
        found = {"output": str(output)} if output else {"predictions": _lists(predictions)}
        print_json({"rows": table.n_rows, **found, "scores": scores})
    elif output is None:
        # who looks at it must not have the terminal steered; a file or a program gets the labels as they are
        _print_bytes(_csv(predictions, plain if console.is_terminal else str))
    else:
        print_facts([("written", f"{output} ({table.n_rows:,} rows)")], console)
    if scores and not as_json:
        print_facts([("scores", ", ".join(f"{metric_name(name)} {number(scores[name])}" for name in scores))], notes)
        if trained.about.get("source") == Path(table.source).name:
            print_note(f"rows that the model was trained on are among these, it seems; see gpubp show {model}")


def _scores(preprocessing: Preprocessing, table: Table, y: np.ndarray) -> dict[str, float] | None:
    """Score the predictions where the table has the target."""
    if not set(preprocessing.target_names) <= set(table.columns):
        return None
    try:
        return score(preprocessing, encode_target(preprocessing, table), y)
    except DataError as error:  # predictions are good without a target
        print_note(f"no scores: {error}")
        return None


def _csv(columns: dict[str, Column], write: Callable[[str], str] = str) -> bytes:
    """Write columns as CSV, numbers with the nine digits that float32 has at most, texts as ``write`` gives them."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(write, columns))
    writer.writerows(zip(*(map(write, _texts(values)) for values in columns.values()), strict=True))
    return text.getvalue().encode()


def _texts(values: Column) -> list[str]:
    return [f"{value:.9g}" if isinstance(value, float) else str(value) for value in values.tolist()]


def _parquet(columns: dict[str, Column]) -> bytes:
    import pyarrow
    from pyarrow import parquet

    buffer = io.BytesIO()
    parquet.write_table(pyarrow.table({name: values.tolist() for name, values in columns.items()}), buffer)
    return buffer.getvalue()


def _lists(columns: dict[str, Column]) -> dict[str, Any]:
    return {name: values.tolist() for name, values in columns.items()}


def _print_bytes(content: bytes) -> None:
    """Send CSV to stdout as UTF-8, whatever the terminal's encoding."""
    console.file.flush()
    buffer = getattr(console.file, "buffer", None)
    if buffer is None:
        console.file.write(content.decode())
    else:
        buffer.write(content)
        buffer.flush()
