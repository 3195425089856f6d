"""``python -m benchmarks.xor_stack``: train 100,000 networks on XOR in one call, as docs/search.md does.

It writes how many solve it, the seconds and the peak memory of the process to benchmarks/results/DATE-xor-stack.json.
"""

import argparse
import time
from pathlib import Path

import numpy as np

import gpubp
from benchmarks.machine import provenance, write_result
from benchmarks.page import FIGURES
from benchmarks.worker import memory


def measure(n_networks, epochs):
    """Train them; return the figures."""
    x, targets = np.float32([[0, 0], [0, 1], [1, 0], [1, 1]]), np.float32([[0], [1], [1], [0]])
    network = gpubp.Network((2, 4, 1), activation="tanh", output_activation="logistic")
    began = time.perf_counter()
    fit = gpubp.train(
        network,
        x,
        targets,
        theta=gpubp.initial_weights(network, range(n_networks), scheme="uniform", scale=1.0),
        optimizer=gpubp.momentum(0.5, 0.9),
        epochs=epochs,
        batch_size="full",
        reduction="sum",
        stop_when=gpubp.all_correct,
        history=False,
        device="cpu",
    )
    figures = {"networks": n_networks, "epochs": epochs, "solved": int(np.sum(fit.solved))}
    return figures | {"seconds": time.perf_counter() - began, "peak_bytes": memory(0)["peak_bytes"]}


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m benchmarks.xor_stack", description=__doc__.partition("\n")[0])
    parser.add_argument("--networks", type=int, default=100_000)
    parser.add_argument("--epochs", type=int, default=2000)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args(arguments)
    result = provenance()
    result["xor-stack"] = measure(options.networks, options.epochs)
    print(*FIGURES["xor-stack"]([result]), write_result(result, "xor-stack", options.output), sep="\n")


if __name__ == "__main__":
    main()
