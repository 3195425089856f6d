"""``gpubp evaluate``: score a model file on the rows of a table."""

from pathlib import Path

from gpubp._core.text import shortened
from gpubp.cli import options
from gpubp.cli.output import print_json, print_reading, print_scores
from gpubp.cli.predict.compute import (
    Scoring,
    compute_with,
    note_scored_rows,
    note_training_rows,
    predict_whole,
    print_issues,
    score_in_parts,
    scores_as_json,
)
from gpubp.data.preprocessing import ClassTarget, preprocessing_of
from gpubp.data.readers import read_table_with
from gpubp.data.readers.dialect import TextOptions
from gpubp.data.streaming.table_files import open_tables, reason_to_stream
from gpubp.errors import DataError
from gpubp.io.model_file import load_model


def evaluate(
    model: options.Model,
    data: options.Data,
    separator: options.Separator = None,
    read: options.Read = None,
    stream: options.Stream = False,
    strict: options.Strict = False,
    columns: options.Columns = False,
    device: options.Device = "auto",
    matmul_precision: options.MatmulPrecision = "float32",
    as_json: options.AsJson = False,
) -> None:
    """Score a model on the rows of a table that has the target.

    The baseline beside the scores is that of the shares of the classes, or of the mean, in training. Rows of a class
    that training did not see count as wrong; log loss and ROC AUC leave them out.
    """
    trained = load_model(model)
    compute = compute_with(trained, strict=strict, device=device, matmul_precision=matmul_precision)
    reading = TextOptions.parse(read or (), separator)
    if stream or reason_to_stream(Path(data)) is not None:
        tables = open_tables(Path(data), reading)
        predicted = score_in_parts(compute, Scoring(trained), tables)
        print_reading(tables.notes)
    else:
        table = read_table_with(data, reading)
        print_reading(table.notes)
        predicted = predict_whole(compute, lambda outputs: {}, Scoring(trained), table)
    if predicted.scores is None:
        target = preprocessing_of(trained).target
        what = f"the class {_known_classes(target)}" if isinstance(target, ClassTarget) else "a number"
        names = ", ".join(map(repr, preprocessing_of(trained).target_names))
        raise DataError(
            f"{data} cannot be scored: it has no column {names}, or none of its rows holds {what} there; "
            f"to predict it: gpubp predict {model} {data}"
        )
    if as_json:
        print_json({"rows": predicted.n_rows, **scores_as_json(predicted)})
    else:
        print_scores({"scores": predicted.scores}, {"scores": predicted.n_scored}, predicted.baseline)
    print_issues(predicted, as_table=columns)
    note_scored_rows(predicted)
    note_training_rows(trained, predicted, model)


def _known_classes(target: ClassTarget) -> str:
    return shortened(list(target.classes), 10)
