"""Options that several commands share, and commands whose options are the fields of a dataclass."""

import inspect
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_type_hints

import typer

from gpubp.backends.matmul_precision import MATMUL_PRECISIONS
from gpubp.cli.config import NOT_IN_FILES, is_given

Options = TypeVar("Options")

DEVICE_HELP = "auto, cpu, cuda or cuda:N."
MATMUL_PRECISION_HELP = f"Precision of matrix products: {', '.join(MATMUL_PRECISIONS)}."
SEPARATOR_HELP = "Separator of the fields of a text file, such as ';', tab or blanks. The default is found in the file."
READ_HELP = (
    "How to read a text file, where looking at it decides otherwise: decimal, thousands, encoding, header (yes or no), "
    "comment, skip_rows, quote. May be repeated."
)
JSON_HELP = "Print the result as JSON."

Model = Annotated[
    Path, typer.Argument(metavar="MODEL", help="A model file written by gpubp train.", show_default=False)
]
Device = Annotated[str, typer.Option(metavar="NAME", help=DEVICE_HELP)]
MatmulPrecision = Annotated[str, typer.Option(metavar="NAME", help=MATMUL_PRECISION_HELP)]
Separator = Annotated[
    str | None,
    typer.Option(metavar="CHARACTER", help=SEPARATOR_HELP, show_default=False),
]
Read = Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help=READ_HELP, show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help=JSON_HELP)]


OF_THE_MACHINE = (
    *("output", "picture", "no_picture", "report", "callback", "checkpoint", "every", "resume", "as_json", "quiet"),
    *("device", "parallel"),
)
"""Options that do not change a trained model, or that name files and devices of one machine."""


def command_line(context: typer.Context) -> str:
    """Return the command with the arguments and options that it was given, as a shell reads it."""
    return shlex.join(_words(context))


def portable_command(context: typer.Context) -> list[str]:
    """Return the words of the command for a model file: no folder of the table, nothing that belongs to a machine."""
    return _words(context, OF_THE_MACHINE, lambda path: Path(path).name or path)


def _words(
    context: typer.Context, left_out: Sequence[str] = (), argument_text: Callable[[str], str] = str
) -> list[str]:
    words = ["gpubp", context.info_name or ""]
    options: list[str] = []
    for parameter in context.command.params:
        value = context.params.get(parameter.name or "")
        name = parameter.name or ""
        if value is None or name in (*NOT_IN_FILES, *left_out) or not is_given(context, name):
            continue
        values = value if isinstance(value, list | tuple) else [value]
        if parameter.param_type_name == "argument":
            words += [argument_text(str(one)) for one in values]
        elif isinstance(value, bool):
            options += [parameter.opts[0]] if value else []
        else:
            options += [word for one in values for word in (parameter.opts[0], str(one))]
    return [*words, *options]


def options_of(kind: type[Options]) -> Callable[[Callable[[Options], None]], Callable[..., None]]:
    """Give a command the fields of a dataclass as its parameters, so that typer reads its options from there.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> @dataclass
    ... class GreetOptions:
    ...     name: Annotated[str, typer.Argument()]
    ...     times: Annotated[int, typer.Option()] = 1
    >>> @options_of(GreetOptions)
    ... def greet(options: GreetOptions) -> None:
    ...     print("hello, " * options.times + options.name)
    >>> greet(name="world", times=2)
    hello, hello, world
    """

    def decorate(run: Callable[[Options], None]) -> Callable[..., None]:
        def command(**values: Any) -> None:
            run(kind(**values))

        hints = get_type_hints(kind, include_extras=True)
        parameters = inspect.signature(kind).parameters.values()
        command.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [parameter.replace(annotation=hints[parameter.name]) for parameter in parameters]
        )
        command.__name__, command.__doc__ = run.__name__, run.__doc__
        return command

    return decorate


Data = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        help="A file with the columns that the model was trained on, in any order, and perhaps others; a folder of "
        "such files; or a built-in data set.",
        show_default=False,
    ),
]
Stream = Annotated[
    bool,
    typer.Option(
        "--stream",
        help="Read and write in parts, for data larger than memory. This is the default for folders and very large "
        "files.",
    ),
]
Strict = Annotated[
    bool,
    typer.Option(
        "--strict",
        help="Refuse absent columns, and values that training did not see, instead of filling and counting them.",
    ),
]
Columns = Annotated[
    bool,
    typer.Option("--columns", help="Print a table of the values of each column that do not fit, on stderr."),
]
