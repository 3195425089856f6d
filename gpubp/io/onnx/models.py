"""The doors: a network, a model file or a fitted estimator becomes an ONNX model."""

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np

from gpubp.backends.backend import choose_backend, to_numpy
from gpubp.data.preprocessing import ClassTarget, Preprocessing, class_values, preprocessing_of
from gpubp.engine.argument_checks import choose_precision, validate_theta
from gpubp.errors import DataError
from gpubp.io.model_file import write_whole
from gpubp.io.onnx.answers import NUMBERS, Answer, largest, scaled_back
from gpubp.io.onnx.columns import encoded
from gpubp.io.onnx.graph import SAMPLES, Graph
from gpubp.io.onnx.network import outputs
from gpubp.nn.network import Network

if TYPE_CHECKING:
    from onnx import ModelProto

Path = str | PathLike[str]


def to_onnx(model: Any, theta: Any = None, *, path: Path | None = None, dtype: str | None = None) -> "ModelProto":
    """Turn a trained network into an ONNX model, which computes what :func:`gpubp.predict` and its kin compute.

    Parameters
    ----------
    model : Network, Fit, Model or fitted estimator
        A Network goes with its ``theta``; a Fit is what :func:`gpubp.train` gives, and a Model what
        :func:`gpubp.load_model` gives.
    theta : (P,) or (K, P) array, optional
        The parameters, of any namespace and device.
    path : str or path, optional
        Where to write it as well, by custom with the ending ``.onnx``; an existing file is replaced once the new one is
        complete.
    dtype : {"float32", "float64"}, optional
        The precision of the network; without it that of the parameters.

    Returns
    -------
    onnx.ModelProto
        A network takes ``"X"``, ``(samples, i)``, and gives ``"variable"``, ``(samples, j)``, or ``(K, samples, j)`` of
        a stack. A model that was trained on a table takes its columns, ``(samples, 1)`` each, numbers in float64 and
        categories as text, and gives ``"label"`` and ``"probabilities"``, or ``"variable"`` in the targets' own units;
        an output gets an underscore where a column has its name. Equal models give equal bytes.

    Raises
    ------
    DataError
        If the model is none of these, or ``theta`` does not fit the network, or is too large for one file.
    ModelFileError
        If the model's preprocessing does not fit its network.
    GpubpError
        If the package onnx is not installed.

    Examples
    --------
    Elsewhere, with onnxruntime alone::

        gpubp.to_onnx(network, fit.theta, path="network.onnx")
        session = onnxruntime.InferenceSession("network.onnx")
        (y,) = session.run(None, {"X": x})
    """
    if theta is not None and not isinstance(model, Network):
        raise DataError(f"theta goes with a Network alone; leave it out beside a {type(model).__name__}")
    if hasattr(model, "to_onnx"):
        of_estimator: ModelProto = model.to_onnx(path, dtype=dtype)
        return of_estimator
    network, theta, preprocessing, about = _parts(model, theta)
    graph, host = _begun(network, theta, dtype)
    n_outputs = network.sizes[-1]
    if preprocessing is None:
        y = outputs(graph, network, host, graph.input("X", graph.precision, (SAMPLES, network.sizes[0])))
        graph.output(NUMBERS, y, graph.precision, (*host.shape[:-1], SAMPLES, n_outputs))
    elif host.ndim == 2:
        raise DataError(f"the model is a stack of {host.shape[0]} networks; tables are predicted with one")
    else:
        target = preprocessing.target
        answer = largest(class_values(target)) if isinstance(target, ClassTarget) else scaled_back(target)
        answer(graph, outputs(graph, network, host, encoded(graph, preprocessing.columns)), n_outputs)
        graph.metadata["targets"] = preprocessing.target_names
    return _finished(graph, network, about, path)


def estimator_to_onnx(
    network: Network,
    theta: np.ndarray,
    answer: Answer,
    *,
    feature_names: Sequence[str] | None = None,
    path: Path | None = None,
    dtype: str | None = None,
) -> "ModelProto":
    """Turn the network of an estimator into an ONNX model; the outputs of a stack are averaged.

    Parameters
    ----------
    theta : (P,) or (K, P) array of NumPy
    answer : function
        Of :mod:`gpubp.io.onnx.answers`: what the outputs are turned into.
    feature_names : sequence of str, optional
        What the columns of X are called.
    path, dtype
        See :func:`to_onnx`.
    """
    graph, host = _begun(network, theta, dtype)
    y = outputs(graph, network, host, graph.input("X", graph.precision, (SAMPLES, network.sizes[0])))
    if host.ndim == 2:
        y = graph.node("ReduceMean", y, graph.integers(0), keepdims=0)
    answer(graph, y, network.sizes[-1])
    if feature_names is not None:
        graph.metadata["feature_names"] = list(feature_names)
    return _finished(graph, network, {}, path)


def _parts(model: Any, theta: Any) -> tuple[Network, Any, Preprocessing | None, Mapping[str, Any]]:
    """Find the network, its parameters, the preprocessing and what is known about it."""
    if isinstance(model, Network):
        if theta is None:
            raise DataError("theta is missing; give the network with its parameters: to_onnx(network, fit.theta)")
        return model, theta, None, {}
    if not (isinstance(getattr(model, "network", None), Network) and hasattr(model, "theta")):
        raise DataError(
            "to_onnx takes a Network with its theta, what train or load_model gives, or a fitted estimator, got "
            f"{type(model).__name__}"
        )
    has_preprocessing = getattr(model, "preprocessing", None) is not None
    preprocessing = preprocessing_of(model) if has_preprocessing else None
    return model.network, model.theta, preprocessing, getattr(model, "about", {})


def _begun(network: Network, theta: Any, dtype: str | None) -> tuple[Graph, np.ndarray]:
    """Begin a graph, and admit the parameters in its precision."""
    cpu, host = choose_backend("cpu"), to_numpy(theta)
    precision = choose_precision(cpu, dtype, host)
    validated: np.ndarray = validate_theta(network, cpu, precision, host)
    return Graph(precision), validated


def _finished(graph: Graph, network: Network, about: Mapping[str, Any], path: Path | None) -> "ModelProto":
    """Finish a graph, and write it where that is wanted."""
    if about:
        graph.metadata["about"] = about
    sizes, units = "-".join(map(str, network.sizes)), ", ".join(network.activations)
    facts = [f"{name}: {value}" for name, value in sorted(about.items()) if isinstance(value, str)]
    model = graph.model("; ".join([f"multilayer perceptron of {sizes} units ({units})", *facts]))
    if path is not None:
        write_whole(path, model.SerializeToString(deterministic=True))
    return model
