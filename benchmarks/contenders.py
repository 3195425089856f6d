"""The contenders: libraries, the modules that run them, and the options of each way of using them."""

import importlib.util
from typing import NamedTuple

from gpubp.backends.probe import probe_cuda


class Contender(NamedTuple):
    """One way of doing the work, with environment variables of its process."""

    label: str
    module: str  # benchmarks.with_<module>
    library: str
    imports: str = ""  # the imports of a user's script
    options: dict = {}  # noqa: RUF012
    environment: dict = {}  # noqa: RUF012


GPUBP = "from gpubp import MLPClassifier, predict, train"
CUDA, COMPILED, SCAN = {"device": "cuda"}, {"compiled": True}, {"scan": True}
CONTENDERS = {
    "gpubp": Contender("gpubp", "gpubp", "gpubp", GPUBP),
    "gpubp-numpy": Contender("gpubp, NumPy alone", "gpubp", "gpubp", GPUBP, environment={"GPUBP_COMPILED": "never"}),
    "scikit-learn": Contender(
        "scikit-learn", "sklearn", "sklearn", "from sklearn.neural_network import MLPClassifier, MLPRegressor"
    ),
    "thinc": Contender("Thinc", "thinc", "thinc", "import thinc.api"),
    "torch": Contender("PyTorch, eager", "torch", "torch", "import torch"),
    "torch-compile": Contender("PyTorch, torch.compile", "torch", "torch", options=COMPILED),
    "jax": Contender("JAX, jit per step", "jax", "jax", "import jax, jax.numpy"),
    "jax-scan": Contender("JAX, scan over steps", "jax", "jax", options=SCAN),
    "floor": Contender("matrix products alone", "products", "numpy"),
    "gpubp-cuda": Contender("gpubp, GPU", "gpubp", "cupy", options=CUDA),
    "gpubp-other-cuda": Contender("gpubp, GPU, the other choice", "gpubp", "cupy", options=CUDA | {"other": True}),
    "torch-cuda": Contender("PyTorch, eager, GPU", "torch", "torch", options=CUDA),
    "torch-compile-cuda": Contender("PyTorch, torch.compile, GPU", "torch", "torch", options=CUDA | COMPILED),
    "torch-graph-cuda": Contender("PyTorch, CUDA graph, GPU", "torch", "torch", options=CUDA | {"graph": True}),
    "jax-cuda": Contender("JAX, jit per step, GPU", "jax", "jax", options=CUDA),
    "jax-scan-cuda": Contender("JAX, scan over steps, GPU", "jax", "jax", options=CUDA | SCAN),
    "floor-cuda": Contender("matrix products alone, GPU", "products", "torch", options=CUDA),
    "cublaslt-cuda": Contender("matrix products alone, cuBLASLt's best, GPU", "cublaslt", "torch", options=CUDA),
    "traffic-cuda": Contender("memory traffic alone, GPU", "products", "torch", options=CUDA | {"traffic": True}),
    "reference": Contender("reference, float64", "float64", "sklearn"),
    "reference-corrected": Contender("reference, float64", "float64", "sklearn", options={"corrected": True}),
}
REFERENCES = ("reference", "reference-corrected")
ON_CPU = ("gpubp", "gpubp-numpy", "scikit-learn", "thinc", "torch", "torch-compile", "jax", "jax-scan", "floor")
ON_GPU = tuple(name for name in CONTENDERS if name.endswith("-cuda"))
OTHER = "gpubp-other-cuda"  # gpubp with the choices that it makes by arithmetic made the other way
OURS = ("gpubp", "gpubp-numpy", "gpubp-cuda", OTHER)
# no library trains this way: a lower bound for a step
FLOORS = ("floor", "floor-cuda", "cublaslt-cuda", "traffic-cuda")
PEERS = tuple(name for name in CONTENDERS if name not in (*OURS, *FLOORS, *REFERENCES))


def absence(name):
    """Return why a contender cannot run on this machine, or None."""
    contender = CONTENDERS[name]
    if name in ON_GPU and not (probe := probe_cuda()).usable:
        return f"no usable GPU: {probe.cause}"
    if importlib.util.find_spec(contender.library) is None:
        return f"{contender.library} is not installed"
    return None


def unable(name, workload):
    """Return why a contender cannot do a workload, or None."""
    if CONTENDERS[name].library == "thinc" and workload.spec.get("optimizer") == "momentum":
        return "Thinc has no momentum"
    if CONTENDERS[name].library == "jax" and workload.spec.get("matmul") == "bfloat16":
        return "JAX does not multiply float32 matrices in bfloat16"
    return None


def reference_of(name, workload):
    """Name the reference that a contender must agree with; None if nothing is learned.

    Adam is published in two forms (Kingma & Ba 2015, algorithm 1 and the end of section 2): PyTorch adds epsilon to the
    root of the corrected second moment, the others to that of the uncorrected one. The work is the same.
    """
    if workload.kind == "import" or name in FLOORS:
        return None
    adam = workload.kind in ("step", "start") and workload.spec["optimizer"] == "adam"
    return REFERENCES[adam and CONTENDERS[name].library == "torch"]
