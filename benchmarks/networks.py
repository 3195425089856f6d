"""Microseconds per step of stacks of 1 to 100,000 networks, trained at once on a GPU by gpubp, PyTorch and JAX.

All train by Adam on the same batches. A stack's networks differ by a factor of their first weights, and a time counts
only if the loss of the first network agrees with that of a float64 reference for two epochs. The time of a step is a
difference between a long and a short run, so it has no compilation, validation or copies to and from the device.
"""

import time
from itertools import pairwise
from statistics import median

import numpy as np

from benchmarks.agreement import disagreement
from benchmarks.problem import make_problem
from benchmarks.with_float64 import reference_curve
from benchmarks.workloads import step_spec

NETWORKS = {  # output, batch
    (20, 64, 64, 2): ("logistic", 64),
    (6, 2, 2): ("logistic", 64),
    (784, 256, 10): ("softmax", 128),
}
COUNTS = (1, 10, 100, 1_000, 10_000, 100_000)
BATCHES = 16
SHARE_OF_MEMORY = 0.8
LABELS = {
    "gpubp": "gpubp",
    "torch-graph": "PyTorch, bmm in a CUDA graph",
    "jax-vmap": "JAX, vmap in scan",
    "torch-vmap": "PyTorch, vmap",
}


def measure(contender, device, save, deadline, seconds=0.1, counts=COUNTS):
    """Measure all stacks with one contender, those of few networks first.

    Parameters
    ----------
    contender : str
        A key of ``LABELS``.
    device : {"cpu", "cuda"}
    save : callable
        Called after each stack with all results so far: by ``"sizes x networks"`` a dict of ``"seconds"`` of a step, or
        of ``"failed"``.
    deadline : float
        No stack is begun after this value of ``time.monotonic()``.
    seconds : float
        About the duration of a long run.
    counts : sequence of int
        Numbers of networks.
    """
    found, problems = {}, {}
    for sizes, (output, batch) in NETWORKS.items():
        problem = make_problem(step_spec(sizes, "relu", output, "adam", batch, BATCHES))
        problems[sizes] = problem, reference_curve(problem, 2, corrected=contender.startswith("torch"))
    for n in counts:
        for sizes, (problem, expected) in problems.items():
            name = f"{'-'.join(map(str, sizes))} x {n}"
            found[name] = {"failed": "not reached"}
            if time.monotonic() < deadline:
                try:
                    found[name] = _one(contender, problem, expected, n, device, seconds)
                except Exception as error:
                    found[name] = {"failed": f"{type(error).__name__}: {error}".split("\n")[0][:200]}
            save(found)
    return found


def bytes_needed(spec, n):
    """Estimate a stack's memory: weights, gradients, Adam's state and its next values, and each layer's outputs."""
    weights = sum((i + 1) * j for i, j in pairwise(spec["sizes"]))
    return 4 * n * (6 * weights + 3 * spec["batch"] * sum(spec["sizes"][1:]))


def _one(contender, problem, expected, n, device, seconds):
    needed = bytes_needed(problem.spec, n)
    if needed > SHARE_OF_MEMORY * _free_bytes(contender, device):
        return {"failed": f"would need about {needed / 2**30:.0f} GiB"}
    curve, run = CONTENDERS[contender](problem, n, device)
    if why := disagreement({"curve": curve}, {"curve": expected}, "float32"):
        return {"failed": why}
    return {"seconds": seconds_per_epoch(run, seconds) / BATCHES}


def seconds_per_epoch(run, seconds):
    """Return the time of an epoch without what ``run(epochs)`` does once."""

    def timed(epochs):
        began = time.perf_counter()
        run(epochs)
        return time.perf_counter() - began

    timed(1)
    short, more = timed(1), 1
    spent = longer = timed(1 + more)
    while longer - short < seconds / 2 and spent < 20 * seconds:
        more *= 4
        longer = timed(1 + more)
        spent += longer
    found = median(timed(1 + more) - timed(1) for _ in range(3)) / more
    if found <= 0:
        raise ValueError("a long run took no longer than a short one")
    return found


def _free_bytes(contender, device):
    if device == "cpu":
        return 2**28
    if contender == "gpubp":
        import cupy

        cupy.get_default_memory_pool().free_all_blocks()
        return cupy.cuda.runtime.memGetInfo()[0]
    if contender == "jax-vmap":
        import jax

        return jax.devices()[0].memory_stats()["bytes_limit"]
    import torch

    torch.cuda.empty_cache()
    return torch.cuda.mem_get_info()[0]


def _factors(n):
    return (1 - 0.1 * np.arange(n) / n).astype("float32")


