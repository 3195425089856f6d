"""The options of ``gpubp train``, and how their text is parsed."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from gpubp._core.names import unknown
from gpubp.cli.config import is_given, read_config
from gpubp.cli.options import DEVICE_HELP, JSON_HELP, MATMUL_PRECISION_HELP
from gpubp.cli.table_options import DATA_PANEL, TableOptions
from gpubp.data.preprocessing import ClassTarget, NumberTarget, class_values
from gpubp.errors import DataError
from gpubp.optim.first_order import OPTIMIZERS
from gpubp.optim.schedules import SCHEDULES
from gpubp.optim.second_order import METHODS
from gpubp.training.callbacks import CALLBACKS

PRESETS = ("auto", "best", "fast", "realmlp", "realmlp-s", "tabm")
TIME_BUDGET = 60.0
CHOSEN_BY_BEST = (
    *("numbers", "categories", "hidden_layer_sizes", "networks", "optimizer", "learning_rate", "batch_size"),
    *("l2", "dropout", "schedule", "warm_up", "restarts"),
)
NOT_WITH_BEST = (*CHOSEN_BY_BEST, "callback", "checkpoint", "resume")
OF_ONE_TRAINING = ("epochs", "patience")
"""Options with which auto is fast; best takes them as limits of each training."""
NOT_WITH_RECIPE = (
    *("numbers", "hidden_layer_sizes", "activation", "optimizer", "learning_rate", "epochs", "batch_size", "l2"),
    *("patience", "tolerance", "label_smoothing", "dropout", "schedule", "warm_up"),
)
PARALLEL = ("auto", "mpi", "none")
MAX_LAYER_SIZE = 1_000_000
PICTURES = (".png", ".pdf", ".svg")
PAGES = (".html", ".htm")
LEARNING_RATES = ("constant", "invscaling", *SCHEDULES)

# typer.Option, in a panel of the help
_data, _network, _training, _output = (
    partial(typer.Option, rich_help_panel=panel) for panel in (DATA_PANEL, "The network", "Training", "Output")
)


@dataclass(frozen=True)
class TrainOptions(TableOptions):
    """The options of ``gpubp train``, before their text is parsed."""

    test_fraction: Annotated[
        float,
        _data(metavar="FRACTION", min=0, help="Fraction of the rows held out to score the result."),
    ] = 0.2
    validation_fraction: Annotated[
        float,
        _data(metavar="FRACTION", min=0, help="Fraction of the rows used for early stopping."),
    ] = 0.1
    group: Annotated[
        str | None,
        _data(
            metavar="NAME",
            help="Hold out whole groups of rows, by the values of this column, which becomes no input.",
            show_default=False,
        ),
    ] = None
    time: Annotated[
        str | None,
        _data(metavar="NAME", help="Hold out the latest rows, by this column of dates or numbers.", show_default=False),
    ] = None
    preset: Annotated[
        str,
        _network(
            metavar="NAME",
            help="best tries kinds of networks for --time-budget, and averages several of the best kind; fast trains "
            "one network, by the options below, in seconds; realmlp, realmlp-s and tabm train by the published recipes "
            "of RealMLP-TD, RealMLP-TD-S and TabM, for longer. The default, auto, is best, or fast if an option is "
            "given that best chooses itself, --epochs or --patience.",
        ),
    ] = "auto"
    time_budget: Annotated[
        float | None,
        _network(
            metavar="SECONDS",
            help=f"How long best may take, about; by default {TIME_BUDGET:g}.",
            show_default=False,
        ),
    ] = None
    numbers: Annotated[
        str,
        _network(
            metavar="NAME",
            help="How numbers become inputs: piecewise, by bins, so that the network can bend in each; linear; or "
            "robust, for outliers.",
        ),
    ] = "piecewise"
    categories: Annotated[
        str,
        _network(
            metavar="NAME",
            help="How columns of many categories become inputs: one-hot, an input for each; embedding, the same with "
            "eight learned numbers for each category; or target, the smoothed mean of the target.",
        ),
    ] = "one-hot"
    hidden_layer_sizes: Annotated[
        str,
        _network(metavar="SIZES", help="Number of units in each hidden layer: 100,50; or none."),
    ] = "100"
    networks: Annotated[
        int,
        _network(metavar="N", min=1, help="Number of networks that are trained at once; their outputs are averaged."),
    ] = 1
    restarts: Annotated[
        int,
        _network(
            metavar="N",
            min=1,
            help="Number of networks from different initial weights that are trained at once; the one with the least "
            "validation loss is kept.",
        ),
    ] = 1
    activation: Annotated[
        str,
        _network(metavar="NAME", help="Activation of the hidden layers: relu, tanh, logistic, gelu, ..."),
    ] = "relu"
    loss: Annotated[
        str | None,
        _network(
            metavar="NAME",
            help="squared, huber, poisson, ... The default is cross_entropy for classification and squared for "
            "regression.",
            show_default=False,
        ),
    ] = None
    optimizer: Annotated[
        str,
        _training(metavar="NAME", help=f"{', '.join([*OPTIMIZERS, *METHODS])}."),
    ] = "adam"
    learning_rate: Annotated[
        float | None,
        _training(metavar="NUMBER", help="Learning rate; each optimizer has its own default.", show_default=False),
    ] = None
    schedule: Annotated[
        str,
        _training(
            metavar="NAME",
            help=f"How the learning rate changes: {', '.join(LEARNING_RATES)}; the last three take all --epochs.",
        ),
    ] = "constant"
    warm_up: Annotated[
        int,
        _training(metavar="EPOCHS", min=0, help="Epochs over which the learning rate grows from 0 to its first value."),
    ] = 0
    epochs: Annotated[
        int,
        _training(metavar="N", min=1, help="Maximum number of epochs."),
    ] = 200
    batch_size: Annotated[
        str,
        _training(metavar="N|auto|full", help="Number of rows in a batch; full uses all training rows."),
    ] = "auto"
    l2: Annotated[float, _training(metavar="NUMBER", min=0, help="L2 penalty on the weights.")] = 0.1
    dropout: Annotated[
        float,
        _training(metavar="FRACTION", min=0, help="Part of the outputs of each hidden layer that is left out."),
    ] = 0.0
    class_weight: Annotated[
        str | None,
        _training(
            metavar="NAME=WEIGHT",
            help="Weights of classes in the loss: balanced, or numbers, such as no=1,yes=5; others have 1.",
            show_default=False,
        ),
    ] = None
    label_smoothing: Annotated[
        float,
        _training(
            metavar="FRACTION", min=0, help="Part of each class label in training that is spread over all classes."
        ),
    ] = 0.0
    patience: Annotated[
        int,
        _training(metavar="N", min=0, help="Stop after N epochs without improvement; 0 trains for all epochs."),
    ] = 10
    tolerance: Annotated[
        float,
        _training(metavar="NUMBER", min=0, help="The least change of the monitored loss that is an improvement."),
    ] = 1e-6
    callback: Annotated[
        list[str] | None,
        _training(
            metavar="NAME[=ARGUMENT]",
            help=f"Attach a callback: {', '.join(f'{name}=FILE' for name in CALLBACKS)}, or MODULE:NAME[=TEXT] for "
            "any other, such as gpubp:TensorBoardLogger=FOLDER, gpubp:MLflowLogger, or your own. May be repeated.",
            show_default=False,
        ),
    ] = None
    seed: Annotated[
        int,
        _training(metavar="N", min=0, help="Seed of the split, the initial weights and the order of the rows."),
    ] = 0
    device: Annotated[str, _training(metavar="NAME", help=DEVICE_HELP)] = "auto"
    dtype: Annotated[str, _training(metavar="NAME", help="float32 or float64.")] = "float32"
    matmul_precision: Annotated[
        str,
        _training(metavar="NAME", help=MATMUL_PRECISION_HELP),
    ] = "float32"
    checkpoint: Annotated[
        Path | None,
        _training(
            metavar="FOLDER",
            help="Write checkpoints there, so that --resume can continue after a crash or Ctrl-C.",
            show_default=False,
        ),
    ] = None
    every: Annotated[
        float,
        _training(metavar="SECONDS", min=0, help="Time between two checkpoints."),
    ] = 60.0
    resume: Annotated[
        bool,
        _training("--resume", help="Continue from the newest checkpoint in FOLDER, or start if there is none."),
    ] = False
    parallel: Annotated[
        str,
        _training(
            metavar="NAME",
            help="Train one network with several processes: mpi, none, or auto, which uses those started by mpiexec.",
        ),
    ] = "auto"
    no_refit: Annotated[
        bool,
        _training(
            "--no-refit",
            help="Keep the network that was scored, instead of training another on all rows for as many epochs.",
        ),
    ] = False
    output: Annotated[
        Path | None,
        _output(
            "--output",
            "-o",
            metavar="FILE",
            help="The model file. The default is the name of DATA with .safetensors, in the current folder.",
            show_default=False,
        ),
    ] = None
    picture: Annotated[
        Path | None,
        _output(
            metavar="FILE",
            help=f"The picture of the learning curve ({', '.join(PICTURES)}). The default is a .png next to the model.",
            show_default=False,
        ),
    ] = None
    report: Annotated[
        Path | None,
        _output(
            metavar="FILE",
            help="Write a report as one HTML page to keep and send: scores, curves, columns, errors, importance.",
            show_default=False,
        ),
    ] = None
    no_picture: Annotated[bool, _output("--no-picture", help="Draw no learning curve.")] = False
    config: Annotated[
        Path | None,
        _output(
            metavar="FILE",
            help="A TOML file with options, such as epochs = 50; those in the command take precedence.",
            show_default=False,
            is_eager=True,
            callback=read_config,
        ),
    ] = None
    save_config: Annotated[
        Path | None,
        _output(metavar="FILE", help="Write the given options as such a file, and train.", show_default=False),
    ] = None
    as_json: Annotated[bool, _output("--json", help=JSON_HELP)] = False
    quiet: Annotated[bool, _output("--quiet", "-q", help="Print only the result.")] = False
    context: typer.Context = None  # type: ignore[assignment]  # not an option: typer passes it

    @property
    def holds_out_by_column(self) -> bool:
        """Whether rows are held out by groups or time."""
        return self.group is not None or self.time is not None

    def given(self, *names: str) -> list[str]:
        """Return those of some options that stand in the command or its --config, as they are written there."""
        return [f"--{name.replace('_', '-')}" for name in names if is_given(self.context, name)]


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


def parse_class_weight(
    text: str | None, target: ClassTarget | NumberTarget
) -> dict[Any, float] | Literal["balanced"] | None:
    """Parse weights of classes such as ``"no=1,yes=5"``.

    Examples
    --------
    >>> parse_class_weight("no=1,yes=5", ClassTarget("sold", ("no", "yes")))
    {'no': 1.0, 'yes': 5.0}
    """
    if text is None:
        return None
    if not isinstance(target, ClassTarget):
        raise DataError("--class-weight is for classes, and the target holds numbers; omit it")
    if text == "balanced":
        return "balanced"
    classes = dict(zip(target.classes, class_values(target).tolist(), strict=True))
    weights = dict[Any, float]()
    for part in text.split(","):
        name, _, weight = part.rpartition("=")
        name = name.strip()
        if name not in classes:
            known = unknown("class", name, classes)
            raise DataError(f"--class-weight: {known}; write balanced, or NAME=WEIGHT with commas between")
        if classes[name] in weights:
            raise DataError(f"--class-weight: {name!r} has two weights, in {text!r}")
        try:
            weights[classes[name]] = float(weight)
        except ValueError:
            raise DataError(f"--class-weight: the weight of {name!r} must be a number, got {weight!r}") from None
    return weights
