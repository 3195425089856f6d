"""``gpubp warmup``: compile in advance what training and prediction need."""

import time
from collections import Counter

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from gpubp.backends.backend import choose_backend
from gpubp.cli import options
from gpubp.cli.device import device_and_reason
from gpubp.cli.output import console, notes, print_facts
from gpubp.cli.warmup.compilations import cache_description, compilations

PLURALS = {"activation": "activations", "loss": "losses", "optimizer": "optimizers", "other": "others"}


def warmup(device: options.Device = "auto") -> None:
    """Compile in advance what training and prediction need, so that the first fit does not wait for the compiler.

    The compiled code is kept on disk and is not compiled again.
    """
    backend = choose_backend(device)
    print_facts([("device", device_and_reason(backend, device))], notes)
    pending = list(compilations(backend))
    if not pending:
        hint = '; numba would compile long training runs: pip install "gpubp[fast]"' if backend.is_numpy else ""
        print_facts([("compiled", f"nothing: {backend.name} needs no compiler here{hint}")], console)
        return
    start = time.perf_counter()
    shows_bar = notes.is_terminal and not notes.is_dumb_terminal
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=notes, disable=not shows_bar) as bar:
        task = bar.add_task("", total=len(pending))
        for name, compile_item in pending:
            bar.update(task, description=name)
            compile_item()
            bar.advance(task)
    seconds = time.perf_counter() - start
    print_facts(
        [
            ("compiled", f"{_counts_text([name for name, _ in pending])}, in {seconds:.1f} s"),
            ("kept in", cache_description(backend)),
        ],
        console,
    )


def _counts_text(names: list[str]) -> str:
    """Count names such as "activation tanh" by their first word.

    Examples
    --------
    >>> _counts_text(["loss huber", "loss squared", "steps"])
    '2 losses, 1 other'
    """
    first = (name.partition(" ")[0] for name in names)
    counts = Counter(word if word in PLURALS else "other" for word in first)
    return ", ".join(
        f"{counts[kind]} {kind if counts[kind] == 1 else PLURALS[kind]}" for kind in PLURALS if counts[kind]
    )
