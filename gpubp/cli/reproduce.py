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
from gpubp.paper import symmetry
from gpubp.paper.experiment import EXPERIMENTS, Runs, run_seeds
from gpubp.registry import unknown


def reproduce(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help=f"Any of {', '.join(EXPERIMENTS)}.")
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
    chosen = list(EXPERIMENTS) if everything else names or []
    if not chosen:
        raise DataError(f"name an experiment, or give --all: {', '.join(EXPERIMENTS)}")
    for name in chosen:
        if name not in EXPERIMENTS:
            raise DataError(unknown("experiment", name, EXPERIMENTS))
    told = []
    for name in chosen:
        experiment = EXPERIMENTS[name]
        with _bar(name, sweeps or experiment.sweeps) as callback:
            runs = run_seeds(experiment, seeds, sweeps=sweeps, device=device, callbacks=(callback,))
        if as_json:
            told.append(_as_json(runs))
        else:
            _show(runs, sweeps or experiment.sweeps)
    if as_json:
        print_json(told)


def _show(runs: Runs, sweeps: int) -> None:
    experiment = runs.experiment
    sizes, rule = "-".join(map(str, experiment.network.sizes)), experiment.rule
    settings = ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in rule.settings.items())
    n, n_solved = len(runs.solved), int(np.sum(runs.solved))
    print_facts(
        [
            (experiment.name, experiment.title),
            ("setting", f"{sizes}, first weights in ±{experiment.scale:g}, {settings}, one change a sweep"),
            ("reported", experiment.says),
            ("here", f"{n_solved} of {n} networks done within {sweeps} sweeps ({runs.seconds:.1f} s)"),
        ],
        console,
    )
    headings = ["sweeps until", "a quarter", "half", "three quarters are done"]
    print_table(headings, [["", *map(_sweeps, runs.quartiles())]])
    if experiment.name == "symmetry" and n_solved:
        print_table(["of those that are done", "paper", "here"], symmetry.facts(runs), left=3)
    console.print()


def _sweeps(number: float) -> str:
    return f"{number:,.0f}" if np.isfinite(number) else "never"


def _as_json(runs: Runs) -> dict[str, Any]:
    quarter, median, three_quarters = runs.quartiles()
    found = {
        "name": runs.experiment.name,
        "networks": len(runs.solved),
        "solved": int(np.sum(runs.solved)),
        "sweeps": runs.sweeps.tolist(),
        "quartiles": [quarter, median, three_quarters],
        "seconds": runs.seconds,
        "reported": runs.experiment.says,
    }
    if runs.experiment.name == "symmetry":
        found["facts"] = [fact._asdict() for fact in symmetry.facts(runs)]
    return found


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
