"""Print what will be trained, and the result, as text or JSON."""

from collections import Counter
from dataclasses import asdict
from typing import Any

import numpy as np
import typer

from gpubp._core.text import counted, number, shortened
from gpubp.cli.columns import OF_ALL_ROWS, OF_TRAINING_ROWS, TYPE_ADVICE, print_columns
from gpubp.cli.output import (
    console,
    error_text,
    notes,
    print_error,
    print_facts,
    print_json,
    print_note,
    print_scores,
    print_trials,
    print_warning,
)
from gpubp.cli.train.fit import FitOutcome
from gpubp.cli.train.options import TIME_BUDGET
from gpubp.cli.train.prepare import TrainingJob
from gpubp.cli.train.save import SavedFiles
from gpubp.data.preprocessing import CategoryColumn, ClassTarget, NumberColumn
from gpubp.data.streaming.prepared_stream import PreparedStream
from gpubp.errors import CheckpointError
from gpubp.io.model_facts import linear_part_text, restarts_text
from gpubp.nn.network import Network
from gpubp.tabular import PreparedTable, TableFit
from gpubp.tabular.candidates import candidates_for
from gpubp.tabular.checks import encoding_without_effect, few_rows, suspicions
from gpubp.tabular.folds import N_FOLDS
from gpubp.tabular.linear_part import takes_linear_part, with_linear_part
from gpubp.tabular.recipes import RECIPES
from gpubp.tabular.report import KINDS_IN_WORDS
from gpubp.tabular.verdict import divergence_in_effect, no_better_than_baseline
from gpubp.training.checkpoints import checkpoints_in

Facts = list[tuple[str, str]]

_STOP_REASONS = {
    "epochs": "the maximum number of epochs",
    "patience": "since none of the last {patience} epochs lowered the monitored loss by more than {tolerance:g}",
    "converged": "converged",
    "diverged": "diverged",
    "callback": "stopped by a callback",
    "interrupted": "interrupted",
}

_WORTH_A_TRY = {
    "best": "a larger --time-budget",
    "fast": "--preset best, a smaller --learning-rate, a larger --l2 or more --epochs",
    **dict.fromkeys(RECIPES, "--preset best, or several --networks"),
}
"""What may help a model that is no better than its baseline, by its preset."""


def print_job(job: TrainingJob) -> None:
    """Print what was found in the data, and what will be trained, on stderr."""
    if too_few := few_rows(job.prepared):
        print_warning(too_few)
    if job.quiet:
        return
    facts = _facts_of_data(job)
    if job.not_best and job.options.preset == "auto":
        facts.append(("preset", f"fast, not best, because of {shortened(job.not_best)}"))
    facts += [("network", _networks_text(job)), ("device", job.device)]
    if job.processes.world_size > 1:
        facts.append(("processes", f"{job.processes.world_size:,} train together"))
    if job.options.checkpoint is not None:
        checkpoints = checkpoints_in(job.options.checkpoint) if job.options.resume else []
        start = f", from {checkpoints[-1].name} on" if checkpoints else ""
        facts.append(("checkpoint", f"{job.options.checkpoint}{start}"))
    print_facts(facts, notes)
    print_facts([("", ""), *_scope_of_table(job.prepared)], notes)
    print_columns(job.prepared.preprocessing, notes, ranges=job.prepared.ranges, path=job.model_path)
    print_note(TYPE_ADVICE)
    for suspicion in suspicions(job.prepared) if isinstance(job.prepared, PreparedTable) else ():
        print_note(suspicion)
    categories, preprocessing = job.options.categories, job.prepared.preprocessing
    if without_effect := encoding_without_effect(categories, preprocessing, job.hidden_layer_sizes):
        print_note(without_effect)
    if job.replaced is not None:
        print_note(f"this replaces {job.replaced}; to keep that, choose another file with --output")
    print_facts([("", "")], notes)


