"""``gpubp doctor``: check CuPy, the driver and the GPUs, and print the commands that fix faults."""

from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from gpubp.cli.doctor.diagnosis import Finding, diagnose, verdict
from gpubp.cli.output import console, print_json, print_whole

_STYLES = {"ok": "green", "info": "", "warning": "yellow", "fault": "bold red"}


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Check the compiled engine, CuPy, the NVIDIA driver and the GPUs, and print the command that fixes each fault.

    The exit code is 1 if there is a fault, else 0. A machine without a GPU is not a fault.
    """
    findings = diagnose()
    faults = [finding for finding in findings if finding.status == "fault"]
    if as_json:
        print_json(
            {"verdict": verdict(), "findings": [finding._asdict() for finding in findings], "faults": len(faults)}
        )
    else:
        console.print(Text(f"{verdict()}\n", "bold"), soft_wrap=not console.is_terminal)
        print_whole(_table(findings))
        _print_fixes(findings)
    if faults:
        raise typer.Exit(1)


def _table(findings: list[Finding]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("status", "check"):
        table.add_column(heading, no_wrap=True)
    table.add_column("detail", overflow="fold")
    for finding in findings:
        status = Text(finding.status, _STYLES[finding.status])
        table.add_row(status, Text(finding.name), Text(finding.detail), style="dim" if finding.status == "info" else "")
    return table


def _print_fixes(findings: list[Finding]) -> None:
    """Print each command once, on its own line below the table, where it is not wrapped and can be copied."""
    commands: dict[str, list[Finding]] = {}
    for finding in findings:
        if finding.fix:
            commands.setdefault(finding.fix, []).append(finding)
    fixes = [c for c, fixed in commands.items() if any(finding.status in ("warning", "fault") for finding in fixed)]
    optional = [c for c in commands if c not in fixes]
    for title, listed in (("To fix it:", fixes), ("Optional (nothing is broken):", optional)):
        if listed:
            console.print(Text(f"\n{title}", "bold"))
        for command in listed:
            console.print(Text(f"  {', '.join(finding.name for finding in commands[command])}", "dim"))
            console.print(Text(f"    {command}", "cyan"), soft_wrap=True)
