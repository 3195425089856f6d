"""A table's columns as the inputs of a graph, and from them what the network takes, as in the training.

Each column is an input of its own, ``(samples, 1)``: numbers are float64, NaN where they are missing, categories text,
empty where it is missing. A graph cannot refuse a row. Of what :func:`gpubp.predict_table` refuses, a missing number
makes all outputs NaN, and a category that is unknown or missing is none: its inputs are all 0.
"""

import math
from collections.abc import Sequence
from itertools import groupby

import numpy as np

from gpubp.data.preprocessing import CategoryColumn, NumberColumn
from gpubp.io.onnx.graph import SAMPLES, TEXT, Graph


def encoded(graph: Graph, columns: Sequence[NumberColumn | CategoryColumn]) -> str:
    """Add the columns to a graph: inputs, and from them the network's input ``(b, i)``."""
    for column in columns:
        graph.input(column.name, TEXT if isinstance(column, CategoryColumn) else np.float64, (SAMPLES, 1))
    known = {column.name: list(column.categories) for column in columns if isinstance(column, CategoryColumn)}
    graph.metadata["categories"] = known  # for a program that would refuse others
    blocks: list[str] = []
    for of_numbers, side_by_side in groupby(columns, lambda column: isinstance(column, NumberColumn)):
        if of_numbers:
            blocks.append(_standardised(graph, [column for column in side_by_side if isinstance(column, NumberColumn)]))
        else:
            blocks += [_one_hot(graph, column) for column in side_by_side if isinstance(column, CategoryColumn)]
    return graph.beside(blocks)


def _standardised(graph: Graph, columns: list[NumberColumn]) -> str:
    x = graph.beside([column.name for column in columns])
    if any(column.fill is not None for column in columns):
        fills = [math.nan if column.fill is None else column.fill for column in columns]
        x = graph.node("Where", graph.node("IsNaN", x), graph.constant(fills, "fills"), x)
    x = graph.node("Sub", x, graph.constant([column.mean for column in columns], "means"))
    x = graph.node("Div", x, graph.constant([column.scale for column in columns], "scales"))
    return graph.cast(x, graph.precision)


def _one_hot(graph: Graph, column: CategoryColumn) -> str:
    x = column.name
    if column.fill is not None:
        missing = graph.node("Equal", x, graph.constant(np.asarray([""], TEXT), "missing"))
        x = graph.node("Where", missing, graph.constant(np.asarray([column.fill], TEXT), "fill"), x)
    known = graph.constant(np.asarray(column.categories, TEXT), "categories")
    return graph.cast(graph.node("Equal", x, known), graph.precision)