def print_result(job: TrainingJob, outcome: FitOutcome, saved: SavedFiles) -> None:
    """Print scores, the course of training and the files on stdout."""
    if job.options.as_json:
        print_json(_as_json(job, outcome, saved))
        return
    if notes.is_terminal and not job.quiet:
        notes.print()  # below the progress bar
    if outcome.has_learned and outcome.result.scores:
        if outcome.result.trials:
            print_trials(outcome.result.model.about["training"])
            console.print()
        print_scores(outcome.result.scores, outcome.result.rows, outcome.result.baseline)
        console.print()
    files = [
        (name, str(path))
        for name, path in (("model", saved.model), ("picture", saved.picture), ("report", saved.report))
        if path
    ]
    about_training = outcome.result.model.about["training"]
    part, restarts = about_training.get("linear_part"), restarts_text(about_training)
    parts = [("restarts", restarts)] if restarts else []
    parts += [] if part is None else [("linear part", linear_part_text(part))]
    network = _kept_network(job, outcome)
    print_facts(
        [("training", _course_text(outcome.result, _patience(job), job.options.tolerance)), *parts, *network, *files],
        console,
    )
    if saved.model is not None and not job.quiet:
        print_facts([("next", f"gpubp predict {saved.model} DATA")], notes)


def finish(job: TrainingJob, outcome: FitOutcome, saved: SavedFiles) -> None:
    """Raise the error, or exit with the code, of a training that failed or was interrupted.

    Raises
    ------
    CheckpointError
        If the last checkpoint could not be written.
    GpubpError, OSError, ValueError
        If the report or the picture could not be written.
    typer.Exit
        With 2 if the model had to be saved elsewhere, 1 if training diverged, and 130 or 143 if it was interrupted.
    """
    model, fit = saved.model, outcome.result.fit
    preset = outcome.result.model.about["training"].get("preset", "fast")
    slower = f"{'' if preset == 'fast' else '--preset fast with '}a smaller --learning-rate"
    has_diverged = outcome.has_learned and not outcome.has_model  # with finite weights
    if has_diverged:
        kept = f"{job.model_path} is still the former model" if job.replaced else "no model file is written"
        print_warning(
            f"training diverged: {divergence_in_effect(outcome.result)}, so {kept}. To fix it, try {slower}, "
            "or look for extreme numbers in the table"
        )
    elif outcome.has_model and (verdict := no_better_than_baseline(outcome.result)):
        print_warning(
            f"{verdict}. The columns may say little about the target, or the rows may be too few; otherwise try "
            + _WORTH_A_TRY[preset]
        )
    if outcome.checkpoint_error is not None:
        raise CheckpointError(f"{outcome.checkpoint_error}; {model or 'no model file'} holds what was learned")
    for error in saved.errors:
        print_error(error_text(error))
    if saved.errors or model not in (None, job.model_path):
        raise typer.Exit(2)
    if has_diverged:
        raise typer.Exit(1)
    if np.any(fit.diverged):
        saved_state = "nothing was learned" if model is None else f"{model} holds the weights of epoch {fit.best_epoch}"
        print_note(f"training diverged; {saved_state}. To fix it, try {slower}")
        raise typer.Exit(1)
    if fit.stop_reason == "interrupted":
        advice = "" if job.options.checkpoint is None else "; the same command with --resume continues from there"
        print_note(f"interrupted; {model} holds what was learned so far{advice}")
        raise typer.Exit(outcome.exit_code_of_signal)