def _with_gpubp(problem, n, device):
    import gpubp

    spec = problem.spec
    loss = "cross_entropy" if spec["output"] == "softmax" else "binary_cross_entropy"
    network = gpubp.Network(spec["sizes"], activation=spec["activation"], loss=loss)
    theta = np.concatenate([part.ravel() for layer in problem.weights for part in layer])
    x, targets, factors = problem.x, problem.targets, _factors(n)
    if device == "cuda":
        import cupy

        theta, x, targets, factors = (cupy.asarray(array) for array in (theta, x, targets, factors))
    if n > 1:
        theta = theta * factors[:, None]
    options = {"theta": theta, "optimizer": gpubp.adam(spec["rate"]), "batch_size": spec["batch"]}
    options |= {"shuffle": False, "device": device}
    curve = gpubp.train(network, x, targets, epochs=2, **options).history.loss
    first = [float(np.ravel(loss)[0]) for loss in curve]
    return first, lambda epochs: gpubp.train(network, x, targets, epochs=epochs, history=False, **options)


def _with_torch(problem, n, device, vmapped=False):
    """Train stacks of matrices by ``bmm``, an epoch being a CUDA graph; or eagerly by ``torch.func.vmap``."""
    import torch
    from torch.nn import functional

    spec, softmax = problem.spec, problem.spec["output"] == "softmax"
    torch.backends.cuda.matmul.allow_tf32 = False
    factors = torch.from_numpy(_factors(n)).to(device)[:, None, None]
    parameters = []
    for w, b in problem.weights:
        parameters += [torch.from_numpy(w).to(device) * factors, torch.from_numpy(b[None]).to(device) * factors]
    graph = device == "cuda" and not vmapped
    for parameter in parameters:
        parameter.requires_grad_()
    optimizer = torch.optim.Adam(parameters, lr=spec["rate"], fused=True, capturable=graph)
    batches = [(torch.from_numpy(x).to(device), torch.from_numpy(t).to(device)) for x, t in problem.batches]

    def error(layers, x, targets):
        """Return the losses of all networks, (n,), or inside ``vmap`` that of one."""
        y = x
        for at in range(0, len(layers), 2):
            y = (
                torch.matmul(y, layers[at]) + layers[at + 1]
                if vmapped
                else torch.baddbmm(layers[at + 1], y, layers[at])
            )
            y = y if at == len(layers) - 2 else functional.relu(y)
        if softmax:
            return -(targets * functional.log_softmax(y, dim=-1)).sum(dim=(-2, -1)) / spec["batch"]
        return (functional.softplus(y) - targets * y).sum(dim=(-2, -1)) / spec["batch"]

    of_all = torch.func.vmap(torch.func.grad_and_value(error), in_dims=(0, None, None))

    def run_epoch():
        total = torch.zeros((), device=device)
        for x, targets in batches:
            if vmapped:
                gradients, losses = of_all([parameter.detach() for parameter in parameters], x, targets)
                for parameter, gradient in zip(parameters, gradients, strict=True):
                    parameter.grad = gradient
            else:
                optimizer.zero_grad(set_to_none=True)
                losses = error(parameters, x.expand(n, *x.shape), targets)
                losses.sum().backward()
            optimizer.step()
            total += losses.detach()[0]
        return total / len(batches)

    if not graph:

        def run(epochs):
            for _ in range(epochs):
                value = run_epoch()
            return float(value)  # waits for the device

        return [run(1), run(1)], run
    warm_up = torch.cuda.Stream()
    warm_up.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(warm_up):
        first = run_epoch()  # makes the optimizer's state and the libraries' workspaces
    torch.cuda.current_stream().wait_stream(warm_up)
    first = float(first)
    captured = torch.cuda.CUDAGraph()
    optimizer.zero_grad(set_to_none=True)
    with torch.cuda.graph(captured):
        value = run_epoch()

    def run(epochs):
        for _ in range(epochs):
            captured.replay()
        return float(value)

    return [first, run(1)], run


def _with_jax(problem, n, device):
    import jax
    import jax.numpy as jnp

    from benchmarks.with_jax import training_step

    spec, cut = problem.spec, (BATCHES, problem.spec["batch"], -1)
    stacked = (jnp.asarray(problem.x.reshape(cut)), jnp.asarray(problem.targets.reshape(cut)))
    axes = (0, (0, 0), None)  # the count of steps is shared
    one = jax.vmap(training_step(spec), in_axes=(axes, None), out_axes=(axes, 0))
    epoch = jax.jit(lambda position, batches: jax.lax.scan(one, position, batches), donate_argnums=0)
    factors = jnp.asarray(_factors(n))
    weights = [(w * factors[:, None, None], b * factors[:, None]) for w, b in problem.weights]
    zeros = [jax.tree.map(jnp.zeros_like, weights) for _ in range(2)]
    held = [(weights, tuple(zeros), jnp.zeros((), "int32"))]
    del weights, zeros  # they are donated

    def run(epochs):
        for _ in range(epochs):
            held[0], losses = epoch(held[0], stacked)
        return float(np.mean(losses[:, 0]))  # waits for the device

    return [run(1), run(1)], run


def _with_torch_vmap(problem, n, device):
    return _with_torch(problem, n, device, vmapped=True)


CONTENDERS = {
    "gpubp": _with_gpubp,
    "torch-graph": _with_torch,
    "jax-vmap": _with_jax,
    "torch-vmap": _with_torch_vmap,
}
