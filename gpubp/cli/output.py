"""Print results to stdout and everything else to stderr; the text is plain if the stream is not a terminal.

Text from data and files is never parsed as markup, and its control characters are printed as escapes.
"""

import json
import math
import re
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gpubp._core.text import escaped, excerpt
from gpubp.data.score_names import METRICS, metric_name, score_text, split_metric
from gpubp.data.streaming.split import SPLITS
from gpubp.io.model_facts import TRIAL_HEADINGS, described_trials, untried_text

console = Console(markup=False, highlight=False, emoji=False)
"""For results: stdout."""

notes = Console(markup=False, highlight=False, emoji=False, stderr=True)
"""For everything else: stderr."""

_LABEL_WIDTH = 11
_MAX_WIDTH = 100
_UNLIMITED_WIDTH = 10_000
_GAP = 2  # columns of the screen between those of a table
_LEAST_CUT_WIDTHS = (12, 8, 4)
_MOST_TRIALS = 100
_MAX_FACT_LENGTH, _MAX_CELL_LENGTH = 5_000, 200  # characters; a name in a file may have a million


def silence() -> None:
    """Print nothing from now on, because another process prints."""
    console.quiet = notes.quiet = True


def print_json(value: Any) -> None:
    """Print one JSON object on stdout; NaN and infinity become null, control characters become escapes."""
    if console.quiet:
        return
    console.file.write(json_text(value))


def json_text(value: Any) -> str:
    """Return a value as JSON; NaN and infinity become null, control characters become escapes."""
    text = json.dumps(_finite(value), indent=2, ensure_ascii=False, allow_nan=False)
    return "".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text) + "\n"


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def print_facts(facts: Iterable[tuple[str, str]], output: Console) -> None:
    """Print labelled lines; long ones are wrapped and indented on a terminal, and kept on one line in a pipe."""
    for label, text in facts:
        lines = [excerpt(text, _MAX_FACT_LENGTH)]
        if output.is_terminal:
            width = max(min(output.width, _MAX_WIDTH) - _LABEL_WIDTH, 20)
            lines = textwrap.wrap(lines[0], width, break_on_hyphens=False) or [""]
        for index, line in enumerate(lines):
            left = f"{'' if index else label:<{_LABEL_WIDTH - 1}} " if line else ""
            output.print(Text.assemble((left, "bold"), line), soft_wrap=True)


def print_note(text: str) -> None:
    """Print a line of advice on stderr."""
    notes.print(Text.assemble(("note: ", "yellow"), escaped(text)), soft_wrap=not notes.is_terminal)


def print_warning(text: str) -> None:
    """Print on stderr what makes a result doubtful."""
    notes.print(Text.assemble(("warning: ", "bold yellow"), (escaped(text), "bold")), soft_wrap=not notes.is_terminal)


def print_footnote(text: str) -> None:
    """Print a line below a table on stdout, wrapped only on a terminal."""
    console.print(text, soft_wrap=not console.is_terminal)


def print_reading(decisions: Iterable[str]) -> None:
    """Print on stderr what was decided when a table was read."""
    for decision in decisions:
        print_facts([("reading", decision)], notes)


def print_error(text: str) -> None:
    """Print an error message on stderr, in one line, with the command line's own option for the device."""
    text = re.sub(r"\bdevice='([\w:]+)'", r"--device \1", text)
    notes.print(Text.assemble(("error: ", "bold red"), escaped(text)), soft_wrap=not notes.is_terminal)


def error_text(error: Exception) -> str:
    """Return what an error says, with the file that an OSError is about."""
    if not isinstance(error, OSError):
        return str(error)
    return f"{f'{error.filename}: ' if error.filename else ''}{error.strerror or error}"


