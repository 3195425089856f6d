"""The man page of gpubp, made from its parser: ``python -m gpubp.cli.manual > docs/gpubp.1``."""

import re
from collections.abc import Iterator

from gpubp._version import __version__
from gpubp.cli.program import ProgramCommand, ProgramOption, program


def manual() -> str:
    """Return the man page as roff.

    Examples
    --------
    >>> manual().splitlines()[1][:12]
    '.TH GPUBP 1 '
    """
    return "\n".join(_lines(program())) + "\n"


def _lines(commands: tuple[ProgramCommand, ...]) -> Iterator[str]:
    yield '.\\" made by python -m gpubp.cli.manual'
    yield f'.TH GPUBP 1 "" "gpubp {__version__}" "User Commands"'
    yield from (".SH NAME", "gpubp \\- train multilayer perceptrons by back-propagation, on NVIDIA GPUs and on CPUs")
    yield from (".SH SYNOPSIS", ".B gpubp", "[\\-\\-version] [\\-\\-help] COMMAND [ARGUMENTS]")
    yield from (".SH COMMANDS", "The options of a command are printed by gpubp COMMAND \\-\\-help too.")
    for command in commands:
        arguments = " ".join(one.value for one in command.options if one.is_argument)
        yield f'.SS "gpubp {command.name} {_roff(arguments)} [OPTIONS]"'
        for paragraph in command.help.split("\n\n"):
            yield from (_roff(paragraph), ".PP")
        for option in command.options:
            yield from _option(option)
    yield from (".SH EXIT STATUS", "0 for success; 1 if doctor found a fault or training diverged;")
    yield "2 for bad input or usage; 130 or 143 after an interrupt."


def _option(option: ProgramOption) -> Iterator[str]:
    names = ", ".join(option.names) if option.names else option.value
    value = f" {option.value}" if option.names and option.value else ""
    yield from (".TP", f"\\fB{_roff(names)}\\fR{_roff(value)}")
    default = f" Default: {option.default}." if option.default else ""
    yield _roff((option.help or "See above.") + default)


def _roff(text: str) -> str:
    """Escape a text; a line must not begin with a point or an apostrophe."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace("\n", " ")
    return re.sub(r"^([.'])", r"\\&\1", escaped)


if __name__ == "__main__":
    print(manual(), end="")
