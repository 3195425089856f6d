"""The inputs of a table on a GPU, where its columns are copied once, for all parts of its rows."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from gpubp._typing import Array
from gpubp.backends.backend import Backend, choose_backend, to_backend
from gpubp.backends.gpu_errors import Workload, translate_gpu_errors
from gpubp.data.preprocessing import ColumnArrays, TargetStatisticsColumn, inputs_of
from gpubp.data.streaming.prepared_stream import PreparedStream
from gpubp.nn.network import Network
from gpubp.tabular.prepared_table import PreparedTable


def device_inputs(
    prepared: PreparedTable | PreparedStream, network: Network, options: Mapping[str, Any], checkpoint: object = None
) -> dict[str, Array]:
    """Return the inputs of each part on the device, ``(n, i)``; none where those of the host are copied there instead.

    That is where it is no GPU or has no memory for them, where they are few, for several processes, which share them
    there, and for a checkpoint, which knows them by their bits. `options` are those of :func:`gpubp.train`.
    """
    if isinstance(prepared, PreparedStream) or prepared.columns is None:
        return {}
    backend, dtype = choose_backend(options["device"]), options["dtype"]
    if not backend.is_cuda or options["parallel"] is not None or checkpoint is not None:
        return {}
    parts = {part: rows for part, rows in prepared.parts.items() if len(rows)}
    rows = np.concatenate([*parts.values()])
    with translate_gpu_errors(backend, Workload(network, dtype, 1, len(rows))), backend.active():
        X = _computed(prepared, prepared.columns.rows(rows), prepared.X, rows, backend, dtype)
        if isinstance(X, np.ndarray):
            return {}
        ends = np.cumsum([len(of_part) for of_part in parts.values()]).tolist()
        inputs = {part: X[begin:end] for part, begin, end in zip(parts, [0, *ends], ends, strict=False)}
        if prepared.given_columns is not None and prepared.given_validation is not None:
            given = prepared.given_validation.X
            every = np.arange(len(given))
            inputs["validation"] = _computed(prepared, prepared.given_columns, given, every, backend, dtype)
    return inputs


def _computed(
    prepared: PreparedTable, columns: ColumnArrays, of_host: np.ndarray, rows: np.ndarray, backend: Backend, dtype: str
) -> Array:
    """Compute inputs; target statistics are copied, since those of training rows are of other folds."""
    X, places = inputs_of(prepared.preprocessing, columns, dtype, backend), prepared.preprocessing.input_slices
    if isinstance(X, np.ndarray):
        return X
    for column in prepared.preprocessing.columns:
        if isinstance(column, TargetStatisticsColumn):
            X[:, places[column.name]] = to_backend(backend, of_host[rows, places[column.name]], dtype)
    return X
