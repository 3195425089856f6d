"""The program of the processes in ``tests/distributed/test_mpi.py``: ``python -m tests.mpi_program train``."""

import hashlib
import json
import os
import signal
import sys
import time

import numpy as np

from gpubp.distributed.launch import process_group_for
from gpubp.nn.network import Network
from gpubp.optim.first_order import momentum
from gpubp.training.fit import train

EPOCHS = 20


def problem(dtype):
    """100 steps."""
    rng = np.random.default_rng(0)
    x, targets = rng.normal(size=(53, 5)), np.eye(3)[rng.integers(3, size=53)]
    return {
        "network": Network((5, 7, 3), activation="tanh", loss="cross_entropy"),
        "X": x,
        "targets": targets,
        "optimizer": momentum(0.1, 0.9),
        "epochs": EPOCHS,
        "batch_size": 11,
        "l2": 0.1,
        "dtype": dtype,
        "device": "cpu",
        "validation_data": (x[:20] + 0.1, targets[:20]),
    }


def trained():
    """Train in both precisions; the first process prints all parameters and a summary of each process."""
    processes, fits = process_group_for("mpi"), {}
    for dtype in ("float64", "float32"):
        calls = []
        theta = train(**problem(dtype), callbacks=[calls.append], parallel="mpi").theta
        reported = processes.comm.allgather((hashlib.sha256(theta.tobytes()).hexdigest(), len(calls)))
        hashes, callbacks = zip(*reported, strict=True)
        fits[dtype] = theta.tolist(), hashes, callbacks
    if processes.rank == 0:
        print(json.dumps({"size": processes.world_size, "fits": fits}))


def dying(rank, how):
    """Train; the chosen process dies in the middle of an epoch."""
    processes, steps = process_group_for("mpi"), []

    def rate(epoch):
        steps.append(epoch)
        if processes.rank == rank and len(steps) == 30:
            print(f"dies at {time.time()}", flush=True)
            if how == "raise":
                raise ZeroDivisionError("on purpose")
            os.kill(os.getpid(), {"kill": signal.SIGKILL, "terminate": signal.SIGTERM}[how])
        return 0.1

    train(**problem("float64") | {"epochs": 10**6, "optimizer": momentum(rate, 0.9)}, parallel="mpi")


if __name__ == "__main__":
    if sys.argv[1] == "train":
        trained()
    else:
        dying(int(sys.argv[2]), sys.argv[3])
