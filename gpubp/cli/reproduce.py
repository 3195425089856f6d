"""``gpubp reproduce``: run the paper's experiments from many initial weights, and print or report the results.

Its texts say "sweeps" for full-batch epochs, as the paper does.
"""

import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.progress import Progress as Bar

from gpubp._core.names import unknown
from gpubp.cli import options
from gpubp.cli.output import console, notes, print_facts, print_json, print_table
from gpubp.cli.paths import check_output
from gpubp.errors import DataError
from gpubp.paper.report import FILES, new_results, pictures_of, study_results, words, write_report
from gpubp.paper.report.results import StudyResults
from gpubp.paper.studies import STUDIES
from gpubp.plotting.figure import new_figure


def reproduce(
    names: Annotated[list[str] | None, typer.Argument(metavar="NAME...", help=f"Any of {', '.join(STUDIES)}.")] = None,
    seeds: Annotated[
        int, typer.Option(min=1, metavar="N", help="Number of networks, each with its own initial weights.")
    ] = 1000,
    sweeps: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Maximum number of sweeps. The default depends on the experiment.",
            show_default=False,
        ),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every experiment.")] = False,
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help=f"Write {', '.join(FILES)} and pictures there, updated after each experiment.",
            show_default=False,
        ),
    ] = None,
    device: options.Device = "auto",
    as_json: options.AsJson = False,
) -> None:
    """Train the networks of the paper and of its longer version, and compare the results with the published ones.

    Ctrl-C stops it and prints the results so far.
    """
    chosen_names = _chosen(names, everything)
    if report is not None:
        _make_folder(report)
    results = new_results(_command(names, seeds, sweeps, everything, report, device), chosen_names, device)
    pictures: dict[str, bytes] = {}
    printed = []
    for number, study in enumerate((STUDIES[name] for name in chosen_names), 1):
        prefix = f"{number} of {len(chosen_names)}, " if len(chosen_names) > 1 else ""
        with _bar(f"{prefix}{study.name}", sweeps or study.sweeps) as callback:
            findings = study.run(seeds, sweeps=sweeps, device=device, callbacks=(callback,))
        results["studies"].append(study_results(study, findings))
        if as_json:
            sweeps_needed = [] if findings.sweeps is None else findings.sweeps.tolist()
            printed.append({**results["studies"][-1], "sweeps": sweeps_needed})
        else:
            _show(results["studies"][-1])
        if report is not None:
            pictures |= pictures_of(results["studies"][-1], study.drawings)
            write_report(report, results, pictures)
        if findings.stop_reason == "interrupted":
            break
    if as_json:
        print_json(printed)
    elif report is not None:
        print_facts([("written", f"{report}: {', '.join(FILES)} and the pictures")], console)


def _chosen(names: list[str] | None, everything: bool) -> list[str]:
    chosen = list(STUDIES) if everything else list(dict.fromkeys(names or []))
    if not chosen:
        raise DataError(f"name an experiment, or pass --all: {', '.join(STUDIES)}")
    for name in chosen:
        if name not in STUDIES:
            raise DataError(unknown("experiment", name, STUDIES))
    return chosen


def _make_folder(folder: Path) -> None:
    """Create the folder, and check before the experiments that a report can be drawn and written to it."""
    new_figure()
    if folder.exists() and not folder.is_dir():
        raise DataError(f"{folder} is not a folder, but a report is a folder of files; choose another name")
    if not folder.exists():
        check_output(folder)
        folder.mkdir()
    for name in FILES:
        check_output(folder / name)


def _command(
    names: list[str] | None, seeds: int, sweeps: int | None, everything: bool, report: Path | None, device: str
) -> str:
    """Return the command that repeats this one."""
    parts = ["gpubp", "reproduce", *(["--all"] if everything else names or []), "--seeds", str(seeds)]
    parts += ["--sweeps", str(sweeps)] * (sweeps is not None) + ["--device", device] * (device != "auto")
    return shlex.join(parts + (["--report", str(report)] if report is not None else []))


def _show(study: StudyResults) -> None:
    print_facts([(study["name"], study["title"]), *words.about(study)], console)
    for table in words.tables(study):
        if table["caption"]:
            print_facts([("", table["caption"])], console)
        print_table(table["headings"], table["rows"], left=table["n_text"])
    console.print()


@contextmanager
def _bar(name: str, sweeps: int) -> Iterator[Callable[[Any], None]]:
    """Show the number of sweeps and the fraction of solved networks, on a terminal; elsewhere, that it has begun."""
    screen = Console(stderr=True)
    if not screen.is_terminal or screen.is_dumb_terminal:
        print_facts([("running", f"{name}, {sweeps:,} sweeps at most")], notes)
        yield lambda progress: None
        return
    with Bar(console=screen, transient=True) as bar:
        task = bar.add_task(name, total=sweeps)

        def callback(progress: Any) -> None:
            if progress.epoch % 20 == 0:
                description = f"{name}: {np.mean(np.isnan(progress.loss)):.0%} done"
                bar.update(task, completed=progress.epoch, total=progress.epochs, description=description)

        yield callback
