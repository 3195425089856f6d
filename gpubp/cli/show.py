"""``gpubp show``: print what a model file contains."""

from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import typer

from gpubp._core.text import counted, number, shortened
from gpubp.cli import options
from gpubp.cli.columns import OF_ALL_ROWS, OF_TRAINING_ROWS, print_columns
from gpubp.cli.output import (
    console,
    print_facts,
    print_json,
    print_scores,
    print_table,
    print_trials,
)
from gpubp.data.preprocessing import CategoryColumn, ClassTarget, NumberColumn, Preprocessing, preprocessing_of
from gpubp.io.model_facts import are_scores, command_text, linear_part_text, refit_text, restarts_text, without_restarts
from gpubp.io.model_file import Model, format_of, load_model
from gpubp.nn.network import Network

MOST_LAYERS = 200


def show(
    model: options.Model,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Show a model file: its layers, columns, target and scores, and how it was trained."""
    loaded = load_model(model)
    preprocessing = None if loaded.preprocessing is None else preprocessing_of(loaded)
    if as_json:
        print_json(_as_json(model, loaded))
        return
    about, network = loaded.about, loaded.network
    n_networks = loaded.theta.shape[0] if loaded.theta.ndim == 2 else 1
    stack = f", a stack of {counted(n_networks, 'network')}" if loaded.theta.ndim == 2 else ""
    if network.n_members is not None:
        stack += f", {'each of ' if stack else ''}{counted(network.n_members, 'member')} that share weights"
    facts = [
        ("model", f"{model} (format {format_of(loaded.network)}, gpubp {loaded.version}, {loaded.theta.dtype}{stack})"),
        ("loss", network.loss),
    ]
    if preprocessing is not None:
        facts += [("target", _target(preprocessing))]
        if any(isinstance(column, NumberColumn) for column in preprocessing.columns):
            facts += [("numbers", preprocessing.number_encoding)]
        if any(isinstance(column, CategoryColumn) for column in preprocessing.columns):
            facts += [("categories", preprocessing.category_encoding)]
    searched = about.get("training")
    training = _without_trials(searched)
    part = training.get("linear_part") if isinstance(training, dict) else None
    if isinstance(part, dict):
        facts += [("linear part", linear_part_text(part))]
        training = {name: value for name, value in training.items() if name != "linear_part"}
    if isinstance(training, dict) and (restarts := restarts_text(training)):
        facts += [("restarts", restarts)]
        training = without_restarts(training)
    for label, value in (("data", about.get("source")), ("optimizer", about.get("optimizer")), ("training", training)):
        if value:
            facts += [(label, _as_text(value))]
    if command := command_text(about):
        facts += [("command", command)]
    again = about.get("refit")
    if isinstance(again, dict):
        facts += [("refit", f"after it was scored, {refit_text(again)}")]
    print_facts(facts, console)
    console.print()
    if isinstance(searched, dict) and isinstance(searched.get("trials"), list):
        print_trials(searched)
        console.print()
    weights = ["weights"] if network.n_members is None else ["shared weights", "of each member"]
    print_table(["layer", "activation", "units", *weights, "parameters"], _layers(network), left=2, total=True)
    if preprocessing is not None:
        console.print()
        if not isinstance(again, dict) and isinstance(about.get("training"), dict):
            print_facts([("table", f"{OF_TRAINING_ROWS} the training rows; {OF_ALL_ROWS}")], console)
        print_columns(preprocessing, console)
    if about.get("scores") and are_scores(about["scores"]):
        console.print()
        row_counts, baseline = about.get("rows"), about.get("baseline")
        counts = row_counts.items() if isinstance(row_counts, dict) else ()
        print_scores(
            about["scores"],
            {part: count for part, count in counts if isinstance(count, int) and abs(count) < 2**63},
            baseline if are_scores({"baseline": baseline}) else None,
        )


def _without_trials(training: Any) -> Any:
    """Return the options of a training without what :func:`print_trials` shows; they may be of any type in a file."""
    if not isinstance(training, dict) or not isinstance(training.get("trials"), list):
        return training
    return {name: value for name, value in training.items() if name not in ("trials", "n_untried")}


def _target(preprocessing: Preprocessing) -> str:
    target = preprocessing.target
    if isinstance(target, ClassTarget):
        return f"{target.name}, one of {shortened(target.classes, 12)}"
    of_each = zip(target.names, target.means, target.lows, target.highs, strict=True)
    ranges = [f"{name}, mean {number(mean)}, predicted from {number(a)} to {number(b)}" for name, mean, a, b in of_each]
    return "; ".join(ranges)


def _as_text(value: Any) -> str:
    """Format a value of a model file's ``about``, which may be of any type."""
    if isinstance(value, float):
        return f"{value:.6g}"
    if not isinstance(value, dict):
        return str(value)
    name_first = sorted(value.items(), key=lambda item: item[0] != "name")
    parts = ((name, f"({_as_text(part)})" if isinstance(part, dict) else _as_text(part)) for name, part in name_first)
    return ", ".join(text if name == "name" else f"{name} {text}" for name, text in parts)


def _layers(network: Network) -> list[list[str]]:
    """Return a row for each layer, and one for all: a name, activation, units, weights and the number of parameters."""
    blocks, last = _blocks(network), len(network.sizes) - 1
    empty = [""] * len(blocks[0])
    rows = [["input", "", f"{network.sizes[0]:,}", *empty, ""]]
    for position, (activation, block, n_parameters) in enumerate(
        zip(network.activations, blocks, network.parameters_of_layers, strict=True), 1
    ):
        name = "output" if position == last else f"hidden {position}"
        rows.append([name, activation, f"{network.sizes[position]:,}", *block, f"{n_parameters:,}"])
    if len(rows) > MOST_LAYERS:
        half = MOST_LAYERS // 2
        rows = [*rows[:half], [f"... {len(rows) - 2 * half:,} more", "", "", *empty, ""], *rows[-half:]]
    return [*rows, ["all", "", "", *empty, f"{network.n_parameters:,}"]]


def _blocks(network: Network) -> list[list[str]]:
    """Return the shape of the weights of each layer; with members, that of the shared ones and what each member has."""
    if network.n_members is None:
        return [[f"{rows:,} x {columns:,}"] for rows, columns in network.shapes]
    *shared, (n_below, n_outputs) = pairwise(network.sizes)
    rows = [[f"{i:,} x {j:,}", f"{i:,} + 2 x {j:,}"] for i, j in shared]
    return [*rows, ["", f"{n_below + 1:,} x {n_outputs:,}"]]


def _as_json(path: Path, model: Model) -> dict[str, Any]:
    network = model.network
    shapes = network.shapes
    if network.n_members is not None:  # those of W, and of each member's outputs
        shapes = (*pairwise(network.sizes[:-1]), shapes[-1])
    layers = [
        {"activation": activation, "shape": list(shape), "parameters": n_parameters}
        for activation, shape, n_parameters in zip(
            network.activations, shapes, network.parameters_of_layers, strict=True
        )
    ]
    members = {} if network.n_members is None else {"members": network.n_members}
    return {
        "model": str(path),
        "format": format_of(network),
        "version": model.version,
        "network": {
            "sizes": list(network.sizes),
            "loss": network.loss,
            "bias": network.bias,
            **members,
            "layers": layers,
        },
        "theta": {"dtype": model.theta.dtype.name, "shape": list(model.theta.shape)},
        "parameters": network.n_parameters,
        "preprocessing": model.preprocessing,
        "about": model.about,
    }
