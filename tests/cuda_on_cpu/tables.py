"""What tables copy to a GPU, in bytes, counted: ``python -m tests.cuda_on_cpu.tables`` writes the page's table."""

from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np

import gpubp
from gpubp.tabular.prepared_table import PreparedTable
from gpubp.tabular.result import TableFit
from gpubp.training import batched_epochs
from tests.cuda_on_cpu.activation import activate, counters
from tests.cuda_on_cpu.budget import PAGE

BEGIN, END = "<!-- tables -->\n\n", "\n\n<!-- end of tables -->"
HEADS = ("copies", "bytes", "bytes of the inputs")
N_ROWS = 2000
CATEGORIES = ("x3", "x4", "x5")


class Counts(NamedTuple):
    """Copies to the device, their bytes, and the bytes of the inputs of all rows in float32."""

    uploads: int
    uploaded_bytes: int
    inputs: int


def numbers() -> dict[str, Any]:
    """Return a table of seven columns of numbers and two classes."""
    X = np.random.default_rng(0).normal(size=(N_ROWS, 7))
    is_first = X[:, 0] * X[:, 1] + np.sin(3.0 * X[:, 2]) > 0.0
    return {f"x{place}": X[:, place] for place in range(7)} | {"class": np.where(is_first, "a", "b").astype(object)}


def mixed() -> dict[str, Any]:
    """Return the same with three columns of categories and one of dates instead of four of numbers."""
    random, table = np.random.default_rng(1), numbers()
    categories = {name: random.integers(0, 60, N_ROWS).astype(str).astype(object) for name in CATEGORIES}
    return table | categories | {"x6": np.datetime64("2020-01-01") + random.integers(0, 999, N_ROWS)}


@cache
def prepared(make: Callable[[], dict[str, Any]]) -> PreparedTable:
    return gpubp.prepare_table(make(), types=dict.fromkeys(CATEGORIES, "category") if make is mixed else None)


def fit(make: Callable[[], dict[str, Any]]) -> TableFit:
    with patch.object(batched_epochs, "SECONDS_PER_CALL", 0.0):  # or the clock decides how many epochs are one call
        return gpubp.fit_table(prepared(make), epochs=2, device="cuda")


def predictions(make: Callable[[], dict[str, Any]]) -> Callable[[], object]:
    model, table = fit(make).model, make()
    return lambda: gpubp.predict_table(model, table, device="cuda")


WORKLOADS: dict[str, tuple[Callable[[], Callable[[], object]], Callable[[], dict[str, Any]]]] = {
    "predict, numbers": (lambda: predictions(numbers), numbers),
    "predict, numbers, categories and dates": (lambda: predictions(mixed), mixed),
    "fit, numbers": (lambda: partial(fit, numbers), numbers),
    "fit, numbers, categories and dates": (lambda: partial(fit, mixed), mixed),
}


@cache
def count(row: str) -> Counts:
    """Count what a workload copies to the device."""
    begin, table = WORKLOADS[row]
    work = begin()
    work()  # what is copied once stays there
    before = counters()
    work()
    after = counters()
    uploads, uploaded_bytes = (getattr(after, name) - getattr(before, name) for name in Counts._fields[:2])
    return Counts(uploads, uploaded_bytes, 4 * N_ROWS * prepared(table).n_inputs)


def line_of(row: str) -> str:
    """Return the line of the table for a workload."""
    return f"| {row} | " + " | ".join(f"{number:,}" for number in count(row)) + " |"


def table_of_page() -> str:
    return PAGE.read_text("utf-8").partition(BEGIN)[2].partition(END)[0]


def table() -> str:
    return "\n".join(["| | " + " | ".join(HEADS) + " |", "|---|" + "---|" * len(HEADS), *map(line_of, WORKLOADS)])


if __name__ == "__main__":
    activate()
    head, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
    PAGE.write_text(head + BEGIN + table() + END + rest.partition(END)[2], "utf-8")
