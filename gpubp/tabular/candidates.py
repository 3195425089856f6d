"""What a search tries, its candidates, and what it notes of each trial."""

import math
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from gpubp._core.names import unknown
from gpubp.data.preprocessing import (
    FEW_CATEGORIES,
    CategoryColumn,
    CategoryEncoding,
    ClassTarget,
    NumberEncoding,
    Preprocessing,
)
from gpubp.errors import DataError
from gpubp.tabular.recipes import REALMLP_S, TableRecipe

EPOCHS_OF_RECIPE = 64
"""A quarter of those of the preset, in which the rate rises and falls as often; fewer if the search has fewer."""


@dataclass(frozen=True)
class Candidate:
    """Encodings of numbers and categories, a network and its training, which a search tries.

    Without hidden layers, the weights of least squared loss or cross-entropy are computed directly, by ridge
    or logistic regression. `l2` None is then the best of several, and the rate is not used.

    With the recipe "realmlp-s" the network is built and trained as in :data:`gpubp.tabular.REALMLP_S`, for fewer epochs
    and without smoothed labels; the search's activation and patience are then not used. After other candidates it is
    left out if the table has more than 500 inputs.

    With `has_linear_part` a network with hidden layers and squared loss learns the residuals of a linear one,
    which is solved: see docs/tables.md.

    Examples
    --------
    >>> candidate = Candidate("linear", (24,), l2=0.1, learning_rate=0.005)
    >>> candidate.encodings
    ('linear', 'one-hot')
    """

    numbers: NumberEncoding = "piecewise"
    hidden_layer_sizes: tuple[int, ...] = (100,)
    l2: float | None = 0.1
    learning_rate: float = 0.001
    recipe: Literal["", "realmlp-s"] = ""
    categories: CategoryEncoding = "one-hot"
    has_linear_part: bool = False

    @property
    def encodings(self) -> tuple[NumberEncoding, CategoryEncoding]:
        """How numbers and categories become inputs."""
        return self.numbers, self.categories


CANDIDATES = (
    Candidate("linear", (), None),
    Candidate("piecewise", (), None),
    Candidate(),
    Candidate(has_linear_part=True),
    Candidate("piecewise", (100,), 0.02, 0.003),
    Candidate("piecewise", (100,), 0.02, 0.003, categories="target"),
    Candidate("linear", (24,), 0.1, 0.005),
    Candidate("robust", (128, 128), 0.02, 0.002),
    Candidate("robust", (128, 128), 0.02, 0.002, categories="target"),
    Candidate("linear", (100,), 0.02, 0.003),
    Candidate("piecewise", (24,), 0.1, 0.005),
    Candidate("piecewise", (128, 128), 0.02, 0.002),
    Candidate("linear", (128, 128), 0.02, 0.002),
    Candidate("linear"),
    Candidate("piecewise", (128, 128), 0.0, 0.07, "realmlp-s"),
)
"""What is tried, in this order: recipes and linear parts for numbers alone, target statistics where a column has more
than ten categories, and at least as many inputs as statistics would be.

Examples
--------
A search may be given some of them:

>>> from gpubp.tabular import CANDIDATES
>>> linear = [candidate for candidate in CANDIDATES if not candidate.hidden_layer_sizes]
>>> [candidate.numbers for candidate in linear]
['linear', 'piecewise']
"""


def candidates_for(preprocessing: Preprocessing) -> list[Candidate]:
    """Return those of :data:`CANDIDATES` that are tried for a table."""
    is_regression = preprocessing.task == "regression"
    target, n_means = preprocessing.target, len(preprocessing.target_names)
    if isinstance(target, ClassTarget):
        n_means = len(target.classes) - (len(target.classes) == 2)
    columns = [column for column in preprocessing.columns if isinstance(column, CategoryColumn)]
    has_many = any(len(one.known) > FEW_CATEGORIES and len(one.inputs) >= n_means for one in columns)
    return [
        one
        for one in CANDIDATES
        if (is_regression or not (one.recipe or one.has_linear_part)) and (has_many or one.categories == "one-hot")
    ]


