"""Search for the best networks for a table: each candidate is trained once, on every fold, until the time is used."""

import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gpubp._core.counts import is_count
from gpubp._core.text import counted
from gpubp.data.preprocessing import to_json
from gpubp.errors import DataError
from gpubp.io.model_file import Model
from gpubp.nn.network import Network
from gpubp.optim.first_order import adam
from gpubp.tabular.candidate_training import (
    CandidateNetworks,
    EndingBehind,
    SearchSettings,
    batch_size_of,
    train_candidate,
)
from gpubp.tabular.candidates import (
    Candidate,
    TableTrial,
    candidates_for,
    check_candidate,
    l2_of,
    recipe_of,
    trial_as_json,
)
from gpubp.tabular.fit import check_precision, scaled_for, with_label_smoothing
from gpubp.tabular.folds import N_FOLDS, drawn_rows, has_folds, learned_rows
from gpubp.tabular.linear_solution import LinearSolver, is_solved
from gpubp.tabular.networks import network_for
from gpubp.tabular.prepared_table import PreparedTable
from gpubp.tabular.recipes import recipe_optimizer, recipe_size
from gpubp.tabular.result import TableFit, refit_facts, scored_fit
from gpubp.tabular.several_networks import seeds_of
from gpubp.training.callbacks import Callback, Progress

logger = logging.getLogger("gpubp")

N_NETWORKS = 20
"""How many networks of the best candidate are trained, if there is time: one for each fold, four times."""

SPARE = 1.5
"""How many times as long as expected a training may take, or it is not begun."""

LEAST_GAIN = 0.01
"""By what part of its loss a candidate must be better than the best of those before it: less may be chance."""

BIAS_OF_STATISTICS = 0.02
"""By what part target statistics may lower the loss out of fold alone: they hold targets of the fold that scores."""

MOST_INPUTS_OF_RECIPE = 500
"""With more, a candidate with a recipe is left out: its first layer has the square of them as weights."""

MOST_LOSS_OF_RECIPE = 0.1
"""Of the best candidate before one with a recipe, or this one is left out: its long training pays where a number is
known well. The squared loss of the mean is 0.5."""

SMALL_NETWORK = 10_000
"""Parameters below which a network takes no less time."""

SHARE_OF_TRIALS = 0.5
"""The part of the time in which further candidates are tried; the rest is for training on all rows."""

SHARE_OF_SOLUTION = 0.25
"""The part of the time that is left for trials in which a candidate without hidden layers is solved."""


