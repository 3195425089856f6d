"""Check facts about a GPU that gpubp's CUDA code relies on, one at a time; times are medians in microseconds."""

import contextlib
import subprocess
import time
from statistics import median

import numpy as np

TRANSPOSED = [(a, b) for a in (False, True) for b in (False, True)]


def versions():
    """Return the GPU and the versions of its software."""
    import importlib.metadata

    import cupy

    runtime = cupy.cuda.runtime
    about = runtime.getDeviceProperties(0)
    found = {"gpu": about["name"].decode(), "multiprocessors": about["multiProcessorCount"]}
    found |= {"driver": runtime.driverGetVersion(), "runtime": runtime.runtimeGetVersion(), "cupy": cupy.__version__}
    for name in ("numpy", "nvmath-python", "torch", "jax", "array-api-compat"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    with contextlib.suppress(Exception):  # a GPU's first minutes need not fail for this
        found["cublas"] = cupy.cuda.cublas.getVersion(cupy.cuda.device.get_cublas_handle())
    return found | {"state": state()}


STATE = ("driver_version", "pstate", "clocks.sm", "clocks.mem", "clocks.max.sm", "power.draw", "power.limit")
STATE += ("temperature.gpu",)


def state():
    """Return the driver, power state, clocks in MHz, power in W and temperature that nvidia-smi shows, if it does."""
    found = {}
    for name in STATE:  # one by one: an nvidia-smi that does not know one of them shows none
        command = ["nvidia-smi", f"--query-gpu={name}", "--format=csv,noheader,nounits"]
        with contextlib.suppress(OSError, subprocess.SubprocessError, IndexError):
            shown = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout
            found[name] = shown.splitlines()[0].strip()
    return found


def doctor():
    """List the doctor's findings about this machine."""
    from gpubp.cli.doctor.diagnosis import diagnose

    return {finding.name: finding.detail for finding in diagnose() if finding.status in ("warning", "fault")}


def capture_refused():
    """Return how CuPy's product fails during a capture, the reason why gpubp has its own product."""
    import cupy

    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        a = cupy.ones((64, 64), "float32")
        cupy.matmul(a, a)
        stream.synchronize()
        stream.begin_capture()
        try:
            cupy.matmul(a, a)
            message = "captured"
        except Exception as error:
            message = f"{type(error).__name__}: {error}"[:200]
        finally:
            try:
                stream.end_capture()
            except Exception as error:
                message += f"; then {type(error).__name__}"
    return {"message": message}


def products_captured():
    """Find the largest deviation of captured and replayed products, of single matrices and of stacks."""
    device, found = _device(), {}
    rng = np.random.default_rng(0)
    with device.active():
        for stack in ((), (5,)):
            for a_transposed, b_transposed in TRANSPOSED:
                a, b = rng.standard_normal((*stack, 48, 96)), rng.standard_normal((*stack, 96, 32))
                on_device = [
                    device.upload((part.mT if turned else part).astype("float32"))
                    for part, turned in ((a, a_transposed), (b, b_transposed))
                ]
                to = device.empty((*stack, 48, 32), "float32")
                how = {"a_transposed": a_transposed, "b_transposed": b_transposed}
                device.multiply(*on_device, to, **how)
                device.wait()
                replay = device.capture(lambda given=(*on_device, to), how=how: device.multiply(*given, **how))
                to.fill(np.nan)
                replay()
                name = f"{'stack' if stack else 'single'}{' a^T' * a_transposed}{' b^T' * b_transposed}"
                found[name] = float(np.max(np.abs(device.download(to) - np.matmul(a, b))))
    return {"largest deviation": found}


def graph_nodes():
    """Time graphs of many small kernels: their nodes, and their creation."""
    device, found = _device(), {}
    source = 'extern "C" __global__ void add_one(float* x) {\n    x[threadIdx.x] += 1;\n}\n'
    kernel = device.kernels(source)["add_one"]
    with device.active():
        x = device.upload(np.zeros(32, "float32"))
        device.launch(kernel, 1, 32, 0, x)

        def many(n):
            return lambda: [device.launch(kernel, 1, 32, 0, x) for _ in range(n)]

        for n in (1, 10, 100, 1000):
            began = time.perf_counter()
            replay = device.capture(many(n))
            made = time.perf_counter() - began
            found[n] = {"per node": _microseconds(replay, device.wait, max(10, 2000 // n)) / n, "creation": made * 1e6}
        found["a launch without a graph"] = _microseconds(many(1), device.wait, 1000)
    return found


def bandwidth():
    """Measure copies on the device, and to it from pageable and from pinned memory."""
    device, n = _device(), 1 << 26
    with device.active():
        places = [device.empty((n,), "float32") for _ in range(2)]
        pinned = device.pinned((n,), "float32")
        pinned[...] = 1.0
        usual = np.ones(n, "float32")
        ways = {
            "on the device, read and written": (lambda: device.copy(*places), 8 * n),
            "from pinned memory": (lambda: device.follow(device.send([(pinned, places[0])], None)), 4 * n),
            "from usual memory": (lambda: device.upload(usual, places[0]), 4 * n),
        }
        found = {}
        for name, (copy, n_bytes) in ways.items():
            found[f"{name}, GB/s"] = n_bytes / _microseconds(copy, device.wait, 5) / 1e3
    return found


def same_bits():
    """Return whether two equal fits, of one network and of a stack, give the same bits."""
    import gpubp

    rng, found = np.random.default_rng(0), {}
    small, larger = (20, 64, 64, 2), (300, 300, 2)
    for sizes, seeds in (((784, 256, 10), 0), (small, 0), (small, range(8)), (larger, (0, 1))):
        x = rng.standard_normal((1000, sizes[0])).astype("float32")
        targets = np.eye(sizes[-1], dtype="float32")[rng.integers(0, sizes[-1], 1000)]
        network = gpubp.Network(sizes, activation="relu", loss="cross_entropy")
        how = {"epochs": 20, "batch_size": 128, "seed": seeds, "device": "cuda"}
        one, other = (gpubp.train(network, x, targets, **how).theta for _ in range(2))
        found[f"{'-'.join(map(str, sizes))}, {len(one) if one.ndim == 2 else 1}"] = bool(np.array_equal(one, other))
    return found


LOOKS = {
    look.__name__: look
    for look in (versions, doctor, capture_refused, products_captured, graph_nodes, bandwidth, same_bits)
}


def _device():
    from gpubp.backends.backend import choose_backend
    from gpubp.engine.cuda.device import cuda_device

    return cuda_device(choose_backend("cuda").device)


def _microseconds(work, wait, n):
    work()
    wait()
    found = []
    for _ in range(7):
        began = time.perf_counter()
        for _ in range(n):
            work()
        wait()
        found.append((time.perf_counter() - began) / n * 1e6)
    return median(found)
