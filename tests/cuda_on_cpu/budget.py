"""What training and predictions ask of a GPU, counted: ``python -m tests.cuda_on_cpu.budget`` writes the page's table.

Workloads run through the public functions, on CUDA on the CPU, twice: the second run has more epochs, so their
difference is what epochs cost once they go steadily.
"""

import gc
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

import numpy as np
from scipy.sparse import csr_array

import gpubp
from gpubp.backends.backend import choose_backend, to_backend
from gpubp.backends.sparse_matmul import for_samples
from gpubp.engine.cuda import epoch as cuda_epoch
from gpubp.engine.plain.minibatches import Batch
from gpubp.engine.prediction import evaluate, mean_outputs
from gpubp.nn.input_layers import with_embedded_inputs, with_periodic_inputs, with_scaled_inputs
from gpubp.training import batched_epochs
from tests.cuda_on_cpu.activation import COUNTERS, activate, counters

PAGE = Path(__file__).parents[2] / "docs" / "cuda_budget.md"
BEGIN, END = "<!-- budget -->\n\n", "\n\n<!-- end -->"
NETWORK = gpubp.Network((4, 6, 3), activation="tanh", loss="cross_entropy")
N_STEPS, SIZE, K = 8, 5, 6  # steps of an epoch, samples of a step, networks of a stack
LENGTHS = (4, 8)  # epochs of the two runs; graphs are captured in the first three
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N_STEPS * SIZE, 4)).astype("float32")
Y = np.arange(len(X)) % 3
TARGETS = np.eye(3, dtype="float32")[Y]
TWICE = (np.concatenate([X, X]), np.concatenate([TARGETS, TARGETS]))
TABLE = RNG.normal(size=(len(X), 10)).astype("float32")  # three inputs are of a category, the others numbers
ABOVE = gpubp.Network((8 + 7, 6, 6, 6, 3), activation="selu", loss="cross_entropy")
LEARNED = gpubp.Network((8 + 7 + 7 * 3, 6, 6, 6, 3), activation="parametric(selu)", loss="cross_entropy")
SPECIAL = {
    "embedded categories": with_embedded_inputs(ABOVE, [range(3)]),
    "RealMLP": with_embedded_inputs(with_periodic_inputs(with_scaled_inputs(LEARNED), range(8, 15)), [range(3)]),
    "TabM": gpubp.Network((10, 6, 6, 3), loss="cross_entropy", n_members=4),
}
SHAPES = ("tiny", "layered")
"""Whether one block of threads takes all steps, or all blocks each layer, as for networks that are larger."""


class Counts(NamedTuple):
    """Launches of a step, in graphs or not; then what an epoch takes, and what a fit takes beside its epochs."""

    launches_of_step: float
    starts: float
    waits: float
    uploads: float
    downloads: float
    allocations: float
    waits_of_fit: float
    uploads_of_fit: float
    downloads_of_fit: float
    allocations_of_fit: float


HEADS = (
    *("launches of a step", "starts of an epoch", "waits", "uploads", "downloads", "allocations"),
    *("waits of a fit", "uploads", "downloads", "allocations"),
)


def train(epochs, network=NETWORK, samples=(X, TARGETS), **options):
    gpubp.train(
        network, *samples, **{"epochs": epochs, "batch_size": SIZE, "device": "cuda", "dtype": "float32"} | options
    )


def estimator(epochs, **options):
    always = {"hidden_layer_sizes": (6,), "batch_size": SIZE, "tol": 0, "n_iter_no_change": 10**6, "random_state": 0}
    return gpubp.MLPClassifier(max_iter=epochs, device="cuda", **always | options)


def search(epochs, **options):
    grid = {"learning_rate_init": [0.001, 0.01], "alpha": [0.0, 0.1]}
    gpubp.BatchedSearchCV(estimator(epochs, **options), grid, cv=2, refit=False, progress=False).fit(
        TWICE[0], np.concatenate([Y, Y])
    )


