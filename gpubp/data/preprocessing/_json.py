"""Convert a fitted preprocessing to JSON, and read and check untrusted JSON."""

import json
import sys
from dataclasses import asdict, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import numpy as np

from gpubp._core.text import excerpt, shortened
from gpubp._core.versions import is_newer
from gpubp._version import __version__
from gpubp.data._dates import FORMATS
from gpubp.data._quantities import NumberFormat
from gpubp.data._text_values import DESCRIPTIONS, FORMS
from gpubp.data.preprocessing._features import words_of
from gpubp.data.preprocessing._records import (
    FARTHEST,
    CategoryColumn,
    FeatureColumn,
    NumberColumn,
    NumberTarget,
    Preprocessing,
    TargetStatisticsColumn,
    WordsColumn,
)
from gpubp.data.preprocessing._transform import class_values
from gpubp.data.preprocessing._values import write_numbers
from gpubp.errors import ModelFileError

_hints = cache(get_type_hints)  # which takes longer than all else that is read of a column

_LARGEST_DATE = 1e12  # seconds since 1970, in the year 33658


def to_json(preprocessing: Preprocessing) -> dict[str, Any]:
    """Return the preprocessing as JSON's own types, one object per record.

    Examples
    --------
    >>> from gpubp.data.preprocessing import NumberTarget, WordsColumn
    >>> target = NumberTarget(("y",), (0.0,), (2.0,), (0.0,), (9.0,))
    >>> to_json(Preprocessing((WordsColumn("a", ("new", "old")),), target))["columns"]
    [{'name': 'a', 'words': ['new', 'old']}]
    """
    as_json: dict[str, Any] = json.loads(json.dumps(asdict(preprocessing), allow_nan=False))
    return as_json


def from_json(data: Any) -> Preprocessing:
    """Read what `to_json` wrote and check all of it.

    Parameters
    ----------
    data : dict
        Parsed JSON.

    Returns
    -------
    Preprocessing
        Equal to the one that was written.

    Raises
    ------
    ModelFileError
        If a key is missing or unknown, a value has the wrong type or is not finite, or parts contradict each other.

    Examples
    --------
    >>> from gpubp.data.preprocessing import ClassTarget, NumberColumn
    >>> preprocessing = Preprocessing((NumberColumn("a", 0.0, 1.0, 0.0),), ClassTarget("y", ("no", "yes")))
    >>> from_json(to_json(preprocessing)) == preprocessing
    True
    """
    preprocessing: Preprocessing = _read(Preprocessing, data)
    columns, target = preprocessing.columns, preprocessing.target
    names = [column.name for column in columns] + [*preprocessing.target_names]
    _check(len(columns) > 0 and len(preprocessing.target_names) > 0, "a feature and a target", data)
    _check(len(set(names)) == len(names), "names that differ", names)
    for column in columns:
        _check_column(column)
    if isinstance(target, NumberTarget):
        parts = (target.names, target.means, target.scales, target.lows, target.highs)
        lengths = {*map(len, parts), len(target.number_formats or target.names)}
        _check(len(lengths) == 1, "a mean, a scale, a low, a high and a format per target", target)
        is_range = all(low <= high for low, high in zip(target.lows, target.highs, strict=True))
        _check(is_range, "a low that is not above the high, per target", target)
        _check(all(scale > 0 for scale in target.scales), "scales above 0", target.scales)
        for number_format in target.number_formats:
            _check_number_format(number_format)
    else:
        _check(2 <= len(target.classes) == len(set(target.classes)), "two or more different classes", target.classes)
        try:
            labels = class_values(target)
            is_text = target.label_type == "str"
            written = tuple(labels if is_text else write_numbers(labels[np.isfinite(labels)]))
        except (ValueError, OverflowError):
            written = ()
        _check(written == target.classes, f"classes of type {target.label_type}", target.classes)
    return preprocessing


def preprocessing_of(model: Any) -> Preprocessing:
    """Read the preprocessing of a :class:`gpubp.io.model_file.Model` and check that it fits the network.

    Raises
    ------
    ModelFileError
        If the model has no preprocessing, or it is malformed, of a newer version, or does not fit.
    """
    if model.preprocessing is None:
        raise ModelFileError("the model has no preprocessing, so it cannot read tables; use gpubp.predict with arrays")
    try:
        preprocessing = from_json(model.preprocessing)
    except ModelFileError as error:
        if not is_newer(model.version):
            raise
        raise ModelFileError(
            f"the model is of gpubp {excerpt(model.version, 40)}, newer than this one, {__version__}, which cannot "
            f"read its preprocessing. Upgrade gpubp to read it ({error})"
        ) from error
    expected = (len(preprocessing.feature_names), preprocessing.n_outputs)
    received = (model.network.sizes[0], model.network.sizes[-1])
    if expected != received:
        raise ModelFileError(
            f"the model's preprocessing gives {expected[0]} inputs and {expected[1]} outputs, its network has "
            f"{received[0]} and {received[1]}; train the model again"
        )
    return preprocessing