def print_table(
    headings: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    left: int = 1,
    total: bool = False,
    cut: Sequence[int] = (),
    wrap: int | None = None,
    output: Console = console,
) -> None:
    """Print a table.

    Parameters
    ----------
    headings : sequence of str
    rows : iterable of sequences of str
    left : int
        The number of leading columns that hold text and are aligned left; the others are aligned right.
    total : bool
        Whether the last row is a total, which is printed in bold.
    cut : sequence of int
        Columns whose text is cut, in this order, until the table is as narrow as the terminal.
    wrap : int, optional
        One of them, whose text is wrapped instead.
    output : Console
        By default stdout.
    """
    rows = [[excerpt(cell, _MAX_CELL_LENGTH) for cell in row] for row in rows]
    box = SIMPLE_HEAD if output.is_terminal else None
    table = Table(box=box, pad_edge=False, padding=(0, 1, 0, 0 if box else 1), header_style="bold", show_edge=False)
    headings = [excerpt(heading, _MAX_CELL_LENGTH) for heading in headings]
    widths = _cut_widths([headings, *rows], cut, output.width) if output.is_terminal else {}
    for index, heading in enumerate(headings):
        width = widths.get(index)
        table.add_column(
            heading,
            justify="left" if index < left else "right",
            max_width=width,
            no_wrap=width is not None and index != wrap,
            overflow="fold" if width is None or index == wrap else "ellipsis",
        )
    for index, row in enumerate(rows):
        is_last = index == len(rows) - 1
        table.add_row(*row, style="bold" if total and is_last else "")
    print_whole(table, output)


def print_whole(table: Table, output: Console = console) -> None:
    """Print a table of rich, which it cuts at the width of its console: without a terminal that is 80 columns."""
    wide = Console(file=output.file, width=_UNLIMITED_WIDTH, markup=False, highlight=False, emoji=False)
    wide.quiet = output.quiet
    (output if output.is_terminal else wide).print(table)


def _cut_widths(rows: Sequence[Sequence[str]], cut: Sequence[int], width: int) -> dict[int, int]:
    """Return the widths of columns that are cut so that a table is at most `width` wide."""
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    excess = sum(widths) + _GAP * (len(widths) - 1) - width
    narrower: dict[int, int] = {}
    for least in _LEAST_CUT_WIDTHS:
        for index in cut:
            if excess > 0 and widths[index] > least:
                narrower[index] = max(least, widths[index] - excess)
                excess -= widths[index] - narrower[index]
                widths[index] = narrower[index]
    return narrower


def print_scores(
    scores: dict[str, dict[str, float]],
    rows: dict[str, int],
    baseline: dict[str, float] | None = None,
    *,
    output: Console = console,
) -> None:
    """Print one row for each score and one column for each part of the data, and for the baseline if there is one."""
    if baseline:
        scores = {**scores, "baseline": baseline}
    # a model file lists them in alphabetical order
    order = {name: index for index, name in enumerate([*SPLITS, "baseline", *METRICS])}
    parts = sorted(scores, key=lambda part: order.get(part, 0))
    names = dict.fromkeys(name for part in parts for name in scores[part])
    cells = [
        [metric_name(name), *(score_text(name, scores[part][name]) if name in scores[part] else "" for part in parts)]
        for name in sorted(names, key=lambda name: order.get(split_metric(name)[0], 0))
    ]
    counts = ["rows", *(f"{rows[part]:,}" if part in rows else "" for part in parts)]
    print_table(["", *parts], [*cells, counts], output=output)


def print_trials(training: dict[str, Any]) -> None:
    """Print what a search tried, the least loss first; these parts of a model's ``about`` may be forged."""
    rows, reasons = described_trials(training["trials"])
    print_table(TRIAL_HEADINGS, rows[:_MOST_TRIALS])
    if len(rows) > _MOST_TRIALS:
        console.print(f"... and {len(rows) - _MOST_TRIALS:,} more")
    if any(row[-1].startswith("ended early") for row in rows):
        print_footnote("ended early: more than 2 % behind the best, and gaining too slowly; the loss is that so far")
    for reason in reasons:
        print_footnote(reason)
    if untried := untried_text(training):
        print_footnote(f"{untried}; a larger --time-budget tries the rest")
