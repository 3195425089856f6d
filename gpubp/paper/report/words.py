"""Text about results, the same on the screen, in Markdown and on the page."""

from gpubp._core.text import counted
from gpubp.paper.report.results import Results, StudyResults, TableResults
from gpubp.paper.words import NONE

TITLE = "The experiments of 1986, run again"

SIGNS = {"reproduced": "✓", "partly": "◐", "not reproduced": "✗", "undecided": "…"}
"""Symbols shown in addition to the word, never instead of it."""


def about(study: StudyResults) -> list[tuple[str, str]]:
    """Describe a study and its findings in labelled lines."""
    took, in_time = seconds(study["seconds"]), f"within {counted(study['most_sweeps'], 'sweep')}"
    networks = f"{study['solved']:,} of {counted(study['networks'], 'network')} {study['done']}"
    if study["stop_reason"] == "interrupted":
        in_time, took = "by then", f"{took}, interrupted"
    return [
        ("setting", study["setting"]),
        ("reported", study["reported"]),
        ("criterion", study["criterion"]),
        ("here", f"{networks} {in_time} ({took})") if study["networks"] else ("time", took),
        ("verdict", f"{study['verdict']['reached']}: {study['verdict']['why']}"),
    ]


def tables(study: StudyResults) -> list[TableResults]:
    """Lay out quartiles and facts as tables, before the study's own tables."""
    general: list[TableResults] = []
    if study["quartiles"]:
        general.append(
            {
                "caption": "",
                "headings": ["sweeps until", "a quarter", "half", "three quarters"],
                "rows": [["of all networks are done", *(_sweeps(part) for part in study["quartiles"])]],
                "n_text": 1,
            }
        )
    if study["facts"]:
        general.append(
            {
                "caption": "",
                "headings": [f"of those {study['done']}" if study["networks"] else "claim", "paper", "here"],
                "rows": [[fact["what"], fact["paper"], fact["found"]] for fact in study["facts"]],
                "n_text": 3,
            }
        )
    return [*general, *study["tables"]]


VERDICTS = ("study", "verdict", "networks done", "what is learned")
"""The headings of :func:`verdicts`."""


def verdicts(results: Results) -> list[tuple[str, str, str, str]]:
    """Return a line for each study."""
    return [
        (
            study["name"],
            f"{SIGNS.get(study['verdict']['reached'], '')} {study['verdict']['reached']}".strip(),
            f"{study['solved']:,} of {study['networks']:,}" if study["networks"] else NONE,
            study["title"],
        )
        for study in results["studies"]
    ]


def run(results: Results) -> list[tuple[str, str]]:
    """Describe the run in labelled lines: its command, its machine and its date."""
    machine = results["machine"]
    cores = counted(int(machine["cores"]), "core")
    later = [f"; {study['name']} {study['date']}" for study in results["studies"] if study["date"] != results["date"]]
    return [
        ("command", results["command"]),
        ("date", "".join([results["date"], *later])),
        ("machine", f"{machine['processor']}, {cores}, {machine['system']}; trained on {machine['device']}"),
        ("versions", ", ".join(f"{name} {version}" for name, version in results["versions"].items())),
        ("time", f"{seconds(sum(study['seconds'] for study in results['studies']))} of training"),
    ]


def unfinished(results: Results) -> str:
    """Describe what is missing, if anything."""
    n, n_requested = len(results["studies"]), len(results["asked"])
    cut_short = [study["name"] for study in results["studies"] if study["stop_reason"] == "interrupted"]
    parts = [f"{n} of {n_requested} studies run"] if n < n_requested else []
    if cut_short:
        parts.append(f"{', '.join(cut_short)} was interrupted, and what stands there is of what there was by then")
    return f"Not finished: {'; '.join(parts)}." if parts else ""


def seconds(value: float) -> str:
    """Format a duration.

    Examples
    --------
    >>> seconds(3.21), seconds(200)
    ('3.2 s', '3 min 20 s')
    """
    if value < 60:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest} s"


def _sweeps(number: float | None) -> str:
    return "never" if number is None else f"{number:,.0f}"
