"""Training with checkpoints: the state of the run is written at intervals and can be resumed."""

from os import PathLike
from typing import Any

import numpy as np

from gpubp.data.streaming.stream import Stream
from gpubp.errors import DataError
from gpubp.training.checkpoint_file import Checkpoint
from gpubp.training.checkpoints import Checkpoints, Keeper, open_folder
from gpubp.training.loop import begin, run
from gpubp.training.placement import Placed
from gpubp.training.planning import make_plan
from gpubp.training.result import Fit, first_state, make_fit
from gpubp.training.run_settings import Settings, settings_of
from gpubp.training.setup import Setup

OPERATIONS_PER_PART = 2e11  # between possible checkpoints within an epoch: seconds on a CPU
MAX_STEPS_PER_PART = 2**16  # for small networks, whose time depends on the number of steps


def open_checkpoints(
    checkpoint: str | PathLike[str] | Checkpoints | None, resume: bool, *, is_rank_0: bool
) -> tuple[Checkpoints | None, Checkpoint | None]:
    """Prepare the checkpoint folder and find the checkpoint to resume from; only rank 0 accesses the folder."""
    if checkpoint is None:
        if resume:
            raise DataError("resume=True needs a folder with checkpoints; pass checkpoint=")
        return None, None
    checkpoints = checkpoint if isinstance(checkpoint, Checkpoints) else Checkpoints(checkpoint)
    return checkpoints, open_folder(checkpoints, resume=resume) if is_rank_0 else None


def train_with_checkpoints(
    setup: Setup, placed: Placed, checkpoints: Checkpoints, checkpoint: Checkpoint | None
) -> Fit:
    """Train, from a checkpoint if one was found.

    Raises
    ------
    CheckpointError
        If the checkpoint was written by a run with other settings, or the last one cannot be written.
    """
    processes, steps_per_part = setup.processes, _steps_per_part(setup)
    plan = make_plan(setup, placed, steps_per_part)
    settings = processes.on_rank_0(lambda: _settings(setup, placed, steps_per_part))
    keeper = Keeper(checkpoints, settings, setup.orders)
    start = begin(plan, first_state(setup, placed))
    if checkpoint:
        with processes.raise_on_all():
            start = keeper.training_state(checkpoint, setup.backend, start, setup.options.epochs)
    with keeper.write_on_error():
        fit = make_fit(setup, run(plan, start, keeper.note if processes.rank == 0 else None))
    with processes.raise_on_all():
        keeper.close(fit)
    return fit


def _steps_per_part(setup: Setup) -> int:
    """Return the number of steps after which a checkpoint may be written, the same on every device."""
    operations = 6.0 * setup.batch_size * setup.network.n_parameters * setup.n_networks
    return max(1, min(MAX_STEPS_PER_PART, int(OPERATIONS_PER_PART / operations)))


def _settings(setup: Setup, placed: Placed, steps_per_part: int) -> Settings:
    """Collect the settings that must match for a run to resume; each key names an argument or a fact."""
    options, samples, held_out = setup.options, placed.samples, placed.held_out
    data = {
        "X": samples.x,
        "targets": samples.targets,
        "sample_weight": samples.sample_weight,
        "theta": placed.theta,
    }
    if held_out is not None:
        data |= {"validation_X": held_out.x, "validation_targets": held_out.targets}
        if held_out.sample_weight is not None:
            data["validation sample_weight"] = held_out.sample_weight
    others: dict[str, Any] = {
        "batch_size": setup.batch_size,
        "steps_per_part": steps_per_part,
        "drop_last": options.drop_last or None,  # as in checkpoints from before it existed
        "shuffle": options.shuffle,
        "seed": setup.orders and setup.orders.state(),
        "reduction": options.reduction,
        "l2": options.l2,
        "dtype": setup.precision,
        "matmul_precision": options.matmul_precision,
        "history": options.history,
        "patience": options.patience and "given",
        "tolerance": options.tolerance,
        "monitor": options.monitor,
        "scoring": options.scoring,
        "stop_when": options.stop_when,
    }
    if (dropout := setup.dropout) is not None:
        others |= {f"dropout of layer {layer}": rate for layer, rate in enumerate(dropout.rates)}
        others["seed of dropout"] = str(np.atleast_1d(dropout.key).tolist())
    if isinstance(setup.inputs.X, Stream):
        others |= setup.inputs.X.fingerprint(setup.batch_size, setup.precision)
    return settings_of(setup.network, placed.optimizer, data, others)