def _read(hint: Any, value: Any) -> Any:
    """Read a JSON value as the type of a record's annotation."""
    origin, options = get_origin(hint), get_args(hint)
    if origin is tuple and isinstance(value, list):
        return tuple(_read(options[0], item) for item in value)
    if origin is Literal and value in options:
        return value
    if origin is UnionType and NoneType in options:
        return None if value is None else _read(options[0], value)
    if origin is UnionType and isinstance(value, dict):  # the record with the most keys in common
        return _read(max(options, key=lambda option: len(set(_hints(option)) & set(value))), value)
    if isinstance(hint, type) and is_dataclass(hint) and isinstance(value, dict):
        hints = _hints(hint)
        _check(set(hints) == set(value), f"the keys of {hint.__name__}", _differences(hints, value))
        return hint(**{key: _read(hints[key], value[key]) for key in hints})
    if hint in (str, bool, int) and type(value) is hint:
        return value
    if hint is float and type(value) in (int, float) and abs(value) <= sys.float_info.max:
        return float(value)
    raise ModelFileError(_malformed(getattr(hint, "__name__", str(hint)), value))


def _differences(expected: dict[str, Any], received: dict[Any, Any]) -> str:
    """Say which keys are missing and which are unknown."""
    absent = [name for name in expected if name not in received]
    unknown = [excerpt(str(name), 40) for name in received if name not in expected]
    parts = {"no": absent, "the unknown": unknown}
    return " and ".join(f"{which} {shortened(names)}" for which, names in parts.items() if names)


def _check_column(column: FeatureColumn) -> None:
    """Check that the parts of a column do not contradict each other."""
    name = column.name
    if isinstance(column, CategoryColumn):
        known = (*column.categories, *(text for group in column.groups for text in group))
        _check(
            len(column.categories) > 0 and len(known) == len(set(known)), f"categories of {name!r} that differ", known
        )
        _check(all(column.groups), f"groups of {name!r} that are not empty", column.groups)
        forms = known if column.kind == "text" else tuple(map(FORMS[column.kind], known))
        _check(forms == known, f"categories of {name!r} that hold {DESCRIPTIONS[column.kind]}", known)
        if isinstance(column, TargetStatisticsColumn):
            _check_statistics(column)
    elif isinstance(column, WordsColumn):
        words = column.words
        _check(0 < len(words) == len(set(words)), f"words of {name!r} that differ", words)
        _check(all(words_of(word) == {word} for word in words), f"words of {name!r} in lower case", words)
    else:
        _check(column.scale > 0, f"a scale of {name!r} above 0", column.scale)
        _check(0 < column.bound <= FARTHEST, f"a bound of {name!r} above 0 and at most {FARTHEST:g}", column.bound)
        if isinstance(column, NumberColumn):
            _check_number_format(column.number_format)
            with np.errstate(over="ignore"):
                widths = np.diff(column.edges)
            are_bins = len(column.edges) != 1 and bool(np.all((widths > 0) & np.isfinite(widths)))
            _check(are_bins, f"edges of {name!r} that increase", column.edges)
            _check(column.encoding == "piecewise" or not column.edges, f"no edges of {name!r}", column.encoding)
        else:
            parts = column.parts
            _check(0 < len(parts) == len(set(parts)), f"parts of {name!r} that differ", parts)
            _check(abs(column.fill) < _LARGEST_DATE, f"a date as fill of {name!r}", column.fill)
            _check(column.date_format in FORMATS, f"a known format of {name!r}", column.date_format)


def _check_statistics(column: TargetStatisticsColumn) -> None:
    name, n = column.name, len(column.averaged)
    _check(not column.is_embedded, f"statistics of {name!r} or embeddings, not both", column.is_embedded)
    _check(not column.groups, f"no groups of {name!r}", column.groups)
    _check(len(column.statistics) == len(column.categories), f"statistics of each category of {name!r}", name)
    parts = (column.overall, column.scales, *column.statistics, *([column.of_missing] * column.missing))
    _check(n > 0 and {*map(len, parts)} == {n}, f"statistics of {name!r} for each of {n} means", name)
    _check(column.missing or not column.of_missing, f"no statistics of missing values of {name!r}", column.of_missing)
    _check(all(scale > 0 for scale in column.scales), f"scales of {name!r} above 0", column.scales)


def _check_number_format(number_format: NumberFormat) -> None:
    decimal, thousands = number_format.decimal, number_format.thousands
    is_known = decimal in (".", ",") and thousands in ("", ".", ",", "'", " ") and thousands != decimal
    _check(is_known, "a known format of numbers", number_format)


def _check(holds: bool, expected: str, received: Any) -> None:
    if not holds:
        raise ModelFileError(_malformed(expected, received))


def _malformed(expected: str, received: Any) -> str:
    return (
        f"the model's preprocessing is malformed: expected {excerpt(expected)}, got {excerpt(str(received), 100)}; if "
        "another version of gpubp wrote it, train again"
    )
