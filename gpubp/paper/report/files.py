"""Write a report to a folder: the data, the text, the page and the pictures."""

import json
from collections.abc import Mapping
from pathlib import Path

from gpubp.io.atomic_files import write_atomically
from gpubp.paper.report.markdown import markdown
from gpubp.paper.report.page import html_page
from gpubp.paper.report.results import Results

DATA, TEXT, PAGE = FILES = ("results.json", "report.md", "report.html")


def write_report(folder: Path, results: Results, pictures: Mapping[str, bytes]) -> None:
    """Write the results so far; each file is replaced only once the new one is complete.

    Parameters
    ----------
    folder : Path
        An existing one.
    results : Results
    pictures : mapping of str to bytes
        PNG, by the names of their files.

    Raises
    ------
    OSError
        If a file cannot be written.
    """
    write_atomically(folder / DATA, as_json(results).encode())
    for name, png in pictures.items():
        write_atomically(folder / name, png)
    write_atomically(folder / TEXT, markdown(results).encode())
    write_atomically(folder / PAGE, html_page(results, pictures).encode())


def as_json(results: Results) -> str:
    """Write the data in JSON."""
    return json.dumps(results, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
