"""gpubp through its public functions: ``train``, ``predict``, ``MLPClassifier``."""

import functools
import os
import weakref

import numpy as np

import gpubp
from benchmarks.problem import MOMENTUM


def step(problem, device="cpu", other=False):
    """Train by ``train``, including its validation of the arguments."""
    if other:
        _choose_otherwise()
    os.environ.setdefault("GPUBP_COMPILED", "always")  # as in training of more than half a second
    spec, theta, network = problem.spec, _flat(problem), _network(problem.spec)
    x, targets = (_on_device(array, device) for array in (problem.x, problem.targets))
    optimizer = gpubp.adam(spec["rate"]) if spec["optimizer"] == "adam" else gpubp.momentum(spec["rate"], MOMENTUM)
    options = {"theta": theta, "optimizer": optimizer, "batch_size": spec["batch"], "shuffle": False, "device": device}
    options["matmul_precision"] = spec.get("matmul", "float32")
    if "stack" in spec:
        others = gpubp.initial_weights(network, range(spec["stack"] - 1), dtype=spec["dtype"])
        options["theta"] = np.concatenate([theta[None], others])

    def run(epochs):
        errors = gpubp.train(network, x, targets, epochs=epochs, **options).history.loss
        return [of_all[0] for of_all in errors] if "stack" in spec else errors

    return run


def predict(problem, device="cpu"):
    """Compute outputs, NumPy in and NumPy out."""
    theta, network = _flat(problem), _network(problem.spec)
    return lambda x: gpubp.predict(network, theta, x, device=device)


def estimator(parameters, device="cpu"):
    """Make a classifier."""
    return gpubp.MLPClassifier(**parameters, random_state=0, device=device)


def _choose_otherwise():
    """Make the choices that gpubp makes by arithmetic the other way, for the whole process.

    Gradients' products are computed beside the backward pass where they would not be, and not where they would; small
    networks of a stack have all threads that they can use.
    """
    from gpubp.engine.cuda import small_networks, steps

    has_branches = steps.has_branches
    steps.has_branches = lambda *arguments, **options: not has_branches(*arguments, **options)
    small_networks.threads_of_each = lambda device, threads, *_: threads


def gpu_bytes():
    """Return the peak of the GPU memory: CuPy's pool, and what compiled kernels take outside it."""
    import cupy

    return cupy.get_default_memory_pool().total_bytes() + getattr(cupy.cuda.Memory, "peak", 0)


@functools.cache
def _count_memory():
    """Count the memory that is taken outside CuPy's pool."""
    import cupy

    class CountedMemory(cupy.cuda.Memory):
        now = peak = 0

        def __init__(self, n_bytes):
            super().__init__(n_bytes)
            CountedMemory.now += n_bytes
            CountedMemory.peak = max(CountedMemory.peak, CountedMemory.now)
            weakref.finalize(self, CountedMemory.released, n_bytes)

        @classmethod
        def released(cls, n_bytes):
            cls.now -= n_bytes

    cupy.cuda.Memory = CountedMemory


def _network(spec):
    loss = "cross_entropy" if spec["output"] == "softmax" else "binary_cross_entropy"
    return gpubp.Network(spec["sizes"], activation=spec["activation"], loss=loss)


def _flat(problem):
    return np.concatenate([part.ravel() for layer in problem.weights for part in layer])


def _on_device(array, device):
    if device == "cpu":
        return array
    import cupy

    _count_memory()

    return cupy.asarray(array)
