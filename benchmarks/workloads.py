"""The workloads, by name."""

import fnmatch
from typing import NamedTuple

from benchmarks.contenders import ON_CPU, ON_GPU, OTHER
from benchmarks.machine import available_bytes

STEPS = {  # sizes: output, batch, batches of an epoch, epochs whose loss is compared
    (6, 2, 2): ("logistic", 64, 32, 3),
    (20, 64, 64, 2): ("logistic", 64, 32, 3),
    (784, 256, 10): ("softmax", 128, 16, 3),
    (784, 512, 512, 10): ("softmax", 256, 8, 3),
    (2048, 2048, 2048, 10): ("softmax", 1024, 2, 3),
}
ESTIMATORS = ("gpubp", "gpubp-numpy", "scikit-learn")
GROWING = ("gpubp", "gpubp-numpy", "scikit-learn", "torch", "jax-scan", "floor")
LIBRARIES = ("gpubp", "scikit-learn", "thinc", "torch", "jax")
EVERYWHERE = tuple(name for name in ON_CPU + ON_GPU if name != OTHER)
SHARE_OF_MEMORY = 0.5  # the fraction of free memory that the largest table takes


class Workload(NamedTuple):
    """One thing to measure. Names are paths; ``growth/<series>/<at>`` are points of one curve."""

    name: str
    kind: str  # "step", "predict", "fit", "start" or "import", as in worker.py
    spec: dict
    contenders: tuple[str, ...]
    fresh: bool = False  # a new process for each round
    quick: bool = False

    @property
    def most_rounds(self):
        """The maximum number of rounds, since each draws the largest tables again."""
        return 3 if self.series and self.fresh else 100

    @property
    def series(self):
        """The curve that the workload is a point of, or None."""
        return self.name.split("/")[1] if self.name.startswith("growth/") else None


def make_workloads():
    """List every workload, including the quick ones."""
    return [*_steps(), *_fits(), *_predictions(), *_starts(), *_reports(), *_growth(), *_for_a_gpu()]


def chosen(workloads, patterns):
    """Select the workloads that match one of the patterns: a part of the name, or a pattern with ``*``.

    Those that need a GPU are selected only if a pattern begins with ``gpu/``.
    """
    named = any(p.startswith("gpu/") for p in patterns)
    workloads = [w for w in workloads if named or not w.name.startswith("gpu/")]
    kept = [w for w in workloads if any(p in w.name or fnmatch.fnmatchcase(w.name, p) for p in patterns)]
    return kept if patterns else workloads


def _steps():
    for sizes, (output, batch, batches, epochs) in STEPS.items():
        for activation in ("logistic", "relu"):
            for optimizer in ("momentum", "adam"):
                name = f"step/{'-'.join(map(str, sizes))}/{activation}/{optimizer}"
                spec = step_spec(sizes, activation, output, optimizer, batch, batches, epochs)
                quick = (sizes, activation) in (
                    ((6, 2, 2), "logistic"),
                    ((784, 256, 10), "relu"),
                ) and optimizer == "adam"
                yield Workload(name, "step", spec, EVERYWHERE, quick=quick)


def step_spec(sizes, activation="relu", output="softmax", optimizer="adam", batch=200, batches=4, epochs=3):
    """Describe training steps as plain data for make_problem."""
    # Adam's first steps change every weight by the rate: wide layers need a small one, or the loss leaps
    rate = 0.02 if optimizer == "momentum" else min(1e-3, 0.1 / max(sizes))
    spec = {
        "sizes": list(sizes),
        "activation": activation,
        "output": output,
        "optimizer": optimizer,
        "rate": rate,
        "dtype": "float32",
    }
    return spec | {"batch": batch, "batches": batches, "epochs": epochs}


def _fits():
    for name, parameters in (("default", {}), ("256-256", {"hidden_layer_sizes": [256, 256]})):
        for dtype in ("float32", "float64"):
            spec = {"data": "digits", "dtype": dtype, "parameters": parameters}
            quick = (name, dtype) == ("default", "float32")
            yield Workload(f"fit/digits/{name}/{dtype}", "fit", spec, ESTIMATORS, quick=quick)
    for name, data, layers in (
        ("digits/64-100-10", "digits", [100]),
        ("10000-rows/784-256-10", [10_000, 784, 10], [256]),
        ("2000-rows/20-64-64-1", [2_000, 20, 2], [64, 64]),
        ("30-rows/2000-500-1", [30, 2_000, 2], [500]),
    ):  # the same number of iterations for all, in which rounding is not yet amplified
        parameters = {"solver": "lbfgs", "max_iter": 20, "hidden_layer_sizes": layers}
        spec = {"data": data, "dtype": "float64", "parameters": parameters, "clock": "process_time"}
        yield Workload(f"fit/lbfgs/{name}", "fit", spec, ESTIMATORS)
    for rows in (20_000, 100_000):
        spec = {"data": [rows, 784, 10], "dtype": "float32", "parameters": {"max_iter": 2}}
        yield Workload(f"fit/memory/{rows}x784", "fit", spec, ESTIMATORS, fresh=True)


