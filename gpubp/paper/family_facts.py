"""What is found in networks that learned the two families, beside what the paper says of its one."""

import numpy as np

from gpubp.paper import family
from gpubp.paper.family_codes import codes_of_people, explained, predicted
from gpubp.paper.family_recipe import DEAD_ZONE, N_HELD_OUT, PRINTED, Recipe, Trained, first_weights
from gpubp.paper.study import Fact

CODED, IGNORED = 0.5, 0.1
"""A unit codes what explains more of its variance than the first, and ignores what explains less than the second."""

CODED_IN_THE_PAPER = {"nationality": "unit 1", "generation": "unit 2", "branch": "unit 6"}
NOT_TOLD = "-"


def of_learning(what: str, found: Trained) -> Fact:
    """Tell how many of the cases that they were trained on the networks have right."""
    n_all, n_cases = int(np.sum(found.learned == 1.0)), int(np.sum(~found.held_out[0]))
    here = f"{found.learned.mean():.0%} on average, all by {n_all:,} of {len(found.theta):,}; {found.sweeps:,} sweeps"
    return Fact(what, f"all {n_cases}; {PRINTED.sweeps:,} sweeps", here)


def of_held_out(found: Trained) -> list[Fact]:
    """Tell how many of the cases that they were not trained on the networks have right."""
    counts = np.bincount(found.generalized, minlength=N_HELD_OUT + 1)
    shares = ", ".join(f"{k}: {counts[k] / len(found.theta):.0%}" for k in range(N_HELD_OUT, -1, -1))
    by_zone, ahead = found.count_held_out(found.within(DEAD_ZONE)), found.count_held_out(found.ahead)
    return [
        Fact(f"networks with so many of {N_HELD_OUT} held-out cases right", f"{N_HELD_OUT}", shares),
        Fact("held-out cases right", "all", f"{found.generalized.mean() / N_HELD_OUT:.0%}"),
        Fact(
            f"and with on above {1 - DEAD_ZONE:g} and off below {DEAD_ZONE:g}",
            NOT_TOLD,
            f"{by_zone.mean() / N_HELD_OUT:.0%}",
        ),
        Fact(
            "or with what is right ahead of all else",
            NOT_TOLD,
            f"{ahead.mean() / N_HELD_OUT:.0%}, all {N_HELD_OUT} in {np.mean(ahead == N_HELD_OUT):.0%} of the networks",
        ),
        Fact("held-out cases right, by relation", NOT_TOLD, _by_relation(found)),
    ]


def _by_relation(found: Trained) -> str:
    """Tell the relations from the one that is answered best to the one that is answered worst."""
    relation = np.argmax(family.cases()[0][:, len(family.PEOPLE) :], axis=1)
    right, asked = (np.sum(which, axis=0) for which in (found.right & found.held_out, found.held_out))
    shares = {
        name: np.sum(right[relation == k]) / n_asked
        for k, name in enumerate(family.RELATIONS)
        if (n_asked := np.sum(asked[relation == k]))
    }
    return ", ".join(f"{name} {share:.0%}" for name, share in sorted(shares.items(), key=lambda pair: -pair[1]))


def of_codes(recipe: Recipe, found: Trained) -> list[Fact]:
    """Tell what units code in the networks with all held-out cases right, beside what they coded in first weights."""
    solved = found.generalized == N_HELD_OUT
    if not np.any(solved):
        return []
    before = codes_of_people(recipe.network, first_weights(recipe, np.flatnonzero(solved).tolist()))
    after = codes_of_people(recipe.network, found.theta[solved])
    coded, told = [], []
    for name, attribute in family.attributes().items():
        shares = [np.mean(np.max(explained(codes, attribute), axis=1) > CODED) for codes in (after, before)]
        coded.append(
            Fact(
                f"some unit codes {name}: it explains more than {CODED:.0%} of the variance",
                CODED_IN_THE_PAPER[name],
                f"in {shares[0]:.0%} of {len(after):,} networks; {shares[1]:.0%} in first weights",
            )
        )
        right = [np.mean(np.max(predicted(codes, attribute), axis=1)) for codes in (after, before)]
        here = f"of {right[0]:.0%} of the people; {right[1]:.0%} in first weights"
        told.append(Fact(f"one unit alone, the best at it, tells the {name}", NOT_TOLD, here))
    n_ignore = np.sum(explained(after, family.attributes()["nationality"]) < IGNORED, axis=1)
    ignored = Fact(
        f"units of six that ignore nationality: it explains less than {IGNORED:.0%}",
        "most",
        f"{np.mean(n_ignore):.1f} on average; more than three in {np.mean(n_ignore > 3):.0%} of the networks",
    )
    return [*coded, ignored, *told]
