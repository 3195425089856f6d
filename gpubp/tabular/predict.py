"""Predict the target of each row of a table."""

import numpy as np

from gpubp.data.preprocessing import (
    ClassTarget,
    Preprocessing,
    apply,
    decode_probabilities,
    decode_target,
    preprocessing_of,
)
from gpubp.data.table import Column
from gpubp.engine.prediction import predict
from gpubp.errors import DataError
from gpubp.io.model_file import Model
from gpubp.tabular.prepare import AnyTable, as_table


@np.errstate(all="ignore")
def predict_table(
    model: Model, table: AnyTable, *, device: str = "auto", matmul_precision: str = "float32"
) -> dict[str, Column]:
    """Predict the target of each row of a table.

    Parameters
    ----------
    model : Model
        ``fit_table(...).model``, or from :func:`gpubp.load_model`.
    table : Table, path, name, dict of columns, data frame or pyarrow table
        With the feature columns that the model was trained on, in any order.
    device : str
        See :func:`gpubp.backends.backend.choose_backend`.
    matmul_precision : {"float32", "tf32", "bfloat16", "float16"}
        See :func:`gpubp.train`.

    Returns
    -------
    dict of str to (n,) array
        For classification, the predicted classes under the target's name, and the probability of each class under
        ``"target=class"``; for regression, the predicted numbers under each target's name.

    Raises
    ------
    DataError
        If the table lacks a column of the model, or holds a value that the model does not accept.
    ModelFileError
        If the model has no preprocessing, or one that does not fit its network.
    """
    outputs = network_outputs(model, table, device=device, matmul_precision=matmul_precision)
    return decode_outputs(preprocessing_of(model), outputs)


def network_outputs(
    model: Model, table: AnyTable, *, device: str = "auto", matmul_precision: str = "float32"
) -> np.ndarray:
    """Compute the network's outputs for each row of a table, ``(n, j)``; see :func:`predict_table`."""
    if not isinstance(model, Model):
        raise DataError(f"model must be a Model, from fit_table(...).model or load_model, got {type(model).__name__}")
    if model.theta.ndim != 1:
        raise DataError(
            f"the model is a stack of {model.theta.shape[0]} networks, but a table is predicted with one; save one "
            "network of the stack as a separate model"
        )
    X = apply(preprocessing_of(model), as_table(table))
    outputs: np.ndarray = predict(model.network, model.theta, X, device=device, matmul_precision=matmul_precision)
    return outputs


def decode_outputs(preprocessing: Preprocessing, outputs: np.ndarray) -> dict[str, Column]:
    """Convert a network's outputs ``(n, j)`` to the columns that :func:`predict_table` returns."""
    predictions = decode_target(preprocessing, outputs)
    if isinstance(preprocessing.target, ClassTarget):
        predictions |= decode_probabilities(preprocessing, outputs)
    return predictions
