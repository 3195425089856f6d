"""An ONNX graph under construction, and all uses of the package onnx, which is imported when needed."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any

import numpy as np

from gpubp._core.optional_imports import import_optional
from gpubp._version import __version__
from gpubp.errors import DataError

if TYPE_CHECKING:
    from onnx import ModelProto

OPSET = 20
"""The first opset with regular expressions."""

TABLE_DOMAIN, TABLE_OPSET = "ai.onnx.ml", 4
"""The standard domain of the operators for tables, and the first opset that looks up keys of any type."""

IR_VERSION = 9
"""The version of the file format that belongs to this opset."""

SAMPLES = "samples"
"""The name of the dimension of variable length."""

MAX_BYTES = 2**31 - 2**20
"""Maximum bytes of parameters: protobuf's limit is 2 GiB, and the rest of the model takes some of it."""

PRODUCER = "gpubp"
TEXT = np.dtype(object)


def import_onnx() -> Any:
    """Import the package onnx.

    Raises
    ------
    GpubpError
        If it is not installed.
    """
    return import_optional("onnx", "an export", "onnx", "onnx onnxruntime", extra="onnx")


def producer_of(path: str | PathLike[str]) -> str | None:
    """Return the program that wrote an ONNX file; None for files of other formats."""
    onnx = import_onnx()
    try:
        return str(onnx.load(fspath(path), load_external_data=False).producer_name)
    except OSError:
        raise
    except Exception:  # protobuf's exceptions differ between its versions
        return None


def describe_values(values: Iterable[Any]) -> list[dict[str, Any]]:
    """Return name, type and shape of the inputs or the outputs of a model."""
    helper = import_onnx().helper
    descriptions = []
    for value in values:
        dtype = helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        shape = [part.dim_param or part.dim_value for part in value.type.tensor_type.shape.dim]
        descriptions.append({"name": value.name, "type": "text" if dtype == TEXT else dtype.name, "shape": shape})
    return descriptions


