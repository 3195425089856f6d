"""Trained networks as ONNX models: for onnxruntime and other programs that know nothing of gpubp.

``graph.py`` has a graph under construction and all that is asked of the package onnx; ``units.py`` each unit;
``network.py`` the pass forward; ``columns.py`` a table's columns as inputs; ``answers.py`` outputs as labels,
probabilities and numbers; ``models.py`` the doors.
"""

from gpubp.io.onnx.models import estimator_to_onnx, to_onnx

__all__ = ["estimator_to_onnx", "to_onnx"]
