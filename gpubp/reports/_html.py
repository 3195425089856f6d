"""Parts of a report's page; all text is escaped here, and shortened."""

import re
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from gpubp._core.text import excerpt, number

MINUS = str.maketrans("-", "\N{MINUS SIGN}")


class Cell(NamedTuple):
    """A cell of a table: its text, and its class in the style sheet."""

    text: str
    kind: str = ""


def text_of(text: str, limit: int = 200) -> str:
    """Return text for the page: without control characters, not too long, and escaped.

    Examples
    --------
    >>> text_of("<b>"), text_of("abcdef", 3)
    ('&lt;b&gt;', 'abc... (6 characters)')
    """
    return escape(excerpt(str(text), limit))


def section(name: str, title: str, body: str, note: str = "", *, is_half: bool = False) -> str:
    """Return a section with its heading, if it has anything to show; one of half the width stands beside another."""
    if not body:
        return ""
    below = f'<p class="note">{text_of(note, 1000)}</p>' if note else ""
    half = ' class="half"' if is_half else ""
    head = f'<section id="{name}"{half} aria-labelledby="{name}-title">\n<h2 id="{name}-title">{title}</h2>'
    return f"{head}\n{body}\n{below}</section>"


def figure(name: str, caption: str, drawn: str) -> str:
    """Return a figure below its caption."""
    words = " ".join(filter(None, (f"<b>{text_of(name, 100)}</b>" if name else "", text_of(caption, 300))))
    return f"<figure>{f'<figcaption>{words}</figcaption>' if words else ''}{drawn}</figure>"


def grid(figures: Sequence[str]) -> str:
    """Return figures beside each other, where there is room."""
    return f'<div class="grid{" one" if len(figures) == 1 else ""}">{"".join(figures)}</div>' if figures else ""


def card(label: str, value: str, below: str) -> str:
    """Return a large value with its label."""
    return (
        f'<div class="card"><p class="label">{text_of(label)}</p><p class="value">{text_of(value)}</p>'
        f'<p class="below">{text_of(below)}</p></div>'
    )


def figure_cell(value: float | None, best: float | None = None) -> Cell:
    """Return a cell with a number, bold if it is the best one."""
    if value is None:
        return Cell("")
    return Cell(signed(number(value)), "number best" if value == best else "number")


def signed(text: str) -> str:
    """Return numbers with the sign of minus instead of a hyphen; hyphens within words and sizes remain."""
    return re.sub(r"(?<![\w.])-(?=\d)", "\N{MINUS SIGN}", text)


def table(
    heads: Sequence[Cell], rows: Sequence[tuple[str, Sequence[Cell]]], *, corner: str = "", caption: str = ""
) -> str:
    """Return a table with a heading for each row and column, which scrolls within itself where it is too wide."""
    first = f'<th scope="col">{text_of(corner)}</th>' if corner else "<td></td>"
    top = "".join(f'<th scope="col"{_class(one.kind)}>{text_of(one.text, 60)}</th>' for one in heads)
    body = "\n".join(
        f'<tr><th scope="row">{text_of(name, 100)}</th>'
        + "".join(f"<td{_class(one.kind)}>{text_of(one.text)}</td>" for one in cells)
        + "</tr>"
        for name, cells in rows
    )
    titled = f"<caption>{text_of(caption)}</caption>" if caption else ""
    return wide(
        caption or corner or "table", f"<table>{titled}<thead><tr>{first}{top}</tr></thead>\n{_body(body)}</table>"
    )


def wide(label: str, content: str) -> str:
    """Return what scrolls within itself, also by the keys."""
    return f'<div class="wide" tabindex="0" role="group" aria-label="{text_of(label)}">{content}</div>'


def pairs(listed: Sequence[tuple[str, str]]) -> str:
    """Return a list of labels with their texts."""
    items = "".join(f"<div><dt>{text_of(a)}</dt><dd>{text_of(b, 1000)}</dd></div>" for a, b in listed)
    return f"<dl>{items}</dl>" if items else ""


def _class(kind: str) -> str:
    return f' class="{kind}"' if kind else ""


def _body(rows: str) -> str:
    return f"<tbody>\n{rows}\n</tbody>"
