"""Numbers of sweeps, shares of networks and what else is counted, in words."""

import numpy as np

NO_FIGURE = "no figure known"
"""What stands for the paper's figure where none was found in a text that could be checked."""

NONE = "–"
"""What stands where there is nothing to tell."""


def in_words(sweeps: float) -> str:
    """Write a number of sweeps.

    Examples
    --------
    >>> in_words(1425.0), in_words(np.inf)
    ('1,425', 'never')
    """
    return f"{sweeps:,.0f}" if np.isfinite(sweeps) else "never"


def share_of(holds: np.ndarray) -> str:
    """Write for which part of some networks something holds.

    Examples
    --------
    >>> share_of(np.asarray([True, False]))
    '50 % of 2'
    """
    return f"{100 * np.mean(holds):.0f} % of {len(holds):,}" if len(holds) else "none, for want of any"


def counted(n: int, what: str) -> str:
    """Write how many there are of something.

    Examples
    --------
    >>> counted(1, "sweep"), counted(1425, "sweep")
    ('1 sweep', '1,425 sweeps')
    """
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def from_to(figures: np.ndarray) -> str:
    """Write between which figures some lie, or the one that they all are.

    Examples
    --------
    >>> from_to(np.asarray([5.0, 13.0])), from_to(np.asarray([1.91, 1.94]))
    ('5 to 13', '1.9')
    """
    low, high = (f"{figure:.2g}" for figure in (np.min(figures), np.max(figures)))
    return low if low == high else f"{low} to {high}"


def seeds_in_words(n_networks: int) -> str:
    """Write which seeds the first weights of so many networks are drawn from.

    Examples
    --------
    >>> seeds_in_words(1000), seeds_in_words(1)
    ('seeds 0 to 999', 'seed 0')
    """
    return f"seeds 0 to {n_networks - 1:,}" if n_networks > 1 else "seed 0"
