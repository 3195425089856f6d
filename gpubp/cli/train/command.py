"""The stages of ``gpubp train``: options, prepare, fit, save, report."""

from gpubp.cli.options import options_of
from gpubp.cli.train.fit import fit
from gpubp.cli.train.options import TrainOptions
from gpubp.cli.train.prepare import find_processes, prepare
from gpubp.cli.train.report import finish, print_job, print_result
from gpubp.cli.train.rescue import restart_advice
from gpubp.cli.train.save import save


@options_of(TrainOptions)
def train(options: TrainOptions) -> None:
    """Train a network on a table, score it on held-out rows, and write a model file.

    For example: gpubp train houses.csv --target price

    Ctrl-C or SIGTERM stops training, saves what was learned, and exits with code 130 or 143; if there are several
    processes, all stop. The exit code is 1 if training diverged.
    """
    processes = find_processes(options.parallel)
    with processes.monitored(restart_advice(options.checkpoint is not None)):
        with processes.raise_on_all():
            job = prepare(options, processes)
        print_job(job)
        outcome = fit(job)
    if processes.rank > 0:  # the first process prints and writes
        return
    saved = save(job, outcome)
    print_result(job, outcome, saved)
    finish(job, outcome, saved)
