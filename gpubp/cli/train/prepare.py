"""Check everything that can be checked before training: options, paths, data, network."""

import importlib.util
import math
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from gpubp._core.names import unknown
from gpubp.backends.backend import choose_backend, with_matmul
from gpubp.cli.config import config_text
from gpubp.cli.device import device_and_reason
from gpubp.cli.output import print_note, print_reading, silence
from gpubp.cli.paths import check_output
from gpubp.cli.train.options import (
    CHOSEN_BY_BEST,
    NOT_WITH_BEST,
    NOT_WITH_RECIPE,
    OF_ONE_TRAINING,
    PAGES,
    PARALLEL,
    PICTURES,
    PRESETS,
    TrainOptions,
    parse_batch_size,
    parse_class_weight,
    parse_hidden_layer_sizes,
)
from gpubp.cli.train.rescue import warnings_as_notes
from gpubp.cli.train.schedule import scheduled_optimizer
from gpubp.data.readers import read_table_with, stem
from gpubp.data.readers.dialect import TextOptions
from gpubp.data.score_names import metric_name
from gpubp.data.streaming.prepared_stream import PreparedStream, prepare_stream
from gpubp.data.streaming.table_files import open_tables, reason_to_stream
from gpubp.distributed.launch import launched, process_group_for
from gpubp.distributed.process_group import ProcessGroup
from gpubp.engine.argument_checks import choose_precision
from gpubp.errors import DataError, ModelFileError
from gpubp.io.atomic_files import write_atomically
from gpubp.io.model_file import load_model
from gpubp.nn.network import Network
from gpubp.optim.first_order import Optimizer
from gpubp.optim.second_order import SecondOrder
from gpubp.tabular import PreparedTable, TableRecipe, network_for, prepare_table
from gpubp.tabular.class_weight import with_class_weight
from gpubp.tabular.fit import check_dropout, with_label_smoothing
from gpubp.tabular.recipes import RECIPES, categories_of, recipe_network, validation_fraction_of
from gpubp.tabular.several_networks import check_restarts
from gpubp.training.callbacks import Callback, get_callback


@dataclass(frozen=True, eq=False)
class TrainingJob:
    """A training that is ready to start.

    Attributes
    ----------
    options : TrainOptions
    processes : ProcessGroup
        The processes that train the network together; the first of them prints and writes.
    searches : bool
        Whether networks are tried, the preset ``best``; then `network` is the first of them.
    not_best : tuple of str
        The options and facts that rule the search out.
    recipe : TableRecipe, optional
        The network and its training in the presets ``realmlp`` and ``tabm``.
    device : str
        The device, and the reason for choosing it.
    stream_reason : str, optional
        Why the rows are read in parts; None if they are in memory.
    model_path : Path
    picture_path : Path, optional
        None if no picture is drawn.
    replaced : str, optional
        The existing model that the new one replaces, and its test scores.
    """

    options: TrainOptions
    processes: ProcessGroup
    prepared: PreparedTable | PreparedStream
    searches: bool
    not_best: tuple[str, ...]
    network: Network
    recipe: TableRecipe | None
    hidden_layer_sizes: tuple[int, ...]
    optimizer: Optimizer | SecondOrder
    batch_size: int | Literal["auto", "full"]
    callbacks: tuple[Callback, ...]
    device: str
    stream_reason: str | None
    model_path: Path
    picture_path: Path | None
    replaced: str | None

    @property
    def quiet(self) -> bool:
        """Whether only the result is printed."""
        return self.options.quiet or self.processes.rank > 0

    @property
    def score_name(self) -> str:
        """The score of the validation rows that is shown after each epoch."""
        return "accuracy" if self.prepared.task == "classification" else "R²"


def find_processes(parallel: str) -> ProcessGroup:
    """Return the processes that train together, given the value of ``--parallel``; only the first one prints."""
    rank, size = launched()
    if rank > 0:
        silence()
    if parallel not in PARALLEL:
        raise DataError(unknown("--parallel", parallel, PARALLEL))
    if parallel == "none" and size > 1:
        raise DataError(
            f"mpiexec has started {size} processes, and each would write the same file; omit --parallel, so that "
            "they train one network together"
        )
    processes = process_group_for("mpi" if parallel == "mpi" or size > 1 else None)
    if processes.rank > 0:
        silence()
    return processes


