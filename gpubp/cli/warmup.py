"""``gpubp warmup``: compile ahead what training and prediction need."""

import time
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from gpubp.backends.backend import choose_backend
from gpubp.cli.compilation import compilations, place
from gpubp.cli.output import console, device_and_reason, notes, print_facts

PLURALS = {"activation": "activations", "loss": "losses", "optimizer": "optimizers", "other": "others"}


def warmup(
    device: Annotated[str, typer.Option(metavar="NAME", help="auto, cpu, cuda or cuda:N.")] = "auto",
) -> None:
    """Compile ahead what training and prediction need, so that the first fit need not wait for the compiler.

    What is compiled is kept on disk; what is there already is not compiled again.
    """
    backend = choose_backend(device)
    print_facts([("device", device_and_reason(backend, device))], notes)
    waiting = list(compilations(backend))
    if not waiting:
        fix = ': numba would compile long trainings; pip install "gpubp[fast]"' if backend.is_numpy else ""
        print_facts([("compiled", f"nothing: {backend.name} needs no compiler here{fix}")], console)
        return
    began = time.perf_counter()
    shown = notes.is_terminal and not notes.is_dumb_terminal
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=notes, disable=not shown) as bar:
        task = bar.add_task("", total=len(waiting))
        for name, do in waiting:
            bar.update(task, description=name)
            do()
            bar.advance(task)
    names = [name for name, _ in waiting]
    kinds = {kind: sum(name.startswith(f"{kind} ") for name in names) for kind in ("activation", "loss", "optimizer")}
    kinds["other"] = len(names) - sum(kinds.values())
    told = ", ".join(f"{n} {PLURALS[kind] if n > 1 else kind}" for kind, n in kinds.items() if n)
    seconds = time.perf_counter() - began
    print_facts([("compiled", f"{told}, in {seconds:.1f} s"), ("kept in", place(backend))], console)
