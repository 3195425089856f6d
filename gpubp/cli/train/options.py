"""The options of ``gpubp train``, and how their text is parsed."""

from collections.abc import Container, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from gpubp._core.names import unknown
from gpubp.backends.matmul_precision import MATMUL_PRECISIONS
from gpubp.data import DATASETS
from gpubp.errors import DataError
from gpubp.optim.first_order import OPTIMIZERS, Optimizer, get_optimizer
from gpubp.optim.second_order import METHODS, SecondOrder
from gpubp.training.callbacks import CALLBACKS

MAX_LAYER_SIZE = 1_000_000
TOLERANCE = 1e-4  # smaller changes of the loss are no improvement for --patience
PICTURES = (".png", ".pdf", ".svg")
_DATA, _NETWORK, _TRAINING, _OUTPUT = "The data", "The network", "Training", "Output"


@dataclass(frozen=True)
class TrainOptions:
    """The options of ``gpubp train``, before their text is parsed."""

    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="A .csv, .tsv, .parquet, .npy or .npz file, a folder of the first three, or a built-in data set: "
            f"{', '.join(DATASETS)}.",
            show_default=False,
        ),
    ]
    target: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="The column to predict, or several numeric ones: a,b. The default is the column named target, label, "
            "class or y, else the last one.",
            rich_help_panel=_DATA,
            show_default=False,
        ),
    ] = None
    task: Annotated[
        str,
        typer.Option(metavar="NAME", help="auto, classification or regression.", rich_help_panel=_DATA),
    ] = "auto"
    categorical: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A numeric column to read as categories, or several: a,b. May be repeated.",
            rich_help_panel=_DATA,
            show_default=False,
        ),
    ] = None
    drop: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A column to ignore, or several: a,b. May be repeated.",
            rich_help_panel=_DATA,
            show_default=False,
        ),
    ] = None
    separator: Annotated[
        str | None,
        typer.Option(
            metavar="CHARACTER",
            help="Field separator of a .csv or .tsv file, such as ';'.",
            rich_help_panel=_DATA,
            show_default=False,
        ),
    ] = None
    stream: Annotated[
        bool,
        typer.Option(
            "--stream",
            help="Read the rows in parts in each epoch, for data larger than memory. This is the default for folders, "
            "and for files larger than a quarter of the free memory.",
            rich_help_panel=_DATA,
        ),
    ] = False
    max_categories: Annotated[
        int,
        typer.Option(metavar="N", min=2, help="Maximum number of categories of a column.", rich_help_panel=_DATA),
    ] = 100
    impute: Annotated[
        bool,
        typer.Option(
            "--impute",
            help="Fill in missing values: the median of numbers, the most frequent category.",
            rich_help_panel=_DATA,
        ),
    ] = False
    test_fraction: Annotated[
        float,
        typer.Option(
            metavar="FRACTION", min=0, help="Fraction of the rows held out to score the result.", rich_help_panel=_DATA
        ),
    ] = 0.2
    validation_fraction: Annotated[
        float,
        typer.Option(
            metavar="FRACTION", min=0, help="Fraction of the rows used for early stopping.", rich_help_panel=_DATA
        ),
    ] = 0.1
    hidden_layer_sizes: Annotated[
        str,
        typer.Option(
            metavar="SIZES", help="Number of units in each hidden layer: 100,50; or none.", rich_help_panel=_NETWORK
        ),
    ] = "100"
    activation: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Activation of the hidden layers: relu, tanh, logistic, gelu, ...",
            rich_help_panel=_NETWORK,
        ),
    ] = "relu"
    loss: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="squared, huber, poisson, ... The default is cross_entropy for classification and squared for "
            "regression.",
            rich_help_panel=_NETWORK,
            show_default=False,
        ),
    ] = None
    optimizer: Annotated[
        str,
        typer.Option(metavar="NAME", help=f"{', '.join([*OPTIMIZERS, *METHODS])}.", rich_help_panel=_TRAINING),
    ] = "adam"
    learning_rate: Annotated[
        float | None,
        typer.Option(
            metavar="NUMBER",
            help="Learning rate; each optimizer has its own default.",
            rich_help_panel=_TRAINING,
            show_default=False,
        ),
    ] = None
    epochs: Annotated[
        int,
        typer.Option(metavar="N", min=1, help="Maximum number of epochs.", rich_help_panel=_TRAINING),
    ] = 200
    batch_size: Annotated[
        str,
        typer.Option(
            metavar="N|auto|full",
            help="Number of rows in a batch; full uses all training rows.",
            rich_help_panel=_TRAINING,
        ),
    ] = "auto"
    l2: Annotated[
        float, typer.Option(metavar="NUMBER", min=0, help="L2 penalty on the weights.", rich_help_panel=_TRAINING)
    ] = 0.1
    patience: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=0,
            help="Stop after N epochs without improvement; 0 trains for all epochs.",
            rich_help_panel=_TRAINING,
        ),
    ] = 10
    callback: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[=ARGUMENT]",
            help=f"Attach a callback: {', '.join(f'{name}=FILE' for name in CALLBACKS)}, or MODULE:NAME for your own. "
            "May be repeated.",
            rich_help_panel=_TRAINING,
            show_default=False,
        ),
    ] = None
    seed: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=0,
            help="Seed of the split, the initial weights and the order of the rows.",
            rich_help_panel=_TRAINING,
        ),
    ] = 0
    device: Annotated[
        str, typer.Option(metavar="NAME", help="auto, cpu, cuda or cuda:N.", rich_help_panel=_TRAINING)
    ] = "auto"
    dtype: Annotated[str, typer.Option(metavar="NAME", help="float32 or float64.", rich_help_panel=_TRAINING)] = (
        "float32"
    )
    matmul_precision: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help=f"Precision of matrix products: {', '.join(MATMUL_PRECISIONS)}.",
            rich_help_panel=_TRAINING,
        ),
    ] = "float32"
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Write checkpoints there, so that --resume can continue after a crash or Ctrl-C.",
            rich_help_panel=_TRAINING,
            show_default=False,
        ),
    ] = None
    every: Annotated[
        float,
        typer.Option(metavar="SECONDS", min=0, help="Time between two checkpoints.", rich_help_panel=_TRAINING),
    ] = 60.0
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Continue from the newest checkpoint in FOLDER, or start if there is none.",
            rich_help_panel=_TRAINING,
        ),
    ] = False
    parallel: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Train one network with several processes: mpi, none, or auto, which uses those started by mpiexec.",
            rich_help_panel=_TRAINING,
        ),
    ] = "auto"
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="The model file. The default is the name of DATA with .safetensors, in the current folder.",
            rich_help_panel=_OUTPUT,
            show_default=False,
        ),
    ] = None
    picture: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help=f"The picture of the learning curve ({', '.join(PICTURES)}). The default is a .png next to the model.",
            rich_help_panel=_OUTPUT,
            show_default=False,
        ),
    ] = None
    no_picture: Annotated[
        bool, typer.Option("--no-picture", help="Draw no learning curve.", rich_help_panel=_OUTPUT)
    ] = False
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.", rich_help_panel=_OUTPUT)] = False
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print only the result.", rich_help_panel=_OUTPUT)] = (
        False
    )