def _facts_of_data(job: TrainingJob) -> Facts:
    prepared = job.prepared
    types = Counter(summary.type for summary in prepared.preprocessing.summaries)
    columns = ", ".join(f"{types[name]:,} {label}" for name, label in KINDS_IN_WORDS.items() if types[name])
    target, reason = prepared.preprocessing.target, ""
    if isinstance(target, ClassTarget):
        target_text = f"{target.name}: {len(target.classes)} classes ({shortened(target.classes, 10)})"
        if job.options.task == "auto" and target.label_type == "int":
            reason = " (whole numbers with few values; --task regression reads them as numbers)"
    else:
        target_text = "; ".join(
            f"{name}: mean {number(mean)}, standard deviation {number(scale)}"
            for name, mean, scale in zip(target.names, target.means, target.scales, strict=True)
        )
    by_folds = job.searches and not job.options.holds_out_by_column
    training = f"for training, in {N_FOLDS} folds" if by_folds else "for training"
    purposes = {"train": training, "validation": "for early stopping", "test": "for the test scores"}
    counts = {part: rows for part, rows in prepared.rows.items() if rows or part != "validation" or not by_folds}
    facts = [("data", f"{prepared.source}: {counted(sum(prepared.rows.values()), 'row')}")]
    if job.stream_reason:
        facts.append(("reading", f"in parts ({job.stream_reason}), again in each epoch"))
    return [
        *facts,
        (
            "columns",
            columns if job.searches else f"{columns}: {counted(prepared.n_inputs, 'input')}{_why_more(prepared)}",
        ),
        ("target", target_text + job.options.how_to_choose_target),
        ("task", prepared.task + reason),
        ("rows", ", ".join(f"{rows:,} {purposes[part]}" for part, rows in counts.items()) + _left_out(prepared)),
    ]


def _why_more(prepared: PreparedTable | PreparedStream) -> str:
    """Say why there are more inputs than columns."""
    preprocessing = prepared.preprocessing
    if prepared.n_inputs <= len(preprocessing.columns):
        return ""
    kinds = {
        "a number has one for its value and one for each of its bins": preprocessing.number_encoding == "piecewise"
        and any(isinstance(one, NumberColumn) for one in preprocessing.columns),
        "each category has one": preprocessing.category_encoding != "target"
        and any(isinstance(one, CategoryColumn) for one in preprocessing.columns),
    }
    reasons = ", ".join(reason for reason, applies in kinds.items() if applies)
    return f" ({reasons})" if reasons else ""


def _scope_of_table(prepared: PreparedTable | PreparedStream) -> Facts:
    """Say which rows the table of columns describes, if some are held out."""
    n_training = prepared.rows["train"]
    if n_training == sum(prepared.rows.values()):
        return []
    return [("table", f"{OF_TRAINING_ROWS} the {n_training:,} training rows; {OF_ALL_ROWS}")]


def _left_out(prepared: PreparedTable | PreparedStream) -> str:
    """Say how many rows lack the target, and how the others were divided if not at random."""
    n = max(one.n_missing for one in prepared.preprocessing.summaries if one.type == "target")
    text = f"; {n:,} without a target {'is' if n == 1 else 'are'} left out" if n else ""
    split_by = getattr(prepared, "split_by", "")
    return text + (f"; held out by {split_by}" if split_by else "")


def _networks_text(job: TrainingJob) -> str:
    if not job.searches:
        has_part = job.recipe is None and isinstance(job.prepared, PreparedTable) and takes_linear_part(job.network)
        network = with_linear_part(job.network) if has_part else job.network
        best_of = f"the best of {job.options.restarts:,} restarts, each " if job.options.restarts > 1 else ""
        text = _network_text(network, job.options.networks)
        return best_of + text + (", with a linear part" if has_part else "")
    budget = f"{job.options.time_budget or TIME_BUDGET:g}"
    return (
        f"the best of up to {len(candidates_for(job.prepared.preprocessing))} kinds that are tried in about {budget} s "
        f"(--time-budget), {N_FOLDS} networks each"
    )


def _network_text(network: Network, n_networks: int) -> str:
    sizes = "-".join(map(str, network.sizes))
    several = f"{n_networks:,} networks, each " if n_networks > 1 else ""
    layers = f"{sizes} ({', '.join(network.activations)})"
    members = "" if network.n_members is None else f", {counted(network.n_members, 'member')} that share weights"
    return f"{several}{layers}{members}, {network.n_parameters:,} parameters, loss {network.loss}"


