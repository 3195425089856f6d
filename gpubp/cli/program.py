"""The commands and options of the program as data, from its parser: for completion and the man page."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from typer.main import get_command


class ProgramOption(NamedTuple):
    """An option or an argument: its names, what stands for its value ("" for a flag), its help and its default."""

    names: tuple[str, ...]
    value: str
    help: str
    default: str
    choices: tuple[str, ...]
    is_argument: bool


class ProgramCommand(NamedTuple):
    """A command with its arguments and options."""

    name: str
    help: str
    options: tuple[ProgramOption, ...]


def program() -> tuple[ProgramCommand, ...]:
    """Return all commands, in the order of the help.

    Examples
    --------
    >>> [command.name for command in program()][:2]
    ['train', 'predict']
    """
    from gpubp.cli.app import make_app

    commands = get_command(make_app()).commands  # type: ignore[attr-defined]
    return tuple(ProgramCommand(name, one.help or "", tuple(_options(one))) for name, one in commands.items())


def _options(command: Any) -> Iterator[ProgramOption]:
    from gpubp.cli.choices import choices_of

    for parameter in command.params:
        is_argument = parameter.param_type_name == "argument"
        names = () if is_argument else tuple(sorted(parameter.opts, key=len, reverse=True))
        is_flag = getattr(parameter, "is_flag", False)
        value = "" if is_flag else parameter.metavar or parameter.name or ""
        shows_default = not is_flag and getattr(parameter, "show_default", True) and parameter.default is not None
        default = str(parameter.default) if shows_default and not callable(parameter.default) else ""
        choices = choices_of(command.name, parameter.name or "")
        yield ProgramOption(names, value, getattr(parameter, "help", "") or "", default, choices, is_argument)
