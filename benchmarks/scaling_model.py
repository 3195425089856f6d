"""A model of the cost of a training step in several processes, with few parameters, fitted or assumed.

A step of P parameters on a batch of B samples, shared by p processes, takes

    fixed + per_sample * B / p  +  exchange(4 P bytes, p)  +  update * P

seconds: the forward and backward pass on a share, one all-reduce, and the update of all parameters in every process.
"""

import math
from itertools import pairwise
from typing import NamedTuple

import numpy as np


class Compute(NamedTuple):
    """Seconds of a step in one process: fixed, for each sample, and for each parameter."""

    fixed: float
    per_sample: float
    update: float

    def seconds(self, batch, processes, parameters):
        """Return the seconds of a step without its exchange."""
        return self.fixed + self.per_sample * batch / processes + self.update * parameters


class Link(NamedTuple):
    """An all-reduce between two processes: its latency in seconds, and its bytes per second."""

    latency: float
    bandwidth: float

    def seconds(self, n_bytes):
        """Return the seconds of exchanging this many bytes."""
        return self.latency + n_bytes / self.bandwidth


def fitted_link(n_bytes, seconds):
    """Fit a link to measurements by their relative errors: least squares with weights 1 / seconds."""
    n_bytes, seconds = np.asarray(n_bytes, float), np.asarray(seconds, float)
    columns = np.stack([np.ones_like(n_bytes), n_bytes], axis=1) / seconds[:, None]
    latency, per_byte = np.linalg.lstsq(columns, np.ones_like(seconds), rcond=None)[0]
    return Link(float(max(latency, 0.0)), float(1.0 / per_byte))


def fitted_compute(batches, seconds, update_seconds, parameters):
    """Fit one process's cost to its steps on batches of several sizes; the update is measured separately."""
    batches, seconds = np.asarray(batches, float), np.asarray(seconds, float) - update_seconds
    columns = np.stack([np.ones_like(batches), batches], axis=1) / seconds[:, None]
    fixed, per_sample = np.linalg.lstsq(columns, np.ones_like(seconds), rcond=None)[0]
    return Compute(float(max(fixed, 0.0)), float(per_sample), float(update_seconds / parameters))


# --- GPUs, predicted ---


class Cluster(NamedTuple):
    """Machines with several GPUs each; bandwidths in bytes per second, in one direction."""

    gpus_of_a_machine: int
    flops: float  # of a GPU, at its peak
    memory: float  # bytes per second
    inside: float  # from GPU to GPU within a machine
    between: float  # from machine to machine, all adapters together


H100 = Cluster(8, 67e12, 3.35e12, 450e9, 400e9)
"""H100 SXM: 67 Tflop/s in float32, 3.35 TB/s of memory, and NVLink of 900 GB/s in both directions together, so 450 in
each (NVIDIA H100 Tensor Core GPU data sheet); and for each of the eight GPUs of a machine one InfiniBand adapter of
400 Gbit/s (NVIDIA DGX H100 data sheet)."""

EFFICIENCY = 0.5
"""Assumed fraction of the peak that matrix products and bandwidths reach; neither was measured here."""

LAUNCHES = 1e-3
"""Assumed seconds of a step for launching equations one at a time through CuPy; not measured."""

LAUNCHES_OF_A_GRAPH = 5e-5
"""The same if the kernels of a step are launched as one graph, as gpubp launches compiled steps; assumed."""

MICROSECOND = 1e-6


def exchange_of_nccl(n_bytes, processes, cluster=H100, efficiency=EFFICIENCY):
    """Return the seconds of the fastest of NCCL's algorithms, with the latencies by which NCCL chooses.

    The formulas and the latencies in microseconds are those of NCCL's own model (github.com/NVIDIA/nccl, the file
    src/graph/tuning.cc at commit 01afd20), which predates the H100.
    """
    if processes == 1:
        return 0.0
    machines = max(1, processes // cluster.gpus_of_a_machine)
    inside = processes // machines
    bandwidth = efficiency * (cluster.inside if machines == 1 else min(cluster.inside, cluster.between))
    between = 2 * math.log2(machines)
    hops = 2 * (processes - 1) - 2 * (machines - 1)
    ring = processes / (2 * (processes - 1))  # of the bandwidth, as a sum sees it
    ways = [
        (8.4 + hops * 3.4 + 2 * (machines - 1) * 9.6, bandwidth * ring),  # a ring
        # trees: 8 bytes at a time, 128 at a time, and in large pieces
        (4.4 + 2 * (inside - 1) * 0.52 * (1.8 if machines > 1 else 1.0) + between * 5.0, bandwidth * 0.45 / 3.8),
        (
            4.4 + 2 * (inside - 1) * 1.2 + between * 8.5,
            bandwidth * 0.45 * 0.9,
        ),
        (2 * (inside - 1) * 28.0 + between * 50.0, bandwidth * 0.45),
    ]
    return min(latency * MICROSECOND + n_bytes / of_way for latency, of_way in ways)


def parameters_of(sizes):
    """Count the weights and biases of a network."""
    return sum((below + 1) * above for below, above in pairwise(sizes))


def predicted_step(sizes, batch, processes, launches=LAUNCHES):
    """Predict a step of Adam in float32 on GPUs: seconds, and the part of them that is the exchange.

    Products take 6 operations for each parameter and sample; the update reads and writes 7 numbers for each parameter,
    and the gradient is copied to the one array that is exchanged, and back.
    """
    parameters = parameters_of(sizes)
    products = 6.0 * parameters * batch / processes / (EFFICIENCY * H100.flops)
    changed = (7 + (4 if processes > 1 else 0)) * 4.0 * parameters / (EFFICIENCY * H100.memory)
    exchange = exchange_of_nccl(4.0 * (parameters + 2), processes, H100, EFFICIENCY)
    seconds = max(launches, products + changed) + exchange
    return seconds, exchange / seconds