@np.errstate(all="ignore")
def search_table(
    prepared: PreparedTable,
    *,
    time_budget: float = 60.0,
    candidates: Sequence[Candidate] | None = None,
    n_networks: int = N_NETWORKS,
    activation: str = "relu",
    loss: str | None = None,
    epochs: int = 200,
    patience: int | None = 10,
    tolerance: float = 1e-6,
    label_smoothing: float = 0.0,
    seed: int = 0,
    device: str = "auto",
    dtype: str = "float32",
    matmul_precision: str = "float32",
    refit: bool = True,
    callback: Callback | None = None,
    on_training: Callable[[str], object] | None = None,
) -> TableFit:
    """Try candidates on folds of the rows, and keep the networks of the best.

    The rows that are not for the test are divided into five folds, stratified by class. Each network of a candidate is
    trained without one fold, which decides when it stops and scores it; all train at once. The outputs of the networks
    are averaged, as in bagging (Breiman 1996). A candidate ends early if it is 2 % behind the best and would still be
    after four times as many epochs as those of its last 100 steps, at least five, if each gained as much as these did
    on average; one by a recipe never does. A later candidate must be better by one hundredth, since less may be chance,
    and one with target statistics by about three, as they hold targets of the fold that scores. Of more than 10,000
    rows, 10,000 are drawn for these trials; then the best candidate is trained without one fold of all rows, or without
    each of several if there is time. Of the best candidate `n_networks` are trained and scored, and then as many on the
    folds of all rows. If the table was split by groups or time, or has validation rows of its own, these take the place
    of the folds. The statistics of columns are those of all folds.

    Parameters
    ----------
    prepared : PreparedTable
        From :func:`prepare_table`. Its encoding of numbers is that of the candidates.
    time_budget : float
        Seconds. Half of them are for trying candidates, in their order, but the first that is trained may take all, and
        one that is solved takes about a quarter of what is left of this half. The other half is for the training on all
        rows, which is left out if too little is left. Where the time ends a training, the same seed may give another
        model.
    candidates : sequence of Candidate, optional
        By default :data:`gpubp.tabular.CANDIDATES`, for classes those without a recipe; those with target statistics
        only if a column has more than ten categories.
    n_networks : int
        The number of networks of the model, if there is time, at least five. Candidates are tried with five, and
        without much time these stay.
    activation, loss, epochs, patience, tolerance, label_smoothing, seed, device, dtype, matmul_precision, refit
        See :func:`fit_table`. The networks stop as one, by the median of their losses.
    callback : callable, optional
        Called with a :class:`~gpubp.Progress` after each epoch of each candidate; the losses are arrays. Returning True
        ends the training of this candidate.
    on_training : callable, optional
        Called before each training with a text that says what is trained, such as "candidate 3 of 10".

    Returns
    -------
    TableFit
        With `trials`. The scores of ``"validation"`` are those of all rows for training, each by the networks that
        were not trained on it.

    Raises
    ------
    DataError
        If an option is not valid, or every candidate diverged.

    Examples
    --------
    >>> from gpubp.tabular import CANDIDATES, prepare_table
    >>> prepared = prepare_table("iris")
    >>> result = search_table(prepared, candidates=CANDIDATES[:2], n_networks=5, epochs=20, device="cpu")
    >>> [trial.candidate.numbers for trial in result.trials]
    ['linear', 'piecewise']
    """
    if candidates is None and isinstance(prepared, PreparedTable):
        candidates = candidates_for(prepared.preprocessing)
    candidates = tuple(candidates or ())
    _check(prepared, time_budget, candidates, n_networks, dtype)
    prepared = with_label_smoothing(prepared, label_smoothing or prepared.label_smoothing)
    scaled_for(network_for(prepared, activation=activation, loss=loss).loss, prepared)  # or an error
    end = time.monotonic() + time_budget
    settings = SearchSettings(
        *(activation, loss, epochs, patience, tolerance, device, dtype, matmul_precision), is_over=_over_at(end)
    )
    ending = _ending_at(callback, end)
    seeds = seeds_of(seed, n_networks, adam())
    assert isinstance(seeds, list)
    say = on_training or _say_nothing
    end_of_trials = end - (1.0 - SHARE_OF_TRIALS) * time_budget
    drawn = drawn_rows(prepared, seed)
    tried, n_untried = _try(prepared, drawn, candidates, settings, seeds[:N_FOLDS], ending, end_of_trials, say)
    if n_untried:
        logger.info(
            "time_budget=%g ended the search after %d of %d candidates", time_budget, len(tried), len(tried) + n_untried
        )
    chosen, networks = _best_of(tried)
    goes_on = tried[-1][1].fit.stop_reason != "interrupted"
    if goes_on and chosen.loss == math.inf:
        raise DataError(
            f"all of {counted(len(tried), 'candidate')} diverged: weights became infinite or NaN; look for extreme "
            "numbers in the table, or train one network (preset fast) with a smaller learning_rate"
        )
    seconds = chosen.seconds / N_FOLDS  # of a training, for each network
    n_trainings = 1 + (refit and len(learned_rows(prepared)) < prepared.table.n_rows)
    if drawn is not None:
        whole = prepared.trained_on(learned_rows(prepared), *chosen.candidate.encodings)
        networks = _beside_other_rows(networks, whole, drawn)
        if goes_on:
            start, more_rows = time.monotonic(), len(whole.parts["train"]) / len(drawn["train"])
            expected = SPARE * n_trainings * more_rows * seconds
            least = 0 if is_solved(networks.fit.network) else 1  # a solution may take all the time it needs
            n = max((k for k in range(1, N_FOLDS + 1) if start + k * expected < end), default=least)
            seconds *= more_rows
            if n:
                say("the best on more rows")
                on_more = train_candidate(whole, chosen.candidate, settings, seeds[:n], ending)
                goes_on, seconds = on_more.fit.stop_reason != "interrupted", (time.monotonic() - start) / n
                networks = on_more if on_more.is_complete or on_more.loss < networks.loss else networks
    is_linear = is_solved(networks.fit.network)  # each fold has one solution
    expected = SPARE * n_trainings * n_networks * seconds
    if goes_on and not is_linear and n_networks > N_FOLDS and time.monotonic() + expected < end:
        say(f"{n_networks} networks of the best")
        all_networks = train_candidate(networks.prepared, chosen.candidate, settings, seeds, ending, like=networks.part)
        goes_on = all_networks.fit.stop_reason != "interrupted"
        networks = all_networks if all_networks.is_complete else networks
    trials = tuple(replace(trial, is_kept=trial is chosen) for trial, _ in tried)
    recipe = recipe_of(chosen.candidate, prepared.task)
    about = {
        "preset": "best",
        "time_budget": time_budget,
        "trials": [trial_as_json(one, _compared_loss(*pair)) for one, pair in zip(trials, tried, strict=True)],
        **({"n_untried": n_untried} if n_untried else {}),
        "activation": activation,  # which a network with a recipe does not have
        "batch_size": batch_size_of(recipe, networks.prepared.rows["train"]),
        "l2": l2_of(chosen.candidate),
        "seed": seed,
        "n_networks": len(networks.seeds),
        "dtype": dtype,
        "matmul_precision": matmul_precision,
        **({} if networks.part is None else {"linear_part": networks.part.as_json()}),
        **({} if drawn is None else {"rows_of_trials": len(drawn["train"])}),
    }
    optimizer: Any = LinearSolver()
    if recipe is not None:
        optimizer = recipe_optimizer(recipe, networks.fit.network)
    elif not is_linear:
        optimizer = adam(chosen.candidate.learning_rate)
    result = scored_fit(networks.prepared, networks.fit, optimizer, about, networks.out_of_fold)
    result = replace(result, trials=trials, n_untried=n_untried)
    leaves_rows_out = networks.prepared.holds_out_rows or len(networks.seeds) == 1 or is_linear
    if goes_on and refit and leaves_rows_out and time.monotonic() + SPARE * len(networks.seeds) * seconds < end:
        say("all rows")
        return _on_all_rows(prepared, chosen, networks, settings, ending, result)
    return result


