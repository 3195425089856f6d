"""``gpubp predict``: a model file and a table to predictions."""

import contextlib
import csv
import io
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from gpubp._core.text import plain
from gpubp.backends.matmul_precision import MATMUL_PRECISIONS
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
from gpubp.data.metrics import RunningScores, score
from gpubp.data.preprocessing import Preprocessing, encode_target, preprocessing_of
from gpubp.data.readers import read_table
from gpubp.data.streaming.table_files import open_tables, reason_to_stream
from gpubp.data.streaming.table_source import TableSource, with_file_rows
from gpubp.data.table import Column, Table
from gpubp.errors import DataError
from gpubp.io.atomic_files import open_atomically, write_atomically
from gpubp.io.model_file import load_model
from gpubp.tabular import decode_outputs as decoded
from gpubp.tabular import network_outputs as outputs

SUFFIXES = (".csv", ".parquet")


def predict(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="A model file, as gpubp train writes it.", show_default=False)
    ],
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="A file with the columns that the model was trained on, in any order, a folder of such files, or a "
            "built-in set.",
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
    stream: Annotated[
        bool,
        typer.Option(
            "--stream",
            help="Read and write in parts, for more rows than memory holds; so are folders and very large files.",
        ),
    ] = False,
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
    predicted = partial(outputs, trained, device=device, matmul_precision=matmul_precision)
    if stream or reason_to_stream(Path(data)):
        if as_json and output is None:
            raise DataError("--json has all predictions in one object, and DATA is read in parts; give --output FILE")
        tables = open_tables(Path(data), separator)
        source, n_rows = tables.name, int(sum(tables.counts))
        found: dict[str, Any] = {"output": str(output)}
        scores = _predict_in_parts(preprocessing, predicted, tables, output)
    else:
        table = read_table(data, separator=separator)
        source, n_rows, y = table.source, table.n_rows, predicted(table)
        predictions = decoded(preprocessing, y)
        scores = _scores(preprocessing, table, y)
        found = {"output": str(output)} if output else {"predictions": _lists(predictions)}
        if output is not None:
            write_atomically(
                output, _parquet(predictions) if output.suffix.lower() == ".parquet" else _csv(predictions)
            )
        elif not as_json:
            _print_bytes(_csv(predictions, _shown()))
    if as_json:
        print_json({"rows": n_rows, **found, "scores": scores})
    elif output is not None:
        print_facts([("written", f"{output} ({n_rows:,} rows)")], console)
    if scores and not as_json:
        print_facts([("scores", ", ".join(f"{metric_name(name)} {number(scores[name])}" for name in scores))], notes)
        if trained.about.get("source") == Path(source).name:
            print_note(f"rows that the model was trained on are among these, it seems; see gpubp show {model}")


def _predict_in_parts(
    preprocessing: Preprocessing, predicted: Callable[[Table], np.ndarray], tables: TableSource, output: Path | None
) -> dict[str, float] | None:
    """Write the predictions piece by piece; the scores come back, where the table has the target."""
    is_scored, running = set(preprocessing.target_names) <= set(tables.names), RunningScores(preprocessing)
    with _writer(output) as write:
        for piece in tables.pieces():
            try:
                y = predicted(piece.table)
            except DataError as error:
                raise with_file_rows(error, piece) from error
            write(decoded(preprocessing, y))
            try:
                if is_scored:
                    running.add(encode_target(preprocessing, piece.table), y)
            except DataError as error:  # predictions are good without a target
                is_scored = False
                print_note(f"no scores: {with_file_rows(error, piece)}")
    return running.scores() if is_scored else None


@contextlib.contextmanager
def _writer(output: Path | None) -> Iterator[Callable[[dict[str, Column]], None]]:
    """Open what takes columns piece by piece: stdout, or a file that is there when it is complete."""
    with contextlib.ExitStack() as stack:
        file = None if output is None else stack.enter_context(open_atomically(output))
        begun: list[Any] = []

        def write_csv(columns: dict[str, Column]) -> None:
            content = _csv(columns, _shown() if file is None else str, header=not begun)
            begun.append(True)
            if file is None:
                _print_bytes(content)
            else:
                file.write(content)

        def write_parquet(columns: dict[str, Column]) -> None:
            from pyarrow import parquet

            table = _arrow(columns)
            if not begun:
                begun.append(stack.enter_context(parquet.ParquetWriter(file, table.schema)))
            begun[0].write_table(table)

        yield write_parquet if output is not None and output.suffix.lower() == ".parquet" else write_csv


def _scores(preprocessing: Preprocessing, table: Table, y: np.ndarray) -> dict[str, float] | None:
    """Score the predictions where the table has the target."""
    if not set(preprocessing.target_names) <= set(table.columns):
        return None
    try:
        return score(preprocessing, encode_target(preprocessing, table), y)
    except DataError as error:  # predictions are good without a target
        print_note(f"no scores: {error}")
        return None


def _shown() -> Callable[[str], str]:
    """Tell how labels are written to stdout: whoever looks at it must not have the terminal steered."""
    return plain if console.is_terminal else str  # a file or a program gets them as they are


def _csv(columns: dict[str, Column], write: Callable[[str], str] = str, *, header: bool = True) -> bytes:
    """Write columns as CSV, numbers with the nine digits that float32 has at most, texts as ``write`` gives them."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if header:
        writer.writerow(map(write, columns))
    writer.writerows(zip(*(map(write, _texts(values)) for values in columns.values()), strict=True))
    return text.getvalue().encode()


def _texts(values: Column) -> list[str]:
    return [f"{value:.9g}" if isinstance(value, float) else str(value) for value in values.tolist()]


def _parquet(columns: dict[str, Column]) -> bytes:
    from pyarrow import parquet

    buffer = io.BytesIO()
    parquet.write_table(_arrow(columns), buffer)
    return buffer.getvalue()


def _arrow(columns: dict[str, Column]) -> Any:
    import pyarrow

    return pyarrow.table({name: values.tolist() for name, values in columns.items()})


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
