"""Facts about networks that learned the two families, compared with the paper's one."""

import numpy as np

from gpubp._core.text import counted
from gpubp.paper import family
from gpubp.paper.family_codes import N_UNITS, codes_of_people, explained, predicted
from gpubp.paper.family_recipe import DEAD_ZONE, N_HELD_OUT, PRINTED, Recipe, Trained, first_weights
from gpubp.paper.study import Fact, StudyTable
from gpubp.paper.words import NO_FIGURE, NONE, share_of

CODED, IGNORED = 0.5, 0.1
"""A unit codes what explains more of its variance than the first, and ignores what explains less than the second."""

CODED_IN_THE_PAPER = {"nationality": "unit 1", "generation": "unit 2", "branch": "unit 6"}


def table_of_all_networks(facts: list[Fact]) -> StudyTable:
    """Report on all networks; the facts of a study cover those that are done."""
    return StudyTable(
        "What all networks learned, and what they answer beyond it",
        ("of all networks", "paper", "here"),
        tuple(facts),
        n_text=3,
    )


def fact_of_learning(what: str, networks: Trained) -> Fact:
    """Report how many of their training cases the networks have right."""
    n_cases = int(np.sum(~networks.held_out[0]))
    average, by = _percent(networks.fraction_learned), share_of(networks.fraction_learned == 1.0)
    here = f"{average} on average, all by {by}; {counted(networks.sweeps, 'sweep')}"
    return Fact(what, f"all {n_cases}; {PRINTED.sweeps:,} sweeps", here)


def facts_of_held_out(networks: Trained) -> list[Fact]:
    """Report how many of their held-out cases the networks have right."""
    by_zone, ahead = networks.count_held_out(networks.within(DEAD_ZONE)), networks.count_held_out(networks.ahead)
    return [
        Fact(f"all {N_HELD_OUT} held-out cases right", "yes", share_of(networks.generalized == N_HELD_OUT)),
        Fact("held-out cases right", "all", f"{_percent(networks.generalized / N_HELD_OUT)} on average"),
        Fact(
            f"the same, but on is above {1 - DEAD_ZONE:g} and off below {DEAD_ZONE:g}",
            NO_FIGURE,
            f"{_percent(by_zone / N_HELD_OUT)} on average",
        ),
        Fact(
            "the same, but what is right is ahead of all else",
            NO_FIGURE,
            f"{_percent(ahead / N_HELD_OUT)} on average, all {N_HELD_OUT} by {share_of(ahead == N_HELD_OUT)}",
        ),
    ]


def table_by_relation(networks: Trained) -> StudyTable:
    """Report how often held-out cases of each relation were answered correctly, best first."""
    relation = np.argmax(family.cases()[0][:, len(family.PEOPLE) :], axis=1)
    rows = []
    for k, name in enumerate(family.RELATIONS):
        tested = networks.held_out[:, relation == k]
        rows.append(
            (name, int(np.sum(relation == k)), int(np.sum(tested)), np.sum(networks.right[:, relation == k] & tested))
        )
    rows.sort(key=lambda row: -row[3] / max(row[2], 1))
    return StudyTable(
        "Held-out cases by relation: how often a network was asked one that it was not trained on",
        ("relation", "cases", "asked", "right"),
        tuple(
            (name, str(n_cases), f"{n_asked:,}", f"{100 * n_right / n_asked:.0f} %" if n_asked else NONE)
            for name, n_cases, n_asked, n_right in rows
        ),
    )


def facts_of_codes(recipe: Recipe, networks: Trained) -> list[Fact]:
    """Report what the units code in networks with all held-out cases right, and with first weights."""
    solved = networks.generalized == N_HELD_OUT
    if not np.any(solved):
        return []
    before = codes_of_people(recipe.network, first_weights(recipe, np.flatnonzero(solved).tolist()))
    after = codes_of_people(recipe.network, networks.theta[solved])
    coded, best_units = [], []
    for name, attribute in family.attributes().items():
        some = [np.max(explained(codes, attribute), axis=1) > CODED for codes in (after, before)]
        coded.append(
            Fact(
                f"some unit codes {name}: it explains more than {100 * CODED:.0f} % of the variance",
                CODED_IN_THE_PAPER[name],
                f"{share_of(some[0])}; with first weights {share_of(some[1])}",
            )
        )
        best = [np.max(predicted(codes, attribute), axis=1) for codes in (after, before)]
        here = f"{_percent(best[0])} of the people right; with first weights {_percent(best[1])}"
        best_units.append(Fact(f"{name}, told by the one unit that is best at it", NO_FIGURE, here))
    n_ignore = np.sum(explained(after, family.attributes()["nationality"]) < IGNORED, axis=1)
    ignored = Fact(
        f"units that ignore nationality: it explains less than {100 * IGNORED:.0f} %",
        f"most of {N_UNITS}",
        f"{np.mean(n_ignore):.1f} of {N_UNITS} on average; more than half in {share_of(2 * n_ignore > N_UNITS)}",
    )
    return [*coded, ignored, *best_units]


def _percent(shares: np.ndarray) -> str:
    return f"{100 * np.mean(shares):.0f} %"
