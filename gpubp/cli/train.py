"""``gpubp train``: from a table to a model file."""

import importlib.util
import shlex
import signal
import tempfile
import threading
import warnings
from collections.abc import Container, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, cast

import numpy as np
import typer

from gpubp._core.names import unknown
from gpubp.backends.backend import choose_backend, with_matmul
from gpubp.backends.matmul_precision import MATMUL_PRECISIONS
from gpubp.cli.output import (
    be_silent,
    check_output,
    console,
    device_and_reason,
    notes,
    number,
    print_error,
    print_facts,
    print_json,
    print_note,
    print_scores,
    shortened,
)
from gpubp.cli.progress import progress_bar
from gpubp.data import DATASETS, read_table
from gpubp.data.preprocessing import CategoryColumn, ClassTarget, NumberColumn
from gpubp.data.streaming.prepared_stream import PreparedStream, prepare_stream
from gpubp.data.streaming.table_files import open_tables, reason_to_stream
from gpubp.distributed.launch import launched, process_group_for
from gpubp.distributed.process_group import ProcessGroup
from gpubp.engine.argument_checks import choose_precision
from gpubp.errors import (
    CheckpointError,
    CheckpointWarning,
    DataError,
    DivergenceWarning,
    GpubpError,
    ModelFileError,
)
from gpubp.io.model_file import Model, load_model, save_model
from gpubp.nn.network import Network
from gpubp.optim.first_order import OPTIMIZERS, Optimizer, get_optimizer
from gpubp.optim.second_order import METHODS, SecondOrder
from gpubp.plotting import save_learning_curve
from gpubp.tabular import PreparedTable, TableFit, Task, fit_table, network_for, prepare_table
from gpubp.training.checkpoints import Checkpoints, checkpoints_in

MOST_UNITS = 1_000_000
PICTURES = (".png", ".pdf", ".svg")
_PARALLEL = ("auto", "mpi", "none")
_STOPPED = {
    "epochs": "as many as asked for",
    "patience": "no better for the last {patience}",
    "converged": "converged",
    "diverged": "diverged",
    "callback": "stopped",
    "interrupted": "interrupted",
}
_DATA, _NETWORK, _TRAINING, _OUTPUT = "The data", "The network", "Training", "Output"


