"""Search around the paper's recipe for one by which its family trees are learned.

    python examples/family_search.py 100 docs/paper/family-search.json

trains 100 networks by each of 84 recipes, which takes about ten minutes, and writes the results. Without arguments it
tries two recipes on a few networks.
"""

import json
import sys
from dataclasses import asdict, fields, replace
from itertools import product
from pathlib import Path

import numpy as np

from gpubp.paper.family_recipe import N_HELD_OUT, PRINTED, trained

FIRST_SEED = 1_000_000  # the study's networks have the seeds from 0 on, so they judge the choice independently
LEARNS = 0.95  # of its cases, on average: a recipe that learns less is not chosen
HEADINGS = (
    "first   learning rates   momentum   decay  sweeps                        cases learned  held-out cases right\n"
    "weights                                            error                  mean    all    mean  all four\n"
)


def settings_in_question():
    """Yield the grid, then other readings of the paper's recipe and of one that learns."""
    for sweeps, shrinkage, factor, scale in product(
        (1500, 5000), (0.002, 0.0005, 0.0), (1, 2, 5, 10), (PRINTED.scale, 1.0, 2.0)
    ):
        rates = (0.005 * factor, 0.01 * factor)
        yield replace(PRINTED, scale=scale, rates=rates, shrinkage=shrinkage, sweeps=sweeps)
    for recipe in (replace(PRINTED, scale=1.0), LEARNING):
        yield replace(recipe, loss="squared")  # no dead zone
        yield replace(recipe, loss="binary_cross_entropy")  # not eq. (3)
        yield replace(recipe, shrinkage=0.0, penalty=0.002)  # decay as a part of the error
        yield replace(recipe, momenta=(0.9, 0.9), rates=recipe.rates[1:] * 2)  # no first phase
        yield replace(recipe, reduction="mean")  # gradients averaged over the cases
    for scale in (PRINTED.scale, 1.0):
        yield replace(PRINTED, scale=scale, batch_size=1)  # a change after every case


LEARNING = replace(PRINTED, scale=2.0, rates=(0.025, 0.05))


def numbers_changed(recipe):
    """Count the settings that differ from the paper's, which gives no first weights for this experiment."""
    names = [field.name for field in fields(recipe) if field.name != "scale"]
    return sum(getattr(recipe, name) != getattr(PRINTED, name) for name in names)


def results_of(recipe, n_networks):
    n = n_networks if recipe.batch_size == "full" else -(-n_networks // 5)  # changes after every case take long
    networks = trained(recipe, range(FIRST_SEED, FIRST_SEED + n))
    right = networks.generalized / N_HELD_OUT
    return {
        **asdict(recipe),
        "changed": numbers_changed(recipe),
        "networks": n,
        "learned": round(float(networks.fraction_learned.mean()), 4),
        "learned_all": round(float(np.mean(networks.fraction_learned == 1.0)), 4),
        "held_out_right": round(float(right.mean()), 4),
        "standard_error": round(float(right.std() / np.sqrt(n)), 4),
        "all_held_out_right": round(float(np.mean(right == 1.0)), 4),
    }


def show(row):
    first, second = ("{:g}, {:g}".format(*row[name]) for name in ("rates", "momenta"))
    settings = (
        f"±{row['scale']:<7g}{first:<17s}{second:<11s}{row['shrinkage']:<7.2%}{row['sweeps']:<8d}{row['loss']:21s}"
    )
    others = [
        f"{name} {row[name]}" for name in ("penalty", "reduction", "batch_size") if row[name] != getattr(PRINTED, name)
    ]
    learned, held_out = (f"{row[name]:7.0%}{row[part]:7.0%}" for name, part in PAIRS)
    print(f"{settings}{learned} {held_out}   {', '.join(others)}", flush=True)


PAIRS = (("learned", "learned_all"), ("held_out_right", "all_held_out_right"))


def nearest(rows):
    """Choose the recipe nearest to the paper among those that learn, and generalize as well as the best."""
    able = [row for row in rows if row["learned"] >= LEARNS]
    best = max(able, key=lambda row: row["held_out_right"])
    near = [row for row in able if row["held_out_right"] >= best["held_out_right"] - 2.0 * best["standard_error"]]
    return min(near, key=lambda row: (row["changed"], -row["held_out_right"]))


n_networks, *file = sys.argv[1:] or ["5"]
rows = []
print(HEADINGS)
for recipe in settings_in_question() if file else (PRINTED, LEARNING):
    rows.append(results_of(recipe, int(n_networks)))
    show(rows[-1])
if file:
    chosen = nearest(rows)
    print("\nchosen: the nearest to the paper among those that learn, and generalize as well as the best:")
    show(chosen)
    Path(file[0]).parent.mkdir(parents=True, exist_ok=True)
    lines = ",\n  ".join(json.dumps(row) for row in rows)
    text = f'{{\n "first_seed": {FIRST_SEED},\n "chosen": {json.dumps(chosen)},\n "recipes": [\n  {lines}\n ]\n}}\n'
    Path(file[0]).write_text(text, encoding="utf-8")
