"""``gpubp explain``: the equations with the numbers of one small network in them, on the screen or as a page."""

from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import typer
from rich.console import Group, RenderableType
from rich.measure import Measurement
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from gpubp.cli.output import check_output, console, print_facts, print_json
from gpubp.data.datasets import DATASETS, load_dataset
from gpubp.data.preprocessing import ClassTarget, apply, encode_target, preprocessing_of
from gpubp.data.readers import read_table
from gpubp.errors import DataError
from gpubp.explain import Example, Passage, Term, html_page, rain_network
from gpubp.explain import explain as walk
from gpubp.explain.notation import fractions, number_format, worked_number
from gpubp.io.atomic_files import write_atomically
from gpubp.io.model_file import Model, load_model

MOST_SHOWN = 8  # rows or columns of a matrix; of larger ones both ends
FIRST_SAMPLES = 3


class Named(NamedTuple):
    """An example, and what its page calls it and its parts."""

    example: Example
    note: str
    input_names: tuple[str, ...]
    output_names: tuple[str, ...]
    case_names: tuple[str, ...]


def explain(
    model: Annotated[
        Path | None,
        typer.Argument(
            metavar="[MODEL]", help="A model file; without it the network of the three rainy days.", show_default=False
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="DATA",
            help="A file, or a built-in set, with cases for MODEL and their targets; without it the set it learned.",
            show_default=False,
        ),
    ] = None,
    sample: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="Which case, counted from 1; without it the first three.", show_default=False
        ),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write a page for the browser instead, one step at a time.", show_default=False
        ),
    ] = None,
    learning_rate: Annotated[float, typer.Option(help="The step: ε in the paper.")] = 0.5,
    precision: Annotated[int, typer.Option(min=1, max=12, help="Digits after the point.")] = 4,
    as_json: Annotated[bool, typer.Option("--json", help="Print all numbers in full as JSON, for programs.")] = False,
) -> None:
    """Walk through one pass forward and one backward, equation by equation, with the numbers in each matrix.

    Without MODEL the network is small enough to follow by hand: 2-3-1, and three days whose chance of rain it is to
    learn. With --html the walk is one page that needs no network, with a drawing beside each step.
    """
    if html is not None:
        check_output(html, (".html", ".htm"), inputs=[given for given in (model, data) if given is not None])
    named = _rain() if model is None and data is None else _of_file(model, data, sample)
    if sample is not None:
        named = _one_sample(named, sample)
    example = named.example
    if html is not None:
        names = named._asdict()
        text = html_page(names.pop("example"), learning_rate=learning_rate, precision=precision, **names)
        write_atomically(html, text.encode())
    passages = walk(*example, learning_rate=learning_rate)
    if as_json:
        network = {"sizes": example.network.sizes, "units": example.network.activations, "loss": example.network.loss}
        told = [_as_json(passage) for passage in passages]
        print_json({"network": network, "learning_rate": learning_rate, "passages": told})
    elif html is not None:
        print_facts([("written", f"{html} ({len(passages)} steps; open it in a browser)")], console)
    else:
        for passage in passages:
            console.print(_framed(passage, precision))
        rounded = f"All numbers are rounded to {precision} digits after the point; --precision shows more of them."
        console.print(Text(rounded, "dim"))


def _rain() -> Named:
    rain = load_dataset("rain")
    note = f"A network learns the chance of rain. {rain.description}"
    return Named(rain_network(), note, rain.feature_names, ("chance of rain",), ("Monday", "Tuesday", "Wednesday"))


def _of_file(model: Path | None, data: str | None, sample: int | None) -> Named:
    """Take the network from a model file, and the cases from a table or from the built-in set that it learned."""
    if model is None:
        raise DataError(f"--data gives cases to a model file: gpubp explain MODEL --data {data}")
    loaded = load_model(model)
    if loaded.theta.ndim != 1:
        raise DataError(f"{model} is a stack of {loaded.theta.shape[0]} networks; explain walks through one")
    source = data if data is not None else _learned_from(model, loaded)
    x, targets, inputs, outputs = _samples(loaded, source)
    n = min(FIRST_SAMPLES, len(x)) if sample is None else len(x)
    names = tuple(f"case {number}" for number in range(1, n + 1))
    note = f"The model of {model.name}, and cases of {Path(source).name} as it takes them in."
    return Named(Example(loaded.network, loaded.theta, x[:n], targets[:n]), note, inputs, outputs, names)


def _learned_from(model: Path, loaded: Model) -> str:
    source = str(loaded.about.get("source", "")).removeprefix("the set ")
    if source not in DATASETS:
        raise DataError(
            f"{model} says of no built-in set that it learned from it; give cases with --data, a file or one of "
            f"{', '.join(DATASETS)}"
        )
    return source


