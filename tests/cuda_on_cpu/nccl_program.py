"""The processes of ``test_nccl.py``: two, with a device each. Each check returns what the first process prints."""

import json

import cupy
import numpy as np
from cupy.cuda import nccl
from cupyx.distributed import NCCLBackend

from gpubp.distributed.launch import launched
from tests.cuda_on_cpu.activation import counters, forget_fault

RANK, _ = launched()


def sums(processes):
    found = []
    for dtype in ("float32", "float64", "int32", "int64"):
        own = [np.random.default_rng(rank).normal(scale=1e3, size=100_003).astype(dtype) for rank in range(2)]
        x = cupy.asarray(own[RANK])
        total = cupy.empty_like(x)
        processes.all_reduce(x, total)
        found.append(bool((total.get() == own[0] + own[1]).all() and (x.get() == own[RANK]).all()))
    return found


def copies(processes):
    x = cupy.full(5, RANK + 1.0, "float32")
    processes.broadcast(x, root=1)
    return x.tolist()


def read_by_another_stream(processes, *, waits):
    x, other = cupy.full(3, RANK + 1.0), cupy.cuda.Stream(non_blocking=True)
    cupy.cuda.get_current_stream().synchronize()
    processes.all_reduce(x, x)
    if waits:
        other.wait_event(cupy.cuda.get_current_stream().record())
    processes.barrier()
    seen = x.get(stream=other).tolist()
    processes.barrier()  # the collective runs when a process waits for it
    return seen


def in_a_graph(processes):
    x, stream = cupy.full(3, RANK + 1.0), cupy.cuda.get_current_stream()
    stream.begin_capture()
    processes.all_reduce(x, x)
    graph = stream.end_capture()
    seen, before = [x.tolist()], counters()
    for _ in range(2):
        graph.launch(stream)
    seen.append(x.tolist())
    after = counters()
    return seen, after.graph_nodes - before.graph_nodes, after.collectives - before.collectives


def while_the_host_is_busy(processes):
    x = cupy.full(3, RANK + 1.0)
    processes.all_reduce(x, x)
    if RANK == 0:
        cupy.cuda.get_current_stream().synchronize()
    processes.barrier()  # the second process waits here, not for its device
    return x.tolist()


def failing(work):
    try:
        work()
        cupy.cuda.get_current_stream().synchronize()
    except Exception as error:
        return str(error)
    finally:
        forget_fault()


def different_collectives(processes):
    x = cupy.zeros(3 + RANK)
    return failing(lambda: processes.all_reduce(x, x))


def beyond_an_array(processes):
    x = cupy.ndarray(3, "float32", cupy.cuda.MemoryPointer(cupy.cuda.Memory(12), 0))
    numbers = (4, nccl.NCCL_FLOAT32, nccl.NCCL_SUM, cupy.cuda.get_current_stream().ptr)
    return failing(lambda: processes._comm.allReduce(x.data.ptr, x.data.ptr, *numbers))


def a_stream_of_another_device(processes):
    with cupy.cuda.Device(1 - RANK):
        x, stream = cupy.zeros(3), cupy.cuda.Stream()
        return failing(lambda: processes.all_reduce(x, x, stream=stream))


def two_on_one_device(processes):
    with cupy.cuda.Device(0):
        return failing(lambda: NCCLBackend(2, RANK, use_mpi=True))


CHECKS = {
    "sums": sums,
    "copies": copies,
    "a missing wait": lambda processes: read_by_another_stream(processes, waits=False),
    "a wait": lambda processes: read_by_another_stream(processes, waits=True),
    "in a graph": in_a_graph,
    "while the host is busy": while_the_host_is_busy,
    "different collectives": different_collectives,
    "beyond an array": beyond_an_array,
    "a stream of another device": a_stream_of_another_device,
    "two on one device": two_on_one_device,
}

if __name__ == "__main__":
    with cupy.cuda.Device(RANK), cupy.cuda.Stream(non_blocking=True):
        backend = NCCLBackend(2, RANK, use_mpi=True)
        found = backend._mpi_comm.gather({name: check(backend) for name, check in CHECKS.items()})
    if RANK == 0:
        print(json.dumps(found))
