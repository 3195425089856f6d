"""The comparisons of what follows from predictions: scores, and ONNX models that predict elsewhere."""

import importlib.util
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from gpubp._typing import Array
from gpubp.backends.backend import Backend, to_backend, to_numpy
from gpubp.data.metrics import Scores, r_squared, score
from gpubp.data.preprocessing import ClassTarget, NumberColumn, NumberTarget, Preprocessing
from gpubp.engine.prediction import predict
from gpubp.io.onnx import to_onnx
from gpubp.nn.network import Network
from gpubp.testing._comparison import N_SAMPLES, Comparison, draw_data, draw_weights, dtype_name

CLASSES = Network((4, 6, 3), activation="tanh", loss="cross_entropy")
NUMBERS = Network((4, 6, 3), activation="gelu")


def prediction_comparisons(generator: np.random.Generator) -> Iterator[Comparison]:
    """Yield the scores of predictions, and, where the package onnx is installed, exported models against networks."""
    inputs = tuple(NumberColumn(name, 0.0, 1.0, 0.0) for name in "abcd")
    targets: dict[Network, ClassTarget | NumberTarget] = {
        CLASSES: ClassTarget("class", ("u", "v", "w")),
        NUMBERS: NumberTarget(("p", "q", "r"), (0.0, 3.0, 1.0), (1.0, 2.0, 0.5), (-9.0,) * 3, (9.0,) * 3),
    }
    for network, target in targets.items():
        theta, x, y, _ = draw_data(network, generator)
        wanted = np.eye(3)[np.argmax(y, axis=-1)] if network is CLASSES else y
        scored = partial(_scores, network=network, preprocessing=Preprocessing(inputs, target))
        yield Comparison("fit", f"scores of {network.loss}", scored, (theta, x, wanted))
    numbers, weights = generator.normal(size=(2, N_SAMPLES, 2)), generator.uniform(size=N_SAMPLES)
    yield Comparison("fit", "R squared", _r_squared, (*numbers,))
    yield Comparison("fit", "R squared, weights", _r_squared, (*numbers, weights))
    if not importlib.util.find_spec("onnx"):
        return
    for network, n_networks in ((CLASSES, 1), (NUMBERS, 2)):
        stack = np.stack([draw_weights(network, generator) for _ in range(n_networks)])
        theta = stack if n_networks > 1 else stack[0]
        plain, exported = (partial(way, network=network) for way in (_predictions, _exported_predictions))
        what = f"ONNX model, {network.loss}" + (f", a stack of {n_networks}" if n_networks > 1 else "")
        yield Comparison("forward", what, exported, (theta, generator.normal(size=(N_SAMPLES, 4))), expected=plain)


def _scores(
    backend: Backend, theta: Array, x: Array, targets: Array, *, network: Network, preprocessing: Preprocessing
) -> Array:
    outputs = predict(network, theta, x, device=backend.name)
    found: Scores = score(preprocessing, to_numpy(targets), to_numpy(outputs))
    return to_backend(backend, np.asarray(list(found.values())), dtype_name(x))


def _r_squared(backend: Backend, *arrays: Array) -> Array:
    return to_backend(backend, np.asarray(r_squared(*arrays)), dtype_name(arrays[0]))


def _predictions(backend: Backend, theta: Array, x: Array, *, network: Network) -> Array:
    return predict(network, theta, x, device=backend.name)


def _exported_predictions(backend: Backend, theta: Array, x: Array, *, network: Network) -> Array:
    """Export the parameters of the device, and predict with onnxruntime, else with onnx's reference evaluator."""
    model = to_onnx(network, theta)
    evaluator: Any
    if importlib.util.find_spec("onnxruntime"):
        import onnxruntime

        evaluator = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    else:
        from onnx.reference import ReferenceEvaluator

        evaluator = ReferenceEvaluator(model)
    (outputs,) = evaluator.run(None, {"X": to_numpy(x)})
    return to_backend(backend, outputs)