def ensemble(epochs):
    gpubp.MLPEnsembleClassifier(estimator(epochs), n_estimators=K, random_state=0).fit(X, Y)


def early_stopping(epochs):
    estimator(epochs, early_stopping=True).fit(X, Y)


def partial_fit(calls):
    model = estimator(1)
    for _ in range(calls):
        model.partial_fit(X, Y, classes=[0, 1, 2])


def repeated_fits(calls):
    model = estimator(2)
    for _ in range(calls):
        model.fit(X, Y)


def predictions(calls):
    model = estimator(2).fit(X, Y)
    for _ in range(calls):
        model.predict_proba(X)


def predictions_of_an_ensemble(calls):
    model = gpubp.MLPEnsembleClassifier(estimator(2), n_estimators=K, random_state=0).fit(X, Y)
    for _ in range(calls):
        model.predict_proba(X)


def predictions_of_a_table(calls):
    thetas = gpubp.initial_weights(NETWORK, range(K), dtype="float32")
    for _ in range(calls):
        mean_outputs(NETWORK, thetas, X, device="cuda")


def validations(calls, network):
    backend = choose_backend("cuda")
    with backend.active():
        theta, x, targets = (to_backend(backend, array) for array in (weights_of(network), TABLE, TARGETS))
        for _ in range(calls):
            evaluate(backend, network, theta, Batch(x, targets))


def sparse_validations(calls):
    backend = for_samples(choose_backend("cuda"), csr_array(X))
    with backend.active():
        theta, targets = (to_backend(backend, array) for array in (weights_of(NETWORK), TARGETS))
        for _ in range(calls):
            evaluate(backend, NETWORK, theta, Batch(csr_array(X), targets))


def predictions_of_network(calls, network):
    theta = weights_of(network)
    for _ in range(calls):
        gpubp.predict(network, theta, TABLE, device="cuda")


def weights_of(network):
    return gpubp.initial_weights(network, dtype="float32")


def of_arrays_on_device(epochs):
    samples = [as_on_device(array) for array in (X, TARGETS)]
    train(epochs, samples=samples, sample_weight=as_on_device(np.ones(len(X), "float32")), validation_data=samples)


def scores(calls, model=gpubp.MLPClassifier, is_on_device=False):
    x, y = (as_on_device(array) for array in (X, Y)) if is_on_device else (X, Y)
    fitted = model(hidden_layer_sizes=(6,), max_iter=1, random_state=0, device="cuda").fit(x, y)
    for _ in range(calls):
        fitted.score(x, y)


def as_on_device(array):
    import cupy  # once CUDA on the CPU has taken CUDA's place

    return cupy.asarray(array)


def stream(epochs):
    train(epochs, samples=(gpubp.open_stream(X, TARGETS, memory=2600),))


def sparse(epochs):
    estimator(epochs).fit(csr_array(X), Y)


