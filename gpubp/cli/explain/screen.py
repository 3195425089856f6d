"""Print a walk through the equations on the screen: fractions over three lines, and matrices in brackets."""

from typing import Any

import numpy as np
from rich.console import Group, RenderableType
from rich.measure import Measurement
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from gpubp.cli.output import console
from gpubp.explain import Passage
from gpubp.explain.notation import fractions, number_format, worked_number

MAX_SHOWN = 8  # rows or columns of a matrix; of larger ones only both ends


def framed(passage: Passage, precision: int) -> RenderableType:
    """Return one step of the walk, in a frame on a terminal."""
    number = f"({passage.equation.replace(', ', '), (')})  " if passage.equation else ""
    title = Text.assemble((number, "bold cyan"), (passage.title, "bold"))
    width = min(console.width, 100) - 6
    parts: list[RenderableType] = []
    if passage.formula:
        parts += [stacked(passage.formula), ""]
    parts += [_equation(passage, precision, width), ""]
    if worked := worked_number(passage, precision):
        parts += [Text(worked, "dim"), ""]
    parts.append(Text(passage.meaning))
    if not console.is_terminal:
        return Group(title, "", Padding(Group(*parts), (0, 0, 1, 2), expand=False))
    return Panel(Group(*parts), title=title, title_align="left", padding=(1, 2), width=width + 6, border_style="dim")


def stacked(formula: str) -> Text:
    """Format a formula: on three lines if it has fractions, else on one.

    Examples
    --------
    >>> print(stacked("a = dy/dx · 2"))
        dy
    a = ── · 2
        dx
    """
    top, middle, bottom = "", "", ""
    for part in fractions(formula):
        if isinstance(part, str):
            top, middle, bottom = top + " " * len(part), middle + part, bottom + " " * len(part)
        else:
            width = max(map(len, part))
            top, middle, bottom = top + f"{part.top:^{width}}", middle + "─" * width, bottom + f"{part.bottom:^{width}}"
    if not top.strip():
        return Text(formula, "cyan")
    return Text("\n".join(row.rstrip() for row in (top, middle, bottom)), "cyan")


def _equation(passage: Passage, precision: int, width: int) -> Table:
    """Place the terms side by side, or one below the other if they do not fit; show fewer columns of wide matrices."""
    for max_columns in range(MAX_SHOWN, 1, -2):
        beside, below = _layouts(passage, precision, max_columns)
        for layout in (beside, below):
            if Measurement.get(console, console.options.update_width(10_000), layout).maximum <= width:
                return layout
    return below


def _layouts(passage: Passage, precision: int, max_columns: int) -> tuple[Table, Table]:
    """Place the terms side by side, and one below the other."""
    beside, below = Table.grid(padding=(0, 1)), Table.grid(padding=(0, 1))
    cells: list[Text] = []
    for term in (*passage.terms, passage.result):
        sign, name = Text(term.sign, "bold yellow"), Text(term.name, "cyan")
        shape = Text(" × ".join(map(str, term.values.shape)), "dim")
        lines = Text(
            "\n".join(matrix(term.values, precision, max_columns)), "bold green" if term is passage.result else ""
        )
        block = Text("\n", justify="center").join(part for part in (name, lines, shape) if part.plain)
        cells += [sign, block] if term.sign else [block]
        below.add_row(sign, name, lines, shape)
    for _ in cells:
        beside.add_column(vertical="middle", justify="center", no_wrap=True)
    beside.add_row(*cells)
    for column in below.columns:
        column.vertical, column.no_wrap = "middle", True
    return beside, below


def matrix(values: np.ndarray, precision: int, max_columns: int = MAX_SHOWN) -> list[str]:
    r"""Format a matrix in brackets; of a large one, show only both ends of the rows and columns.

    Examples
    --------
    >>> print("\n".join(matrix(np.asarray([[1.5, -20.0], [0.25, 3.0]]), 2)))
    ⎡ 1.50 -20.00 ⎤
    ⎣ 0.25   3.00 ⎦
    """
    format_value = number_format(values, precision)
    if values.ndim == 0:
        return [format_value(float(values))]
    rows = [_both_ends([format_value(float(value)) for value in row], "…", max_columns) for row in values]
    rows = _both_ends(rows, ["⋮"] * len(rows[0]), MAX_SHOWN)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [" ".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True)) for row in rows]
    if len(lines) == 1:
        return [f"[ {lines[0]} ]"]
    left, right = "⎡" + "⎢" * (len(lines) - 2) + "⎣", "⎤" + "⎥" * (len(lines) - 2) + "⎦"
    return [f"{opening} {line} {closing}" for opening, line, closing in zip(left, lines, right, strict=True)]


def _both_ends(items: list[Any], ellipsis: Any, limit: int) -> list[Any]:
    half = limit // 2
    return items if len(items) <= limit + 1 else [*items[:half], ellipsis, *items[-half:]]