def parse_hidden_layer_sizes(text: str) -> tuple[int, ...]:
    """Parse sizes such as ``"100,50"``; ``"none"`` means no hidden layer.

    Examples
    --------
    >>> parse_hidden_layer_sizes("100, 50"), parse_hidden_layer_sizes("none")
    ((100, 50), ())
    """
    if text.strip().lower() == "none":
        return ()
    sizes = [part.strip() for part in text.split(",")]
    if not all(size.isdecimal() and 0 < int(size) <= MAX_LAYER_SIZE for size in sizes):
        raise DataError(
            f"--hidden-layer-sizes must be none, or whole numbers from 1 to {MAX_LAYER_SIZE:,} separated by commas, "
            f"such as 100,50, got {text!r}"
        )
    return tuple(map(int, sizes))


def parse_batch_size(text: str) -> int | Literal["auto", "full"]:
    """Parse a number of rows, ``"auto"`` or ``"full"``."""
    if text in ("auto", "full"):
        return text  # type: ignore[return-value]
    if not (text.isdecimal() and int(text) > 0):
        raise DataError(f"--batch-size must be a whole number above 0, auto or full, got {text!r}")
    return int(text)


def make_optimizer(name: str, learning_rate: float | None) -> Optimizer | SecondOrder:
    """Create an optimizer by name; second-order optimizers take no learning rate."""
    if name in METHODS:
        if learning_rate is not None:
            raise DataError(f"{name} chooses its own step lengths; omit --learning-rate")
        return METHODS[name]()
    if name not in OPTIMIZERS:
        raise DataError(unknown("optimizer", name, [*OPTIMIZERS, *METHODS]))
    if learning_rate is None:
        return get_optimizer(name)
    if not learning_rate > 0:
        raise DataError(f"--learning-rate must be above 0, got {learning_rate}")
    return get_optimizer(name, learning_rate=learning_rate)


def column_names(texts: Iterable[str] | None, columns: Container[str]) -> list[str]:
    """Split lists of column names at commas, unless a column has the whole text as its name."""
    return [
        name
        for text in texts or ()
        for name in ([text] if text in columns or "," not in text else map(str.strip, text.split(",")))
    ]