WORKLOADS: dict[str, Callable[[int], None]] = {
    "one network": train,
    "many epochs in a call": train,
    "a schedule": partial(train, optimizer=gpubp.adam(gpubp.Cosine(0.1, 100))),
    "validation data": partial(train, validation_data=(X, TARGETS)),
    "early stopping": early_stopping,
    "clipped": partial(train, optimizer=gpubp.clipped(gpubp.adam(), 0.1)),
    "dropout": partial(train, dropout=0.2),
    "gradients of two parts": partial(train, samples=TWICE, gradient_accumulation=2),
    "a stack": partial(train, seed=range(K)),
    "an ensemble": ensemble,
    "a search": search,
    "a search, early stopping": partial(search, early_stopping=True),
    "a search, clipped, with dropout": partial(search, solver="adamw", max_grad_norm=0.1, dropout=0.2),
    "partial_fit": partial_fit,
    "fits of one estimator": repeated_fits,
}
IN_ONE_SHAPE: dict[str, Callable[[int], None]] = {
    "validation data, arrays on the GPU": of_arrays_on_device,
    "products in float16": partial(train, matmul_precision="float16"),
    "products in bfloat16": partial(train, matmul_precision="bfloat16"),
    "a stream": stream,
    "sparse samples": sparse,
    "validation, sparse samples": sparse_validations,
    "L-BFGS": partial(train, optimizer=gpubp.lbfgs(), batch_size="full"),
    **{
        f"train, {name}": partial(train, network=network, samples=(TABLE, TARGETS)) for name, network in SPECIAL.items()
    },
    "train, TabM, with dropout": partial(train, network=SPECIAL["TabM"], samples=(TABLE, TARGETS), dropout=0.2),
    "predict_proba": predictions,
    "predict_proba of an ensemble": predictions_of_an_ensemble,
    "networks of a table": predictions_of_a_table,
    **{f"validation, {name}": partial(validations, network=network) for name, network in SPECIAL.items()},
    **{f"predict, {name}": partial(predictions_of_network, network=network) for name, network in SPECIAL.items()},
    "score of a classifier": scores,
    "score of a classifier, of arrays on the GPU": partial(scores, is_on_device=True),
    "score of a regressor, of arrays on the GPU": partial(scores, model=gpubp.MLPRegressor, is_on_device=True),
}
ROWS = {f"{name}, {shape}": (work, shape) for name, work in WORKLOADS.items() for shape in SHAPES}
ROWS |= {name: (work, "layered") for name, work in IN_ONE_SHAPE.items()}


def cost_of(work: Callable[[], None]) -> np.ndarray:
    """Return what work asks for: launches, in graphs or not, starts, waits, uploads, downloads, allocations."""
    import cupy  # once CUDA on the CPU has taken CUDA's place

    gc.collect()
    cupy.get_default_memory_pool().free_all_blocks()  # so that allocations do not depend on earlier work
    before = counters()
    work()
    after = counters()
    of = {name: getattr(after, name) - getattr(before, name) for name in COUNTERS}
    launches, starts = (of["launches"] + of[name] for name in ("graph_nodes", "graph_launches"))
    return np.array([launches, starts, of["synchronizations"], of["uploads"], of["downloads"], of["allocations"]])


def count(row: str) -> Counts:
    """Count what a workload asks for."""
    work, shape = ROWS[row]
    # how many epochs are one call must not depend on the clock: eight more are in one call, or each is a call
    lengths, seconds = ((10, 18), 1e9) if row.startswith("many") else (LENGTHS, 0.0)
    with (
        patch.object(batched_epochs, "SECONDS_PER_CALL", seconds),
        patch.object(cuda_epoch, "shared_memory", lambda *_: 0 if shape == "tiny" else 10**9),
        warnings.catch_warnings(action="ignore"),  # scikit-learn's, that so few epochs are not enough
    ):
        work(lengths[0])  # kernels are compiled
        short, long = (cost_of(partial(work, epochs)) for epochs in lengths)
    epoch = (long - short) / (lengths[1] - lengths[0])
    fit = short - lengths[0] * epoch
    return Counts(epoch[0] / N_STEPS, *epoch[1:].tolist(), *fit[2:].tolist())


def line_of(row: str) -> str:
    """Return the line of the table for a workload."""
    return f"| {row} | " + " | ".join(f"{number:g}" for number in count(row)) + " |"


def lines_of_page() -> dict[str, str]:
    """Return the lines of the page's table by workload."""
    _, _, *lines = PAGE.read_text("utf-8").partition(BEGIN)[2].partition(END)[0].splitlines()
    return {line.split(" | ")[0].removeprefix("| "): line for line in lines}


def counts_of_page(row: str) -> Counts:
    """Return what the page says of a workload."""
    return Counts(*map(float, lines_of_page()[row].strip("| ").split(" | ")[1:]))


def write_page() -> None:
    """Count all, and write the table."""
    head, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
    lines = ["| | " + " | ".join(HEADS) + " |", "|---|" + "---|" * len(HEADS), *map(line_of, ROWS)]
    PAGE.write_text(head + BEGIN + "\n".join(lines) + END + rest.partition(END)[2], "utf-8")


if __name__ == "__main__":
    activate()
    write_page()
