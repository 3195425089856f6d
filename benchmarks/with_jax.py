"""JAX: a jitted step called from Python, or a full batch as one scan."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.problem import MOMENTUM

ONE_BY_ONE = True  # one network of a stack is trained, and its time multiplied by their number
PRECISIONS = {"float32": "highest", "tf32": "tensorfloat32"}
jax.config.update("jax_default_matmul_precision", "highest")  # on a GPU, JAX would round float32 by default


def step(problem, scan=False, device="cpu"):
    """Train on batches that are already on the device, the only one that JAX_PLATFORMS allows."""
    spec = problem.spec
    jax.config.update("jax_default_matmul_precision", PRECISIONS[spec.get("matmul", "float32")])

    one = training_step(spec)
    if scan:
        cut = (spec["batches"], spec["batch"], -1)
        stacked = (jnp.asarray(problem.x.reshape(cut)), jnp.asarray(problem.targets.reshape(cut)))
        run_epoch = jax.jit(lambda position: jax.lax.scan(one, position, stacked), donate_argnums=0)
    else:
        batches = [(jnp.asarray(x), jnp.asarray(targets)) for x, targets in problem.batches]
        jitted = jax.jit(one, donate_argnums=0)

        def run_epoch(position):
            values = []
            for batch in batches:
                position, value = jitted(position, batch)
                values.append(value)
            return position, values

    def run(epochs):
        weights = [(jnp.array(w), jnp.array(b)) for w, b in problem.weights]
        zeros = partial(jax.tree.map, jnp.zeros_like)
        position, curve = (weights, (zeros(weights), zeros(weights)), jnp.zeros((), "int32")), []
        for _ in range(epochs):
            position, values = run_epoch(position)
            curve.append(float(np.mean(jax.device_get(values))))
        return curve

    return run


def training_step(spec):
    """Return the function of a step for ``jax.lax.scan``."""

    def one(position, batch):
        weights, state, count = position
        value, gradient = jax.value_and_grad(partial(_error, spec))(weights, *batch)
        return _descend(spec, weights, gradient, state, count + 1), value

    return one


def predict(problem, device="cpu"):
    """Compute outputs, NumPy in and NumPy out."""
    weights = [(jnp.array(w), jnp.array(b)) for w, b in problem.weights]
    activation = jax.nn.softmax if problem.spec["output"] == "softmax" else jax.nn.sigmoid
    outputs = jax.jit(lambda x: activation(_total_output(problem.spec, weights, x)))
    return lambda x: np.asarray(outputs(x))


def gpu_bytes():
    """Return the peak of the GPU memory in use."""
    return jax.devices()[0].memory_stats()["peak_bytes_in_use"]


def _total_output(spec, weights, x):
    activation = jax.nn.relu if spec["activation"] == "relu" else jax.nn.sigmoid
    for w, b in weights[:-1]:
        x = activation(x @ w + b)
    return x @ weights[-1][0] + weights[-1][1]


def _error(spec, weights, x, targets):
    total = _total_output(spec, weights, x)
    if spec["output"] == "softmax":
        return -jnp.sum(targets * jax.nn.log_softmax(total)) / len(x)
    return jnp.sum(jax.nn.softplus(total) - targets * total) / len(x)


def _descend(spec, weights, gradient, state, count):
    rate, (first, second) = spec["rate"], state
    if spec["optimizer"] == "momentum":
        first = jax.tree.map(lambda v, g: MOMENTUM * v - rate * g, first, gradient)
        return jax.tree.map(jnp.add, weights, first), (first, second), count
    first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, gradient)
    second = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g**2, second, gradient)
    rate = rate * jnp.sqrt(1 - 0.999**count) / (1 - 0.9**count)
    weights = jax.tree.map(lambda w, m, v: w - rate * m / (jnp.sqrt(v) + 1e-8), weights, first, second)
    return weights, (first, second), count
