"""``gpubp completion``: a script with which a shell completes commands, options and their values."""

import re
from typing import Annotated

import typer

from gpubp._core.names import unknown
from gpubp.cli.choices import SHELLS
from gpubp.cli.program import ProgramCommand, ProgramOption, program
from gpubp.errors import DataError


def completion(
    shell: Annotated[str, typer.Argument(metavar="SHELL", help="bash, zsh or fish.", show_default=False)],
) -> None:
    """Print a script that completes gpubp's commands, options and their values in a shell; it runs no Python.

    bash: gpubp completion bash > ~/.local/share/bash-completion/completions/gpubp

    zsh: gpubp completion zsh > a folder of $fpath, in a file _gpubp

    fish: gpubp completion fish > ~/.config/fish/completions/gpubp.fish
    """
    if shell not in SHELLS:
        raise DataError(unknown("shell", shell, SHELLS))
    typer.echo({"bash": _bash, "zsh": _zsh, "fish": _fish}[shell](program()), nl=False)


def _bash(commands: tuple[ProgramCommand, ...]) -> str:
    branches = []
    for command in commands:
        options = [one for one in command.options if not one.is_argument]
        words = " ".join(name for one in options for name in one.names)
        values = [f'{"|".join(one.names)}) words="{" ".join(one.choices)}" ;;' for one in options if one.choices]
        plain = [name for one in options if one.value and not one.choices for name in one.names]
        values += [f'{"|".join(plain)}) COMPREPLY=($(compgen -f -- "$current")); return ;;'] if plain else []
        given = " ".join(choice for one in command.options if one.is_argument for choice in one.choices)
        branches.append(
            f"    {command.name})\n"
            f'      words="{given}"\n'
            f'      [[ $current == -* ]] && words="{words} --help"\n'
            f'      case "$before" in\n{"".join(f"        {value}{chr(10)}" for value in values)}      esac ;;\n'
        )
    names = " ".join(command.name for command in commands)
    return f"""# bash completion of gpubp; made by: gpubp completion bash
_gpubp() {{
  local current=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}} words=""
  COMPREPLY=()
  if ((COMP_CWORD == 1)); then
    COMPREPLY=($(compgen -W "{names} --help --version" -- "$current"))
    return
  fi
  case "${{COMP_WORDS[1]}}" in
{"".join(branches)}  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
  [[ $current == -* || $before == -* && -n $words ]] || COMPREPLY+=($(compgen -f -- "$current"))
}}
complete -o filenames -F _gpubp gpubp
"""


def _zsh(commands: tuple[ProgramCommand, ...]) -> str:
    described = "\n".join(f"    {_quoted(command.name + ':' + _first(command.help))}" for command in commands)
    branches = "\n".join(
        f"    {command.name})\n      _arguments \\\n        "
        + " \\\n        ".join([*(text for one in command.options for text in _zsh_option(one)), *_zsh_others(command)])
        + " ;;"
        for command in commands
    )
    return f"""#compdef gpubp
# zsh completion of gpubp; made by: gpubp completion zsh
_gpubp() {{
  local -a commands
  commands=(
{described}
  )
  if ((CURRENT == 2)); then
    if [[ $PREFIX == -* ]]; then compadd -- --help --version; else _describe command commands; fi
    return
  fi
  shift words
  ((CURRENT--))
  case $words[1] in
{branches}
  esac
}}
if [[ $funcstack[1] == _gpubp ]]; then _gpubp "$@"; else compdef _gpubp gpubp; fi
"""


def _zsh_option(option: ProgramOption) -> list[str]:
    if option.is_argument:
        return []
    text = _first(option.help).replace("[", "(").replace("]", ")").replace(":", "\\:")
    action = f"({' '.join(option.choices)})" if option.choices else "_files"
    value = f":{option.value.replace(':', ' ')}:{action}" if option.value else ""
    return [_quoted(f"*{name}{'=' if value and name.startswith('--') else ''}[{text}]{value}") for name in option.names]


def _zsh_others(command: ProgramCommand) -> tuple[str, str]:
    names = " ".join(choice for one in command.options if one.is_argument for choice in one.choices)
    return _quoted("(- *)--help[Show the help]"), _quoted(f"*:value:{{compadd -- {names}; _files}}")


def _fish(commands: tuple[ProgramCommand, ...]) -> str:
    lines = [
        "# fish completion of gpubp; made by: gpubp completion fish",
        "complete -c gpubp -l help -d 'Show the help'",
        "complete -c gpubp -n __fish_use_subcommand -l version -d 'Show the version'",
    ]
    for command in commands:
        described = _quoted(_first(command.help), fish=True)
        lines.append(f"complete -c gpubp -n __fish_use_subcommand -f -a {command.name} -d {described}")
        for option in command.options:
            here = f"complete -c gpubp -n {_quoted(f'__fish_seen_subcommand_from {command.name}', fish=True)}"
            choices = f" -a {_quoted(' '.join(option.choices), fish=True)}" if option.choices else ""
            if option.is_argument:
                lines += [here + choices] if choices else []
                continue
            names = " ".join(f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in option.names)
            needs = f"{' -x' if option.choices else ' -r'}" if option.value else ""
            lines.append(f"{here} {names}{needs}{choices} -d {_quoted(_first(option.help), fish=True)}")
    return "\n".join(lines) + "\n"


def _first(text: str) -> str:
    """Return the first sentence of a help."""
    return re.split(r"(?<!\.)\.(?= |$)", text.split("\n")[0], maxsplit=1)[0]


def _quoted(text: str, *, fish: bool = False) -> str:
    """Return a text as one word of a shell, in single quotation marks."""
    inner = text.replace("\\", "\\\\").replace("'", "\\'") if fish else text.replace("'", "'\\''")
    return f"'{inner}'"