def _samples(loaded: Model, source: str) -> tuple[np.ndarray, np.ndarray, tuple[str, ...], tuple[str, ...]]:
    """Turn a table into inputs and desired outputs, and name both."""
    network = loaded.network
    if loaded.preprocessing is not None:
        preprocessing, table = preprocessing_of(loaded), read_table(source)
        target = preprocessing.target
        outputs = target.classes if isinstance(target, ClassTarget) else preprocessing.target_names
        return apply(preprocessing, table), encode_target(preprocessing, table), preprocessing.feature_names, outputs
    if source in DATASETS and not Path(source).is_file():
        dataset = load_dataset(source)
        x, targets, names = dataset.X, dataset.targets, dataset.feature_names
        outputs = dataset.classes or dataset.target_names
    else:
        columns = read_table(source).columns
        matrix = np.stack([*columns.values()], axis=1)
        n_inputs = network.sizes[0]
        x, targets, names, outputs = (
            matrix[:, :n_inputs],
            matrix[:, n_inputs:],
            (*columns,)[:n_inputs],
            (*columns,)[n_inputs:],
        )
    if (x.shape[1], targets.shape[1]) != (network.sizes[0], network.sizes[-1]):
        raise DataError(
            f"{source} gives {x.shape[1]} inputs and {targets.shape[1]} desired outputs, but the network has "
            f"{network.sizes[0]} and {network.sizes[-1]}; give cases of its own with --data"
        )
    return x, targets, names, outputs


def _one_sample(named: Named, sample: int) -> Named:
    x, targets = named.example.x, named.example.d
    if sample > len(x):
        raise DataError(f"--sample must be from 1 to {len(x):,}, the cases there are, got {sample:,}")
    one = slice(sample - 1, sample)
    return named._replace(
        example=named.example._replace(x=x[one], d=targets[one]),
        case_names=named.case_names[one] or (f"case {sample}",),
    )


def _as_json(passage: Passage) -> dict[str, Any]:
    def of(term: Term) -> dict[str, Any]:
        return {
            "sign": term.sign,
            "name": term.name,
            "shape": list(term.values.shape),
            "values": term.values.tolist(),
        }

    return passage._asdict() | {"terms": [of(term) for term in passage.terms], "result": of(passage.result)}


def _framed(passage: Passage, precision: int) -> RenderableType:
    number = f"({passage.equation.replace(', ', '), (')})  " if passage.equation else ""
    title = Text.assemble((number, "bold cyan"), (passage.title, "bold"))
    inside = min(console.width, 100) - 6
    parts: list[RenderableType] = []
    if passage.formula:
        parts += [stacked(passage.formula), ""]
    parts += [_equation(passage, precision, inside), ""]
    if worked := worked_number(passage, precision):
        parts += [Text(worked, "dim"), ""]
    parts.append(Text(passage.meaning))
    if not console.is_terminal:
        return Group(title, "", Padding(Group(*parts), (0, 0, 1, 2), expand=False))
    return Panel(Group(*parts), title=title, title_align="left", padding=(1, 2), width=inside + 6, border_style="dim")


def stacked(formula: str) -> Text:
    """Write the fractions of a formula over three lines, as on paper; one without fractions stays on one line.

    Examples
    --------
    >>> print(stacked("a = dy/dx · 2"))
        dy
    a = ── · 2
        dx
    """
    over, line, under = "", "", ""
    for part in fractions(formula):
        if isinstance(part, str):
            over, line, under = over + " " * len(part), line + part, under + " " * len(part)
        else:
            width = max(map(len, part))
            over, line, under = over + f"{part.top:^{width}}", line + "─" * width, under + f"{part.bottom:^{width}}"
    if not over.strip():
        return Text(formula, "cyan")
    return Text("\n".join(row.rstrip() for row in (over, line, under)), "cyan")


def _equation(passage: Passage, precision: int, width: int) -> Table:
    """Set the terms beside each other as on paper, or below each other where they do not fit."""
    beside, below = Table.grid(padding=(0, 1)), Table.grid(padding=(0, 1))
    cells: list[Text] = []
    for term in (*passage.terms, passage.result):
        sign, name = Text(term.sign, "bold yellow"), Text(term.name, "cyan")
        shape = Text(" × ".join(map(str, term.values.shape)), "dim")
        lines = Text("\n".join(matrix(term.values, precision)), "bold green" if term is passage.result else "")
        block = Text("\n", justify="center").join(part for part in (name, lines, shape) if part.plain)
        cells += [sign, block] if term.sign else [block]
        below.add_row(sign, name, lines, shape)
    for _ in cells:
        beside.add_column(vertical="middle", justify="center", no_wrap=True)
    beside.add_row(*cells)
    for column in below.columns:
        column.vertical, column.no_wrap = "middle", True
    fits = Measurement.get(console, console.options.update_width(10_000), beside).maximum <= width
    return beside if fits else below


def matrix(values: np.ndarray, precision: int) -> list[str]:
    r"""Write a matrix in brackets, its numbers below each other; of a large one both ends.

    Examples
    --------
    >>> print("\n".join(matrix(np.asarray([[1.5, -20.0], [0.25, 3.0]]), 2)))
    ⎡ 1.50 -20.00 ⎤
    ⎣ 0.25   3.00 ⎦
    """
    write = number_format(values, precision)
    if values.ndim == 0:
        return [write(float(values))]
    rows = [_both_ends([write(float(value)) for value in row], "…") for row in values]
    rows = _both_ends(rows, ["⋮"] * len(rows[0]))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [" ".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True)) for row in rows]
    if len(lines) == 1:
        return [f"[ {lines[0]} ]"]
    left, right = "⎡" + "⎢" * (len(lines) - 2) + "⎣", "⎤" + "⎥" * (len(lines) - 2) + "⎦"
    return [f"{opening} {line} {closing}" for opening, line, closing in zip(left, lines, right, strict=True)]


def _both_ends(items: list[Any], between: Any) -> list[Any]:
    half = MOST_SHOWN // 2
    return items if len(items) <= MOST_SHOWN + 1 else [*items[:half], between, *items[-half:]]
