"""The program of the processes in ``tests/distributed``: ``python -m tests.mpi_program train cpu``."""

import functools
import hashlib
import json
import os
import signal
import sys
import time

import numpy as np

from gpubp.distributed.launch import launched, process_group_for
from gpubp.nn.network import Network
from gpubp.optim.first_order import momentum
from gpubp.training.fit import train

EPOCHS = 20


def problem(dtype, device="cpu"):
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
        "device": device,
        "parallel": "mpi" if launched()[1] > 1 else None,
        "validation_data": (x[:20] + 0.1, targets[:20]),
    }


def trained(device):
    """Train in both precisions; the first process prints all parameters, a summary of each process, and its counts."""
    processes, fits, counts = process_group_for("mpi"), {}, {}
    for dtype in ("float64", "float32"):
        calls = []
        theta = train(**problem(dtype, device), callbacks=[lambda _, calls=calls: calls.append(counted())]).theta
        reported = processes.comm.allgather((hashlib.sha256(theta.tobytes()).hexdigest(), len(calls)))
        hashes, callbacks = zip(*reported, strict=True)
        fits[dtype] = theta.tolist(), hashes, callbacks
        if calls:
            counts[dtype] = {name: n - calls[-2][name] for name, n in calls[-1].items()}  # of the last epoch
    if processes.rank == 0:
        print(json.dumps({"size": processes.world_size, "fits": fits, "counts": counts}))


def counted():
    """Return what the emulated GPU has counted so far, if there is one."""
    emulated = sys.modules.get("tests.cuda_on_cpu.activation")
    return vars(emulated.counters()) if emulated else {}


def without_order():
    """Plant a fault: sums run on a stream that does not wait for the gradients."""
    import cupy
    from cupyx.distributed import NCCLBackend

    all_reduce, make_stream = NCCLBackend.all_reduce, functools.cache(cupy.cuda.Stream)  # on the process's device
    NCCLBackend.all_reduce = lambda nccl, array, out: all_reduce(
        nccl, array, out, stream=make_stream(non_blocking=True)
    )


def of_a_copy():
    """Plant a fault: a copy of the gradients is summed."""
    from cupyx.distributed import NCCLBackend

    all_reduce = NCCLBackend.all_reduce
    NCCLBackend.all_reduce = lambda nccl, array, out: all_reduce(nccl, array.copy(), out.copy())


def dying(rank, how, device):
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

    train(**problem("float64", device) | {"epochs": 10**6, "optimizer": momentum(rate, 0.9)})


if __name__ == "__main__":
    if sys.argv[1] == "die":
        dying(int(sys.argv[2]), sys.argv[3], sys.argv[4])
    else:
        if sys.argv[1] != "train":
            {"without_order": without_order, "of_a_copy": of_a_copy}[sys.argv[1]]()
        trained(sys.argv[2])