def prepare(options: TrainOptions, processes: ProcessGroup) -> TrainingJob:
    """Check the options and paths, read the data, and build the network.

    Raises
    ------
    DataError
        If an option, a path or the data is not valid.
    DeviceError
        If the device cannot be used.
    """
    if Path(options.data).suffix == ".safetensors":
        raise DataError(
            f"{options.data} is a model, not a table: gpubp show prints it, gpubp predict {options.data} TABLE uses it"
        )
    model_path = options.output or Path(f"{stem(options.data)}.safetensors")
    picture_path, replaced = None, None
    if processes.rank == 0:
        replaced = _replaced_model(model_path, options.data)
        picture_path = _picture_path(model_path, options.picture, options.no_picture)
    if picture_path is not None:
        check_output(picture_path, PICTURES, inputs=[options.data])
        if picture_path.absolute() == model_path.absolute():
            raise DataError(f"the model and the picture cannot both be {model_path}; choose two paths")
    if options.report is not None:
        check_output(options.report, PAGES, inputs=[options.data])
    if options.resume and options.checkpoint is None:
        raise DataError("--resume needs a folder with checkpoints; pass --checkpoint FOLDER")
    if options.save_config is not None:
        check_output(options.save_config, (".toml",), inputs=[options.data])
    check_dropout(options.dropout)
    check_restarts(options.restarts, options.networks)
    optimizer = scheduled_optimizer(options)
    hidden_layer_sizes = parse_hidden_layer_sizes(options.hidden_layer_sizes)
    batch_size = parse_batch_size(options.batch_size)
    callbacks = _callbacks(options, [path for path in (model_path, picture_path, options.report) if path is not None])
    backend = choose_backend(options.device)
    with_matmul(backend, options.matmul_precision, choose_precision(backend, options.dtype))
    stream_reason = "as requested" if options.stream else reason_to_stream(Path(options.data))
    searches, not_best = _searches(options, processes, in_parts=stream_reason is not None)
    with warnings_as_notes():
        prepared = _prepare_data(options, searches=searches, in_parts=stream_reason is not None)
    with_label_smoothing(prepared, options.label_smoothing)
    class_weight = parse_class_weight(options.class_weight, prepared.preprocessing.target)
    if class_weight is not None:
        if not isinstance(prepared, PreparedTable):
            raise DataError("--class-weight needs the table in memory, and DATA is read in parts; omit it")
        prepared = with_class_weight(prepared, class_weight)
    if options.save_config is not None and processes.rank == 0:
        write_atomically(options.save_config, config_text(options.context).encode())
        print_note(f"the options are saved in {options.save_config}; --config {options.save_config} takes them again")
    recipe = RECIPES[options.preset][prepared.task] if options.preset in RECIPES else None
    if recipe is None:
        network = network_for(
            prepared, hidden_layer_sizes=hidden_layer_sizes, activation=options.activation, loss=options.loss
        )
    else:
        if isinstance(prepared, PreparedTable):  # encoded before its task was known
            prepared = prepared.trained_on(prepared.parts["train"], recipe.numbers)
        network = recipe_network(recipe, prepared, options.loss)
    return TrainingJob(
        options,
        processes,
        prepared,
        searches,
        not_best,
        network,
        recipe,
        hidden_layer_sizes,
        optimizer,
        batch_size,
        callbacks,
        device_and_reason(backend, options.device),
        stream_reason,
        model_path,
        picture_path,
        replaced,
    )


def _searches(options: TrainOptions, processes: ProcessGroup, *, in_parts: bool) -> tuple[bool, tuple[str, ...]]:
    """Return whether the preset is ``best``, and the options and facts for which it cannot be."""
    if options.preset not in PRESETS:
        raise DataError(unknown("--preset", options.preset, PRESETS))
    limits = OF_ONE_TRAINING if options.preset == "auto" else ()
    by_column = () if options.holds_out_by_column else ("validation_fraction",)
    reasons = options.given(*limits, *NOT_WITH_BEST, *by_column)
    if in_parts:
        reasons.append("a table read in parts")
    if processes.world_size > 1:
        reasons.append("several processes")
    chosen_by_best = options.given(*CHOSEN_BY_BEST)
    why = f" (best chooses {', '.join(chosen_by_best)} itself)" if chosen_by_best else ""
    if options.preset == "best" and reasons:
        raise DataError(f"--preset best cannot be combined with {', '.join(reasons)}{why}; omit one or the other")
    searches = options.preset == "best" or (options.preset == "auto" and not reasons)
    recipe = RECIPES.get(options.preset, {}).get("regression")
    chosen = [name for name in ("validation_fraction", "categories") if getattr(recipe, name, None) is not None]
    if recipe is not None and (given := options.given(*NOT_WITH_RECIPE, *chosen)):
        raise DataError(f"--preset {options.preset} cannot be combined with {', '.join(given)}; omit one or the other")
    if options.time_budget is not None and not searches:
        because = f"not with {', '.join(reasons) or f'--preset {options.preset}'}{why}"
        raise DataError(f"--time-budget is for --preset best, {because}; omit one of them")
    if options.time_budget is not None and not 0.0 < options.time_budget < math.inf:
        raise DataError(f"--time-budget must be a number of seconds above 0, got {options.time_budget:g}")
    return searches, tuple(reasons)


