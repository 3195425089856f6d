"""The options of ``gpubp inspect``: of a table, and of a model on a table."""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from gpubp.cli.options import DEVICE_HELP, AsJson
from gpubp.cli.table_options import TableOptions
from gpubp.errors import DataError

_of_model = partial(typer.Option, rich_help_panel="With a model")

OF_TABLES = (
    *("target", "task", "categorical", "drop", "stream", "type", "missing", "max_categories", "strict"),
    "html",
)
OF_MODELS = ("columns", "scoring", "repeats", "seed", "device", "picture", "no_picture")


@dataclass(frozen=True)
class InspectOptions(TableOptions):
    """The options of ``gpubp inspect``, before their text is parsed."""

    data: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="A table, as gpubp train takes it; or a model file, followed by a table.",
            show_default=False,
        ),
    ]
    table: Annotated[
        str | None,
        typer.Argument(metavar="DATA", help="A table with a target, to inspect the model on.", show_default=False),
    ] = None
    html: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the report on a table as a page with histograms.", show_default=False),
    ] = None
    columns: Annotated[
        list[str] | None,
        _of_model(
            metavar="NAME",
            help="Print and draw how the prediction depends on a column, or on several: a,b. The most important ones "
            "are drawn otherwise.",
            show_default=False,
        ),
    ] = None
    scoring: Annotated[
        str | None,
        _of_model(
            metavar="NAME",
            help="A score of scikit-learn, such as neg_log_loss. The default is the accuracy, or R².",
            show_default=False,
        ),
    ] = None
    repeats: Annotated[int, _of_model(metavar="N", min=1, help="How often each column is shuffled.")] = 5
    seed: Annotated[int, _of_model(metavar="N", min=0, help="Seed of the shuffled orders.")] = 0
    device: Annotated[str, _of_model(metavar="NAME", help=DEVICE_HELP)] = "auto"
    picture: Annotated[
        Path | None,
        _of_model(
            metavar="FILE",
            help="The picture of importance, dependence and calibration. The default is MODEL-inspection.png.",
            show_default=False,
        ),
    ] = None
    no_picture: Annotated[bool, _of_model("--no-picture", help="Draw no picture.")] = False
    as_json: AsJson = False


def refuse(options: InspectOptions, names: Iterable[str], why: str) -> None:
    """Raise an error if one of these options was passed."""
    defaults = {field.name: field.default for field in fields(options)}
    passed = [name for name in names if (getattr(options, name) or None) != (defaults[name] or None)]
    if passed:
        raise DataError(f"{', '.join('--' + name.replace('_', '-') for name in passed)}: {why}")