def check_candidate(candidate: Any) -> None:
    """Raise a DataError if something is not a candidate, or a field of it is not valid."""
    if not isinstance(candidate, Candidate):
        raise DataError(f"candidates must be of gpubp.tabular.Candidate, got {candidate!r}")
    if not isinstance(candidate.numbers, str) or candidate.numbers not in get_args(NumberEncoding):
        raise DataError(unknown("encoding of numbers", candidate.numbers, get_args(NumberEncoding)))
    if not isinstance(candidate.categories, str) or candidate.categories not in get_args(CategoryEncoding):
        raise DataError(unknown("encoding of categories", candidate.categories, get_args(CategoryEncoding)))
    if candidate.l2 is None and len(candidate.hidden_layer_sizes):
        raise DataError("the l2 of a candidate with hidden layers must be a number, got None")
    if candidate.recipe not in ("", "realmlp-s"):
        raise DataError(f"the recipe of a candidate must be 'realmlp-s', or '' for none, got {candidate.recipe!r}")


def l2_of(candidate: Candidate) -> float:
    """Return the penalty of a candidate that is trained."""
    return 1.0 if candidate.l2 is None else candidate.l2


def recipe_of(candidate: Candidate, task: str) -> TableRecipe | None:
    """Return the recipe of a candidate, or None."""
    if not candidate.recipe:
        return None
    return replace(
        REALMLP_S[task],
        numbers=candidate.numbers,
        hidden_layer_sizes=candidate.hidden_layer_sizes,
        learning_rate=candidate.learning_rate,
        epochs=EPOCHS_OF_RECIPE,
        label_smoothing=0.0,
    )


@dataclass(frozen=True)
class TableTrial:
    """A candidate that was tried.

    Attributes
    ----------
    candidate : Candidate
    loss : float
        The mean loss of each network on rows that it was not trained on; infinite if one diverged.
    epochs : int
        The epoch of this loss, the best.
    seconds : float
        How long its training took.
    is_kept : bool
        Whether the model is this one.
    ended_early : bool
        Whether the training ended since the candidate was too far behind the best; more epochs would have lowered
        `loss`.

    Examples
    --------
    >>> from gpubp.tabular import prepare_table, search_table
    >>> table = {"x": [k / 50 for k in range(100)], "y": [k / 25 for k in range(100)]}
    >>> found = search_table(prepare_table(table, target="y"), candidates=[Candidate("linear", (), None)], n_networks=5)
    >>> [(trial.candidate.numbers, trial.is_kept) for trial in found.trials]
    [('linear', True)]
    """

    candidate: Candidate
    loss: float
    epochs: int
    seconds: float
    is_kept: bool = False
    ended_early: bool = False


def trial_as_json(trial: TableTrial, compared_loss: float) -> dict[str, Any]:
    """Return a trial as a model file holds it, with the loss by which it was compared if that is another."""
    candidate = trial.candidate
    return {
        "numbers": candidate.numbers,
        "hidden_layer_sizes": list(map(int, candidate.hidden_layer_sizes)),
        "l2": float(l2_of(candidate)),
        "learning_rate": float(candidate.learning_rate) or None,
        **({"recipe": candidate.recipe} if candidate.recipe else {}),
        **({"categories": candidate.categories} if candidate.categories != "one-hot" else {}),
        **({"has_linear_part": True} if candidate.has_linear_part else {}),
        "loss": trial.loss if math.isfinite(trial.loss) else None,
        **({"compared_loss": compared_loss} if trial.loss < compared_loss < math.inf else {}),
        "epochs": int(trial.epochs),
        "seconds": round(trial.seconds, 3),
        "is_kept": trial.is_kept,
        **({"ended_early": True} if trial.ended_early else {}),
    }
