"""What a program costs is counted."""

import cupy
import numpy as np
import pytest

from tests.cuda_on_cpu.activation import COUNTERS, counters

HOST = np.zeros(4, "float32")
COSTS = {
    "a sum of arrays": (lambda x, stream: x + x, {"launches": 1}),
    "a product": (lambda x, stream: cupy.matmul(x[:, None], x[None, :]), {"launches": 1}),
    "an upload": (lambda x, stream: x.set(HOST), {"uploads": 1, "uploaded_bytes": 16}),
    "a download": (lambda x, stream: x.get(), {"downloads": 1, "synchronizations": 1}),
    "a wait": (lambda x, stream: stream.synchronize(), {"synchronizations": 1}),
    "memory outside the pool": (lambda x, stream: cupy.cuda.Memory(16), {"allocations": 1}),
}


@pytest.mark.parametrize("what", COSTS)
def test_cost(what, stream):
    work, cost = COSTS[what]
    x = cupy.zeros(4, "float32")
    work(x, stream)  # kernels are compiled, and the pool has memory
    before = counters()
    work(x, stream)
    after = counters()
    counted = {name: getattr(after, name) - getattr(before, name) for name in COUNTERS}
    assert {name: count for name, count in counted.items() if count} == cost


def test_nodes_of_graphs(stream):
    x = cupy.zeros(4, "float32")
    x += 1
    stream.begin_capture()
    for _ in range(3):
        x += 1
    graph = stream.end_capture()
    before = counters()
    graph.launch(stream)
    graph.launch(stream)
    after = counters()
    assert after.graph_launches - before.graph_launches == 2
    assert after.graph_nodes - before.graph_nodes == 6
    assert after.launches == before.launches
