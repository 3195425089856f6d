"""What makes a model of a table again: the command that a file has, or the call of ``fit``."""

from os import PathLike
from pathlib import Path
from typing import Any

from gpubp._core.text import shortened
from gpubp.data.preprocessing import ClassTarget, Preprocessing, preprocessing_of
from gpubp.io.model_facts import are_texts, command_text, mapping
from gpubp.io.model_file import Model
from gpubp.reports import code_of


def fit_call(X: Any, y: Any, sample_weight: Any, validation_data: Any) -> dict[str, Any]:
    """Return what a file keeps of a call of ``fit``: names of a table and of its columns, and which others were given.

    `y` is None if it is no name of a column.

    Examples
    --------
    >>> fit_call("data/houses.csv", "price", None, None)
    {'X': 'houses.csv', 'y': 'price', 'others': []}
    """
    others = {"sample_weight": sample_weight, "validation_data": validation_data}
    return {
        "X": Path(X).name if isinstance(X, str | PathLike) else None,
        "y": None if y is None else str(y) if isinstance(y, str) else list(map(str, y)),
        "others": [name for name, value in others.items() if value is not None],
    }


def code_again(model: Model, estimator: Any) -> str:
    """Return what makes a model again: the command of `gpubp train` if its file has it, else the estimator's call."""
    if command := command_text(model.about):
        return command
    call = mapping(mapping(model.about.get("estimator")).get("fit"))
    X, y, others = call.get("X"), call.get("y"), call.get("others")
    preprocessing = preprocessing_of(model)
    given = []
    targets = [y] if isinstance(y, str) else y if are_texts(y) else []
    if not isinstance(X, str):
        names = [one.name for one in preprocessing.summaries if one.type != "target"]
        given.append(f"X: a table with the columns {shortened(list(map(repr, names + targets)))}")
    if not targets:
        given.append(f"y: {_target_in_words(preprocessing)}")
    known = [one for one in others if one in ("sample_weight", "validation_data")] if are_texts(others) else []
    shown = repr(X) if isinstance(X, str) else "X", repr(y) if targets else "y"
    return code_of(estimator, *shown, *known, given=given)


def _target_in_words(preprocessing: Preprocessing) -> str:
    target = preprocessing.target
    if isinstance(target, ClassTarget):
        return f"for each row its class: {shortened([repr(name) for name in target.classes])}"
    return f"for each row its {shortened([repr(name) for name in target.names])}, as numbers"