class Graph:
    """A graph under construction. Values are identified by names; a repeated name gets underscores, then a number.

    Parameters
    ----------
    precision : {"float32", "float64"}
        The precision of the network.

    Attributes
    ----------
    metadata : dict
        Facts to store with the model, as JSON.
    """

    def __init__(self, precision: str) -> None:
        self.precision = precision
        self.metadata: dict[str, Any] = {}
        self._onnx = import_onnx()
        self._names: set[str] = set()
        self._n_repeats: Counter[str] = Counter()  # of each requested name
        self._output_names: dict[str, str] = {}  # final names of the values that are outputs
        self._nodes: list[tuple[str, tuple[str, ...], str, dict[str, Any]]] = []
        self._constants: dict[str, np.ndarray] = {}
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []

    def _unique(self, name: str) -> str:
        requested = name
        while name in self._names:
            self._n_repeats[requested] += 1
            n = self._n_repeats[requested]
            name = requested + "_" * n if n < 4 else f"{requested}_{n}"  # a network may have any number of layers
        self._names.add(name)
        return name

    def _value_info(self, name: str, dtype: Any, shape: Sequence[int | str]) -> Any:
        helper = self._onnx.helper
        return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape)

    def input(self, name: str, dtype: Any, shape: Sequence[int | str]) -> str:
        """Add an input."""
        name = self._unique(name)
        self._inputs.append(self._value_info(name, dtype, shape))
        return name

    def output(self, name: str, value: str, dtype: Any, shape: Sequence[int | str]) -> None:
        """Make a value an output of the graph under this name."""
        self._output_names[value] = self._unique(name)
        self._outputs.append(self._value_info(self._output_names[value], dtype, shape))

    def constant(self, array: Any, name: str = "constant") -> str:
        """Add a constant array."""
        name = self._unique(name)
        self._constants[name] = np.asarray(array)
        return name

    def integers(self, *values: int) -> str:
        """Add whole numbers, for operators that take axes and indices."""
        return self.constant(np.asarray(values, dtype=np.int64), "integers")

    def number(self, value: float) -> str:
        """Add a constant number in the precision of the network."""
        return self.constant(np.asarray(value, dtype=self.precision), "number")

    def node(self, operator: str, *inputs: str, name: str | None = None, **attributes: Any) -> str:
        """Add an operator with one output, of the standard domain unless the attribute `domain` says otherwise."""
        if operator in ("Add", "Sub", "Mul", "Div") and any(map(self._is_nearly_neutral, inputs)):
            inputs = tuple(
                self.node("Expand", value, self.node("Shape", other)) if self._is_nearly_neutral(value) else value
                for value, other in zip(inputs, reversed(inputs), strict=True)
            )
        name = self._unique(name or operator.lower())
        self._nodes.append((operator, inputs, name, attributes))
        return name

    def _is_nearly_neutral(self, value: str) -> bool:
        """Return whether a constant is 0 or 1 only in float32: onnxruntime removes arithmetic with one such number."""
        array = self._constants.get(value, np.zeros(0))
        return array.size == 1 and array.dtype == np.float64 and any(np.float32(array) == n != array for n in (0, 1))

    def cast(self, value: str, dtype: Any) -> str:
        """Convert a value to another type."""
        return self.node("Cast", value, to=self._onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def lookup(self, value: str, keys: np.ndarray, values: np.ndarray, default: np.ndarray) -> str:
        """Replace each of the keys by its value, and all others by the default."""
        tensor = self._onnx.numpy_helper.from_array
        tables = {"keys_tensor": tensor(keys), "values_tensor": tensor(values), "default_tensor": tensor(default)}
        return self.node("LabelEncoder", value, domain=TABLE_DOMAIN, **tables)

    def slice(self, value: str, start: int, stop: int) -> str:
        """Slice the last axis, from `start` to before `stop`."""
        first, last, axis = (self.integers(n) for n in (start, stop, -1))
        return self.node("Slice", value, first, last, axis)

    def concatenate(self, values: Sequence[str]) -> str:
        """Concatenate values along the last axis."""
        return values[0] if len(values) == 1 else self.node("Concat", *values, axis=-1)

    def model(self, description: str) -> "ModelProto":
        """Return the model of the finished graph; equal graphs give equal models.

        Raises
        ------
        DataError
            If the parameters do not fit in one file.
        """
        n_bytes = sum(array.nbytes for array in self._constants.values())
        if n_bytes > MAX_BYTES:
            fix = "dtype='float32' would halve that" if self.precision == "float64" else "use a smaller network"
            raise DataError(f"the parameters take {n_bytes:,} bytes, but one ONNX file holds {MAX_BYTES:,}; {fix}")
        helper, output_names = self._onnx.helper, self._output_names
        nodes = []
        for operator, inputs, name, attributes in self._nodes:
            output = output_names.get(name, name)
            input_names = [output_names.get(value, value) for value in inputs]
            nodes.append(helper.make_node(operator, input_names, [output], output, **attributes))
        uses_tables = any("domain" in attributes for *_, attributes in self._nodes)
        opsets = {"": OPSET} | ({TABLE_DOMAIN: TABLE_OPSET} if uses_tables else {})
        constants = [self._onnx.numpy_helper.from_array(array, name) for name, array in self._constants.items()]
        model: ModelProto = helper.make_model(
            helper.make_graph(nodes, PRODUCER, self._inputs, self._outputs, constants),
            producer_name=PRODUCER,
            producer_version=__version__,
            doc_string=description,
            ir_version=IR_VERSION,
            opset_imports=[helper.make_opsetid(domain, opset) for domain, opset in opsets.items()],
        )
        as_json = {name: json.dumps(self.metadata[name], sort_keys=True) for name in sorted(self.metadata)}
        helper.set_model_props(model, as_json)
        return model
