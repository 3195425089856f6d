"""Export a network, a model or a fitted estimator as an ONNX model."""

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np

from gpubp._core.misplaced import advice
from gpubp.backends.backend import choose_backend, to_numpy
from gpubp.data.preprocessing import ClassTarget, Preprocessing, class_values, preprocessing_of
from gpubp.engine.argument_checks import choose_precision, validate_theta
from gpubp.errors import DataError
from gpubp.io.atomic_files import write_atomically
from gpubp.io.onnx._forward import add_network
from gpubp.io.onnx._graph import SAMPLES, Graph
from gpubp.io.onnx._table_inputs import add_table_inputs
from gpubp.io.onnx.predictions import NUMBERS, AddPredictions, class_of_largest, rescaled_numbers
from gpubp.nn.network import Network

if TYPE_CHECKING:
    from onnx import ModelProto

Path = str | PathLike[str]


@np.errstate(all="ignore")
def to_onnx(model: Any, theta: Any = None, *, path: Path | None = None, dtype: str | None = None) -> "ModelProto":
    """Export a trained network as an ONNX model that computes the predictions of gpubp.

    Parameters
    ----------
    model : Network, Fit, Model or fitted estimator
        A Network needs its ``theta``; a Fit is the result of :func:`gpubp.train`, and a Model that of
        :func:`gpubp.load_model`.
    theta : (P,) or (K, P) array, optional
        The parameters, of any namespace and device.
    path : str or path, optional
        Path to write the model to; the usual suffix is ``.onnx``. An existing file is replaced once the new one is
        complete.
    dtype : {"float32", "float64"}, optional
        The precision of the network; by default, that of the parameters.

    Returns
    -------
    onnx.ModelProto
        A network's input is ``"X"``, ``(samples, i)``, its output ``"variable"``, ``(samples, j)``, or
        ``(K, samples, j)`` for a stack. A model that was trained on a table has one input per column, ``(samples, 1)``
        each: numbers in float64, dates as seconds since 1970 in float64, or text. Its outputs are ``"label"`` and
        ``"probabilities"``, or ``"variable"`` in the units of the targets. An output gets an underscore if a column has
        its name. Equal models give equal bytes.

    Raises
    ------
    DataError
        If the model has another type, or ``theta`` does not fit the network, or is too large for one file.
    ModelFileError
        If the model's preprocessing does not fit its network.
    GpubpError
        If the package onnx is not installed.

    Examples
    --------
    Predict with onnxruntime alone:

    >>> import gpubp, onnxruntime
    >>> network = gpubp.Network((2, 3, 1))
    >>> theta = gpubp.initial_weights(network, seed=0)
    >>> session = onnxruntime.InferenceSession(gpubp.to_onnx(network, theta).SerializeToString())
    >>> X = np.ones((4, 2), dtype=np.float32)
    >>> (outputs,) = session.run(None, {"X": X})
    >>> np.allclose(outputs, gpubp.predict(network, theta, X), atol=1e-6)
    True
    """
    if theta is not None and not isinstance(model, Network):
        raise DataError(f"theta is for a Network only; omit it for a {type(model).__name__}")
    if hasattr(model, "to_onnx"):
        exported: ModelProto = model.to_onnx(path, dtype=dtype)
        return exported
    network, theta, preprocessing, about = _model_parts(model, theta)
    graph, host = _begin(network, theta, dtype)
    n_outputs = network.sizes[-1]
    if preprocessing is None:
        outputs = add_network(graph, network, host, graph.input("X", graph.precision, (SAMPLES, network.sizes[0])))
        graph.output(NUMBERS, outputs, graph.precision, (*host.shape[:-1], SAMPLES, n_outputs))
    else:
        target = preprocessing.target
        if isinstance(target, ClassTarget):
            add_predictions = class_of_largest(class_values(target))
        else:
            add_predictions = rescaled_numbers(target)
        outputs = _mean_outputs(graph, network, host, add_table_inputs(graph, preprocessing))
        add_predictions(graph, outputs, n_outputs)
        graph.metadata["targets"] = preprocessing.target_names
    return _finish(graph, network, about, path)


def estimator_to_onnx(
    network: Network,
    theta: np.ndarray,
    add_predictions: AddPredictions,
    *,
    feature_names: Sequence[str] | None = None,
    path: Path | None = None,
    dtype: str | None = None,
) -> "ModelProto":
    """Export the network of an estimator as an ONNX model; the outputs of a stack are averaged.

    Parameters
    ----------
    network : Network
    theta : (P,) or (K, P) array of NumPy
    add_predictions : function
        From :mod:`gpubp.io.onnx.predictions`; converts the outputs to predictions.
    feature_names : sequence of str, optional
        Names of the columns of X.
    path, dtype
        See :func:`to_onnx`.
    """
    graph, host = _begin(network, theta, dtype)
    x = graph.input("X", graph.precision, (SAMPLES, network.sizes[0]))
    outputs = _mean_outputs(graph, network, host, x)
    add_predictions(graph, outputs, network.sizes[-1])
    if feature_names is not None:
        graph.metadata["feature_names"] = list(feature_names)
    return _finish(graph, network, {}, path)


def _mean_outputs(graph: Graph, network: Network, theta: np.ndarray, x: str) -> str:
    """Add a network, or a stack whose outputs are averaged."""
    outputs = add_network(graph, network, theta, x)
    return graph.node("ReduceMean", outputs, graph.integers(0), keepdims=0) if theta.ndim == 2 else outputs


def _model_parts(model: Any, theta: Any) -> tuple[Network, Any, Preprocessing | None, Mapping[str, Any]]:
    """Return a model's network, parameters, preprocessing and facts."""
    if isinstance(model, Network):
        if theta is None:
            raise DataError("theta is missing; pass the network with its parameters: to_onnx(network, fit.theta)")
        return model, theta, None, {}
    if not (isinstance(getattr(model, "network", None), Network) and hasattr(model, "theta")):
        raise DataError(
            "to_onnx takes a Network with its theta, the result of train or load_model, or a fitted estimator, got "
            f"{type(model).__name__}; {advice(model, 'export')}"
        )
    has_preprocessing = getattr(model, "preprocessing", None) is not None
    preprocessing = preprocessing_of(model) if has_preprocessing else None
    return model.network, model.theta, preprocessing, getattr(model, "about", {})


def _begin(network: Network, theta: Any, dtype: str | None) -> tuple[Graph, np.ndarray]:
    """Return a new graph, and the validated parameters in its precision."""
    cpu, host = choose_backend("cpu"), to_numpy(theta)
    precision = choose_precision(cpu, dtype, host)
    validated: np.ndarray = validate_theta(network, cpu, precision, host)
    return Graph(precision), validated


def _finish(graph: Graph, network: Network, about: Mapping[str, Any], path: Path | None) -> "ModelProto":
    """Return the model of a graph, and write it if there is a path."""
    if about:
        graph.metadata["about"] = about
    sizes, activations = "-".join(map(str, network.sizes)), ", ".join(network.activations)
    facts = [f"{name}: {about[name]}" for name in sorted({*about} - {"fingerprint"}) if isinstance(about[name], str)]
    model = graph.model("; ".join([f"multilayer perceptron of {sizes} units ({activations})", *facts]))
    if path is not None:
        write_atomically(path, model.SerializeToString(deterministic=True))
    return model