def _check(prepared: Any, time_budget: Any, candidates: Sequence[Any], n_networks: Any, dtype: str) -> None:
    """Raise an error if an option is not valid."""
    if not isinstance(prepared, PreparedTable):
        raise DataError(f"a search needs a table in memory, from prepare_table, got {type(prepared).__name__}")
    if not (isinstance(time_budget, int | float | np.number) and 0.0 < time_budget < math.inf):
        raise DataError(f"time_budget must be a number of seconds above 0, got {time_budget!r}")
    if not candidates:
        raise DataError("candidates must name at least one candidate, got none")
    for candidate in candidates:
        check_candidate(candidate)
    if not is_count(n_networks, least=N_FOLDS):
        raise DataError(f"n_networks must be a whole number of at least {N_FOLDS}, got {n_networks!r}")
    if not has_folds(prepared) and prepared.validation() is None:
        raise DataError("a search needs validation rows; pass a validation_fraction above 0")
    check_precision(prepared, dtype)


def _beside_other_rows(
    networks: CandidateNetworks, whole: PreparedTable, drawn: dict[str, np.ndarray]
) -> CandidateNetworks:
    """Return networks that were trained on drawn rows with the table that these were drawn from."""
    scaled = scaled_for(networks.fit.network.loss, whole)
    assert isinstance(scaled, PreparedTable)
    return networks._replace(prepared=replace(scaled, parts={**scaled.parts, "train": drawn["train"]}))


