"""A table's columns as the inputs of a graph, encoded for the network as in training.

Each column is a separate input, ``(samples, 1)``: float64 with NaN for missing numbers, or text, which is empty or one
of `MISSING_TEXTS` for a missing category. A graph cannot raise errors about rows as :func:`gpubp.predict_table` does;
instead, a missing number makes all outputs NaN, and the inputs of an unknown or missing category are all 0.
"""

import math
from collections.abc import Sequence
from itertools import groupby

import numpy as np

from gpubp.data.preprocessing import MISSING_TEXTS, CategoryColumn, NumberColumn
from gpubp.io.onnx._graph import SAMPLES, TEXT, Graph


def add_table_inputs(graph: Graph, columns: Sequence[NumberColumn | CategoryColumn]) -> str:
    """Add the columns as inputs to a graph, and return the value of the network's input ``(b, i)``."""
    for column in columns:
        graph.input(column.name, TEXT if isinstance(column, CategoryColumn) else np.float64, (SAMPLES, 1))
    known = {column.name: list(column.categories) for column in columns if isinstance(column, CategoryColumn)}
    graph.metadata["categories"] = known  # for programs that refuse others
    blocks: list[str] = []
    for are_numbers, adjacent in groupby(columns, lambda column: isinstance(column, NumberColumn)):
        if are_numbers:
            blocks.append(_standardised(graph, [column for column in adjacent if isinstance(column, NumberColumn)]))
        else:
            blocks += [_one_hot(graph, column) for column in adjacent if isinstance(column, CategoryColumn)]
    return graph.concatenate(blocks)


def _standardised(graph: Graph, columns: list[NumberColumn]) -> str:
    x = graph.concatenate([column.name for column in columns])
    if any(column.fill is not None for column in columns):
        fills = [math.nan if column.fill is None else column.fill for column in columns]
        x = graph.node("Where", graph.node("IsNaN", x), graph.constant(fills, "fills"), x)
    x = graph.node("Sub", x, graph.constant([column.mean for column in columns], "means"))
    x = graph.node("Div", x, graph.constant([column.scale for column in columns], "scales"))
    return graph.cast(x, graph.precision)


def _one_hot(graph: Graph, column: CategoryColumn) -> str:
    x = column.name
    if column.fill is not None:
        texts = [text for text in MISSING_TEXTS if text not in column.categories]
        each = graph.node("Equal", x, graph.constant(np.asarray(texts, TEXT), "missing"))
        missing = graph.cast(
            graph.node("ReduceMax", graph.cast(each, np.int32), graph.integers(1), keepdims=1), np.bool_
        )
        x = graph.node("Where", missing, graph.constant(np.asarray([column.fill], TEXT), "fill"), x)
    known = graph.constant(np.asarray(column.categories, TEXT), "categories")
    return graph.cast(graph.node("Equal", x, known), graph.precision)
