"""``gpubp reproduce``: the paper's experiments, from many first weights at once."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.progress import Progress as Bar

from gpubp.cli.output import console, print_facts, print_json, print_table
from gpubp.errors import DataError
from gpubp.paper.studies import STUDIES
from gpubp.paper.study import Findings, Study
from gpubp.registry import unknown


def reproduce(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help=f"Any of {', '.join(STUDIES)}.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="How many networks, each from first weights of its own.")] = 1000,
    sweeps: Annotated[
        int | None, typer.Option(min=1, help="At most so many; else each experiment's own number.", show_default=False)
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every experiment.")] = False,
    device: Annotated[str, typer.Option(metavar="NAME", help="auto, cpu, cuda or cuda:N.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """Train the networks of the paper and of its longer chapter, and compare with what these report."""
    chosen = list(STUDIES) if everything else names or []
    if not chosen:
        raise DataError(f"name an experiment, or give --all: {', '.join(STUDIES)}")
    for name in chosen:
        if name not in STUDIES:
            raise DataError(unknown("experiment", name, STUDIES))
    told = []
    for study in [STUDIES[name] for name in chosen]:
        with _bar(study.name, sweeps or study.sweeps) as callback:
            found = study.run(seeds, sweeps=sweeps, device=device, callbacks=(callback,))
        if as_json:
            told.append(_as_json(study, found))
        else:
            _show(study, found, sweeps or study.sweeps)
        if found.stop_reason == "interrupted":
            break
    if as_json:
        print_json(told)


def _show(study: Study, found: Findings, sweeps: int) -> None:
    n, n_solved = len(found.solved), int(np.sum(found.solved))
    so_far = ", interrupted" if found.stop_reason == "interrupted" else ""
    print_facts(
        [
            (study.name, study.title),
            ("setting", study.setting),
            ("reported", study.says),
            ("criterion", study.criterion),
            ("here", f"{n_solved} of {n} networks done within {sweeps} sweeps ({found.seconds:.1f} s{so_far})"),
            ("verdict", f"{found.verdict.reached}: {found.verdict.why}"),
        ],
        console,
    )
    headings = ["sweeps until", "a quarter", "half", "three quarters are done"]
    print_table(headings, [["", *map(_sweeps, found.quartiles())]])
    if found.facts:
        print_table(["of those that are done", "paper", "here"], found.facts, left=3)
    console.print()


def _sweeps(number: float) -> str:
    return f"{number:,.0f}" if np.isfinite(number) else "never"


def _as_json(study: Study, found: Findings) -> dict[str, Any]:
    return {
        "name": study.name,
        "setting": study.setting,
        "reported": study.says,
        "criterion": study.criterion,
        "networks": len(found.solved),
        "solved": int(np.sum(found.solved)),
        "sweeps": found.sweeps.tolist(),
        "quartiles": list(found.quartiles()),
        "seconds": found.seconds,
        "stop_reason": found.stop_reason,
        "verdict": found.verdict._asdict(),
        "facts": [fact._asdict() for fact in found.facts],
    }


@contextmanager
def _bar(name: str, sweeps: int) -> Iterator[Callable[[Any], None]]:
    """Show how many sweeps are over and how many networks are done, on a terminal."""
    screen = Console(stderr=True)
    if not screen.is_terminal or screen.is_dumb_terminal:
        yield lambda progress: None
        return
    with Bar(console=screen, transient=True) as bar:
        task = bar.add_task(name, total=sweeps)

        def callback(progress: Any) -> None:
            if progress.epoch % 20 == 0:
                done = np.mean(np.isnan(progress.error))
                bar.update(task, completed=progress.epoch, description=f"{name}: {done:.0%} done")

        yield callback