def _callbacks(options: TrainOptions, outputs: Sequence[Path]) -> tuple[Callback, ...]:
    """Make the callbacks; none may write to the data or to another output."""
    if any(":" in text for text in options.callback or ()):
        sys.path.append(os.getcwd())  # modules in the current folder, as with ``python -m``
    callbacks = tuple(map(get_callback, options.callback or ()))
    for path in (Path(callback.path) for callback in callbacks if hasattr(callback, "path")):
        check_output(path, inputs=[options.data])
        if path.absolute() in [output.absolute() for output in outputs]:
            raise DataError(f"the callback would write to {path}, as another output does; give it another path")
    return callbacks


def _prepare_data(options: TrainOptions, *, searches: bool, in_parts: bool) -> PreparedTable | PreparedStream:
    reading = TextOptions.parse(options.read or (), options.separator)
    tables = open_tables(Path(options.data), reading) if in_parts else None
    table = None if tables else read_table_with(options.data, reading)
    names = tables.names if tables else tuple(table.columns) if table else ()
    recipe = RECIPES.get(options.preset, {}).get("regression")
    validation_fraction = validation_fraction_of(recipe, options.validation_fraction)
    preparation: dict[str, Any] = {
        **options.of_columns(names),
        "numbers": options.numbers if recipe is None else recipe.numbers,
        "categories": categories_of(recipe, options.categories),
        "test_fraction": options.test_fraction,
        "validation_fraction": 0.0 if searches and not options.holds_out_by_column else validation_fraction,
        "seed": options.seed,
    }
    if table and not options.quiet:
        print_reading(table.notes)
    if not tables:
        return prepare_table(table, group=options.group, time=options.time, dtype=options.dtype, **preparation)
    if options.holds_out_by_column:
        raise DataError("--group and --time need the table in memory, and DATA is read in parts")
    prepared = prepare_stream(tables, **preparation)
    if not options.quiet:
        print_reading(tables.notes)
    return prepared


def _replaced_model(path: Path, data: str) -> str | None:
    """Check that the file can be written and that it replaces at most another model; describe that model."""
    check_output(path, inputs=[data])
    if not path.exists():
        return None
    try:
        about = load_model(path).about
    except ModelFileError:
        raise DataError(
            f"{path} exists and is not a model file that this version of gpubp can read; delete it, or choose another "
            "with --output"
        ) from None
    when = datetime.fromtimestamp(path.stat().st_mtime).strftime("%Y-%m-%d %H:%M")
    source, scores = about.get("source"), about.get("scores")
    tested = scores.get("test") if isinstance(scores, dict) else None
    known = {name: tested.get(name) for name in ("accuracy", "r2")} if isinstance(tested, dict) else {}
    shown = "".join(
        f", test {metric_name(one)} {score:.4f}" for one, score in known.items() if isinstance(score, float)
    )
    return f"{path}, the model {f'of {source} ' if source else ''}from {when}{shown}"


def _picture_path(model_path: Path, picture: Path | None, no_picture: bool) -> Path | None:
    if no_picture and picture is not None:
        raise DataError("--picture and --no-picture contradict each other; pass one of them")
    if no_picture:
        return None
    if importlib.util.find_spec("matplotlib") is None:
        fix = "pip install matplotlib"
        if picture is not None:
            raise DataError(f"--picture needs matplotlib: {fix}")
        print_note(f"no picture is drawn, because matplotlib is not installed: {fix}")
        return None
    return picture or model_path.with_suffix(".png")
