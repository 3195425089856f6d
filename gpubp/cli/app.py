"""The ``gpubp`` command and its subcommands."""

import importlib
import inspect
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from gpubp._core.text import excerpt
from gpubp._version import __version__
from gpubp.cli.output import silence
from gpubp.distributed.launch import launched
from gpubp.errors import DataError

COMMANDS = {
    "train": "train.command",
    "predict": "predict.command",
    "evaluate": "evaluate",
    "inspect": "inspect.command",
    "show": "show",
    "report": "report",
    "export": "export",
    "doctor": "doctor.command",
    "agree": "agree",
    "explain": "explain.command",
    "reproduce": "reproduce",
    "completion": "completion",
}
"""The module of each command, which has a function of its name, in the order of the help."""
START = f"""gpubp {__version__} trains multilayer perceptrons, on NVIDIA GPUs and on CPUs.

  gpubp train digits --preset fast      train on a built-in data set, in seconds
  gpubp inspect TABLE                   see what each column is taken for
  gpubp train TABLE --target COLUMN     train on it, and write a model file
  gpubp predict MODEL NEW_TABLE         predict the target of new rows, as CSV
  gpubp report MODEL                    write a page of its scores and pictures
  gpubp doctor                          is the GPU used, and if not, why?

TABLE is a .csv, .parquet, .xlsx or other file, MODEL the one that train writes.
All commands: gpubp --help. The options of one: gpubp train --help."""
"""What ``gpubp`` alone prints."""

PARALLEL_COMMANDS = ("train", "doctor")


class _Command(TyperCommand):
    def get_params(self, ctx: Any) -> list[Any]:
        return list(map(_with_clear_errors, super().get_params(ctx)))

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return the arguments, those that may be left out in brackets, and that there are options."""
        arguments = [one for one in self.get_params(ctx) if one.param_type_name == "argument"]
        return [*(one.metavar if one.required else f"[{one.metavar}]" for one in arguments), "[OPTIONS]"]

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except Exception as error:
            if hasattr(error, "possibilities") and hasattr(error, "option_name"):  # of an option that does not exist
                known = [name for one in self.get_params(ctx) for name in one.opts if name.startswith("--")]
                error.possibilities = options_meant(error.option_name, known) or error.possibilities
            raise


class _Group(TyperGroup):
    def get_params(self, ctx: Any) -> list[Any]:
        return list(map(_with_clear_errors, super().get_params(ctx)))


def _with_clear_errors(option: Any) -> Any:
    """Hide the value type of a flag in the help, since flags take no value; let errors name the value received."""
    if getattr(option, "is_flag", False):
        option.metavar = ""
    if "process_value" in vars(option):  # it was completed before
        return option
    process = option.process_value

    def process_value(ctx: Any, value: Any) -> Any:
        try:
            return process(ctx, value)
        except typer.BadParameter as error:
            if isinstance(value, str) and value not in error.message:
                error.message = f"{error.message.rstrip('.')}, got {excerpt(repr(value), 100)}"
            raise

    option.process_value = process_value
    return option


def options_meant(name: str, known: Iterable[str]) -> list[str]:
    """Return the options that begin with a name, or whose initials it is.

    Examples
    --------
    >>> options_meant("--hidden", ["--help", "--hidden-layer-sizes"])
    ['--hidden-layer-sizes']
    >>> options_meant("--lr", ["--l2", "--learning-rate"])
    ['--learning-rate']
    """
    start = f"--{name.lstrip('-')}"
    initials = {one: "".join(word[:1] for word in one.removeprefix("--").split("-")) for one in known}
    return [one for one, short in initials.items() if one.startswith(start) or f"--{short}" == start]


def make_app(commands: Iterable[str] = COMMANDS) -> typer.Typer:
    """Make the program with these commands; only their modules are loaded."""
    app = typer.Typer(
        cls=_Group,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback(invoke_without_command=True)(options)
    for name in commands:
        command = getattr(importlib.import_module(f"gpubp.cli.{COMMANDS[name]}"), name)
        app.command(cls=_Command, help=_help_of(command))(command)
    return app


def needed_commands(arguments: Sequence[str]) -> list[str]:
    """Return the commands that arguments need: the first one, none for ``--version``, all for help and after a typo."""
    first = next(iter(arguments), "--version")  # no arguments need no command either
    return [first] if first in COMMANDS else [] if first == "--version" else list(COMMANDS)


def _help_of(command: Any) -> str:
    """Return the docstring of a command with each paragraph on one line, which the terminal wraps."""
    paragraphs = (inspect.getdoc(command) or "").split("\n\n")
    return "\n\n".join(paragraph.replace("\n", " ") for paragraph in paragraphs)


def _print_version(requested: bool) -> None:
    if requested:
        typer.echo(f"gpubp {__version__}")
        raise typer.Exit


def options(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Train multilayer perceptrons by back-propagation, on NVIDIA GPUs and on CPUs.

    Try: gpubp train digits --preset fast
    """
    if context.invoked_subcommand is None:
        typer.echo(START)
        return
    rank, size = launched()
    if size > 1 and context.invoked_subcommand not in PARALLEL_COMMANDS:
        if rank > 0:
            silence()
        raise DataError(
            f"mpiexec has started {size} processes, and each would do the same work; start gpubp "
            f"{context.invoked_subcommand} without mpiexec, which is only for {' and '.join(PARALLEL_COMMANDS)}"
        )