def train(
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="A .csv, .tsv, .parquet, .npy or .npz file, a folder of the first three, or a built-in set: "
            f"{', '.join(DATASETS)}.",
            show_default=False,
        ),
    ],
    target: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="The column to predict, or several of numbers: a,b. Without it the one named target, label, class or "
            "y, else the last.",
            rich_help_panel=_DATA,
            show_default=False,
        ),
    ] = None,
    task: Annotated[
        str,
        typer.Option(metavar="KIND", help="auto, classification or regression.", rich_help_panel=_DATA),
    ] = "auto",
    categorical: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A column of numbers to read as categories, or several: a,b; may be repeated.",
            rich_help_panel=_DATA,
            show_default=False,
        ),
    ] = None,
    drop: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A column to ignore, or several: a,b; may be repeated.",
            rich_help_panel=_DATA,
            show_default=False,
        ),
    ] = None,
    separator: Annotated[
        str | None,
        typer.Option(
            metavar="CHARACTER",
            help="What stands between the fields of a .csv or .tsv file: ';'.",
            rich_help_panel=_DATA,
            show_default=False,
        ),
    ] = None,
    stream: Annotated[
        bool,
        typer.Option(
            "--stream",
            help="Read the rows in parts, again in each epoch: for more than memory holds. So are folders, and files "
            "beyond a quarter of the free memory.",
            rich_help_panel=_DATA,
        ),
    ] = False,
    max_categories: Annotated[
        int, typer.Option(metavar="N", min=2, help="Most categories that a column may have.", rich_help_panel=_DATA)
    ] = 100,
    impute: Annotated[
        bool,
        typer.Option("--impute", help="Fill in missing values: median, or most frequent.", rich_help_panel=_DATA),
    ] = False,
    test_fraction: Annotated[
        float,
        typer.Option(metavar="PART", min=0, help="Part of the rows that scores the result.", rich_help_panel=_DATA),
    ] = 0.2,
    validation_fraction: Annotated[
        float,
        typer.Option(metavar="PART", min=0, help="Part of the rows that tells when to stop.", rich_help_panel=_DATA),
    ] = 0.1,
    hidden: Annotated[
        str,
        typer.Option(metavar="SIZES", help="Units of each hidden layer: 100,50; or none.", rich_help_panel=_NETWORK),
    ] = "100",
    activation: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="Unit of the hidden layers: relu, tanh, logistic, gelu, ...", rich_help_panel=_NETWORK
        ),
    ] = "relu",
    loss: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The error: squared, huber, poisson, ...; cross_entropy for classes without it.",
            rich_help_panel=_NETWORK,
            show_default=False,
        ),
    ] = None,
    optimizer: Annotated[
        str,
        typer.Option(
            metavar="NAME", help=f"How weights change: {', '.join([*OPTIMIZERS, *METHODS])}.", rich_help_panel=_TRAINING
        ),
    ] = "adam",
    learning_rate: Annotated[
        float | None,
        typer.Option(
            metavar="NUMBER",
            help="The step; each optimizer has its own without it.",
            rich_help_panel=_TRAINING,
            show_default=False,
        ),
    ] = None,
    epochs: Annotated[
        int,
        typer.Option(metavar="N", min=1, help="Epochs through the training rows, at most.", rich_help_panel=_TRAINING),
    ] = 200,
    batch_size: Annotated[
        str,
        typer.Option(metavar="N|auto|full", help="Rows between two changes.", rich_help_panel=_TRAINING),
    ] = "auto",
    l2: Annotated[
        float, typer.Option(metavar="NUMBER", min=0, help="Penalty on the squared weights.", rich_help_panel=_TRAINING)
    ] = 0.1,
    patience: Annotated[
        int,
        typer.Option(
            metavar="N", min=0, help="Epochs without progress before it stops; 0 for never.", rich_help_panel=_TRAINING
        ),
    ] = 10,
    seed: Annotated[
        int,
        typer.Option(
            metavar="N", min=0, help="For the parts, the first weights and the order.", rich_help_panel=_TRAINING
        ),
    ] = 0,
    device: Annotated[
        str, typer.Option(metavar="NAME", help="auto, cpu, cuda or cuda:N.", rich_help_panel=_TRAINING)
    ] = "auto",
    dtype: Annotated[
        str, typer.Option(metavar="NAME", help="float32 or float64.", rich_help_panel=_TRAINING)
    ] = "float32",
    matmul_precision: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help=f"What matrix products round to: {', '.join(MATMUL_PRECISIONS)}.",
            rich_help_panel=_TRAINING,
        ),
    ] = "float32",
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Keep checkpoints there, to go on from after a crash or Ctrl-C with --resume.",
            rich_help_panel=_TRAINING,
            show_default=False,
        ),
    ] = None,
    every: Annotated[
        float,
        typer.Option(metavar="SECONDS", min=0, help="Time between two checkpoints.", rich_help_panel=_TRAINING),
    ] = 60.0,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Go on from the newest checkpoint in FOLDER; begin where there is none.",
            rich_help_panel=_TRAINING,
        ),
    ] = False,
    parallel: Annotated[
        str,
        typer.Option(
            metavar="KIND",
            help="Processes that train one network together: mpi, none, or auto, those that mpiexec started.",
            rich_help_panel=_TRAINING,
        ),
    ] = "auto",
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="The model file; here, with the name of DATA and .safetensors without it.",
            rich_help_panel=_OUTPUT,
            show_default=False,
        ),
    ] = None,
    picture: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help=f"The learning curve ({', '.join(PICTURES)}); beside the model without it.",
            rich_help_panel=_OUTPUT,
            show_default=False,
        ),
    ] = None,
    no_picture: Annotated[
        bool, typer.Option("--no-picture", help="Draw no learning curve.", rich_help_panel=_OUTPUT)
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as JSON, for programs.", rich_help_panel=_OUTPUT)
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print the result alone.", rich_help_panel=_OUTPUT)
    ] = False,
) -> None:
    """Train a network on a table, score it on rows held out, and write a model file.

    Ctrl-C or SIGTERM ends it, keeps what was learned and exits with code 130 or 143; of several processes
    it ends all.
    The exit code is 1 where training diverged.
    """
    processes = _processes(parallel)
    quiet = quiet or processes.rank > 0
    again = (
        "The same command starts it again"
        if checkpoint is None
        else "The same command with --resume goes on from the last checkpoint"
    )
    with processes.monitored(again):
        with processes.raise_on_all():
            model_path = output or Path(f"{_stem(data)}.safetensors")
            picture_path, replaced = None, []
            if processes.rank == 0:
                replaced = _replaced(model_path, data)
                picture_path = _picture_path(model_path, picture, no_picture)
            if picture_path is not None:
                check_output(picture_path, PICTURES, inputs=[data])
                if picture_path.absolute() == model_path.absolute():
                    raise DataError(f"the model and the picture cannot both be {model_path}; give two paths")
            if resume and checkpoint is None:
                raise DataError("--resume needs the folder to go on from: give --checkpoint FOLDER")
            chosen_optimizer = _optimizer(optimizer, learning_rate)
            hidden_layer_sizes, size = _hidden_layer_sizes(hidden), _batch_size(batch_size)
            backend = choose_backend(device)
            with_matmul(backend, matmul_precision, choose_precision(backend, dtype))
            reason_for_parts = "as asked" if stream else reason_to_stream(Path(data))
            tables = open_tables(Path(data), separator) if reason_for_parts else None
            table = None if tables else read_table(data, separator=separator)
            names = tables.names if tables else tuple(table.columns) if table else ()
            how: dict[str, Any] = {
                "target": _names(target, names) or None,
                "task": cast(Task, task),
                "categorical": _names(categorical, names),
                "drop": _names(drop, names),
                "max_categories": max_categories,
                "impute": impute,
                "test_fraction": test_fraction,
                "validation_fraction": validation_fraction,
                "seed": seed,
            }
            prepared = prepare_stream(tables, **how) if tables else prepare_table(table, **how)
            network = network_for(prepared, hidden_layer_sizes=hidden_layer_sizes, activation=activation, loss=loss)
        reason = device_and_reason(backend, device)
        if not quiet:
            facts = [*_found(prepared, task), ("network", _described(network)), ("device", reason)]
            if reason_for_parts:
                facts.insert(1, ("reading", f"in parts ({reason_for_parts}), again in each epoch"))
            facts += [*_together(processes), *_kept(checkpoint, resume), *replaced]
            print_facts(facts, notes)
            for name in _row_numbers(prepared):
                print_note(f"column {name!r} numbers the rows, and can be left out with --drop {shlex.quote(name)}")
            print_facts([("", "")], notes)
        score_name = "accuracy" if prepared.task == "classification" else "R²"
        bar = progress_bar(epochs, enabled=False if quiet else None, score_name=score_name)
        not_written = None
        with bar as callback, _sigterm_as_ctrl_c() as signals, _warnings_as_notes():
            try:
                result = fit_table(
                    prepared,
                    hidden_layer_sizes=hidden_layer_sizes,
                    activation=activation,
                    loss=loss,
                    optimizer=chosen_optimizer,
                    epochs=epochs,
                    batch_size=size,
                    l2=l2,
                    patience=patience or None,
                    seed=seed,
                    device=device,
                    dtype=dtype,
                    matmul_precision=matmul_precision,
                    callbacks=[callback],
                    parallel=processes,
                    checkpoint=None if checkpoint is None else Checkpoints(checkpoint, every),
                    resume=resume,
                )
            except CheckpointError as error:
                if error.fit is None:
                    raise
                result, not_written = cast(TableFit, error.fit), error
    if processes.rank > 0:  # the first tells, and writes
        return
    learned = result.fit.best_epoch > 0 or result.fit.stop_reason == "interrupted"
    model = _saved(result.model, model_path) if learned else None
    drawn, picture_fault = None, None
    if picture_path is not None and learned and result.fit.history.loss:
        try:
            title = _stem(data)
            save_learning_curve(result.fit.history, picture_path, title=title, score_name=score_name, monitored="loss")
            drawn = picture_path
        except GpubpError as error:  # the model is written: its scores are told first
            picture_fault = error
    if as_json:
        print_json(_as_json(result, prepared, reason, model, drawn))
    else:
        if notes.is_terminal and not quiet:
            notes.print()  # below the bar
        _print_result(result, patience, model, drawn)
        if model is not None and not quiet:
            print_facts([("next", f"gpubp predict {model} DATA")], notes)
    if not_written is not None:
        raise CheckpointError(f"{not_written}; {model or 'no model file'} holds what was learned")
    if picture_fault is not None:
        raise picture_fault
    if model not in (None, model_path):
        raise typer.Exit(2)
    if np.any(result.fit.diverged):
        kept = "nothing was learned" if model is None else f"{model} holds the weights of epoch {result.fit.best_epoch}"
        print_note(f"training left the finite numbers; {kept}. A smaller --learning-rate may help")
        raise typer.Exit(1)
    if result.fit.stop_reason == "interrupted":
        go_on = "" if checkpoint is None else "; the same command with --resume goes on from there"
        print_note(f"interrupted; {model} holds what was learned so far{go_on}")
        raise typer.Exit(143 if signals else 130)


