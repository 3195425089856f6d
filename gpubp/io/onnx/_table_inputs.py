"""A table's columns as the inputs of a graph, encoded for the network as in training.

Each column is a separate input, ``(samples, 1)``. Numbers and categories that are numbers are float64, dates are
float64 seconds since 1970, in UTC if they have a time zone, and the rest is text. NaN and infinity are missing, and so
are empty text and the texts that mean a missing value. A graph cannot report values that do not fit, as
:func:`gpubp.data.preprocessing.encode` does; it encodes them in the same way.
"""

import math
from collections.abc import Sequence
from itertools import groupby

import numpy as np

from gpubp.data.preprocessing import (
    CategoryColumn,
    DateColumn,
    FeatureColumn,
    NumberColumn,
    Preprocessing,
    TargetStatisticsColumn,
    WordsColumn,
    number_form,
    read_number,
)
from gpubp.io.onnx._dates import add_date_parts
from gpubp.io.onnx._graph import SAMPLES, TEXT, Graph
from gpubp.io.onnx._texts import add_bool_forms, is_missing, word_pattern
from gpubp.nn.encodings import SMOOTH_LIMIT

_MOST_EXACT = 2.0**53
"""Whole numbers from here on may be rounded in float64."""


def add_table_inputs(graph: Graph, preprocessing: Preprocessing) -> str:
    """Add the columns as inputs to a graph, and return the value of the network's input ``(b, i)``."""
    columns = preprocessing.columns
    for column in columns:
        graph.input(column.name, TEXT if _is_text(column) else np.float64, (SAMPLES, 1))
    # for programs that refuse other categories, or that read dates from text
    graph.metadata["categories"] = {c.name: list(c.known) for c in columns if isinstance(c, CategoryColumn)}
    graph.metadata["dates"] = {c.name: c.date_format for c in columns if isinstance(c, DateColumn)}
    blocks: list[str] = []
    for (record, _), adjacent in groupby(columns, lambda column: (type(column), getattr(column, "is_smooth", None))):
        if record is NumberColumn:  # together, since a table may have thousands
            numbers = [column for column in adjacent if isinstance(column, NumberColumn)]
            blocks.append(_scaled(graph, numbers, preprocessing.missing))
        else:
            blocks += [_encoded(graph, column, preprocessing.missing) for column in adjacent]
    return graph.concatenate(blocks)


def _is_text(column: FeatureColumn) -> bool:
    return isinstance(column, WordsColumn) or (isinstance(column, CategoryColumn) and _as_numbers(column) is None)


def _as_numbers(column: CategoryColumn) -> list[float] | None:
    """Return the categories that training saw as float64; None if they are not numbers, or not exact as such."""
    if column.kind != "number":
        return None
    numbers = [float(text) for text in column.known]
    return numbers if all(abs(number) < _MOST_EXACT for number in numbers) else None


def _encoded(graph: Graph, column: FeatureColumn, missing: Sequence[str]) -> str:
    if isinstance(column, WordsColumn):
        found = [graph.node("RegexFullMatch", column.name, pattern=word_pattern(word)) for word in column.words]
        is_present = graph.node("Not", is_missing(graph, column.name, missing))
        return graph.cast(graph.node("And", graph.concatenate(found), is_present), graph.precision)
    if isinstance(column, CategoryColumn):
        return _categories(graph, column, missing)
    assert isinstance(column, DateColumn)
    return graph.cast(add_date_parts(graph, column), graph.precision)


def _scaled(graph: Graph, columns: Sequence[NumberColumn], missing_texts: Sequence[str]) -> str:
    """Fill and scale numbers, each beside its indicator of missing values if it has one, and its bins.

    Either all of them pass through a smooth clip, or none.
    """
    n = len(columns)
    x = graph.concatenate([column.name for column in columns])
    missing = graph.node("Or", graph.node("IsNaN", x), graph.node("IsInf", x))
    for number in map(read_number, missing_texts):
        if number is not None:  # such as -999
            missing = graph.node("Or", missing, graph.node("Equal", x, graph.constant(np.float64(number))))
    filled = graph.node("Where", missing, graph.constant([column.fill for column in columns], "fills"), x)
    x = graph.node("Sub", filled, graph.constant([column.mean for column in columns], "means"))
    x = graph.node("Div", x, graph.constant([column.scale for column in columns], "scales"))
    bounds = np.asarray([column.bound for column in columns])
    x = graph.node("Min", graph.node("Max", x, graph.constant(-bounds, "bounds")), graph.constant(bounds, "bounds"))
    if columns[0].is_smooth:
        x = _smoothly_clipped(graph, x)
    parts = [graph.cast(x, graph.precision)]
    places = [[place] for place in range(n)]  # of the inputs of each column
    if any(column.indicator for column in columns):
        parts.append(graph.cast(missing, graph.precision))
        for place, column in enumerate(columns):
            places[place] += [n + place] * column.indicator
    if any(column.edges for column in columns):
        first = len(parts) * n
        parts.append(graph.cast(_binned(graph, columns, filled), graph.precision))
        for place, column in enumerate(columns):
            n_bins = max(0, len(column.edges) - 1)
            places[place] += range(first, first + n_bins)
            first += n_bins
    if len(parts) == 1:
        return parts[0]
    return graph.node(
        "Gather", graph.concatenate(parts), graph.integers(*(place for of_one in places for place in of_one)), axis=-1
    )