def _predictions():
    for sizes, rows in (((20, 64, 64, 2), 1), ((784, 256, 10), 1), ((784, 256, 10), 20_000)):
        name = f"predict/{'-'.join(map(str, sizes))}/{f'{rows}-rows' if rows > 1 else '1-row'}"
        spec = step_spec(sizes, output=STEPS[sizes][0], batch=rows, batches=1, epochs=1)
        no_step = ("jax-scan", "jax-scan-cuda", "torch-graph-cuda", "floor-cuda", "cublaslt-cuda", "traffic-cuda")
        contenders = tuple(name for name in EVERYWHERE if name not in no_step)
        yield Workload(name, "predict", spec, contenders, quick=(sizes[0], rows) == (784, 1))


def _starts():
    yield Workload("start/import", "import", {}, LIBRARIES, fresh=True, quick=True)
    spec = step_spec((20, 64, 64, 2), "relu", "logistic", "adam", 64, 32, 1)
    contenders = tuple(c for c in ON_CPU if c != "floor")
    yield Workload("start/import-and-first-epoch", "start", spec, contenders, fresh=True)


def _reports():
    """List what users of other libraries reported as slow: skorch #1100 and #433, and small fits."""
    spec = step_spec((4, 500, 1), output="logistic", batches=5000, epochs=1)
    yield Workload("report/4-500-1/1000000-rows", "step", spec, ("gpubp", "torch", "jax-scan"))
    spec = step_spec((20, 64, 64, 2), output="logistic", batch=8, batches=2000, epochs=1)
    yield Workload("report/20-64-64-2/batches-of-8", "step", spec, ("gpubp", "scikit-learn", "torch", "jax-scan"))
    small = {"data": [100, 20, 2], "dtype": "float32"}
    for name, more in (
        ("partial_fit/100-calls", {"parameters": {}, "partial": 100}),
        ("fit/100-rows", {"parameters": {}}),
        ("fit/300-fits-of-100-rows", {"parameters": {"max_iter": 20}, "fits": 300}),
    ):
        yield Workload(f"report/{name}", "fit", small | more, ESTIMATORS)


def _growth():
    for width in (16, 64, 256, 1024, 4096):
        yield _point("width", width, step_spec((64, width, width, 10)), quick=width < 256)
    for depth in (1, 2, 4, 8, 16, 32):
        yield _point("depth", depth, step_spec((64, *[128] * depth, 10)))
    for batch in (1, 8, 64, 512, 4096, 16_384):
        batches = max(2, min(64, 4096 // batch))
        yield _point("batch", batch, step_spec((784, 256, 10), batch=batch, batches=batches, epochs=1))
    most = int(available_bytes() * SHARE_OF_MEMORY / (4 * (784 + 10)))
    for rows in (*(rows for rows in (2_000, 10_000, 50_000, 250_000, 1_000_000) if rows < most), most // 200 * 200):
        spec = step_spec((784, 64, 10), batches=rows // 200, epochs=1)
        # JAX would hold the samples twice: its scan needs an array of all batches
        yield _point("rows", rows, spec, tuple(c for c in GROWING if c not in ("jax-scan", "floor")), rows > 50_000)


def _for_a_gpu():
    """List the workloads for a GPU: see gpu.py."""
    programs = ("torch-graph-cuda", "jax-scan-cuda", "torch-compile-cuda")
    floors = ("floor-cuda", "cublaslt-cuda", "traffic-cuda")
    spec = step_spec((784, 256, 10), batch=128, batches=64)
    yield Workload("gpu/step/784-256-10", "step", spec, ("gpubp-cuda", *programs, "torch-cuda", *floors))
    for matmul in ("tf32", "bfloat16"):
        spec = step_spec((4096,) * 5, batch=8192, batches=1, epochs=2) | {"matmul": matmul}
        contenders = ("gpubp-cuda", "cublaslt-cuda", "torch-graph-cuda", "torch-compile-cuda")
        yield Workload(f"gpu/wide/{matmul}", "step", spec, contenders)
    spec = step_spec((6, 2, 1), "logistic", "logistic", "momentum", 64, 1)
    yield Workload("gpu/epoch/6-2-1", "step", spec, ("gpubp-cuda", "torch-graph-cuda", "jax-scan-cuda", "gpubp"))
    spec = step_spec((20, 64, 64, 2), "relu", "logistic", "adam", 64, 32) | {"stack": 1024}
    yield Workload("gpu/stack/1024x20-64-64-2", "step", spec, ("gpubp-cuda", "torch-cuda", "jax-scan-cuda"))
    others = ("gpubp-cuda", OTHER)
    yield Workload("gpu/choices/1024x20-64-64-2", "step", spec, others)
    spec = step_spec((784, 512, 512, 10), batch=256, batches=32)
    yield Workload("gpu/choices/784-512-512-10", "step", spec, others)
    spec = step_spec((784, 256, 10), batch=128, batches=64)
    yield Workload("gpu/choices/784-256-10", "step", spec, others)
    spec = {"data": [1_000_000, 100, 10], "dtype": "float32", "parameters": {"max_iter": 2}}
    yield Workload("gpu/fit/1000000x100", "fit", spec, ("gpubp-cuda", "scikit-learn", "gpubp"))
    for width in (256, 64, 1024, 16, 128, 32, 512):
        spec = step_spec((64, width, width, 10), batches=16)
        yield Workload(f"gpu/crossover/{width}", "step", spec, ("gpubp", "gpubp-cuda"))


def _point(series, at, spec, contenders=GROWING, fresh=False, quick=False):
    return Workload(f"growth/{series}/{at}", "step", spec, contenders, fresh, quick)
