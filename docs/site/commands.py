"""The manual of the command line as a page: all commands with their options, from the parser."""

from gpubp.cli.program import program

PLACE = "reference/commands.md"
HEAD = "# Commands\n\nAll options of all commands; [the command line](../command_line.md) says how to use them."


def pages():
    return {PLACE: "\n\n".join([HEAD, *map(part_of, program())])}


def part_of(command):
    """Return the part of a command: its arguments, its text, and a table of its options."""
    arguments = " ".join(option.value for option in command.options if option.is_argument)
    rows = [f"| {name_of(option)} | {escaped(option.help)} | {code(option.default)} |" for option in command.options]
    usage = f"    gpubp {command.name} {arguments} [OPTIONS]".replace("  [", " [")
    table = "\n".join(["| option | what it is | default |", "|---|---|---|", *rows])
    return "\n\n".join([f"## gpubp {command.name}", usage, *map(escaped, command.help.split("\n\n")), table])


def name_of(option):
    names = ", ".join(option.names)
    return code(f"{names} {option.value}".strip())


def code(text):
    return f"`{text}`".replace("|", r"\|") if text else ""


def escaped(text):
    for character in "|*_<>$":
        text = text.replace(character, f"\\{character}")
    return " ".join(text.split())
