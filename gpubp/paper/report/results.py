"""The contents of a report as plain data: text, numbers, lists and dictionaries, ready for JSON."""

import datetime
import math
import platform
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from gpubp._core.text import counted, printable
from gpubp._core.versions import installed_versions
from gpubp.backends.backend import choose_backend
from gpubp.backends.cupy_wheels import cupy_wheels
from gpubp.engine.cpu.threads import cores
from gpubp.paper.study import Findings, Study, quartiles

BINS = 24
SWEEPS_PICTURE = "sweeps"
"""The name of the picture of the histogram, which every study of a single group of networks has."""


INTERRUPTED = {"reached": "undecided", "why": "interrupted before the networks had all their sweeps"}
"""The verdict on every interrupted study."""


class Histogram(TypedDict):
    """How many networks were done after how many sweeps: ``edges`` are one more than ``counts``."""

    edges: list[float]
    counts: list[int]


class TableResults(TypedDict):
    """See :class:`gpubp.paper.study.StudyTable`."""

    caption: str
    headings: list[str]
    rows: list[list[str]]
    n_text: int


class PictureResults(TypedDict):
    """A picture: its name, that of its file, its caption, and what is drawn.

    ``data`` is None for the histogram, and for a picture of a run that did not keep it.
    """

    name: str
    file: str
    caption: str
    data: dict[str, Any] | None


class StudyResults(TypedDict):
    """A study and its findings; None among the quartiles means never.

    There are no quartiles if a study compares several groups or trains all networks to the end.
    """

    name: str
    date: str
    title: str
    setting: str
    reported: str
    criterion: str
    most_sweeps: int
    done: str
    networks: int
    solved: int
    quartiles: list[float | None]
    histogram: Histogram | None
    reported_sweeps: int | None
    seconds: float
    stop_reason: str
    verdict: dict[str, str]
    facts: list[dict[str, str]]
    tables: list[TableResults]
    pictures: list[PictureResults]


class Results(TypedDict):
    """All studies of one run and its environment; ``asked`` are the names of the requested studies."""

    command: str
    date: str
    machine: dict[str, str]
    versions: dict[str, str]
    asked: list[str]
    studies: list[StudyResults]


def new_results(command: str, requested: Sequence[str], device: str = "auto") -> Results:
    """Begin a run: its command, its environment, and the date."""
    return {
        "command": _printable(command),
        "date": _today(),
        "machine": {
            "processor": _printable(_processor()),
            "cores": str(cores()),
            "system": f"{platform.system()} {platform.machine()}",
            "device": choose_backend(device).name,
        },
        "versions": installed_versions("numpy", "scipy", *cupy_wheels()),
        "asked": [_printable(name) for name in requested],
        "studies": [],
    }


def study_results(study: Study, findings: Findings) -> StudyResults:
    """Put a study and its findings into plain data, without the figures of each network."""
    n, sweeps = len(findings.solved), findings.sweeps
    entry: StudyResults = {
        "name": study.name,
        "date": _today(),
        "title": study.title,
        "setting": findings.setting,
        "reported": study.says,
        "criterion": study.criterion,
        "most_sweeps": findings.limit,
        "done": findings.done,
        "networks": n,
        "solved": int(np.sum(findings.solved)),
        "quartiles": []
        if sweeps is None
        else [part if math.isfinite(part) else None for part in quartiles(findings.solved, sweeps)],
        "histogram": None if sweeps is None or not np.any(findings.solved) else _histogram(sweeps[findings.solved]),
        "reported_sweeps": findings.reported,
        "seconds": round(float(findings.seconds), 2),
        "stop_reason": findings.stop_reason,
        "verdict": INTERRUPTED if findings.stop_reason == "interrupted" else dict(findings.verdict._asdict()),
        "facts": [fact._asdict() for fact in findings.facts],
        "tables": [
            {
                "caption": table.caption,
                "headings": list(table.headings),
                "rows": [list(row) for row in table.rows],
                "n_text": table.n_text,
            }
            for table in findings.tables
        ],
        "pictures": [
            {
                "name": picture.name,
                "file": picture_file(study.name, picture.name),
                "caption": picture.caption,
                "data": {name: _plain(value) for name, value in picture.data.items()},
            }
            for picture in findings.pictures
        ],
    }
    if entry["histogram"] is not None:
        file = picture_file(study.name, SWEEPS_PICTURE)
        entry["pictures"].insert(0, {"name": SWEEPS_PICTURE, "file": file, "caption": _caption(entry), "data": None})
    cleaned: StudyResults = _all_printable(entry)
    return cleaned


def _caption(entry: StudyResults) -> str:
    n, n_never = entry["networks"], entry["networks"] - entry["solved"]
    in_time = "by then" if entry["verdict"] == INTERRUPTED else f"within {entry['most_sweeps']:,}"
    more = f"; not done {in_time}: {n_never:,}" if n_never else ""
    reported = f"; reported: {entry['reported_sweeps']:,}" if entry["reported_sweeps"] else ""
    return f"Sweeps until a network is done: {entry['solved']:,} of {counted(n, 'network')}{more}{reported}"


def _today() -> str:
    return datetime.datetime.now(datetime.UTC).date().isoformat()


def _plain(value: Any) -> Any:
    """Turn arrays into lists, and round to five digits, which is more than a picture shows."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value


def picture_file(study: str, picture: str) -> str:
    """Name the file of a picture after its study and itself; names cannot leave the folder.

    Examples
    --------
    >>> picture_file("xor", "the error's ../surface")
    'xor-the-error-s-surface.png'
    """
    study, picture = (re.sub(r"[^A-Za-z0-9]+", "-", part).strip("-") for part in (study, picture))
    return f"{picture}.png" if picture.startswith(f"{study}-") else f"{study}-{picture}.png"


def _histogram(sweeps: np.ndarray) -> Histogram:
    """Count in bins of equal width on a logarithmic scale, since some take a hundred times as long as others."""
    low, high = float(np.min(sweeps)), float(np.max(sweeps)) + 1.0
    edges = np.geomspace(low, high, min(BINS, int(high - low)) + 1)
    edges[0], edges[-1] = low, high  # which rounding may have moved
    counts, _ = np.histogram(sweeps, edges)
    return {"edges": [round(float(edge), 2) for edge in edges], "counts": counts.tolist()}


def _all_printable(value: Any) -> Any:
    if isinstance(value, str):
        return _printable(value)
    if isinstance(value, dict):
        return {key: _all_printable(part) for key, part in value.items()}
    return [_all_printable(part) for part in value] if isinstance(value, list) else value


def _printable(text: str) -> str:
    """Replace unprintable characters; line breaks become spaces."""
    return printable(" ".join(text.split()))


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        text = ""
    model = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return model[1] if model else platform.processor() or "unknown processor"
