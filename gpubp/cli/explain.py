"""``gpubp explain``: the equations with the numbers of one small network in them."""

import re
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Group, RenderableType
from rich.measure import Measurement
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from gpubp.cli.output import console, print_json
from gpubp.explain import Passage, Term, rain_network
from gpubp.explain import explain as walk

MOST_SHOWN = 8  # rows or columns of a matrix; of larger ones both ends
_FRACTION = re.compile(
    r"(?P<top>[∂d][^\s/]+)/(?P<under>[∂d][^\s/)]+)|(?P<above>\w+(?:\(\S+\))?) / \((?P<below>(?:[^()]|\([^()]*\))+)\)"
)


def explain(
    learning_rate: Annotated[float, typer.Option(help="The step: ε in the paper.")] = 0.5,
    precision: Annotated[int, typer.Option(min=1, max=12, help="Digits after the point.")] = 4,
    as_json: Annotated[bool, typer.Option("--json", help="Print all numbers in full as JSON, for programs.")] = False,
) -> None:
    """Walk through one pass forward and one backward, equation by equation, with the numbers in each matrix.

    The network is small enough to follow by hand: 2-3-1, and three days whose chance of rain it is to learn.
    """
    example = rain_network()
    passages = walk(*example, learning_rate=learning_rate)
    if as_json:
        network = {"sizes": example.network.sizes, "units": example.network.activations, "loss": example.network.loss}
        told = [_as_json(passage) for passage in passages]
        print_json({"network": network, "learning_rate": learning_rate, "passages": told})
        return
    for passage in passages:
        console.print(_framed(passage, precision))
    rounded = f"All numbers are rounded to {precision} digits after the point; --precision shows more of them."
    console.print(Text(rounded, "dim"))


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
    over, line, under, place = "", "", "", 0
    for fraction in _FRACTION.finditer(formula):
        before = formula[place : fraction.start()]
        top, bottom = fraction["top"] or fraction["above"], fraction["under"] or fraction["below"]
        width = max(len(top), len(bottom))
        over += " " * len(before) + f"{top:^{width}}"
        line += before + "─" * width
        under += " " * len(before) + f"{bottom:^{width}}"
        place = fraction.end()
    if not place:
        return Text(formula, "cyan")
    return Text("\n".join(part.rstrip() for part in (over, line + formula[place:], under)), "cyan")


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


def number_format(values: np.ndarray, precision: int) -> Any:
    """Choose how all numbers of a matrix are written: whole ones bare, small ones with an exponent."""
    sizes = np.abs(values[values != 0])
    if np.all(values == np.round(values)) and np.all(sizes < 1e6):
        return lambda value: f"{value:.0f}"
    if sizes.max(initial=0) < min(10.0 ** (1 - precision), 0.05) or sizes.max(initial=0) >= 1e6:
        return lambda value: f"{value:.{max(precision - 1, 0)}e}"
    return lambda value: f"{value:.{precision}f}"


def worked_number(passage: Passage, precision: int) -> str:
    """Write out how the first number of the result comes about, where it is a short sum, product or difference."""
    if len(passage.terms) != 2:
        return ""
    (_, _, a), (sign, _, b) = passage.terms
    result = passage.result
    first, second = number_format(a, precision), number_format(b, precision)
    if sign == "×" and a.shape[1] <= 4:
        told = " + ".join(f"{first(p)} × {second(q)}" for p, q in zip(a[0], b[:, 0], strict=True))
    elif sign in ("∘", "−", "·"):
        told = f"{first(a.flat[0])} {'−' if sign == '−' else '×'} {second(b.flat[0])}"
    else:
        return ""
    told = re.sub(r"(?<= )(-\S+)", r"(\1)", told)  # a minus after another sign stands in brackets
    return f"the first number: {told} = {number_format(result.values, precision)(result.values.flat[0])}"
