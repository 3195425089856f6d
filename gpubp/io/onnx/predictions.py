"""A network's outputs as the outputs of a graph: labels and probabilities, or numbers, named as by sklearn-onnx.

Each function adds the graph's outputs: ``add(graph, outputs, n_outputs)``, where ``outputs`` is the value of the
network's outputs ``(b, j)``.
"""

from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise
from typing import Any

import numpy as np

from gpubp.data.preprocessing import NumberTarget
from gpubp.errors import DataError
from gpubp.io.onnx._graph import SAMPLES, TEXT, Graph

AddPredictions = Callable[[Graph, str, int], None]

LABEL, PROBABILITIES, NUMBERS = "label", "probabilities", "variable"


def add_numbers(graph: Graph, outputs: str, n_outputs: int) -> None:
    """Add the outputs unchanged."""
    graph.output(NUMBERS, outputs, graph.precision, (SAMPLES, n_outputs))


def rescaled_numbers(target: NumberTarget) -> AddPredictions:
    """Return a function that adds numbers in the units of the table's targets, in float64, within their limits."""

    def add(graph: Graph, outputs: str, n_outputs: int) -> None:
        scaled = graph.node("Mul", graph.cast(outputs, np.float64), graph.constant(target.scales, "target_scales"))
        numbers = graph.node("Add", scaled, graph.constant(target.means, "target_means"))
        numbers = graph.node("Max", numbers, graph.constant(target.lows, "target_lows"))
        numbers = graph.node("Min", numbers, graph.constant(target.highs, "target_highs"))
        graph.output(NUMBERS, numbers, np.float64, (SAMPLES, n_outputs))

    return add


def class_of_largest(classes: Any) -> AddPredictions:
    """Return a function that adds the class of the largest output, and the outputs as probabilities."""
    labels = _labels(classes)

    def add(graph: Graph, outputs: str, n_outputs: int) -> None:
        graph.output(LABEL, _add_largest(graph, outputs, labels), labels.dtype, (SAMPLES,))
        graph.metadata["classes"] = labels.tolist()
        graph.output(PROBABILITIES, outputs, graph.precision, (SAMPLES, n_outputs))

    return add


def binary_class(classes: Any) -> AddPredictions:
    """Return a function that adds the second class if the output is above a half, and both probabilities.

    A single class has the probability 1.
    """
    labels = _labels(classes)
    labels = labels[[0, -1]]  # the target may have only one class

    def add(graph: Graph, outputs: str, n_outputs: int) -> None:
        flat = graph.node("Squeeze", outputs, graph.integers(-1))
        chosen = graph.cast(_add_above_half(graph, flat), np.int64)
        graph.output(LABEL, graph.node("Gather", graph.constant(labels, "classes"), chosen), labels.dtype, (SAMPLES,))
        graph.metadata["classes"] = labels.tolist()
        if len(classes) == 1:
            certain = graph.node("Add", graph.node("Mul", outputs, graph.number(0.0)), graph.number(1.0))
            graph.output(PROBABILITIES, certain, graph.precision, (SAMPLES, 1))
            return
        both = graph.concatenate([graph.node("Sub", graph.number(1.0), outputs), outputs])
        graph.output(PROBABILITIES, both, graph.precision, (SAMPLES, 2))

    return add


def add_multilabel(graph: Graph, outputs: str, n_outputs: int) -> None:
    """Add 1 for each output above a half: a sample may have several labels."""
    graph.output(LABEL, graph.cast(_add_above_half(graph, outputs), np.int64), np.int64, (SAMPLES, n_outputs))
    graph.output(PROBABILITIES, outputs, graph.precision, (SAMPLES, n_outputs))


def class_of_each_column(classes_of_columns: Sequence[Any]) -> AddPredictions:
    """Return a function that adds the class of the largest output, and the probabilities, of each group of outputs."""
    sizes = [len(classes) for classes in classes_of_columns]
    common = np.result_type(*classes_of_columns)  # as NumPy stacks the labels of all columns
    columns = [_labels(np.asarray(classes).astype(common)) for classes in classes_of_columns]

    def add(graph: Graph, outputs: str, n_outputs: int) -> None:
        groups = [graph.slice(outputs, start, stop) for start, stop in pairwise(accumulate(sizes, initial=0))]
        chosen = [
            graph.node("Unsqueeze", _add_largest(graph, group, labels), graph.integers(-1))
            for group, labels in zip(groups, columns, strict=True)
        ]
        graph.metadata["classes"] = [labels.tolist() for labels in columns]
        graph.output(LABEL, graph.concatenate(chosen), columns[0].dtype, (SAMPLES, len(sizes)))
        for number, (group, size) in enumerate(zip(groups, sizes, strict=True)):
            graph.output(f"{PROBABILITIES}_{number}", group, graph.precision, (SAMPLES, size))

    return add


def _add_largest(graph: Graph, outputs: str, labels: np.ndarray) -> str:
    chosen = graph.node("ArgMax", outputs, axis=-1, keepdims=0)
    return graph.node("Gather", graph.constant(labels, "classes"), chosen)


def _add_above_half(graph: Graph, outputs: str) -> str:
    return graph.node("Greater", outputs, graph.number(0.5))


def _labels(classes: Any) -> np.ndarray:
    """Return labels with the type that they have in a graph: text, numbers or bools."""
    labels = np.asarray(classes)
    if labels.dtype.kind in "biuf":
        return labels
    labels = labels.astype(TEXT)
    if other_types := {type(label).__name__ for label in labels if not isinstance(label, str)}:
        raise DataError(
            f"the classes hold {', '.join(sorted(other_types))}; ONNX supports labels that are "
            "all text, all numbers or all bools; fit the model on such labels"
        )
    return labels