def _kept_network(job: TrainingJob, outcome: FitOutcome) -> Facts:
    """Describe the network that is kept, if it is not the one that was announced."""
    network, theta = outcome.result.model.network, outcome.result.model.theta
    if not outcome.has_model or (not job.searches and network.sizes == job.network.sizes):
        return []
    text, before = _network_text(network, len(theta) if theta.ndim > 1 else 1), outcome.result.fit.network.sizes[0]
    if not job.searches:  # before which no inputs are counted
        text += f"; the categories and bins of all rows make {network.sizes[0]:,} inputs, those for training {before:,}"
    return [("network", text)]


def _patience(job: TrainingJob) -> int | None:
    return job.options.patience if job.recipe is None else job.recipe.patience


def _course_text(result: TableFit, patience: int | None, tolerance: float) -> str:
    """Describe the course of training: how many epochs, how long, why it stopped."""
    fit = result.fit
    n_epochs = len(fit.history.loss)
    reason = _STOP_REASONS[fit.stop_reason].format(patience=patience, tolerance=tolerance)
    if not n_epochs:
        return f"{reason} in the first epoch"
    best = f"; epoch {fit.best_epoch}, the best of all, is kept" if 0 < fit.best_epoch < n_epochs else ""
    part, again = result.model.about["training"].get("linear_part"), ""
    if result.trials:
        seconds = sum(trial.seconds for trial in result.trials)
        n_tried, n_untried = len(result.trials), result.n_untried
        kinds = f"{n_tried} of {n_tried + n_untried} kinds" if n_untried else counted(n_tried, "kind")
        tried = f"{kinds} of network tried in {seconds:.1f} s"
        networks = f"{result.model.about['training']['n_networks']} networks of the kept kind"
        if result.refit is not None and result.refit.stop_reason == "converged":
            return f"{tried}; a linear model, a network without hidden layers, was best, and solved for all rows"
        if result.refit is None:
            return f"{tried}; {networks} make the model"
        of_trial = next(trial.epochs for trial in result.trials if trial.is_kept)
        epochs = f"for {counted(int(result.refit.best_epoch), 'epoch')} ({of_trial:,} in its trial)"
        return f"{tried}; {networks} were trained again on all rows, {epochs}"
    if part is not None and not part["share"]:
        best = "; the linear part alone is kept, since the hidden layers did not help"
        again = "" if result.refit is None else "; it was then solved for all rows"
    elif result.refit is not None:
        epochs = counted(len(result.refit.history.loss), "epoch")
        again = f"; then trained on all rows for {epochs}"
    return f"{counted(n_epochs, 'epoch')} in {fit.history.seconds[-1]:.1f} s, {reason}{best}{again}"


def _as_json(job: TrainingJob, outcome: FitOutcome, saved: SavedFiles) -> dict[str, Any]:
    result = outcome.result
    history, preprocessing, network = result.fit.history, job.prepared.preprocessing, result.model.network
    target = preprocessing.target
    return {
        "model": None if saved.model is None else str(saved.model),
        "picture": None if saved.picture is None else str(saved.picture),
        "report": None if saved.report is None else str(saved.report),
        "data": job.prepared.source,
        **{key: result.model.about[key] for key in ("task", "rows", "optimizer", "training")},
        **({"refit": result.model.about["refit"]} if "refit" in result.model.about else {}),
        "scores": result.scores if outcome.has_learned else None,
        "baseline": result.baseline,
        "columns": [asdict(summary) for summary in preprocessing.summaries],
        "target": list(preprocessing.target_names),
        "classes": list(target.classes) if isinstance(target, ClassTarget) else None,
        "network": {
            "sizes": list(network.sizes),
            "activations": list(network.activations),
            "loss": network.loss,
            "parameters": network.n_parameters,
            **({} if network.n_members is None else {"members": network.n_members}),
        },
        "device": job.device,
        "history": {
            name: list(map(float, getattr(history, name)))
            for name in ("loss", "validation_loss", "validation_score", "seconds")
        },
    }
