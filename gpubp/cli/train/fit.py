"""Train the network of a prepared job, with a progress bar."""

from typing import NamedTuple, cast

from gpubp.cli.progress import progress_bar, search_bar
from gpubp.cli.train.options import TIME_BUDGET
from gpubp.cli.train.prepare import TrainingJob
from gpubp.cli.train.rescue import sigterm_as_interrupt, warnings_as_notes
from gpubp.errors import CheckpointError
from gpubp.tabular import PreparedTable, TableFit, fit_table, search_table
from gpubp.tabular.verdict import divergence_in_effect
from gpubp.training.checkpoints import Checkpoints


class FitOutcome(NamedTuple):
    """The result of a training, and what happened during it."""

    result: TableFit
    checkpoint_error: CheckpointError | None  # the last checkpoint could not be written
    exit_code_of_signal: int  # 143 after SIGTERM, else 130: Ctrl-C

    @property
    def has_learned(self) -> bool:
        """Whether there are trained weights."""
        return self.result.fit.best_epoch > 0 or self.is_interrupted

    @property
    def is_interrupted(self) -> bool:
        """Whether training was interrupted."""
        return self.result.fit.stop_reason == "interrupted"

    @property
    def has_model(self) -> bool:
        """Whether there are trained weights to save: those of a training that has diverged in effect are of no use."""
        return self.has_learned and (self.is_interrupted or not divergence_in_effect(self.result))


def fit(job: TrainingJob) -> FitOutcome:
    """Train, and return what was learned even after Ctrl-C, SIGTERM or a failed last checkpoint."""
    if job.searches:
        return _search(job)
    options = job.options
    n_epochs = options.epochs if job.recipe is None else job.recipe.epochs
    bar = progress_bar(n_epochs, enabled=False if job.quiet else None, score_name=job.score_name)
    checkpoint_error = None
    with bar as show_progress, sigterm_as_interrupt() as signals, warnings_as_notes():
        try:
            result = fit_table(
                job.prepared,
                hidden_layer_sizes=job.hidden_layer_sizes,
                activation=options.activation,
                loss=options.loss,
                optimizer=job.optimizer,
                epochs=options.epochs,
                batch_size=job.batch_size,
                l2=options.l2,
                dropout=options.dropout,
                label_smoothing=options.label_smoothing,
                patience=options.patience or None,
                tolerance=options.tolerance,
                seed=options.seed,
                device=options.device,
                dtype=options.dtype,
                matmul_precision=options.matmul_precision,
                callbacks=[show_progress, *job.callbacks],
                parallel=job.processes,
                checkpoint=None if options.checkpoint is None else Checkpoints(options.checkpoint, options.every),
                resume=options.resume,
                refit=not options.no_refit,
                n_networks=options.networks,
                n_restarts=options.restarts,
                refit_callbacks=[show_progress],
                recipe=job.recipe,
            )
        except CheckpointError as error:
            if error.fit is None:
                raise
            result, checkpoint_error = cast(TableFit, error.fit), error
    return FitOutcome(result, checkpoint_error, 143 if signals else 130)


def _search(job: TrainingJob) -> FitOutcome:
    """Try candidates for the time of ``--time-budget``."""
    options = job.options
    assert isinstance(job.prepared, PreparedTable)
    seconds = options.time_budget or TIME_BUDGET
    bar = search_bar(seconds, enabled=False if job.quiet else None)
    with bar as (show_progress, show_training), sigterm_as_interrupt() as signals, warnings_as_notes():
        result = search_table(
            job.prepared,
            time_budget=seconds,
            activation=options.activation,
            loss=options.loss,
            epochs=options.epochs,
            patience=options.patience or None,
            tolerance=options.tolerance,
            label_smoothing=options.label_smoothing,
            seed=options.seed,
            device=options.device,
            dtype=options.dtype,
            matmul_precision=options.matmul_precision,
            refit=not options.no_refit,
            callback=show_progress,
            on_training=show_training,
        )
    return FitOutcome(result, None, 143 if signals else 130)
