"""What each process of ``benchmarks/scaling.py`` measures: ``mpiexec -n 2 python -m benchmarks.scaling_worker``."""

import argparse
import json
import time
from functools import partial

import numpy as np
from mpi4py import MPI

from benchmarks.scaling_model import parameters_of
from gpubp.backends.backend import choose_backend
from gpubp.distributed.mpi import mpi_processes
from gpubp.engine.epoch import make_sweep, plain_sweep
from gpubp.engine.plain.minibatches import ArrayBatches, Batch
from gpubp.engine.plain.step import Objective, Position
from gpubp.nn.equations import dE_dw
from gpubp.nn.initialization import initial_weights
from gpubp.nn.losses import output_error
from gpubp.nn.network import Network, backward, flatten, forward
from gpubp.optim.first_order import adam

COMM = MPI.COMM_WORLD


def timed(work, rounds, n=1):
    """The seconds of a call, round by round, the slowest process's each time."""
    seconds = []
    for _ in range(rounds):
        COMM.Barrier()
        began = time.perf_counter()
        for _ in range(n):
            work()
        seconds.append(COMM.allreduce((time.perf_counter() - began) / n, op=MPI.MAX))
    return seconds


def exchanges(sizes, rounds):
    """Sums of arrays of so many bytes."""
    processes, found = mpi_processes(), []
    for n_bytes in sizes:
        array = np.zeros(n_bytes // 4, dtype="float32")
        n = max(1, min(200, (1 << 22) // n_bytes))
        timed(lambda array=array: processes.sum(array), 2, n)
        found.append({"bytes": n_bytes, "seconds": timed(lambda array=array: processes.sum(array), rounds, n)})
    return found


def problem(sizes, n_cases):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n_cases, sizes[0])).astype("float32")
    d = np.eye(sizes[-1], dtype="float32")[rng.integers(sizes[-1], size=n_cases)]
    network = Network(sizes, loss="cross_entropy")
    return network, x, d, initial_weights(network, 0, dtype="float32")


def steps(sizes, batch, rounds, n_steps=4, usual=False):
    """Whole steps of training: the plain way, as several processes take them, or the usual way of one process."""
    processes, backend = mpi_processes(), choose_backend("cpu")
    network, x, d, theta = problem(sizes, batch * n_steps)
    rule = adam()
    objective = Objective(network, processes=processes)
    if usual:
        sweep = make_sweep(backend, objective, rule, "float32", batch, 10**6)
    else:
        sweep = plain_sweep(backend, objective, rule, "float32")
    position = Position(theta, rule.init(backend.xp, theta), own_state=True)
    order = np.random.default_rng(0).permutation(batch * n_steps)
    batches = ArrayBatches(backend, Batch(x, d), batch, order, processes=processes)
    sweep(position, batches)
    return [seconds / n_steps for seconds in timed(lambda: sweep(position, batches), rounds)]


def parts_of_a_step(sizes, batch, rounds):
    """The parts of a step, in each process on the whole batch: forward, backward, the sum, the change."""
    processes, xp = mpi_processes(), choose_backend("cpu").xp
    network, x, d, theta = problem(sizes, batch)
    layers = forward(xp, network, theta, x)
    dE_dx = output_error(xp, network.loss, network.activations[-1], *layers[-1], d, None)[1]
    signals = backward(xp, network, theta, layers, dE_dx)
    sent = [x, *(layer.y for layer in layers[:-1])]

    def gradients():
        backward(xp, network, theta, layers, dE_dx)
        return flatten(xp, [dE_dw(xp, signal, below) for signal, below in zip(signals, sent, strict=True)])

    gradient, rule = gradients(), adam()
    state = rule.init(xp, theta)
    buffer = np.zeros(parameters_of(sizes) + 2, dtype="float32")
    works = {
        "forward": lambda: forward(xp, network, theta, x),
        "backward": gradients,
        "sum": lambda: processes.sum(buffer),
        "change": lambda: theta + rule.update(xp, gradient, state, theta, rule.at(0))[0],
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
