"""JSON: an array of records, columns, or one record in each line."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from gpubp._core.text import counted, excerpt, shortened
from gpubp.data.readers._arrow_files import note_left_out
from gpubp.data.readers._encoding import decode_start, find_encoding
from gpubp.data.readers._header import unique_names
from gpubp.data.readers._input_file import InputFile
from gpubp.data.table import RawTable
from gpubp.errors import DataError

_Path = str | tuple[str, str | int]
"""The key, or the two keys, under which a value stands in a record; a number tells columns of the same name apart."""

_SHAPES = (
    'expected an array of records [{"a": 1, "b": "x"}, ...], columns {"a": [1, ...], "b": ["x", ...]}, or a record in '
    "each line"
)


class _Objects:
    """Makes a dict of each JSON object, and counts the keys that stand in one object more than once."""

    def __init__(self) -> None:
        self.repeated: Counter[str] = Counter()

    def __call__(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        record = dict(pairs)
        if len(record) < len(pairs):
            self.repeated.update({key for key, n in Counter(key for key, _ in pairs).items() if n > 1})
        return record

    def notes(self) -> tuple[str, ...]:
        keys = [f"{excerpt(repr(key), 60)} (in {counted(n, 'object')})" for key, n in self.repeated.items()]
        what = f"keys that an object has more than once: {shortened(keys, 6)}"
        return (f"{what}; the last value is read",) if keys else ()


def read_json(source: InputFile) -> RawTable:
    """Read a JSON file."""
    objects, text = _Objects(), _text(source)
    try:
        value = json.JSONDecoder(object_pairs_hook=objects).decode(text)
    except json.JSONDecodeError as error:
        if "Extra data" in error.msg:  # after the first record come more
            return _from_lines(text, source)
        raise DataError(f"{source.name} is not JSON: {error.msg} in line {error.lineno:,}; write it again") from None
    raw = _from_value(value, source)
    return raw._replace(notes=(*objects.notes(), *raw.notes))


def _from_value(value: Any, source: InputFile) -> RawTable:
    if isinstance(value, dict) and not _columns(value):
        inside = [key for key, item in value.items() if isinstance(item, list) and _is_records(item)]
        if "columns" in value and isinstance(value.get("data"), list):  # pandas: orient="split"
            paths = [(str(name), number) for number, name in enumerate(value["columns"])]
            return _from_rows([dict(zip(paths, row, strict=True)) for row in value["data"]], source)
        if len(inside) == 1:  # {"data": [...]}
            note = f"the records are those of {inside[0]!r}"
            raw = _from_records(value[inside[0]], source)
            return raw._replace(notes=(note, *raw.notes))
    if isinstance(value, list) and _is_records(value):
        return _from_records(value, source)
    if isinstance(value, list) and value and all(isinstance(row, list) for row in value):
        width = max(map(len, value))
        rows = [{f"column_{k + 1}": item for k, item in enumerate(row)} for row in value]
        raw = _from_records(rows, source)
        note = f"the records have no names, so the columns are named column_1 to column_{width}"
        return raw._replace(notes=(note, *raw.notes))
    if isinstance(value, dict) and (columns := _columns(value)):
        return _raw_table(columns, source)
    if isinstance(value, dict) and value:
        return _from_records([value], source)
    raise DataError(f"{source.name} holds no table: {_SHAPES}")


def read_json_lines(source: InputFile) -> RawTable:
    """Read a file with a JSON record in each line."""
    return _from_lines(_text(source), source)


def _text(source: InputFile) -> str:
    with source.open() as file:
        content = file.read()
    encoding, mark = find_encoding(content)
    return decode_start(content[len(mark) :], encoding, source.name)


def _from_lines(text: str, source: InputFile) -> RawTable:
    records, objects = [], _Objects()
    decoder = json.JSONDecoder(object_pairs_hook=objects)
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                records.append(decoder.decode(line))
            except json.JSONDecodeError as error:
                raise DataError(
                    f"{source.name}: line {number:,} is not JSON: {error.msg}; each line must be a record"
                ) from None
    if not _is_records(records):
        raise DataError(f"{source.name} holds no table: {_SHAPES}")
    raw = _from_records(records, source)
    return raw._replace(notes=(*objects.notes(), *raw.notes))


def _is_records(items: list[Any]) -> bool:
    return bool(items) and all(isinstance(item, dict) for item in items)


def _columns(value: dict[str, Any]) -> dict[str, Any]:
    """Return the columns of an object of lists, or of objects by row as pandas writes them; none if it is neither."""
    items = list(value.values())
    if items and all(isinstance(item, list) for item in items) and len({len(item) for item in items}) == 1:
        return {} if any(map(_is_records, items)) and len(items) == 1 else value
    if items and all(isinstance(item, dict) for item in items) and len({frozenset(item) for item in items}) == 1:
        return {name: [column[row] for row in items[0]] for name, column in value.items()}  # in any order
    return {}


def _from_records(records: Iterable[dict[str, Any]], source: InputFile) -> RawTable:
    return _from_rows([_flattened(record) for record in records], source)


def _from_rows(rows: Sequence[dict[_Path, Any]], source: InputFile) -> RawTable:
    """Return rows as columns; where two columns have the same name, one is renamed."""
    paths = dict.fromkeys(path for row in rows for path in row)
    named = unique_names([_name(path) for path in paths])
    columns = {name: [row.get(path) for row in rows] for name, path in zip(named.names, paths, strict=True)}
    raw = _raw_table(columns, source)
    return raw._replace(notes=(*named.notes, *raw.notes))


def _flattened(record: dict[str, Any]) -> dict[_Path, Any]:
    """Return a record whose objects are divided into columns such as ``place.town``."""
    flat: dict[_Path, Any] = {}
    for name, item in record.items():
        if isinstance(item, dict):
            flat.update({(name, inner): value for inner, value in item.items()})
        else:
            flat[name] = item
    return flat


def _name(path: _Path) -> str:
    return path if isinstance(path, str) else ".".join(part for part in path if isinstance(part, str))


def _raw_table(columns: dict[str, Any], source: InputFile) -> RawTable:
    kept, left_out = [], []
    for name, values in columns.items():
        odd = next((type(item).__name__ for item in values if isinstance(item, list | dict)), None)
        if odd is None:
            kept.append((str(name), values))
        else:
            left_out.append(f"{name!r} ({odd})")
    if not kept:
        raise DataError(f"{source.name}: {excerpt(', '.join(left_out), 100)} hold no numbers or text; {_SHAPES}")
    return RawTable(kept, source.name, notes=note_left_out(left_out))
