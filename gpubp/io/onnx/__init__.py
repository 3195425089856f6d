"""Export trained networks as ONNX models, for onnxruntime and other programs without gpubp.

``_export.py`` has the entry points, ``_graph.py`` a graph under construction and all uses of the package onnx,
``_activations.py`` the activations, ``_forward.py`` the forward pass, ``_table_inputs.py`` a table's columns as inputs,
and ``predictions.py`` labels, probabilities and numbers from outputs.
"""

from gpubp.io.onnx._export import estimator_to_onnx, to_onnx
from gpubp.io.onnx._graph import PRODUCER, describe_values, producer_of

__all__ = ["PRODUCER", "describe_values", "estimator_to_onnx", "producer_of", "to_onnx"]
