"""``python -m benchmarks.kills``: kill training at random moments; its results must not change.

A process resumes training from the newest checkpoint, writes checkpoints as often as possible, and is killed with
SIGKILL after a random time; then the next process resumes. After each kill all checkpoints are compared with those of
training that was never killed, bit by bit except for the seconds. So is the final result; then another run begins. All
of it is done with compiled steps and with plain ones, and the counts are written to a result file.
"""

import argparse
import contextlib
import hashlib
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # processes with threads should not fork

import numpy as np
import safetensors

from benchmarks.machine import provenance, write_result
from benchmarks.page import FIGURES
from gpubp import Checkpoints, Network, adam, train
from gpubp.training import checkpointed
from gpubp.training.checkpoints import checkpoints_in

NETWORK = Network((8, 12, 3), activation="tanh")
N_SAMPLES, SIZE, STEPS_PER_PART = 160, 8, 4  # five parts per epoch


def samples(n_samples, seed):
    """Return samples with random targets."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n_samples, 8)), rng.uniform(size=(n_samples, 3))


def fit(folder, seed, epochs, keep=3):
    """Train to the end, from the newest checkpoint of the folder."""
    checkpointed.OPERATIONS_PER_PART = 6.0 * SIZE * NETWORK.n_parameters * STEPS_PER_PART
    return train(
        NETWORK,
        *samples(N_SAMPLES, 0),
        optimizer=adam(0.01),
        epochs=epochs,
        batch_size=SIZE,
        seed=seed,
        validation_data=samples(40, 1),
        patience=epochs,
        device="cpu",
        checkpoint=Checkpoints(folder, every_seconds=0.0, keep=keep),
        resume=True,
    )


def digests(folder):
    """Return the SHA-256 of all arrays of each checkpoint, except the seconds."""
    found = {}
    for path in checkpoints_in(folder):
        with safetensors.safe_open(path, framework="numpy") as file:
            names = sorted(set(file.keys()) - {"history.seconds"})
            digest = hashlib.sha256(repr(names).encode())
            for name in names:
                digest.update(file.get_tensor(name).tobytes())
        found[path.name] = digest.hexdigest()
    return found


def outcome(fit):
    """Return the result of training, for comparison."""
    history = fit.history
    figures = np.asarray([history.loss, history.validation_loss])
    return fit.theta.tobytes(), figures.tobytes(), fit.best_epoch, fit.stop_reason


def train_and_kill(folder, seed, epochs, seconds):
    """Train in a separate process and kill it after some seconds; return whether it was still alive."""
    process = os.fork()
    if not process:
        code = 1
        try:
            fit(folder, seed, epochs)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    time.sleep(seconds)
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)
    _, status = os.waitpid(process, 0)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        raise RuntimeError("training ended with an error, see above")
    return os.WIFSIGNALED(status)


def kill(n_kills, epochs, longest, seed):
    """Kill training processes; return counts by name."""
    draw = random.Random(seed)
    names = (
        "kills",
        "in the middle of a file",
        "resumed processes",
        "checkpoints compared",
        "training runs",
        "differences",
    )
    counts = dict.fromkeys(names, 0)
    with tempfile.TemporaryDirectory() as folder:
        while counts["kills"] < n_kills:
            run = counts["training runs"]
            killed, never_killed = Path(folder, f"killed-{run}"), Path(folder, f"never-killed-{run}")
            expected = outcome(fit(never_killed, seed, epochs, keep=10**6))
            expected_digests, was_killed, found = digests(never_killed), True, {}
            while was_killed and counts["kills"] < n_kills:
                counts["resumed processes"] += bool(found)
                was_killed = train_and_kill(killed, seed, epochs, draw.uniform(0.0, longest))
                found = digests(killed) if killed.is_dir() else {}
                counts["kills"] += was_killed
                counts["in the middle of a file"] += killed.is_dir() and any(killed.glob(".*.tmp"))
                counts["checkpoints compared"] += len(found)
                counts["differences"] += sum(expected_digests[name] != digest for name, digest in found.items())
            counts["differences"] += outcome(fit(killed, seed, epochs)) != expected
            counts["training runs"] += 1
            seed += 1
    return counts


def main(arguments=None):
    """Run the command line; return 1 if anything differs."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kills", description="Kill training at random moments.")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--epochs", type=int, default=40, help="of each run; an epoch has five parts")
    parser.add_argument("--longest", type=float, default=0.3, help="maximum seconds before a process is killed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="the result file, by default benchmarks/results/DATE-kills.json")
    options = parser.parse_args(arguments)
    result = provenance() | {"kills": {}}
    for steps, mode in (("compiled", "auto"), ("plain", "never")):
        os.environ["GPUBP_COMPILED"] = mode
        result["kills"][steps] = kill(options.kills, options.epochs, options.longest, options.seed)
    print(*FIGURES["kills"]([result]), write_result(result, "kills", options.output), sep="\n")
    return int(any(counts["differences"] for counts in result["kills"].values()))


if __name__ == "__main__":
    sys.exit(main())
