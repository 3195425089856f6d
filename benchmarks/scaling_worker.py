"""The measurements of ``benchmarks/scaling.py``'s processes: ``mpiexec -n 2 python -m benchmarks.scaling_worker``."""

import argparse
import json
import time
from functools import partial

import numpy as np
from mpi4py import MPI

from benchmarks.scaling_model import parameters_of
from gpubp.backends.backend import choose_backend
from gpubp.distributed.mpi import mpi_process_group
from gpubp.engine.epoch import make_epoch_runner, plain_epoch_runner
from gpubp.engine.plain.minibatches import ArrayBatches, Batch
from gpubp.engine.plain.step import ModelState, Objective
from gpubp.nn.equations import dE_dw
from gpubp.nn.initialization import initial_weights
from gpubp.nn.losses import output_loss
from gpubp.nn.network import Network, flatten
from gpubp.nn.passes import backward, forward
from gpubp.optim.first_order import adam

COMM = MPI.COMM_WORLD


def timed(work, rounds, n=1):
    """Return the seconds of a call in each round, of the slowest process."""
    seconds = []
    for _ in range(rounds):
        COMM.Barrier()
        began = time.perf_counter()
        for _ in range(n):
            work()
        seconds.append(COMM.allreduce((time.perf_counter() - began) / n, op=MPI.MAX))
    return seconds


def exchanges(sizes, rounds):
    """Time sums of arrays of this many bytes."""
    processes, found = mpi_process_group(), []
    for n_bytes in sizes:
        array = np.zeros(n_bytes // 4, dtype="float32")
        n = max(1, min(200, (1 << 22) // n_bytes))
        timed(lambda array=array: processes.all_reduce(array), 2, n)
        found.append({"bytes": n_bytes, "seconds": timed(lambda array=array: processes.all_reduce(array), rounds, n)})
    return found


def problem(sizes, n_samples):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n_samples, sizes[0])).astype("float32")
    targets = np.eye(sizes[-1], dtype="float32")[rng.integers(sizes[-1], size=n_samples)]
    network = Network(sizes, loss="cross_entropy")
    return network, x, targets, initial_weights(network, 0, dtype="float32")


def steps(sizes, batch, rounds, n_steps=4, usual=False):
    """Time whole training steps: on the plain path, as in several processes, or on the usual path of one process."""
    processes, backend = mpi_process_group(), choose_backend("cpu")
    network, x, targets, theta = problem(sizes, batch * n_steps)
    optimizer = adam()
    objective = Objective(network, processes=processes)
    if usual:
        run_epoch = make_epoch_runner(backend, objective, optimizer, "float32")
    else:
        run_epoch = plain_epoch_runner(backend, objective, optimizer, "float32")
    position = ModelState(theta, optimizer.init(backend.xp, theta), own_state=True)
    order = np.random.default_rng(0).permutation(batch * n_steps)
    batches = ArrayBatches(backend, Batch(x, targets), batch, order, processes=processes)
    run_epoch(position, batches)
    return [seconds / n_steps for seconds in timed(lambda: run_epoch(position, batches), rounds)]


def parts_of_a_step(sizes, batch, rounds):
    """Time the parts of a step on the whole batch in each process: forward, backward, sum, update."""
    processes, xp = mpi_process_group(), choose_backend("cpu").xp
    network, x, targets, theta = problem(sizes, batch)
    layers = forward(xp, network, theta, x)
    dE_dx = output_loss(xp, network.loss, network.activations[-1], *layers[-1], targets, None)[1]
    signals = backward(xp, network, theta, layers, dE_dx)
    sent = [x, *(layer.y for layer in layers[:-1])]

    def gradients():
        backward(xp, network, theta, layers, dE_dx)
        return flatten(xp, [dE_dw(xp, signal, below) for signal, below in zip(signals, sent, strict=True)])

    gradient, optimizer = gradients(), adam()
    state = optimizer.init(xp, theta)
    buffer = np.zeros(parameters_of(sizes) + 2, dtype="float32")
    works = {
        "forward": lambda: forward(xp, network, theta, x),
        "backward": gradients,
        "sum": lambda: processes.all_reduce(buffer),
        "change": lambda: theta + optimizer.update(xp, gradient, state, theta, optimizer.at(0))[0],
    }
    return {name: timed(work, rounds, 2) for name, work in works.items()}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["exchanges", "steps", "usual", "parts"])
    parser.add_argument("--sizes", type=int, nargs="+", required=True, help="bytes, or units of layers")
    parser.add_argument("--batch", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    if options.what == "exchanges":
        found = exchanges(options.sizes, options.rounds)
    else:
        of = {"steps": steps, "usual": partial(steps, usual=True), "parts": parts_of_a_step}[options.what]
        found = of(tuple(options.sizes), options.batch, options.rounds)
    if COMM.Get_rank() == 0:
        print(
            json.dumps({"processes": COMM.Get_size(), "library": MPI.Get_library_version().split("\n")[0], "of": found})
        )


if __name__ == "__main__":
    main()
