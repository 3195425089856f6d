"""A report in Markdown."""

import re
from collections.abc import Iterable, Sequence

from gpubp.paper.report import words
from gpubp.paper.report.results import Results, StudyResults, TableResults


def markdown(results: Results, *, level: int = 1, folder: str = "") -> str:
    """Write the report.

    Parameters
    ----------
    results : Results
    level : int
        The level of the first heading: 2 within another page.
    folder : str
        The prefix of the pictures' file names, such as ``"paper/"``.

    Returns
    -------
    str
    """
    parts = [f"{'#' * level} {words.TITLE}"]
    if missing := words.unfinished(results):
        parts.append(f"**{_escaped(missing)}**")
    parts.append(_table(words.VERDICTS, words.verdicts(results), n_text=4))
    command, *run = words.run(results)
    parts.append(f"    {command[1]}")
    parts.append("\n".join(f"- {_escaped(label)}: {_escaped(text)}" for label, text in run))
    for study in results["studies"]:
        parts += _section(study, level + 1, folder)
    return "\n\n".join(parts) + "\n"


def _section(study: StudyResults, level: int, folder: str) -> list[str]:
    *about, verdict = words.about(study)
    parts = [
        f"{'#' * level} {_escaped(study['name'])}: {_escaped(study['title'])}",
        f"**{_escaped(verdict[1])}**",
        "\n".join(f"- {_escaped(label)}: {_escaped(text)}" for label, text in about),
    ]
    for table in words.tables(study):
        parts += [_escaped(table["caption"])] * bool(table["caption"]) + [_of(table)]
    for picture in study["pictures"]:
        caption = _escaped(picture["caption"])
        parts += [f"![{caption}]({folder}{picture['file']})", f"*{caption}*"]
    return parts


def _of(table: TableResults) -> str:
    return _table(table["headings"], table["rows"], n_text=table["n_text"])


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]], *, n_text: int) -> str:
    optimizers = ["---" if column < n_text else "---:" for column in range(len(headings))]
    lines = [[_escaped(cell) for cell in headings], optimizers, *([_escaped(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _escaped(text: str) -> str:
    r"""Escape the markup in a text.

    Examples
    --------
    >>> _escaped("a_b | <c> 2*3")
    'a\\_b \\| &lt;c&gt; 2\\*3'
    """
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|~$])", r"\\\1", text)