def _processes(parallel: str) -> ProcessGroup:
    """Find the processes that train together; the first alone prints."""
    rank, size = launched()
    if rank > 0:
        be_silent()
    if parallel not in _PARALLEL:
        raise DataError(unknown("--parallel", parallel, _PARALLEL))
    if parallel == "none" and size > 1:
        raise DataError(
            f"mpiexec has started {size} processes, and each would write the same file; leave --parallel out, and they "
            "train one network together"
        )
    processes = process_group_for("mpi" if parallel == "mpi" or size > 1 else None)
    if processes.rank > 0:
        be_silent()
    return processes


def _together(processes: ProcessGroup) -> list[tuple[str, str]]:
    return [("processes", f"{processes.world_size:,} train together")] if processes.world_size > 1 else []


@contextmanager
def _sigterm_as_ctrl_c() -> Iterator[list[int]]:
    """Let a polite request to end keep what was learned, as Ctrl-C does; note that it came."""
    came: list[int] = []
    if threading.current_thread() is not threading.main_thread():  # only there can a handler be set
        yield came
        return

    def end(number: int, frame: object) -> None:
        came.append(number)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield came
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _warnings_as_notes() -> Iterator[None]:
    """Tell what happens to checkpoints in one line each; that training diverged is said at its end."""
    with warnings.catch_warnings():
        show = warnings.showwarning

        def shown(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
            if issubclass(category, CheckpointWarning):
                print_note(str(message))
            else:
                show(message, category, *where, **more)

        warnings.showwarning = shown
        warnings.simplefilter("always", CheckpointWarning)
        warnings.simplefilter("ignore", DivergenceWarning)
        yield


def _kept(folder: Path | None, resume: bool) -> list[tuple[str, str]]:
    """Say where checkpoints are kept, and from which one training goes on."""
    if folder is None:
        return []
    found = checkpoints_in(folder) if resume else []
    return [("kept in", f"{folder}, from {found[-1].name} on" if found else str(folder))]


def _saved(model: Model, path: Path) -> Path:
    """Write the model; where that fails, somewhere else, for what was learned may have taken hours."""
    try:
        save_model(path, model.network, model.theta, preprocessing=model.preprocessing, about=model.about)
    except OSError as error:
        rescue = Path(tempfile.mkdtemp(prefix="gpubp-"), path.name)
        save_model(rescue, model.network, model.theta, preprocessing=model.preprocessing, about=model.about)
        print_error(f"{path} cannot be written ({error.strerror}); the model is in {rescue} instead")
        return rescue
    return path


def _print_result(result: TableFit, patience: int, model: Path | None, picture: Path | None) -> None:
    if model is not None and result.scores:
        print_scores(result.scores, result.rows)
        console.print()
    files = [(name, str(path)) for name, path in (("model", model), ("picture", picture)) if path is not None]
    print_facts([("training", _told(result, patience)), *files], console)


def _stem(data: str) -> str:
    """Name the model after the data: ``a.csv.gz`` gives ``a``."""
    name = Path(data).name
    return name.removesuffix(".gz").rpartition(".")[0] or name


def _replaced(path: Path, data: str) -> list[tuple[str, str]]:
    """Check that the model can be written, and that nothing but an older model is lost to it; say which."""
    check_output(path, inputs=[data])
    if not path.exists():
        return []
    try:
        source = load_model(path).about.get("source")
    except ModelFileError:
        raise DataError(
            f"{path} exists and is no model file that this gpubp can read; delete it, or give another path with "
            "--output"
        ) from None
    when = datetime.fromtimestamp(path.stat().st_mtime).strftime("%Y-%m-%d %H:%M")
    return [("replaces", f"{path}, the model {f'of {source} ' if source else ''}from {when}")]


def _names(given: Iterable[str] | None, columns: Container[str]) -> list[str]:
    """Read names of columns, or lists of them with commas between where no column has the whole as its name."""
    return [
        name
        for text in given or ()
        for name in ([text] if text in columns or "," not in text else map(str.strip, text.split(",")))
    ]


def _picture_path(model_path: Path, picture: Path | None, no_picture: bool) -> Path | None:
    if no_picture and picture is not None:
        raise DataError("--picture and --no-picture contradict each other; give one of them")
    if no_picture:
        return None
    if importlib.util.find_spec("matplotlib") is None:
        fix = 'pip install "gpubp[cli]"'
        if picture is not None:
            raise DataError(f"--picture needs matplotlib: {fix}")
        print_note(f"no picture is drawn, as matplotlib is not installed: {fix}")
        return None
    return picture or model_path.with_suffix(".png")


def _optimizer(name: str, learning_rate: float | None) -> Optimizer | SecondOrder:
    if name in METHODS:
        if learning_rate is not None:
            raise DataError(f"{name} finds its own steps; leave --learning-rate out")
        return METHODS[name]()
    if name not in OPTIMIZERS:
        raise DataError(unknown("optimizer", name, [*OPTIMIZERS, *METHODS]))
    if learning_rate is None:
        return get_optimizer(name)
    if not learning_rate > 0:
        raise DataError(f"--learning-rate must be above 0, got {learning_rate}")
    return get_optimizer(name, learning_rate=learning_rate)


def _hidden_layer_sizes(text: str) -> tuple[int, ...]:
    if text.strip().lower() == "none":
        return ()
    sizes = [part.strip() for part in text.split(",")]
    if not all(size.isdecimal() and 0 < int(size) <= MOST_UNITS for size in sizes):
        raise DataError(
            f"--hidden must be whole numbers from 1 to {MOST_UNITS:,} with commas between, such as 100,50, got {text!r}"
        )
    return tuple(map(int, sizes))


def _batch_size(text: str) -> Any:
    if text in ("auto", "full"):
        return text
    if not (text.isdecimal() and int(text) > 0):
        raise DataError(f"--batch-size must be a whole number above 0, auto or full, got {text!r}")
    return int(text)


def _found(prepared: PreparedTable | PreparedStream, task: str) -> list[tuple[str, str]]:
    """Say what was found in the data."""
    kinds: dict[str, list[str]] = {}
    for column in prepared.preprocessing.columns:
        kinds.setdefault(_kind(column), []).append(column.name)
    columns = "; ".join(f"{kind}: {shortened(names)}" for kind, names in sorted(kinds.items(), reverse=True))
    target, why = prepared.preprocessing.target, ""
    if isinstance(target, ClassTarget):
        told = f"{target.name}: {len(target.classes)} classes ({shortened(target.classes, 10)})"
        if task == "auto" and target.kind == "int":
            why = " (whole numbers with few values; --task regression reads them as numbers)"
    else:
        told = "; ".join(
            f"{name}: mean {number(mean)}, standard deviation {number(scale)}"
            for name, mean, scale in zip(target.names, target.means, target.scales, strict=True)
        )
    parts = {"train": "to train on", "validation": "to tell when to stop", "test": "to score the result"}
    sizes = [f"{rows:,} {parts[part]}" for part, rows in prepared.rows.items()]
    return [
        ("data", f"{prepared.source}: {sum(prepared.rows.values()):,} rows"),
        ("columns", f"{columns}; {prepared.n_inputs:,} inputs"),
        ("target", told),
        ("task", prepared.task + why),
        ("rows", ", ".join(sizes)),
    ]


def _kind(column: Any) -> str:
    return "categories" if isinstance(column, CategoryColumn) else "numbers"


def _row_numbers(prepared: PreparedTable | PreparedStream) -> list[str]:
    """Name the columns that count the rows, from 0 or from 1; of a table that is read in parts none is looked at."""
    if isinstance(prepared, PreparedStream):
        return []
    counted = np.arange(prepared.table.n_rows)
    columns = prepared.table.columns
    return [
        column.name
        for column in prepared.preprocessing.columns
        if isinstance(column, NumberColumn)
        and any(np.array_equal(columns[column.name], counted + first) for first in (0, 1))
    ]


def _described(network: Network) -> str:
    sizes = "-".join(map(str, network.sizes))
    return f"{sizes} ({', '.join(network.activations)}), {network.n_parameters:,} parameters, error {network.loss}"


def _told(result: TableFit, patience: int) -> str:
    fit = result.fit
    n_epochs = len(fit.history.loss)
    why = _STOPPED[fit.stop_reason].format(patience=patience)
    if not n_epochs:
        return f"{why} in the first epoch"
    kept = f"; epoch {fit.best_epoch} is kept" if 0 < fit.best_epoch < n_epochs else ""
    epochs = "1 epoch" if n_epochs == 1 else f"{n_epochs:,} epochs"
    return f"{epochs} in {fit.history.seconds[-1]:.1f} s, {why}{kept}"


def _as_json(
    result: TableFit,
    prepared: PreparedTable | PreparedStream,
    device_reason: str,
    model: Path | None,
    picture: Path | None,
) -> dict[str, Any]:
    history, target = result.fit.history, prepared.preprocessing.target
    return {
        "model": None if model is None else str(model),
        "picture": None if picture is None else str(picture),
        "data": prepared.source,
        **{key: result.model.about[key] for key in ("task", "rows", "optimizer", "training")},
        "scores": None if model is None else result.scores,
        "columns": {column.name: _kind(column) for column in prepared.preprocessing.columns},
        "target": list(prepared.preprocessing.target_names),
        "classes": list(target.classes) if isinstance(target, ClassTarget) else None,
        "network": {"sizes": list(result.fit.network.sizes), "activations": list(result.fit.network.activations)}
        | {"loss": result.fit.network.loss, "parameters": result.fit.network.n_parameters},
        "device": device_reason,
        "history": {
            name: list(map(float, getattr(history, name)))
            for name in ("loss", "validation_loss", "validation_score", "seconds")
        },
    }