def _try(
    prepared: PreparedTable,
    drawn: dict[str, np.ndarray] | None,
    candidates: Sequence[Candidate],
    settings: SearchSettings,
    seeds: list[int],
    ending: Callback,
    end: float,
    say: Callable[[str], object],
) -> tuple[list[tuple[TableTrial, CandidateNetworks]], int]:
    """Train candidates on folds, of drawn rows if there are some, while another is likely to be done before `end`.

    The first that is trained, and not solved, is always begun. Returned are those that were tried, and how many were
    not for want of time.
    """
    rows = learned_rows(prepared)
    encoded: dict[Any, PreparedTable] = {}
    tried: list[tuple[TableTrial, CandidateNetworks]] = []
    n_untried, rates = 0, list[float]()
    for place, candidate in enumerate(candidates, 1):
        start = time.monotonic()
        has_trained = any(not is_solved(one.fit.network) for _, one in tried)
        if tried and start >= end and (has_trained or not candidate.hidden_layer_sizes):
            n_untried += 1
            continue
        if candidate.encodings not in encoded:
            encoded[candidate.encodings] = prepared.trained_on(rows, *candidate.encodings, only=drawn)
        of_candidate = encoded[candidate.encodings]
        least = min((trial.loss for trial, _ in tried), default=math.inf)
        if tried and candidate.recipe and not _may_pay(of_candidate, settings, least):
            continue
        if has_trained and start + _expected_seconds(candidate, of_candidate, settings, tried, rates) > end:
            n_untried += 1
            continue
        say(f"candidate {place} of {len(candidates)}")
        like = next((one.part for _, one in tried if one.part and one.candidate.encodings == candidate.encodings), None)
        of_trial = settings._replace(is_over=_over_at(start + SHARE_OF_SOLUTION * (end - start)))
        # the rate of a recipe falls at its end, and its loss only then
        ends = EndingBehind(ending, math.inf if candidate.recipe else least, len(of_candidate.parts["train"]))
        ticks: list[float] = []
        networks = train_candidate(of_candidate, candidate, of_trial, seeds, _ticking(ends, ticks), like=like)
        seconds, best_epoch = time.monotonic() - start, networks.fit.best_epoch
        if not is_solved(networks.fit.network):
            epoch = (ticks[-1] - ticks[0]) / (len(ticks) - 1) if len(ticks) > 1 else seconds
            rates.append(epoch / max(networks.fit.network.n_parameters, SMALL_NETWORK))
        trial = TableTrial(networks.candidate, networks.loss, best_epoch, seconds, ended_early=ends.is_behind)
        tried.append((trial, networks))
        if networks.fit.stop_reason == "interrupted":
            break
    return tried, n_untried


def _may_pay(prepared: PreparedTable, settings: SearchSettings, least: float) -> bool:
    """Return whether a candidate with a recipe is worth its time, after one with a loss."""
    is_squared = settings.loss in (None, "squared") and prepared.task == "regression"
    return prepared.n_inputs <= MOST_INPUTS_OF_RECIPE and not (is_squared and MOST_LOSS_OF_RECIPE < least < math.inf)


