"""A report as one self-contained page: no network, no fonts, no scripts; the pictures are embedded."""

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib.resources import files

from gpubp._core.html import self_contained_page
from gpubp.paper.report import words
from gpubp.paper.report.results import PictureResults, Results, StudyResults, TableResults

SHORT = 20
"""Cells with at most this many characters stay on one line."""


def html_page(results: Results, pictures: Mapping[str, bytes]) -> str:
    """Write the report.

    Parameters
    ----------
    results : Results
        All of its text is escaped.
    pictures : mapping of str to bytes
        PNG, by the names of their files.

    Returns
    -------
    str
        HTML.
    """
    missing = words.unfinished(results)
    sections = [_section(number, study, pictures) for number, study in enumerate(results["studies"], 1)]
    title = escape(words.TITLE)
    body = _BODY.format(
        title=title,
        missing=f'<p class="missing">{escape(missing)}</p>\n' if missing else "",
        verdicts=_verdicts(results),
        run=_labelled(words.run(results)),
        sections="\n".join(sections),
    )
    return self_contained_page(title, (files("gpubp.paper.report") / "page.css").read_text(encoding="utf-8"), body)


_BODY = """<header>
<h1>{title}</h1>
{missing}{verdicts}
{run}
</header>
<main>
{sections}
</main>
<footer>
<p>A network is done when every output for every case is less than 0.5 away from the desired one, unless a study says
otherwise. Settings and claims are those of Rumelhart, Hinton and Williams (1986), Nature 323, and of their longer
chapter of that year.</p>
</footer>
"""


def _verdicts(results: Results) -> str:
    cells = [
        [f'<a href="#study-{number}">{escape(row[0])}</a>', *map(escape, row[1:])]
        for number, row in enumerate(words.verdicts(results), 1)
    ]
    return _table("Verdicts", "", words.VERDICTS, cells, n_text=4)


def _section(number: int, study: StudyResults, pictures: Mapping[str, bytes]) -> str:
    *about, _ = words.about(study)
    reached, why = escape(study["verdict"]["reached"]), escape(study["verdict"]["why"])
    sign = f'<span aria-hidden="true">{words.SIGNS.get(reached, "")}</span>'
    tables = "\n".join(_of(table, study["name"]) for table in words.tables(study))
    figures = "\n".join(_figure(picture, pictures) for picture in study["pictures"])
    return f"""<section id="study-{number}" aria-labelledby="title-{number}">
<h2 id="title-{number}">{escape(study["name"])}: {escape(study["title"])}</h2>
<p class="verdict"><strong>{sign} {reached}</strong>: {why}</p>
{_labelled(about)}
{tables}
{figures}
</section>"""


def _labelled(lines: Iterable[tuple[str, str]]) -> str:
    parts = (f"<div><dt>{escape(label)}</dt><dd>{escape(text)}</dd></div>" for label, text in lines)
    return f"<dl>{''.join(parts)}</dl>"


def _of(table: TableResults, study: str) -> str:
    cells = [[escape(cell) for cell in row] for row in table["rows"]]
    name = table["caption"] or f"{study}: {table['headings'][0]}"
    return _table(name, table["caption"], table["headings"], cells, n_text=table["n_text"])


def _table(name: str, caption: str, headings: Sequence[str], rows: Sequence[Sequence[str]], *, n_text: int) -> str:
    """Lay out cells of HTML; a wide table scrolls, also by keyboard."""

    def marked(column: int, cell: str) -> str:
        if column >= n_text:
            return ' class="number"'
        return ' class="short"' if len(cell) <= SHORT else ""

    head = "".join(f'<th scope="col"{marked(c, text)}>{escape(text)}</th>' for c, text in enumerate(headings))
    body = "\n".join(
        f'<tr><th scope="row">{first}</th>'
        + "".join(f"<td{marked(c, cell)}>{cell}</td>" for c, cell in enumerate(rest, 1))
        + "</tr>"
        for first, *rest in rows
    )
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    return f"""<div class="wide" tabindex="0" role="region" aria-label="{escape(name)}">
<table>{title}<thead><tr>{head}</tr></thead>
<tbody>
{body}
</tbody></table>
</div>"""


def _width(png: bytes) -> int:
    """Return the width of a picture on the page, where a point is two of the picture's."""
    return int.from_bytes(png[16:20], "big") // 2


def _figure(picture: PictureResults, pictures: Mapping[str, bytes]) -> str:
    """Embed a picture; screen readers read its caption once, as its alternative text."""
    caption, data = escape(picture["caption"]), base64.b64encode(pictures[picture["file"]]).decode()
    return f"""<figure>
<img alt="{caption}" width="{_width(pictures[picture["file"]])}" src="data:image/png;base64,{data}">
<figcaption aria-hidden="true">{caption}</figcaption>
</figure>"""
