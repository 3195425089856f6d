"""The page of a report: a heading, the sections that have something to show, and links to them."""

import re
from collections.abc import Sequence
from importlib.resources import files

import numpy as np

from gpubp._core.html import self_contained_page
from gpubp._core.text import counted
from gpubp.errors import DataError
from gpubp.reports._facts import ModelReport
from gpubp.reports._html import text_of
from gpubp.reports._sections import SECTIONS, headline

MAX_MODELS = 6


@np.errstate(all="ignore")
def report_page(reports: Sequence[ModelReport], *, title: str = "", made: str = "") -> str:
    """Write the page of one model, or of several side by side.

    Parameters
    ----------
    reports : sequence of ModelReport
        All of their text is escaped.
    title : str
        By default the title of the only model, or how many there are.
    made : str
        When the page was made, in words.

    Returns
    -------
    str
        HTML without scripts, which loads nothing; also dark, and readable when printed.

    Raises
    ------
    DataError
        If there is no model, or there are more than can be read side by side.

    Examples
    --------
    >>> from gpubp import Network
    >>> page = report_page([ModelReport("a <small> model", "regression", Network((2, 1)))])
    >>> page.count("<section"), "a &lt;small&gt; model" in page
    (2, True)
    """
    if not 1 <= len(reports) <= MAX_MODELS:
        raise DataError(f"a report shows 1 to {MAX_MODELS} models side by side, got {len(reports)}")
    sections = [section for write in SECTIONS if (section := write(reports))]
    heads = [re.search(r'<h2 id="([^"]+)-title">([^<]*)</h2>', section) for section in sections]
    links = " ".join(f'<a href="#{head[1]}">{head[2]}</a>' for head in heads if head)
    several = counted(len(reports), "model")
    notes = [note for report in reports for note in report.notes]
    title = text_of(title or (reports[0].title if len(reports) == 1 else f"{several} side by side"))
    body = _BODY.format(
        title=title,
        subtitle=text_of(" · ".join(filter(None, (_subtitle(reports), made))), 400),
        notes="".join(f'<p class="doubt">{text_of(note, 1000)}</p>' for note in notes),
        headline=headline(reports[0]) if len(reports) == 1 else "",
        links=links,
        sections="\n".join(sections),
    )
    return self_contained_page(title, (files("gpubp.reports") / "page.css").read_text(encoding="utf-8"), body)


def _subtitle(reports: Sequence[ModelReport]) -> str:
    if len(reports) > 1:
        return ", ".join(report.title for report in reports)
    return " · ".join(value for label, value in reports[0].facts if label in ("data", "target", "task"))


_BODY = """<a class="skip" href="#main">Skip to the scores</a>
<header>
<p class="brand">gpubp report</p>
<h1>{title}</h1>
<p class="subtitle">{subtitle}</p>
{notes}
{headline}
<nav aria-label="Sections">{links}</nav>
</header>
<main id="main">
{sections}
</main>
"""
