"""``gpubp agree``: compare a device with NumPy, or with another device, by the table of tolerances."""

from pathlib import Path
from typing import Annotated

import typer

from gpubp._core.text import number
from gpubp.backends.backend import choose_backend
from gpubp.cli.options import DEVICE_HELP
from gpubp.cli.output import console, json_text, print_facts, print_note, print_table
from gpubp.cli.paths import check_output
from gpubp.cli.progress import counting_bar
from gpubp.engine.cpu.threads import cores
from gpubp.testing import Agreement, check_agreement, left_out


def agree(
    device: Annotated[str, typer.Option(metavar="NAME", help=DEVICE_HELP)] = "auto",
    against: Annotated[
        str, typer.Option(metavar="NAME", help="The device to compare with, in plain array calls; cpu is NumPy.")
    ] = "cpu",
    dtype: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="float32 or float64. May be repeated. [default: both]", show_default=False),
    ] = None,
    json: Annotated[Path | None, typer.Option(metavar="FILE", help="Write all rows there.", show_default=False)] = None,
) -> None:
    """Compare a device with NumPy: equations, networks and whole fits, within the table of tolerances.

    The exit code is 1 if a comparison fails, else 0.
    """
    if json is not None:
        check_output(json, (".json",))
    reason = "" if dtype else left_out(device, against)
    compiles = choose_backend(device).library.compile is not None
    with counting_bar("compared") as progress:
        rows = check_agreement(
            device,
            dtypes=dtype or (["float32"] if reason else None),
            against=against,
            progress=progress,
            n_threads=cores() if compiles else 1,
        )
    failed = [row for row in rows if not row.ok]
    _print_kinds(rows)
    for row in failed:
        print_facts([("failed", f"{row.what} in {row.dtype}: {row.fault}")], console)
    console.print(f"{len(rows) - len(failed)} of {len(rows)} agree")
    if reason:
        print_note(reason)
    if json is not None:
        result = {
            "device": choose_backend(device).name,
            "against": against,
            "left_out": reason,
            "rows": [row._asdict() for row in rows],
        }
        json.write_text(json_text(result), encoding="utf-8")
    if failed:
        raise typer.Exit(1)


def _print_kinds(rows: list[Agreement]) -> None:
    """Print for each kind and dtype the largest deviation, as a part of the tolerance, and where it is."""
    groups: dict[tuple[str, str], list[Agreement]] = {}
    for row in rows:
        groups.setdefault((row.kind, row.dtype), []).append(row)
    cells = []
    for (kind, dtype), group in groups.items():
        worst = max(group, key=lambda row: row.deviation)
        n_failed = sum(not row.ok for row in group)
        cells.append([kind, dtype, worst.what, number(worst.deviation), f"{len(group)}", f"{n_failed}"])
    print_table(["kind", "dtype", "largest at", "of the tolerance", "rows", "failed"], cells, left=3, cut=(2,))
