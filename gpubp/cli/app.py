"""The ``gpubp`` command and its subcommands."""

import inspect
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from gpubp._version import __version__
from gpubp.cli.doctor.command import doctor
from gpubp.cli.evaluate import evaluate
from gpubp.cli.explain.command import explain
from gpubp.cli.export import export
from gpubp.cli.inspect.command import inspect as inspect_table
from gpubp.cli.output import silence
from gpubp.cli.predict.command import predict
from gpubp.cli.reproduce import reproduce
from gpubp.cli.show import show
from gpubp.cli.train.command import train
from gpubp.distributed.launch import launched
from gpubp.errors import DataError

PARALLEL_COMMANDS = ("train", "doctor")


class _Command(TyperCommand):
    def get_params(self, ctx: Any) -> list[Any]:
        return _hide_flag_values(super().get_params(ctx))


class _Group(TyperGroup):
    def get_params(self, ctx: Any) -> list[Any]:
        return _hide_flag_values(super().get_params(ctx))


def _hide_flag_values(options: list[Any]) -> list[Any]:
    """Hide the value type of flags in the help, since flags take no value."""
    for option in options:
        if getattr(option, "is_flag", False):
            option.metavar = ""
    return options


app = typer.Typer(
    cls=_Group,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _help_of(command: Any) -> str:
    """Return the docstring of a command with each paragraph on one line, which the terminal wraps."""
    paragraphs = (inspect.getdoc(command) or "").split("\n\n")
    return "\n\n".join(paragraph.replace("\n", " ") for paragraph in paragraphs)


for command in (train, predict, evaluate, inspect_table, show, export, doctor, explain, reproduce):
    app.command(cls=_Command, help=_help_of(command))(command)


def _print_version(requested: bool) -> None:
    if requested:
        typer.echo(f"gpubp {__version__}")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Train multilayer perceptrons by back-propagation, on NVIDIA GPUs and on CPUs.

    Try: gpubp train digits
    """
    rank, size = launched()
    if size > 1 and context.invoked_subcommand not in PARALLEL_COMMANDS:
        if rank > 0:
            silence()
        raise DataError(
            f"mpiexec has started {size} processes, and each would do the same work; start gpubp "
            f"{context.invoked_subcommand} without mpiexec, which is only for {' and '.join(PARALLEL_COMMANDS)}"
        )
