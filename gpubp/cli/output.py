"""What the commands print, and where they may write: results to stdout, all else to stderr, plain text when piped.

Text from data and files is never read as markup, and its control characters are shown instead of sent.
"""

import json
import math
import os
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gpubp._core.text import brief, plain
from gpubp.backends.backend import ENVIRONMENT_VARIABLE, Backend
from gpubp.backends.probe import probe_cuda
from gpubp.data.streaming.split import SPLITS
from gpubp.errors import DataError

console = Console(markup=False, highlight=False, emoji=False)
"""For results: stdout."""

notes = Console(markup=False, highlight=False, emoji=False, stderr=True)
"""For all else: stderr."""

_LABEL_WIDTH = 11
_MOST_WIDE = 100
_NO_LIMIT = 10_000
_LONGEST_FACT, _LONGEST_CELL = 5_000, 200  # in letters: a file may hold a name of a million
_METRICS = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
    "log_loss": "log loss",
    "r2": "R²",
    "mae": "mean absolute error",
    "rmse": "root mean squared error",
}


def be_silent() -> None:
    """Print nothing from now on: another process does."""
    console.quiet = notes.quiet = True


def print_json(value: Any) -> None:
    """Print one JSON object on stdout; numbers that JSON does not know become null, control characters escapes."""
    if console.quiet:
        return
    text = json.dumps(_finite(value), indent=2, ensure_ascii=False, allow_nan=False)
    console.file.write("".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text) + "\n")


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def print_facts(facts: Iterable[tuple[str, str]], to: Console) -> None:
    """Print labelled lines; on a terminal long ones are wrapped under themselves, in a pipe they stay whole."""
    for label, text in facts:
        lines = [brief(text, _LONGEST_FACT)]
        if to.is_terminal:
            width = max(min(to.width, _MOST_WIDE) - _LABEL_WIDTH, 20)
            lines = textwrap.wrap(lines[0], width, break_on_hyphens=False) or [""]
        for number, line in enumerate(lines):
            left = f"{'' if number else label:<{_LABEL_WIDTH - 1}} " if line else ""
            to.print(Text.assemble((left, "bold"), line), soft_wrap=True)


def print_note(text: str) -> None:
    """Print a line of advice on stderr."""
    notes.print(Text.assemble(("note: ", "yellow"), plain(text)), soft_wrap=not notes.is_terminal)


def print_error(text: str) -> None:
    """Print the one line about what went wrong on stderr."""
    notes.print(Text.assemble(("error: ", "bold red"), plain(text)), soft_wrap=not notes.is_terminal)


def print_table(headings: Sequence[str], rows: Iterable[Sequence[str]], *, left: int = 1, total: bool = False) -> None:
    """Print a table on stdout.

    Parameters
    ----------
    headings : sequence of str
    rows : iterable of sequences of str
    left : int
        How many columns, the first ones, are text; the rest are numbers and stand to the right.
    total : bool
        Whether the last row sums up the others.
    """
    rows = [[brief(cell, _LONGEST_CELL) for cell in row] for row in rows]
    box = SIMPLE_HEAD if console.is_terminal else None
    table = Table(box=box, pad_edge=False, padding=(0, 1), header_style="bold", show_edge=False)
    for number, heading in enumerate(headings):
        table.add_column(brief(heading, _LONGEST_CELL), justify="left" if number < left else "right", overflow="fold")
    for number, row in enumerate(rows):
        is_last = number == len(rows) - 1
        table.add_row(*row, style="bold" if total and is_last else "")
    # a console prints nothing wider than itself, and one that is no terminal takes itself to be 80 columns wide
    wide = Console(file=console.file, width=_NO_LIMIT, markup=False, highlight=False, emoji=False)
    (console if console.is_terminal else wide).print(table)


def print_scores(scores: dict[str, dict[str, float]], rows: dict[str, int]) -> None:
    """Print scores, one row for each, one column for each part of the data that has any."""
    order = {name: place for place, name in enumerate([*SPLITS, *_METRICS])}  # a model file has them by the alphabet
    parts = sorted(scores, key=lambda part: order.get(part, 0))
    names = dict.fromkeys(name for part in parts for name in scores[part])
    cells = [
        [metric_name(name), *(number(scores[part][name]) if name in scores[part] else "" for part in parts)]
        for name in sorted(names, key=lambda name: order.get(_metric(name)[0], 0))
    ]
    print_table(["", *parts], [*cells, ["rows", *(f"{rows[part]:,}" if part in rows else "" for part in parts)]])


def metric_name(name: str) -> str:
    """Write out a score's name: ``"mae weight"`` is the mean absolute error of the target "weight"."""
    metric, target = _metric(name)
    return _METRICS.get(metric, metric) + (f", {target}" if target else "")


def _metric(name: str) -> tuple[str, str]:
    metric, _, target = name.partition(" ")
    return metric, target


def number(value: float) -> str:
    """Write a number with about five digits, very large and very small ones with an exponent.

    Examples
    --------
    >>> number(0.97214), number(18957.0671), number(1e-9)
    ('0.9721', '18957', '1e-09')
    """
    if value != 0 and not 1e-3 <= abs(value) < 1e6:
        return f"{value:.4g}"
    return f"{value:.{max(5 - len(str(int(abs(value)))), 0)}f}"


def shortened(items: Sequence[str], limit: int = 6) -> str:
    """List some of many names.

    Examples
    --------
    >>> shortened(list("abcdefgh"), 3)
    'a, b, c, ... (8)'
    """
    return ", ".join(items) if len(items) <= limit else f"{', '.join(items[:limit])}, ... ({len(items)})"


def device_and_reason(backend: Backend, asked_for: str) -> str:
    """Say what computes, and why it and no other."""
    name = backend.name
    if asked_for != "auto":
        return f"{name} (as asked)"
    if os.environ.get(ENVIRONMENT_VARIABLE, "").strip() not in ("", "auto"):
        return f"{name} (as {ENVIRONMENT_VARIABLE} says)"
    if not backend.is_numpy:
        return f"{name} (a GPU that works)"
    probe = probe_cuda()
    if probe.expected:
        return "cpu (no NVIDIA GPU or driver was found)"
    return f"cpu (the GPU cannot be used: {probe.cause}; to fix it: {probe.fix})"


def check_output(path: Path, suffixes: Sequence[str] = (), *, inputs: Sequence[str | Path] = ()) -> None:
    """Check before long work that its result can be written, and that no input would be lost to it.

    Raises
    ------
    DataError
        If the folder does not exist or may not be written to, or the path is a folder, an input or of a wrong kind.
    """
    if suffixes and path.suffix.lower() not in suffixes:
        raise DataError(f"{path}: cannot write a file of that kind; its name must end in {' or '.join(suffixes)}")
    if path.is_dir():
        raise DataError(f"{path} is a folder; give the name of a file in it")
    if path.exists() and not path.is_file():
        raise DataError(f"{path} is not an ordinary file and cannot be replaced by one; give another path")
    folder = path.absolute().parent
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder} to write {path.name} to; make it, or give another path")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise DataError(f"the folder {folder} may not be written to; give another path")
    for given in map(Path, inputs):
        if path.exists() and given.exists() and path.samefile(given):
            raise DataError(f"{path} is what is read, and would be lost; give another path")