def _expected_seconds(
    candidate: Candidate,
    prepared: PreparedTable,
    settings: SearchSettings,
    tried: Sequence[tuple[TableTrial, CandidateNetworks]],
    rates: Sequence[float],
) -> float:
    """Estimate the time of a candidate by the median of `rates`, the seconds of an epoch for each parameter before.

    One training that other work on the machine slows down so ends no search. One without a recipe may take as many
    epochs as the others that did not end early, one with a recipe takes all.
    """
    trained = [(len(one.fit.history.loss), trial) for trial, one in tried if not is_solved(one.fit.network)]
    recipe = recipe_of(candidate, prepared.task)
    if recipe is None:
        sizes = (prepared.n_inputs, *candidate.hidden_layer_sizes, prepared.n_outputs)
        size = Network(sizes).n_parameters
        whole = [n_epochs for n_epochs, trial in trained if not trial.ended_early]
        n_epochs = max(1, *(whole or [n for n, _ in trained]))
    else:
        size, n_epochs = recipe_size(recipe, prepared), min(settings.epochs, recipe.epochs)
    return float(np.median(rates)) * n_epochs * max(size, SMALL_NETWORK)


def _best_of(tried: Sequence[tuple[TableTrial, CandidateNetworks]]) -> tuple[TableTrial, CandidateNetworks]:
    """Return the best by the order in which they were tried; those that are solved come last, as no mean improves them.

    The outputs of several networks of the others are averaged, which has less loss than the networks have on average.
    """
    best, *others = sorted(tried, key=lambda one: is_solved(one[1].fit.network))
    for one in others:
        least = _compared_loss(*best)
        if least == math.inf or _compared_loss(*one) < least - LEAST_GAIN * abs(least):
            best = one
    return best


def _compared_loss(trial: TableTrial, networks: CandidateNetworks) -> float:
    """Return the loss of a trial, without what target statistics may have lowered on folds alone."""
    is_biased = trial.candidate.categories == "target" and networks.out_of_fold is not None
    return trial.loss + BIAS_OF_STATISTICS * abs(trial.loss) if is_biased else trial.loss


def _on_all_rows(
    prepared: PreparedTable,
    chosen: TableTrial,
    scored: CandidateNetworks,
    settings: SearchSettings,
    ending: Callback,
    result: TableFit,
) -> TableFit:
    """Train as many networks on all rows; if that does not end by itself, the model stays.

    One network would leave a fold out: it learns all rows, for as many epochs as the one that was scored.
    """
    everything = prepared.trained_on(np.arange(prepared.table.n_rows), *chosen.candidate.encodings)
    in_folds = has_folds(prepared) and len(scored.seeds) > 1 and not is_solved(scored.fit.network)
    if not in_folds:
        settings = settings._replace(epochs=scored.fit.best_epoch)
    final = train_candidate(everything, chosen.candidate, settings, scored.seeds, ending, in_folds=in_folds)
    if not final.is_complete:
        return result
    about = {**result.model.about, "fingerprint": everything.fingerprint}
    about["training"] = {**about["training"], "n_networks": len(final.seeds)}
    epochs, networks = int(final.fit.best_epoch), (result.model.network, final.fit.network)
    about["refit"] = refit_facts(everything.rows["train"], epochs, *networks)
    model = Model(final.fit.network, final.fit.theta, to_json(final.prepared.preprocessing), about)
    return replace(result, model=model, refit=final.fit)


def _say_nothing(what: str) -> None:
    """Ignore what is trained next."""


def _ending_at(callback: Callback | None, end: float) -> Callback:
    """Return a callback that ends the training of a candidate when the time is used."""

    def ending(progress: Progress) -> bool:
        stops = callback(progress) if callback is not None else False
        return bool(stops) or time.monotonic() >= end

    return ending


def _ticking(callback: Callback, ticks: list[float]) -> Callback:
    """Return a callback that also notes when each epoch ended."""

    def ticking(progress: Progress) -> bool:
        stops = bool(callback(progress))
        ticks.append(time.monotonic())
        return stops

    return ticking


def _over_at(end: float) -> Callable[[], bool]:
    """Return a function that says whether the time is used."""
    return lambda: time.monotonic() >= end
