"""What a network's outputs are called and turned into: labels and probabilities, or numbers, as sklearn-onnx has them.

Each function adds the outputs of a graph: ``answer(graph, y, n_outputs)``, ``y`` the value that holds the network's
outputs ``(b, j)``.
"""

from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise
from typing import Any

import numpy as np

from gpubp.data.preprocessing import NumberTarget
from gpubp.errors import DataError
from gpubp.io.onnx.graph import SAMPLES, TEXT, Graph

Answer = Callable[[Graph, str, int], None]

LABEL, PROBABILITIES, NUMBERS = "label", "probabilities", "variable"


def plain(graph: Graph, y: str, n_outputs: int) -> None:
    """Give the numbers as they are."""
    graph.output(NUMBERS, y, graph.precision, (SAMPLES, n_outputs))


def scaled_back(target: NumberTarget) -> Answer:
    """Give the numbers in the units of the table's targets, in float64."""

    def answer(graph: Graph, y: str, n_outputs: int) -> None:
        scaled = graph.node("Mul", graph.cast(y, np.float64), graph.constant(target.scales, "target_scales"))
        numbers = graph.node("Add", scaled, graph.constant(target.means, "target_means"))
        graph.output(NUMBERS, numbers, np.float64, (SAMPLES, n_outputs))

    return answer


def largest(classes: Any) -> Answer:
    """Give the class of the largest output, and the outputs as probabilities."""
    labels = _labels(classes)

    def answer(graph: Graph, y: str, n_outputs: int) -> None:
        graph.output(LABEL, _of_largest(graph, y, labels), labels.dtype, (SAMPLES,))
        graph.metadata["classes"] = labels.tolist()
        graph.output(PROBABILITIES, y, graph.precision, (SAMPLES, n_outputs))

    return answer


def one_of_two(classes: Any) -> Answer:
    """Give the second class where the one output is above a half; beside it stands the probability of the first."""
    labels = _labels(classes)
    labels = labels[[0, -1]]  # a target may have had one class only

    def answer(graph: Graph, y: str, n_outputs: int) -> None:
        flat = graph.node("Squeeze", y, graph.integers(-1))
        chosen = graph.cast(_is_marked(graph, flat), np.int64)
        graph.output(LABEL, graph.node("Gather", graph.constant(labels, "classes"), chosen), labels.dtype, (SAMPLES,))
        graph.metadata["classes"] = labels.tolist()
        both = graph.beside([graph.node("Sub", graph.number(1.0), y), y])
        graph.output(PROBABILITIES, both, graph.precision, (SAMPLES, 2))

    return answer


def marks(graph: Graph, y: str, n_outputs: int) -> None:
    """Mark each output above a half with 1: several labels a sample."""
    graph.output(LABEL, graph.cast(_is_marked(graph, y), np.int64), np.int64, (SAMPLES, n_outputs))
    graph.output(PROBABILITIES, y, graph.precision, (SAMPLES, n_outputs))


def largest_of_each(classes_of_columns: Sequence[Any]) -> Answer:
    """Give the class of the largest output in each group of units, and the probabilities of each group on their own."""
    sizes = [len(classes) for classes in classes_of_columns]
    common = np.result_type(*classes_of_columns)  # what NumPy makes of the labels of all columns, side by side
    columns = [_labels(np.asarray(classes).astype(common)) for classes in classes_of_columns]

    def answer(graph: Graph, y: str, n_outputs: int) -> None:
        groups = [graph.units(y, start, stop) for start, stop in pairwise(accumulate(sizes, initial=0))]
        chosen = [
            graph.node("Unsqueeze", _of_largest(graph, group, labels), graph.integers(-1))
            for group, labels in zip(groups, columns, strict=True)
        ]
        graph.metadata["classes"] = [labels.tolist() for labels in columns]
        graph.output(LABEL, graph.beside(chosen), columns[0].dtype, (SAMPLES, len(sizes)))
        for number, (group, size) in enumerate(zip(groups, sizes, strict=True)):
            graph.output(f"{PROBABILITIES}_{number}", group, graph.precision, (SAMPLES, size))

    return answer


def _of_largest(graph: Graph, y: str, labels: np.ndarray) -> str:
    chosen = graph.node("ArgMax", y, axis=-1, keepdims=0)
    return graph.node("Gather", graph.constant(labels, "classes"), chosen)


def _is_marked(graph: Graph, y: str) -> str:
    return graph.node("Greater", y, graph.number(0.5))


def _labels(classes: Any) -> np.ndarray:
    """Give labels the type that they have in a graph: text, or the numbers and bools that they are."""
    labels = np.asarray(classes)
    if labels.dtype.kind in "biuf":
        return labels
    labels = labels.astype(TEXT)
    if odd := {type(label).__name__ for label in labels if not isinstance(label, str)}:
        raise DataError(
            f"the classes hold {', '.join(sorted(odd))}; ONNX knows labels that are all text, or all numbers or bools: "
            "fit on such"
        )
    return labels
