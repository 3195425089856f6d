"""Options of a command from a TOML file, and the given ones as such a file."""

import json
import tomllib
from pathlib import Path
from typing import Any

import typer

from gpubp._core.names import near_miss
from gpubp.errors import DataError

NOT_IN_FILES = ("config", "save_config", "help")


def is_given(context: typer.Context, name: str) -> bool:
    """Return whether an argument or option stands in the command or in its config file, but for flags that are off."""
    source = context.get_parameter_source(name)
    return (
        source is not None and source.name in ("COMMANDLINE", "DEFAULT_MAP") and context.params.get(name) is not False
    )


def read_config(context: typer.Context, path: Path | None) -> Path | None:
    """Make the options of a TOML file the defaults of a command.

    Raises
    ------
    DataError
        If the file is not TOML, or has what is no option of the command.
    """
    if path is None:
        return None
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not a TOML file: {error}") from None
    known = {one.name or "": one for one in context.command.params if one.name not in NOT_IN_FILES}
    defaults, problems = dict[str, Any](), []
    for key, value in found.items():
        name = key.replace("-", "_")
        name = next((one for one, parameter in known.items() if f"--{key}" in parameter.opts), name)
        if name not in known:
            problems.append(f"unknown option {key!r}{near_miss(key, [one.replace('_', '-') for one in known])}")
        elif name in defaults:
            problems.append(f"{key} stands there twice, spelled in two ways")
        elif any(isinstance(one, dict | list) for one in (value if isinstance(value, list) else [value])):
            problems.append(f"{key} must be a value or a list of values")
        else:
            defaults[name] = _as_option(value, known[name])
    if problems:
        raise DataError(f"{path}: {'; '.join(problems)}")
    context.default_map = defaults
    return path


def config_text(context: typer.Context) -> str:
    """Return the given arguments and options as TOML."""
    lines = [f"# gpubp {context.info_name} --config FILE"]
    for parameter in context.command.params:
        name = parameter.name or ""
        value = context.params.get(name)
        if name in NOT_IN_FILES or value is None or not is_given(context, name):
            continue
        key = name if parameter.param_type_name == "argument" else max(parameter.opts, key=len).lstrip("-")
        lines.append(f"{key} = {_toml(value)}")
    return "\n".join(lines) + "\n"


def _as_option(value: Any, parameter: Any) -> Any:
    """Return a value of TOML as a command takes it: several in one option, sizes for example, joined by commas."""
    if getattr(parameter, "is_flag", False):
        return value
    if getattr(parameter, "multiple", False):
        return list(map(str, value if isinstance(value, list) else [value]))
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