def _smoothly_clipped(graph: Graph, x: str) -> str:
    """Clip numbers smoothly: see :func:`gpubp.nn.encodings.smooth_clip`."""
    part = graph.node("Div", x, graph.constant(SMOOTH_LIMIT))
    root = graph.node("Sqrt", graph.node("Add", graph.node("Mul", part, part), graph.constant(1.0)))
    return graph.node("Div", graph.node("Mul", part, graph.constant(SMOOTH_LIMIT)), root)


def _binned(graph: Graph, columns: Sequence[NumberColumn], x: str) -> str:
    """Encode numbers by the bins of their columns: see :func:`gpubp.nn.encodings.piecewise_linear`."""
    column_of_bin = [place for place, column in enumerate(columns) for _ in column.edges[1:]]
    lows = [edge for column in columns for edge in column.edges[:-1]]
    highs = [edge for column in columns for edge in column.edges[1:]]
    x = graph.node("Gather", x, graph.integers(*column_of_bin), axis=-1)
    low = graph.constant(lows, "lows")
    x = graph.node("Min", graph.node("Max", x, low), graph.constant(highs, "highs"))
    x = graph.node("Div", graph.node("Sub", x, low), graph.constant(np.subtract(highs, lows), "widths"))
    roots = [(len(column.edges) - 1) ** 0.5 for column in columns for _ in column.edges[1:]]
    return graph.node("Div", graph.node("Sub", x, graph.constant(0.5)), graph.constant(roots, "roots"))


def _categories(graph: Graph, column: CategoryColumn, missing_texts: Sequence[str]) -> str:
    """Look up the place of each category, and return 1 there, or the target statistics of the category."""
    x, known, (other, missing) = column.name, column.known, column.other_places
    if (numbers := _as_numbers(column)) is not None:
        as_missing = [float(text) for text in missing_texts if number_form(text) == text]
        not_numbers = dict.fromkeys((math.nan, math.inf, -math.inf, *as_missing), missing)
        places = _places(graph, x, dict(zip(numbers, known.values(), strict=True)) | not_numbers, other)
    elif column.kind == "bool":  # other words are unreadable, which counts as missing
        forms = {form: known.get(form, other) for form in ("False", "True")}
        places = _places(graph, add_bool_forms(graph, x, missing_texts), forms, missing)
    else:
        places = _places(graph, x, known, other)
        if missing != other or column.kind != "text":
            chosen = is_missing(graph, x, missing_texts)
            if column.kind == "text":  # a category may be one of the texts for missing values
                chosen = graph.node("And", chosen, graph.node("Equal", places, graph.constant(float(other))))
            places = graph.node("Where", chosen, graph.constant(float(missing)), places)
    if isinstance(column, TargetStatisticsColumn):
        table = graph.constant(column.table.astype(graph.precision), "statistics")
        rows = graph.node("Squeeze", graph.cast(places, np.int64), graph.integers(-1))
        return graph.node("Gather", table, rows, axis=0)
    return graph.cast(
        graph.node("Equal", places, graph.constant(np.arange(float(len(column.inputs))))), graph.precision
    )


def _places(graph: Graph, x: str, places: dict[str, int] | dict[float, int], other: int) -> str:
    """Look up values among the keys; whole numbers in float64, since onnxruntime has no look-up to integers."""
    keys = np.asarray(list(places), TEXT if isinstance(next(iter(places)), str) else np.float64)
    return graph.lookup(x, keys, np.asarray(list(places.values()), np.float64), np.asarray([other], np.float64))
